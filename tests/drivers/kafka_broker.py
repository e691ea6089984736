"""Apache Kafka, the real one, on free ports of 127.0.0.1: one broker or a few, and what tests do with topics.

Its jars come from .ci/kafka. Where they cannot be had the tests are skipped, but fail in CI.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from functools import cache
from itertools import count
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code
from kafka_node import LARGEST_RECORD_BYTES, Broker

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiokafka import ConsumerRecord
    from kafka_guard import Guard

FETCH = Path(__file__).parents[2] / ".ci" / "kafka"
EXISTING = os.environ.get("TRIGGERS_TEST_KAFKA")
FETCHING_S = 660.0
READY_S = 60.0
READING_S = 60.0
KNOWN_S = 30.0
PORTS = range(20_000, 32_000)
"""Below those that the system gives to connections: nothing takes a broker's port while it is dead."""

_prefixes = count(1)


class Write(NamedTuple):
    """A record to write."""

    value: bytes | None
    key: bytes | None = None
    timestamp: int | None = None
    """Epoch ms; None is now."""

    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


@cache
def jars() -> Path | str:
    """Find the broker's jars, fetch them where they are not there; or tell why they cannot be had."""
    run = subprocess.run([FETCH], capture_output=True, text=True, timeout=FETCHING_S, check=False)
    if run.returncode == 0:
        return Path(run.stdout.strip())
    return (run.stderr.strip().splitlines() or [f"{FETCH} found nothing"])[-1]


def needed() -> Path:
    """Find the broker's jars, or skip the test; in CI they must be there."""
    found = jars()
    if isinstance(found, Path):
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(found)
    pytest.skip(found)


def unique_prefix() -> str:
    """Make a prefix for topics (and groups) that no other test has, on a broker that may have been used before."""
    return f"t{uuid4().hex[:6]}{next(_prefixes)}."


class Cluster:
    """Brokers on free ports, 1 or 3. ``bootstrap`` stays the same whatever ends and starts again.

    One that has a ``guard`` listens for those whom it knows, too; at ``bootstrap`` it takes anybody.
    """

    def __init__(self, found: Path, folder: Path, brokers: int = 1, guard: Guard | None = None) -> None:
        ports = free_ports(2 * brokers)
        pairs = list(zip(ports[::2], ports[1::2], strict=True))
        self.brokers = [Broker(found, folder, number, pairs, guard) for number in range(1, brokers + 1)]
        self.bootstrap = ",".join(f"127.0.0.1:{broker.port}" for broker in self.brokers)

    def __enter__(self) -> Self:
        """Format all, start all and wait until they serve."""
        try:
            for broker, formatting in [(broker, broker.format()) for broker in self.brokers]:
                assert formatting.wait(READY_S) == 0, broker.tail()
            for broker in self.brokers:
                broker.start()
            self.wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End all, the quick way, and remove their data; their logs stay."""
        for broker in self.brokers:
            broker.kill()
            broker.forget()

    def kill(self, index: int) -> None:
        """End a broker at once (SIGKILL), without a word to the others; 0 is the first."""
        self.brokers[index].kill()

    def start(self, index: int) -> None:
        """Start a broker again on its ports and folder, and wait until it serves."""
        self.brokers[index].start()
        self.wait()

    async def restart(self, index: int) -> None:
        """Do the same while the event loop goes on."""
        self.brokers[index].start()
        await asyncio.to_thread(self.wait)

    def pause(self, index: int) -> None:
        """Let a broker hang: its connections stay, it answers nothing."""
        self.brokers[index].signal(signal.SIGSTOP)

    def resume(self, index: int) -> None:
        """Let a broker that hangs go on."""
        self.brokers[index].signal(signal.SIGCONT)

    def wait(self, within_s: float = READY_S) -> None:
        """Wait until every broker that runs serves, and knows the others that run."""
        until = time.monotonic() + within_s
        running = {broker.number for broker in self.brokers if broker.alive}
        for broker in self.brokers:
            while broker.number in running and not running <= broker.sees():
                if time.monotonic() > until or not broker.alive:
                    pytest.fail(f"broker {broker.number} does not serve:\n{broker.tail()}")
                time.sleep(0.05)


async def create_topics(bootstrap: str, topics: Mapping[str, int], config: Mapping[str, str] | None = None) -> None:
    """Create topics with so many partitions each, as many replicas as the brokers are set to make; wait for leaders."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        async with asyncio.timeout(KNOWN_S):
            # An empty assignment is what makes aiokafka take -1, the brokers' own number.
            new = [NewTopic(name, number, -1, {}, dict(config or {})) for name, number in topics.items()]
            answer = await admin.create_topics(new)
            for name, code, *reason in answer.topic_errors:
                if code:
                    raise for_code(code)(f"{name}: {reason}")
            while not all(map(_led, await admin.describe_topics(list(topics)))):  # noqa: ASYNC110  nothing tells us
                await asyncio.sleep(0.01)
    finally:
        await admin.close()


async def write(bootstrap: str, topic: str, records: Iterable[Write]) -> list[tuple[int, int]]:
    """Write records in their order; returns the partition and the offset of each."""
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=True, max_request_size=LARGEST_RECORD_BYTES, linger_ms=5
    ) as producer:
        sent = [
            await producer.send(
                topic, r.value, key=r.key, partition=r.partition, timestamp_ms=r.timestamp, headers=list(r.headers)
            )
            for r in records
        ]
        return [(done.partition, done.offset) for done in await asyncio.gather(*sent)]


async def read_all(bootstrap: str, topic: str, *, committed: bool = True) -> list[ConsumerRecord[bytes, bytes]]:
    """Read all there is now, partition after partition. ``committed`` leaves out what was aborted or is still open."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed" if committed else "read_uncommitted",
        max_partition_fetch_bytes=LARGEST_RECORD_BYTES,
        fetch_max_wait_ms=50,
    )
    found: list[ConsumerRecord[bytes, bytes]] = []
    async with consumer, asyncio.timeout(READING_S):
        ends = await consumer.end_offsets(consumer.assignment())
        for partition, end in ends.items():
            while await consumer.position(partition) < end:
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    found += records
    found = [record for record in found if record.offset < ends[TopicPartition(topic, record.partition)]]
    return sorted(found, key=lambda record: (record.partition, record.offset))


def _led(topic: dict[str, Any]) -> bool:
    return not topic["error_code"] and all(partition["leader"] >= 0 for partition in topic["partitions"])


def free_ports(number: int) -> list[int]:
    """Find ports that nobody has now, and that nobody is given who does not ask for one of them."""
    found: list[int] = []
    for port in SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue  # taken
        found.append(port)
        if len(found) == number:
            return found
    pytest.fail(f"fewer than {number} free ports in {PORTS}")
