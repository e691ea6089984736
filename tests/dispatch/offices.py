"""A dispatcher at work on a database of its own, with gateways that answer as a test says."""

from __future__ import annotations

import asyncio
from contextlib import closing
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from triggers.core.decisions import Send
from triggers.core.intake import decode
from triggers.core.rulebook import Rulebook
from triggers.core.times import DAY, HOUR
from triggers.dispatch.assembly import Ears, assemble, contacts
from triggers.dispatch.gateway import Accepted, Answer, Call, Heard, Outgoing, Refused
from triggers.dispatch.gateway_settings import GatewaySettings
from triggers.dispatch.promises import CLASSES
from triggers.dispatch.settings import Delivery
from triggers.dispatch.terms import rules_of
from triggers.language.folder import build_rule, build_shop
from triggers.store.database import connect_reader, open_database
from triggers.store.event_log import Arrival, EventLog
from triggers.store.outbox import counts, queue
from triggers.store.states import Command
from triggers.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from triggers.dispatch.assembly import Dispatch
    from triggers.store.event_log import Entry

NOON = 1_788_321_600_000  # 2026-09-02 12:00 in Shanghai, a Wednesday
PHONE = "+8613800001234"
SHOP = {
    "shop": "v1", "name": "Test", "timezone": "Asia/Shanghai", "signature": "[Test] ", "opt_out": " Reply R",
    "price_per_message": 0,
}  # fmt: skip
SEND = Send(
    id="1", rule="r", customer="c1", identity=None, anchor=1, due=2, at=NOON, withheld=False, shadow=False,
    variant=None, wave=None, coupon=None, text="[Test] hello Reply R", segments=1, cost=5_000, revision="x",
    klass="marketing", expires=NOON + 2 * DAY,
)  # fmt: skip


class Scripted:
    """A gateway that answers in turn what it was told to, and keeps what it was given; then it accepts.

    ``own`` are its settings where they differ from those of all.
    """

    own: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, name: str = "main", *answers: Answer | Exception, receipts: bool = True) -> None:
        self.name = name
        self.receipts = receipts
        self.answers = list(answers)
        self.got: list[Outgoing] = []
        self.gate: asyncio.Event | None = None
        self.came = asyncio.Event()

    async def send(self, message: Outgoing) -> Answer:
        self.got.append(message)
        self.came.set()
        if self.gate is not None:
            await self.gate.wait()
        answer = self.answers.pop(0) if self.answers else Accepted(f"{self.name}-{len(self.got)}")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def hear(self, call: Call) -> Heard | Refused:
        return Refused(400, f"nothing is heard of {call.kind}")

    async def close(self) -> None:
        pass


class ScriptedSettings(GatewaySettings):
    type: Literal["scripted"] = "scripted"
    rate: float = 10_000.0
    at_once: int = 100
    gateway: Any = None

    def open(self, name: str) -> Any:
        self.gateway.name = name
        return self.gateway


class Clock:
    def __init__(self, at: int = NOON) -> None:
        self.at = at

    def __call__(self) -> int:
        return self.at


class Office:
    """Everything that the dispatcher needs. Close it."""

    def __init__(
        self,
        path: Path,
        *gateways: Scripted,
        rules: Iterable[Mapping[str, Any]] = (),
        shop: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        virtual: bool = False,
        clock: Clock | None = None,
        writer: Callable[[Path], Writer] = Writer,
        **delivery: Any,
    ) -> None:
        self.path = path
        open_database(path)
        self.writer = writer(path)
        self.reader = connect_reader(path)
        self.clock = clock or Clock()
        self.moves: list[tuple[str, str, int]] = []
        self.ended: list[tuple[str, str]] = []
        self.entries: list[Entry] = []
        self.pauses = 0
        found = {each.name: ScriptedSettings(gateway=each, **{**(settings or {}), **each.own}) for each in gateways}
        routes = {klass: tuple(found) for klass in CLASSES} | delivery.pop("routes", {})
        self.delivery = Delivery(
            found, routes, **{"consent": "assumed", "public_url": "http://127.0.0.1:9", **delivery}
        )
        self.shop = build_shop({**SHOP, **(shop or {})})
        self.use(*rules)
        known = contacts(self.delivery)
        self.log = EventLog(self.writer, self.clock, heed=known.heed)
        self.dispatch: Dispatch = assemble(
            self.delivery,
            self.writer,
            self.reader,
            self.log,
            lambda: self.rules,
            Ears(
                lambda *move: self.moves.append(move),
                lambda *ended: self.ended.append(ended),
                self.entries.extend,
                self._paused,
            ),
            now=self.clock,
            engine_now=self.clock,
            virtual=virtual,
        )

    def use(self, *rules: Mapping[str, Any]) -> None:
        """Go by these rules from now on."""
        self.book = Rulebook([build_rule(each, self.shop) for each in rules], self.shop)
        self.rules = rules_of(self.book)

    def _paused(self) -> None:
        self.pauses += 1

    def close(self) -> None:
        self.reader.close()
        self.writer.close()

    def put(self, *sends: Send, phone: str | None = PHONE) -> None:
        """Queue commands."""
        commands = [Command(send, phone) for send in sends]
        self.writer.submit(lambda connection: queue(connection, commands, self.clock(), lambda _: "2026-09")).result(10)

    def tell(self, kind: str, customer: str = "c1", **fields: Any) -> None:
        """Let an event enter the log, as if the engine had decided on it at once."""
        body = msgspec.json.encode(
            {"id": f"{kind}-{self.log.last_seq}", "type": kind, "customer": customer, "at": self.clock(), **fields}
        )
        self.log.append([Arrival(body, decode(body), "test")]).result(10)
        self.decided()

    def decided(self) -> None:
        """Let the engine have come to the end of the log."""
        seq = str(self.log.last_seq).encode()
        self.writer.submit(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO progress (key, value) VALUES ('position', ?)", (seq,)
            )
        ).result(10)

    def states(self) -> dict[str, int]:
        with closing(connect_reader(self.path)) as reader:
            return counts(reader)

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Look into the database."""
        with closing(connect_reader(self.path)) as reader:
            return reader.execute(sql, values).fetchall()


def rule(name: str, **changes: Any) -> dict[str, Any]:
    """Write a rule that nothing holds back; what is None is left out."""
    parts = {
        "rule": "v1", "id": name, "title": name, "status": "live", "class": "marketing", "wait": "1d",
        "when": {"event": "order.paid"}, "send": {"text": "hello"},
    }  # fmt: skip
    return {key: value for key, value in {**parts, **changes}.items() if value is not None}


async def until(happened: Callable[[], object]) -> None:
    """Wait until something has happened on the loop or on the disk."""
    async with asyncio.timeout(10):
        while not happened():  # noqa: ASYNC110  what is waited for may be a row in the database
            await asyncio.sleep(0.005)


def send(name: str, **changes: Any) -> Send:
    """Make a command."""
    return msgspec.structs.replace(SEND, id=name, **changes)


LATER = NOON + HOUR
