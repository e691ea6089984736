"""The part of a service that the HTTP face sees, on a real database, with a real dispatcher behind it."""

from __future__ import annotations

import asyncio
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from triggers.core.rulebook import Rulebook
from triggers.dispatch.assembly import Ears, assemble, contacts
from triggers.dispatch.desk import Desk
from triggers.dispatch.gateway import Accepted, Heard
from triggers.dispatch.gateway_settings import GatewaySettings
from triggers.dispatch.promises import CLASSES
from triggers.dispatch.settings import Delivery
from triggers.dispatch.terms import rules_of
from triggers.language.folder import build_shop
from triggers.store.database import connect_reader, open_database
from triggers.store.event_log import Arrival, Entry, EventLog
from triggers.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from triggers.dispatch.gateway import Answer, Call, Outgoing, Refused

NOW = 1_788_321_600_000  # 2026-09-02 04:00 UTC
PHONE = "+8613800001234"
SHOP = {
    "shop": "v1", "name": "Test", "timezone": "Asia/Shanghai", "signature": "[Test] ", "opt_out": " Reply R",
    "price_per_message": Decimal("0.05"), "copy": {"max_segments": 2, "banned": ["miracle"]},
}  # fmt: skip


class Mouth:
    """A gateway that accepts everything and never calls back."""

    receipts = True

    def __init__(self) -> None:
        self.name = ""
        self.got: list[Outgoing] = []
        self.answer: Answer = Accepted("p-1")
        self.came = asyncio.Event()
        self.gate: asyncio.Event | None = None

    async def send(self, message: Outgoing) -> Answer:
        self.got.append(message)
        self.came.set()
        if self.gate is not None:
            await self.gate.wait()
        return self.answer

    async def close(self) -> None:
        pass


class Ear(Mouth):
    """A gateway that calls back; ``read`` says what a call means."""

    def __init__(self, read: Callable[[Call], Heard | Refused] = lambda _call: Heard()) -> None:
        super().__init__()
        self.read = read
        self.calls: list[Call] = []

    def hear(self, call: Call) -> Heard | Refused:
        self.calls.append(call)
        return self.read(call)


class MouthSettings(GatewaySettings):
    type: Literal["mouth"] = "mouth"
    rate: float = 10_000.0
    gateway: Any = None

    def open(self, name: str) -> Any:
        self.gateway.name = name
        return self.gateway


class Engine(Desk):
    """A service without its own loop; ``counted`` has an item for each message that it was told is new."""

    def __init__(self, path: Path, gateways: dict[str, Any], **more: Any) -> None:
        open_database(path)
        self.path = path
        self.at = NOW
        self.busy = False
        self.status = "ok"
        self.counted: list[None] = []
        delivery = Delivery(
            {name: MouthSettings(gateway=each, **more.pop(name, {})) for name, each in gateways.items()},
            dict.fromkeys(CLASSES, tuple(gateways)),
            **more,
        )
        self.writer = Writer(path)
        self.log = EventLog(self.writer, lambda: self.at, heed=contacts(delivery).heed)
        self.shop = build_shop(SHOP)
        self.reader = connect_reader(path)
        self.dispatch = assemble(
            delivery,
            self.writer,
            self.reader,
            self.log,
            lambda: rules_of(Rulebook((), self.shop)),
            ears(),
            now=lambda: self.at,
            engine_now=lambda: self.at,
        )
        super().__init__(self.dispatch, self.reader, path, queued=lambda: self.counted.append(None))

    def close(self) -> None:
        self.reader.close()
        self.writer.close()

    def ingest(self, arrivals: Sequence[Arrival]) -> Future[list[Entry]]:
        return self.log.append(arrivals)

    async def heeded(self, arrivals: Sequence[Arrival]) -> None:
        """Nothing leaves."""

    def health(self) -> dict[str, Any]:
        return {"status": self.status}

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Look into the database."""
        with closing(connect_reader(self.path)) as reader:
            return reader.execute(sql).fetchall()


def ears() -> Ears:
    """Make ears that nobody listens through, however many there are."""
    return Ears(*([lambda *_: None] * len(Ears._fields)))
