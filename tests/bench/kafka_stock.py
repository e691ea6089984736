"""What a stock Faust agent does on this machine, for a worker to be held against: one table write an event.

The agent is Faust's own from end to end: transport, JSON, a table in memory with its changelog on the broker. The events
are ours, and wait on the broker before it starts. ``python tests/bench/kafka_stock.py HOST:PORT`` prints the figure.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from uuid import uuid4

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

PARTITIONS, EVENTS, CUSTOMERS = 8, 200_000, 20_000
WARM_EVENTS, MEASURED_S, REPORT_S = 2_000, 10.0, 0.2
PATIENCE_S = 120.0


def event(number: int, at: int) -> tuple[bytes, bytes]:
    """Make an event of a shop: its customer, and its JSON."""
    customer = f"c{number * 7919 % CUSTOMERS}"
    body = {
        "id": f"e{number}",
        "type": "order.created",
        "customer": customer,
        "at": at,
        "order_id": f"o{number}",
        "amount": 99.5,
        "category": "A",
    }
    return customer.encode(), msgspec.json.encode(body)


async def preload(bootstrap: str, topic: str, events: int = EVENTS) -> None:
    """Make a topic and write events to it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    finally:
        await admin.close()
    at = int(time.time() * 1_000)
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=20, max_batch_size=262_144) as producer:
        for number in range(events):
            key, value = event(number, at)
            sent = await producer.send(topic, value, key=key)
        await sent


async def stock_events_per_s(bootstrap: str) -> float:
    """Run a stock agent in a process of its own; events/s over ten seconds in which it is never out of work."""
    name = f"stock{uuid4().hex[:8]}"
    await preload(bootstrap, name)
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "agent", bootstrap, name, folder, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await _measured(process.stdout)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            await process.wait()


async def _measured(reports: asyncio.StreamReader) -> float:
    first: tuple[float, int] | None = None
    async for line in reports:
        at, count = float(line.split()[0]), int(line.split()[1])
        if first is None:
            first = (at, count) if count >= WARM_EVENTS else None
        elif at - first[0] >= MEASURED_S or count >= EVENTS:
            return (count - first[1]) / (at - first[0])
    raise SystemExit("the stock agent ended before it was measured")


def agent(bootstrap: str, topic: str, folder: str) -> None:
    """Be the stock agent."""
    import faust  # noqa: PLC0415  only the agent's own process pays for it

    app = faust.App(
        topic,
        broker=f"kafka://{bootstrap}",
        store="memory://",
        datadir=folder,
        topic_partitions=PARTITIONS,
        topic_disable_leader=True,
        web_enabled=False,
        autodiscover=False,
    )
    seen = app.Table("seen", default=int)
    count = 0

    @app.agent(app.topic(topic, value_serializer="json"))
    async def take(stream: faust.Stream) -> None:
        nonlocal count
        async for body in stream:
            seen[body["customer"]] += 1
            count += 1

    @app.timer(REPORT_S)
    async def report() -> None:
        os.write(1, f"{time.perf_counter()} {count}\n".encode())

    faust.Worker(app, loglevel="error", quiet=True, stdout=sys.stderr).execute_from_commandline()


if __name__ == "__main__":
    if sys.argv[1] == "agent":
        agent(*sys.argv[2:])
    else:
        print(f"kafka-stock: {asyncio.run(stock_events_per_s(sys.argv[1])):,.0f} events/s")  # noqa: T201
