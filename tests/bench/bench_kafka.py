"""How fast a worker decides, against a stock Faust agent with one table write an event; and how soon it is back.

A real broker is started for it. Both read events that wait on the broker, in turns, and are measured while they are never
out of work; the first turn of each warms the broker up and counts for nothing. Then a worker starts with a million
customers in its state. The raw runs go to var/bench/kafka.json; the exit status is 1 where a floor is missed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Self

import aiohttp
from kafka_stock import stock_events_per_s
from report import keep, report

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "drivers"))

from fleets import Record  # noqa: E402  from the folder above
from kafka_broker import Cluster, needed, unique_prefix  # noqa: E402  as above

from triggers.core.intake import decode_many  # noqa: E402
from triggers.core.times import DAY, HOUR  # noqa: E402
from triggers.drivers.kafka.batches import Row, send_all  # noqa: E402
from triggers.drivers.kafka.connection import writing  # noqa: E402
from triggers.drivers.kafka.keys import partition_of  # noqa: E402
from triggers.drivers.kafka.partition import Partition  # noqa: E402
from triggers.drivers.kafka.records import (  # noqa: E402
    OWN,
    Place,
    decode_state,
    encode_place,
    encode_state,
)
from triggers.drivers.kafka.settings import KafkaSettings  # noqa: E402
from triggers.drivers.kafka.topics import ensure  # noqa: E402
from triggers.drivers.rules import rulebook  # noqa: E402
from triggers.language import load  # noqa: E402
from triggers.store.progress import Register  # noqa: E402

RULES = Path(__file__).parent / "kafka_rules"
EVENTS, CUSTOMERS, RUNS = 400_000, 40_000, 5
MANY = 1_000_000
START = 1_788_231_600_000
PAID, CANCELLED = 0.7, 0.08
PATIENCE_S = 300.0
LOOK_S = 0.05
POSITIONS = re.compile(r'^triggers_partition_position{partition="\d+"} (\S+)$', re.MULTILINE)


def shop(events: int, customers: int) -> list[tuple[int, bytes, bytes]]:
    """Make a shop's events of sixty days, most of them orders and what becomes of those: when, whose, and the body."""
    chance = random.Random(7)  # noqa: S311  a made-up shop
    made: list[tuple[int, str, dict[str, object]]] = []
    known: set[str] = set()
    while len(made) < events:
        at, who = START + chance.randrange(60 * DAY), f"c{int(customers * chance.random() ** 1.7)}"
        if who not in known:
            known.add(who)
            made.append((at, who, {"type": "customer.registered"}))
        elif chance.random() < 1 / 3:
            made.append((at, who, {"type": "favorite.added", "product_id": f"p{chance.randrange(5_000)}"}))
        else:
            order: dict[str, object] = {"order_id": f"o{len(made)}", "amount": chance.randrange(1_000, 90_000) / 100}
            made.append((at, who, {"type": "order.created"} | order))
            fate = chance.random()
            if fate < PAID:
                made.append((at + chance.randrange(1, HOUR), who, {"type": "order.paid"} | order))
            elif fate < PAID + CANCELLED:
                made.append((at + chance.randrange(1, 4 * HOUR), who, {"type": "order.cancelled"} | order))
    made.sort(key=lambda each: each[0])
    return [
        (
            at,
            who.encode(),
            json.dumps({"id": f"e{n}", "customer": who, "at": at} | body, separators=(",", ":")).encode(),
        )
        for n, (at, who, body) in enumerate(made[:events])
    ]


class Fleet:
    """A fleet of one worker with topics of its own, in virtual time."""

    def __init__(self, bootstrap: str) -> None:
        prefix = unique_prefix()
        self.settings = KafkaSettings(
            bootstrap=bootstrap, prefix=prefix, app=prefix.rstrip("."), sources=(f"{prefix}source",), virtual=True
        )
        self._worker: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await ensure(self.settings)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._worker is not None and self._worker.returncode is None:
            self._worker.terminate()
            await self._worker.wait()

    async def fill(self, topic: str, rows: dict[int, list[Row]]) -> None:
        """Write rows to the partitions of a topic."""
        async with writing(self.settings, max_batch_size=1 << 20) as producer:
            await send_all(producer, self.settings.topic(topic), rows)

    async def start(self) -> asyncio.StreamReader:
        """Start the worker; gives what it logs."""
        settings = self.settings
        told = {
            "BOOTSTRAP": settings.bootstrap,
            "PREFIX": settings.prefix,
            "APP": settings.app,
            "SOURCES": settings.sources[0],
            "VIRTUAL": "1",
            "RULES": str(RULES),
        }
        environment = os.environ | {f"TRIGGERS_KAFKA_{name}": value for name, value in told.items()}
        self._worker = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", "import sys; from triggers.cli import main; sys.exit(main(['worker', '--log-format', 'json']))"),
            env=environment,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self._worker.stderr is not None
        return self._worker.stderr

    def resident_bytes(self) -> int:
        """Tell how much memory the worker has."""
        assert self._worker is not None
        fields = Path(f"/proc/{self._worker.pid}/statm").read_text(encoding="ascii").split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


async def worker_events_per_s(bootstrap: str, events: list[tuple[int, bytes, bytes]]) -> float:
    """Run a worker on a log that waits for it; events/s from when it has the first partition until all is written.

    What was decided before a moment in between and not yet written would count for the time after it.
    """
    async with Fleet(bootstrap) as fleet:
        rows: dict[int, list[Row]] = {number: [] for number in range(fleet.settings.partitions)}
        for at, key, body in events:
            rows[partition_of(key, fleet.settings.partitions)].append(Row(key, body, at))
        await fleet.fill("events", rows)
        log = await fleet.start()
        async with asyncio.timeout(PATIENCE_S):
            told = await _told(log, "listening")
            await _told(log, "partition taken over")
            began_s = time.perf_counter()
            drain = asyncio.create_task(_read_all(log))
            await _all_written(str(told["address"]), len(events))
        drain.cancel()
        return len(events) / (time.perf_counter() - began_s)


async def _told(log: asyncio.StreamReader, event: str) -> dict[str, Any]:
    """Wait until the worker logs something."""
    async for line in log:
        told: dict[str, Any] = json.loads(line) if line.startswith(b"{") else {}
        if told.get("event") == event:
            return told
    raise SystemExit(f"the worker ended before it was {event}")


async def _read_all(log: asyncio.StreamReader) -> None:
    async for line in log:
        if b'"level": "error"' in line and b"aiokafka" not in line:
            raise SystemExit(f"the worker failed: {line.decode()}")


async def _all_written(address: str, events: int) -> None:
    """Wait until the partitions have come to the end."""
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{address}/metrics") as answer:
                text = await answer.text()
            if sum(int(float(at)) + 1 for at in POSITIONS.findall(text)) >= events:
                return
            await asyncio.sleep(LOOK_S)


async def restart(bootstrap: str, events: list[tuple[int, bytes, bytes]], customers: int) -> tuple[float, float]:
    """Start a worker that has so many customers; tells the seconds until it is ready, and its bytes a customer."""
    async with Fleet(bootstrap) as fleet:
        await _give_customers(fleet, events, customers)
        began = time.perf_counter()
        log = await fleet.start()
        ready: set[int] = set()
        async with asyncio.timeout(PATIENCE_S):
            async for line in log:
                told = json.loads(line) if line.startswith(b"{") else {}
                if told.get("event") == "partition taken over":
                    ready.add(told["partition"])
                if len(ready) == fleet.settings.partitions:
                    return time.perf_counter() - began, fleet.resident_bytes() / customers
        raise SystemExit("the worker ended before it was ready")


async def _give_customers(fleet: Fleet, events: list[tuple[int, bytes, bytes]], customers: int) -> None:
    """Write the state of so many customers: those of a shop's first events, again and again under other names."""
    loaded = load(RULES)
    book = rulebook(loaded, Register({rule.id: 0 for rule in loaded.rules}, {}), settle=0, recalls=False)
    partition = Partition(0, book, {}, virtual=True)
    records = [Record("", 0, number, at, key, body) for number, (at, key, body) in enumerate(events)]
    states = [(decode_state(row), row) for turn in partition.take(records) for key, row in turn.states if key != OWN]
    many = fleet.settings.partitions
    place = encode_place(Place(clock=partition.clock, opened=partition.clock, revision=book.revision))
    rows: dict[int, list[Row]] = {number: [] for number in range(many)}
    for number in range(customers):
        state = states[number % len(states)][0]
        state.customer.id = f"m{number}"
        key = state.customer.id.encode()
        rows[partition_of(key, many)].append(Row(key, encode_state(state, state.customer.wake)))
        if number % 50_000 == 0:
            await fleet.fill("customers", rows)
            rows = {each: [] for each in range(many)}
    for each in rows.values():
        each.append(Row(OWN, place))
    await fleet.fill("customers", rows)


async def main() -> int:
    """Run all of it and print the lines."""
    events = shop(EVENTS, CUSTOMERS)
    assert all(not hasattr(each, "reason") for each in decode_many([body for _, _, body in events[:1_000]]))
    with tempfile.TemporaryDirectory() as folder, Cluster(needed(), Path(folder)) as running:
        stock, ours = [], []
        for _ in range(1 + RUNS):
            stock.append(await stock_events_per_s(running.bootstrap))
            ours.append(await worker_events_per_s(running.bootstrap, events))
        back_s, memory = await restart(running.bootstrap, events[: EVENTS // 4], MANY)
    keep("kafka", {"stock": stock, "worker": ours, "restart_s": back_s, "bytes_per_customer": memory})
    stock_speed, speed = median(stock[1:]), median(ours[1:])
    print(f"kafka-stock-agent: {stock_speed:,.0f} events/s")  # noqa: T201
    print(f"kafka-worker: {speed:,.0f} events/s")  # noqa: T201
    print(f"kafka-memory: {memory:,.0f} bytes a customer")  # noqa: T201
    fine = report("kafka-worker-against-stock", speed / stock_speed, "times", floor=10, aim=40)
    return 0 if report("kafka-restart-1M", back_s, "s", floor=30, aim=10) and fine else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
