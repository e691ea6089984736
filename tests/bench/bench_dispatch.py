"""How the dispatcher does: messages a second to an HTTP stub, claim to accepted, recovery, and an opt-out under load.

Every transition is durable (WAL, synchronous FULL, a real file); the stub is a process of its own on loopback. One line
a figure, ``NAME: FIGURE UNIT (floor F, aim A)``; the raw runs go to var/bench/dispatch.json. The exit status is 1 where a
floor is missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from report import keep, report

from triggers.clock import wall_ms
from triggers.core.decisions import Send
from triggers.core.rulebook import Rulebook
from triggers.core.times import DAY, month_text
from triggers.dispatch.assembly import Ears, assemble, contacts
from triggers.dispatch.gateway import Heard, Reply
from triggers.dispatch.gateways.http import HttpSettings
from triggers.dispatch.promises import CLASSES
from triggers.dispatch.settings import Delivery
from triggers.dispatch.terms import rules_of
from triggers.language.folder import build_shop
from triggers.store.database import connect_reader, open_database
from triggers.store.event_log import EventLog
from triggers.store.outbox import Command, counts, queue
from triggers.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

MESSAGES, RUNS = 6_000, 3
STEADY_PER_S, STEADY_S = 400, 8
OPEN_ROWS = 100_000
OPT_OUTS = 20
SHOP = {"shop": "v1", "name": "Bench", "timezone": "Asia/Shanghai", "opt_out": " Reply R", "caps": {"all": ["5 / 1d"]}}
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
        delivery = Delivery({"stub": settings}, dict.fromkeys(CLASSES, ("stub",)), consent="assumed")
        self.rules = rules_of(Rulebook((), build_shop({**SHOP, "caps": {"all": []}})))
        log = EventLog(self.writer, wall_ms, heed=contacts(delivery).heed)
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
        """Let the dispatcher run."""
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


def _send(number: int, klass: str, now: int) -> Send:
    return Send(
        id=f"{number:064x}", rule="bench", customer=f"c{number}", identity=None, anchor=now, due=now, at=now,
        withheld=False, shadow=False, variant=None, wave=None, coupon=None, text=TEXT, segments=1, cost=5_000,
        revision="x", klass=klass, expires=now + DAY,
    )  # fmt: skip


async def throughput(folder: Path, url: str) -> float:
    """Send a queue as fast as it goes; messages a second, from the start to the last one's accepted on the disk."""
    bench = Bench(folder, url)
    bench.put(0, MESSAGES)
    began = time.perf_counter()
    async with bench.running():
        await bench.until(MESSAGES)
        took = time.perf_counter() - began
    assert counts(bench.reader) == {"accepted": MESSAGES}
    bench.close()
    return MESSAGES / took


async def latency(folder: Path, url: str) -> tuple[float, float]:
    """Send at a steady rate below what it can; p50 and p99 from the claim to accepted, in ms, from the history."""
    bench = Bench(folder, url)
    async with bench.running():
        for step in range(STEADY_S * 20):
            bench.put(step * STEADY_PER_S // 20, STEADY_PER_S // 20)
            bench.dispatch.dispatcher.more("notice")
            await asyncio.sleep(1 / 20)
        await bench.until(STEADY_S * STEADY_PER_S)
    rows = bench.reader.execute(
        "SELECT b.at - a.at FROM transitions a JOIN transitions b USING (message)"
        " WHERE a.new = 'sending' AND b.new = 'accepted' ORDER BY 1"
    ).fetchall()
    bench.close()
    taken = [float(row[0]) for row in rows]
    assert len(taken) == STEADY_S * STEADY_PER_S
    return statistics.median(taken), taken[int(len(taken) * 0.99)]


def recovery(folder: Path, url: str) -> float:
    """Start with many messages that a killed service was sending; seconds until they are settled."""
    bench = Bench(folder, url)
    bench.put(0, OPEN_ROWS, "marketing")
    bench.writer.submit(
        lambda connection: connection.execute(
            "UPDATE outbox SET state = 'sending', attempts = 1, gateway = 'stub', left_at = queued_at, cost = 5000"
        )
    ).result()
    began = time.perf_counter()
    states = bench.dispatch.dispatcher.recover()
    took = time.perf_counter() - began
    assert states == {"unknown": OPEN_ROWS}
    bench.close()
    return took


async def opt_outs(folder: Path, url: str) -> list[float]:
    """Stop numbers while messages leave; seconds from each reply until it is answered, and nothing leaves after it."""
    bench = Bench(folder, url)
    bench.put(0, MESSAGES)
    taken = []
    async with bench.running():
        for number in range(OPT_OUTS):
            phone = phone_of(number)
            began = time.perf_counter()
            await bench.dispatch.hearing.hear("stub", Heard(replies=(Reply(phone, "STOP", f"r{number}"),)))
            taken.append(time.perf_counter() - began)
            await asyncio.sleep(0.02)
        await bench.until(MESSAGES)
    listed = bench.reader.execute("SELECT count(*) FROM suppressions").fetchone()
    assert listed == (OPT_OUTS,)
    bench.close()
    return taken


def main() -> int:
    """Run, print, keep."""
    runs: dict[str, Any] = {}
    with stub() as url:

        def folder() -> Any:
            return tempfile.TemporaryDirectory()

        rates = []
        for _ in range(RUNS):
            with folder() as place:
                rates.append(asyncio.run(throughput(Path(place), url)))
        runs["messages_per_s"] = rates
        good = report("dispatch", statistics.median(rates), "messages/s", floor=500, aim=2_000)
        with folder() as place:
            p50, p99 = asyncio.run(latency(Path(place), url))
        runs["claim_to_accepted_ms"] = {"per_s": STEADY_PER_S, "p50": p50, "p99": p99}
        good &= report(f"dispatch-p99 at {STEADY_PER_S}/s", p99, "ms", floor=100, aim=50)
        with folder() as place:
            took = recovery(Path(place), url)
        runs["recovery_s"] = {"rows": OPEN_ROWS, "s": took}
        good &= report("dispatch-recovery of 100,000", took, "s", floor=5, aim=2)
        with folder() as place:
            taken = asyncio.run(opt_outs(Path(place), url))
        runs["opt_out_s"] = taken
        good &= report("dispatch-opt-out under load", max(taken), "s", floor=1, aim=0.2)
    keep("dispatch", json.loads(json.dumps(runs)))
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
