"""A fleet of workers in processes of their own on a real broker, and what it has written."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from fleet_process import FleetProcess
from kafka_broker import read_all

from triggers.drivers.kafka.records import (
    ASKS,
    COMMANDS,
    CUSTOMERS,
    DECISIONS,
    EVENTS,
    OWN,
    Asked,
    Cancel,
    Place,
    Sending,
    State,
    decode_command,
    decode_place,
    decode_question,
    decode_reported,
    decode_state,
)
from triggers.drivers.kafka.topics import ensure
from triggers.store.decisions import DecisionRow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiokafka import ConsumerRecord

    from triggers.core.decisions import Send
    from triggers.drivers.kafka.settings import KafkaSettings

STARTS_WITHIN_S = 30.0
SETTLES_WITHIN_S = 90.0
ANSWERS_WITHIN_S = 10.0
LOOK_S = 0.2


class FleetProcesses:
    """The workers of a fleet, in the order in which they were started. ``async with`` ends them."""

    def __init__(self, settings: KafkaSettings, folder: Path) -> None:
        self.settings = settings
        self.workers: list[FleetProcess] = []
        self._folder = folder

    async def __aenter__(self) -> Self:
        await ensure(self.settings)
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.close()

    def start(self, number: int = 1) -> FleetProcess:
        """Start more workers; gives the last."""
        for _ in range(number):
            name = f"{self.settings.app}worker-{len(self.workers) + 1}.log"
            self.workers.append(FleetProcess("worker", self.settings, self._folder / name))
        return self.workers[-1]

    async def stop(self) -> None:
        """End those that run as a deployment does, and see that they end well."""
        running = [worker for worker in self.workers if worker.status is None]
        for worker in running:
            worker.signal(signal.SIGTERM)
        for worker in running:
            status = await worker.ended()
            assert status == 0, f"{worker.log} ended with {status}:\n{worker.said[-3_000:]}"

    def see_to_it_that_they_run(self) -> None:
        """Fail where a worker has ended by itself."""
        for worker in self.workers:
            assert worker.status is None, f"{worker.log} ended with {worker.status}:\n{worker.said[-3_000:]}"

    async def shared_out(self, within_s: float = STARTS_WITHIN_S) -> None:
        """Wait until those that run have all partitions, each as many as the others or one more."""
        least, larger = divmod(self.settings.partitions, len(self.workers))
        wanted = [least] * (len(self.workers) - larger) + [least + 1] * larger
        end_s = time.monotonic() + within_s
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWERS_WITHIN_S)) as session:
            while (shares := sorted([await _share(session, worker) for worker in self.workers])) != wanted:
                self.see_to_it_that_they_run()
                assert time.monotonic() < end_s, f"partitions: {shares}"
                await asyncio.sleep(LOOK_S)

    async def settled(self, within_s: float = SETTLES_WITHIN_S) -> None:
        """Wait until all that stands in the log now is decided, and no question is open."""
        end_s = time.monotonic() + within_s
        async with _asking(self.settings) as (consumer, admin):
            log = [TopicPartition(self.settings.topic(EVENTS), part) for part in range(self.settings.partitions)]
            ends = await consumer.end_offsets(log)
            behind: object = ends
            while behind:
                self.see_to_it_that_they_run()
                assert time.monotonic() < end_s, f"not decided within {within_s:g} s: {behind}"
                await asyncio.sleep(LOOK_S)
                committed = await admin.list_consumer_group_offsets(self.settings.app)
                behind = {place: at for place, at in ends.items() if at and _behind(committed.get(place), at)}
                if not behind:
                    behind = await self.open_questions()

    async def open_questions(self) -> Counter[int]:
        """Count the questions whose answers have not come to their partitions."""
        places = await self.places()  # first: what is asked after that is open
        asked = Counter(
            question.partition
            for record in await read_all(self.settings.bootstrap, self.settings.topic(ASKS))
            if isinstance(question := decode_question(record.value), Asked)
        )
        return asked - Counter({part: place.answers for part, place in places.items()})

    # What is written

    async def places(self) -> dict[int, Place]:
        """Read how far each partition has come."""
        return {part: decode_place(row) for (part, key), row in (await self._rows()).items() if key == OWN}

    async def customers(self) -> dict[str, State]:
        """Read the state of all customers."""
        return {key.decode(): decode_state(row) for (_, key), row in (await self._rows()).items() if key != OWN}

    async def _rows(self) -> dict[tuple[int, bytes], bytes]:
        rows = {}
        async for record in records(self.settings.bootstrap, self.settings.topic(CUSTOMERS)):
            rows[record.partition, record.key] = record.value
        return rows

    async def commands(self) -> list[Sending | Cancel]:
        """Read all commands."""
        rows = await read_all(self.settings.bootstrap, self.settings.topic(COMMANDS))
        return [decode_command(record.value) for record in rows]

    async def sends(self) -> list[Send]:
        """Read the messages that are to leave, and see that each is there once."""
        sends = [command.send for command in await self.commands() if isinstance(command, Sending)]
        assert len({send.id for send in sends}) == len(sends)
        return sends

    async def decided(self) -> Counter[tuple[Any, ...]]:
        """Read all decisions, each as the values of a ``DecisionRow``."""
        rows = [
            decode_reported(record.value)
            for record in await read_all(self.settings.bootstrap, self.settings.topic(DECISIONS))
        ]
        return Counter(msgspec.structs.astuple(row) for row in rows if isinstance(row, DecisionRow))


async def records(bootstrap: str, topic: str) -> AsyncIterator[ConsumerRecord[bytes, bytes]]:
    """Read what is committed in a topic now, without holding it all; those of a partition in their order."""
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
    ) as consumer:
        ends = await consumer.end_offsets(consumer.assignment())
        while [place for place, end in ends.items() if await consumer.position(place) < end]:
            for place, found in (await consumer.getmany(timeout_ms=100)).items():
                for record in found:
                    if record.offset < ends[place]:
                        yield record


async def _share(session: aiohttp.ClientSession, worker: FleetProcess) -> int:
    """Ask a worker how many partitions it has taken over."""
    if worker.address is None:
        return -1
    async with session.get(f"{worker.address}/healthz") as answer:
        return len((await answer.json())["partitions"])


@asynccontextmanager
async def _asking(settings: KafkaSettings) -> AsyncIterator[tuple[AIOKafkaConsumer, AIOKafkaAdminClient]]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap)
    async with AIOKafkaConsumer(bootstrap_servers=settings.bootstrap, group_id=None) as consumer:
        try:
            await admin.start()
            yield consumer, admin
        finally:
            await admin.close()


def _behind(committed: Any, end: int) -> bool:
    return committed is None or committed.offset < end
