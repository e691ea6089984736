"""The partitions that this worker has at the moment, and what is done for all of them.

They are taken over when they are given to it, at rest while others may get them, and let go when they are lost. For
those that it has the answers of the limits' owner are read, and time passes.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from triggers.drivers.kafka.holding import Holding
from triggers.drivers.kafka.records import EVENTS, TICK, VERDICTS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from triggers.core.rulebook import Rulebook
    from triggers.drivers.kafka.letters import Record
    from triggers.drivers.kafka.settings import KafkaSettings
    from triggers.drivers.kafka.worker_metrics import WorkerMetrics

READ_TIMEOUT_MS: Final = 200
TICKS_AN_INTERVAL: Final = 4
"""How often in an interval the partitions are looked at for one that has been quiet for so long."""


class Crew:
    """The partitions of the log that this worker has. Runs on the event loop; ``failed`` ends the worker."""

    def __init__(
        self,
        settings: KafkaSettings,
        book: Rulebook,
        worker: str,
        metrics: WorkerMetrics,
        *,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._settings = settings
        self.book = book
        self._worker = worker
        self._metrics = metrics
        self._failed = failed
        self._holdings: dict[int, Holding] = {}
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._resting: set[int] = set()
        self._verdicts: AIOKafkaConsumer | None = None
        self._reassign = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether every partition that was given to this worker has been taken over."""
        return all(task.done() for task in self._opening.values())

    @property
    def partitions(self) -> list[int]:
        """The partitions that are being worked on."""
        return sorted(number for number, task in self._opening.items() if task.done() and number not in self._resting)

    # Given and taken away

    async def given(self, numbers: Collection[int]) -> None:
        """Take over the partitions that this worker has now; those it has no more are let go."""
        wanted = set(numbers)
        for number in sorted(set(self._holdings) - wanted):
            await self._holdings.pop(number).close()
            self._metrics.lost(number)
        self._resting.clear()
        for number in sorted(wanted):
            holding = self._holdings.get(number)
            if holding is None:
                holding = self._holdings[number] = Holding(self._settings, number, self._worker, self._metrics)
            self._opening[number] = asyncio.create_task(self._open(holding))

    async def taken(self, numbers: Collection[int]) -> None:
        """Come to rest with partitions that another worker may get: nothing of theirs is decided after this returns."""
        self._resting |= set(numbers)
        for number in numbers:
            task = self._opening.pop(number, None)
            if task is not None:
                await asyncio.wait([task])
            if number in self._holdings:
                await self._holdings[number].rest()
        self._reassign.set()

    async def _open(self, holding: Holding) -> None:
        try:
            await holding.open(self.book)
        except BaseException as error:
            self._failed(error)
            raise
        self._metrics.owned.set(len(self.partitions))
        self._reassign.set()

    async def close(self) -> None:
        """Let go of all partitions, so that others need not wait for a time-out."""
        await self.taken(list(self._holdings))
        for number in list(self._holdings):
            await self._holdings.pop(number).close()

    # Work

    async def take(self, number: int, records: Sequence[Record]) -> None:
        """Decide on records of a partition's log. Raises ServiceUnusable where that cannot be written."""
        await self._opening[number]
        await self._holdings[number].take(records)

    async def change(self, book: Rulebook) -> None:
        """Move all customers over to other rules, each partition between two records."""
        self.book = book
        for number in self.partitions:
            await self._holdings[number].change(book)

    async def run(self) -> None:
        """Read the owner's answers and let time pass, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hear_answers())
            if not self._settings.virtual:
                group.create_task(self._tick())

    async def _hear_answers(self) -> None:
        """Bring each partition the answers to its customers' questions, from where it has come to."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.bootstrap,
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            fetch_max_wait_ms=READ_TIMEOUT_MS,
        )
        await consumer.start()
        try:
            while True:
                if self._reassign.is_set():
                    self._reassign.clear()
                    self._seek(consumer)
                if not consumer.assignment():
                    await self._reassign.wait()
                    continue
                for place, records in (await consumer.getmany(timeout_ms=READ_TIMEOUT_MS)).items():
                    if place.partition in self.partitions:
                        await self._holdings[place.partition].answer(records)
        finally:
            await consumer.stop()

    def _seek(self, consumer: AIOKafkaConsumer) -> None:
        topic, numbers = self._settings.topic(VERDICTS), self.partitions
        if not numbers:
            consumer.unsubscribe()
            return
        consumer.assign([TopicPartition(topic, number) for number in numbers])
        for number in numbers:
            consumer.seek(TopicPartition(topic, number), self._holdings[number].verdicts_from)

    async def _tick(self) -> None:
        """Append to each partition that nothing has come for that time has passed; the broker says how much.

        Whoever has a partition ticks it: no tick is needed where nobody reads, and none waits for somebody else.
        """
        settings = self._settings
        topic = settings.topic(EVENTS)
        producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap, acks="all", linger_ms=0)
        await producer.start()
        try:
            while True:
                due_s = time.monotonic() - settings.tick_s
                quiet = [number for number in self.partitions if self._holdings[number].heard_s <= due_s]
                acks = [await producer.send(topic, TICK, partition=number) for number in quiet]
                await asyncio.gather(*acks)
                for number in quiet:
                    if number in self._holdings:
                        self._holdings[number].heard_s = time.monotonic()
                await asyncio.sleep(settings.tick_s / TICKS_AN_INTERVAL)
        finally:
            await producer.stop()
