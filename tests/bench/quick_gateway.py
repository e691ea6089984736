"""A dispatcher on a new database, and a gateway in a process of its own that accepts everything at once."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import subprocess
import sys
from typing import TYPE_CHECKING

from triggers.clock import wall_ms
from triggers.core.decisions import Send
from triggers.core.intake import decode
from triggers.core.rulebook import Rulebook
from triggers.core.times import DAY, month_text
from triggers.dispatch.assembly import Ears, assemble, contacts
from triggers.dispatch.gateways.http import HttpSettings
from triggers.dispatch.hours import Span
from triggers.dispatch.promises import CLASSES
from triggers.dispatch.settings import Delivery
from triggers.dispatch.terms import rules_of
from triggers.language.folder import build_shop
from triggers.store.database import connect_reader, open_database
from triggers.store.event_log import Arrival, EventLog
from triggers.store.outbox import queue
from triggers.store.progress import Progress, save_progress
from triggers.store.states import Command
from triggers.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

SHOP = {
    "shop": "v1",
    "name": "Bench",
    "timezone": "Asia/Shanghai",
    "opt_out": " Reply R",
    "caps": {"marketing": ["2 / 1d"], "all": ["5 / 1d"]},
}
TEXT = "Your order waits for you, and 20 yuan with it Reply R"

STUB = """
import asyncio

class Stub(asyncio.Protocol):
    count = 0
    def connection_made(self, transport):
        self.transport, self.rest = transport, b""
    def data_received(self, data):
        self.rest += data
        while (end := self.rest.find(b"\\r\\n\\r\\n")) >= 0:
            head = self.rest[:end].lower()
            size = int(head.split(b"content-length:", 1)[1].split(b"\\r\\n", 1)[0]) if b"content-length:" in head else 0
            if len(self.rest) < end + 4 + size:
                return
            self.rest = self.rest[end + 4 + size :]
            Stub.count += 1
            body = b'{"status":"ok","id":"m%d"}' % Stub.count
            self.transport.write(b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(body), body))

async def main():
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""  # noqa: E501  it is a program


@contextlib.contextmanager
def stub() -> Iterator[str]:
    """Start a gateway that accepts everything at once."""
    with subprocess.Popen([sys.executable, "-c", STUB], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/send"
        finally:
            process.kill()


class Bench:
    """A dispatcher on a new database, with the stub as its gateway."""

    def __init__(self, folder: Path, url: str) -> None:
        path = folder / "t.db"
        open_database(path)
        self.writer, self.reader, self.upkeep_reader = Writer(path), connect_reader(path), connect_reader(path)
        answer = {"code": "status", "accepted": ["ok"], "id": "id"}
        request = {"url": url, "json": {"to": "{phone}", "text": "{text}", "reference": "{command}"}}
        gateway = {"type": "http", "request": request, "answer": answer, "rate": 100_000, "at_once": 100}
        settings = HttpSettings.model_validate(gateway)
        delivery = Delivery(
            {"stub": settings},
            dict.fromkeys(CLASSES, ("stub",)),
            hours={"CN": Span(0, DAY)},  # it runs at night, too
            month_budget=10**15,
        )
        self.rules = rules_of(Rulebook((), build_shop(SHOP)))
        log = self._log = EventLog(self.writer, wall_ms, heed=contacts(delivery).heed)
        self.accepted = 0
        self.dispatch = assemble(
            delivery,
            self.writer,
            self.upkeep_reader,
            log,
            lambda: self.rules,
            Ears(self._moved, lambda *_: None, lambda _: None, lambda: None),
            now=wall_ms,
            engine_now=wall_ms,
        )

    def _moved(self, _old: str, new: str, count: int) -> None:
        self.accepted += count if new == "accepted" else 0

    def introduce(self, count: int) -> None:
        """Have so many customers agree to be sent marketing, and the engine have seen it."""
        for first in range(0, count, 500):
            told = [_agreed(number) for number in range(first, min(first + 500, count))]
            self._log.append([Arrival(body, decode(body), "bench") for body in told]).result()
        self.writer.submit(lambda connection: save_progress(connection, Progress(count, wall_ms(), None, ""))).result()

    def put(self, first: int, count: int, klass: str = "notice") -> None:
        """Queue commands of customers of their own."""
        now = wall_ms()
        sends = [_send(number, klass, now) for number in range(first, first + count)]
        commands = [Command(send, phone_of(first + at)) for at, send in enumerate(sends)]
        self.writer.submit(
            lambda connection: queue(connection, commands, now, lambda send: month_text(send.at))
        ).result()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let the dispatcher run, in a process as ``triggers run`` makes it."""
        gc.collect()
        gc.freeze()
        task = asyncio.create_task(self.dispatch.dispatcher.run())
        try:
            yield
        finally:
            self.dispatch.dispatcher.stop()
            await task
            await self.dispatch.close()

    async def until(self, count: int) -> None:
        """Wait until so many are accepted."""
        while self.accepted < count:  # noqa: ASYNC110  the same for every dispatcher, whatever it tells
            await asyncio.sleep(0.002)

    def close(self) -> None:
        """Close the database."""
        self.upkeep_reader.close()
        self.reader.close()
        self.writer.close()


def phone_of(number: int) -> str:
    """Give a customer a number of their own."""
    return f"+86139{number:08}"


def _agreed(number: int) -> bytes:
    told = {"id": f"u{number}", "type": "customer.updated", "customer": f"c{number}", "at": wall_ms()}
    return json.dumps(told | {"phone": phone_of(number), "consent": True}).encode()


def _send(number: int, klass: str, now: int) -> Send:
    return Send(
        id=f"{number:064x}", rule="bench", customer=f"c{number}", identity=None, anchor=now, due=now, at=now,
        withheld=False, shadow=False, variant=None, wave=None, coupon=None, text=TEXT, segments=1, cost=5_000,
        revision="x", klass=klass, expires=now + DAY,
    )  # fmt: skip
