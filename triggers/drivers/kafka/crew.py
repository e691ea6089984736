"""The partitions that this worker has at the moment, and what is done for all of them.

They are taken over when they are given to it, at rest while others may get them, and let go when they are lost. For
those that it has the answers of the limits' owner are read, and time passes.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from triggers.drivers.kafka.connection import connect
from triggers.drivers.kafka.holding import Holding
from triggers.drivers.kafka.records import EVENTS, TICK, VERDICTS
from triggers.errors import PartitionLost

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Callable, Sequence

    from triggers.core.rulebook import Rulebook
    from triggers.drivers.kafka.letters import Record
    from triggers.drivers.kafka.settings import KafkaSettings
    from triggers.drivers.kafka.worker_metrics import WorkerMetrics

READ_TIMEOUT_MS: Final = 200
STOPPING_S: Final = 1.0
"""How long the reader of the answers may take to end before it is told once more."""
TICKS_AN_INTERVAL: Final = 4
"""How often in an interval the partitions are looked at for one that has been quiet for so long."""


_log = structlog.get_logger("worker")


class Crew:
    """The partitions of the log that this worker has. Runs on the event loop.

    ``in_use`` finds the rules that the whole fleet uses if they have a revision; None if they have not.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        book: Rulebook,
        worker: str,
        metrics: WorkerMetrics,
        in_use: Callable[[str], Awaitable[Rulebook | None]] | None = None,
    ) -> None:
        self._settings = settings
        self.book = book
        self._in_use = in_use
        self._worker = worker
        self._metrics = metrics
        self._holdings: dict[int, Holding] = {}
        self._reassign = asyncio.Event()
        self._placed: dict[int, Holding] = {}  # for whom the reader of the answers was put to its place

    @property
    def partitions(self) -> list[int]:
        """The partitions that have been taken over."""
        return sorted(number for number, holding in self._holdings.items() if holding.ready)

    @property
    def ready(self) -> bool:
        """Whether every partition that was given to this worker has been taken over."""
        return all(holding.ready for holding in self._holdings.values())

    # Given and taken away

    async def gained(self, number: int) -> None:
        """Take a partition over. Raises ServiceUnusable."""
        holding = self._holdings[number] = Holding(self._settings, number, self._worker, self._metrics)
        await holding.open(self._book_for)
        self._metrics.owned.set(len(self.partitions))
        self._reassign.set()

    async def _book_for(self, revision: str) -> Rulebook:
        """Give the rules for customers who were left with some: ours, unless the fleet has gone on to those already."""
        if self._in_use is not None and revision not in ("", self.book.revision):
            return await self._in_use(revision) or self.book
        return self.book

    async def lost(self, number: int) -> None:
        """Let a partition go: another worker has it, or may have had it."""
        await self._holdings.pop(number).close()
        self._metrics.lost(number)
        self._metrics.owned.set(len(self.partitions))
        self._reassign.set()

    # Work

    async def take(self, number: int, records: Sequence[Record]) -> None:
        """Decide on records of a partition's log. Raises ServiceUnusable where that cannot be written."""
        await self._holdings[number].take(records)

    async def change(self, book: Rulebook) -> None:
        """Move all customers over to other rules, each partition between two records.

        One that is just being taken over follows; one that goes to another worker meanwhile is left to that.
        """
        self.book = book
        for number, holding in list(self._holdings.items()):
            try:
                await holding.change(book)
            except PartitionLost as error:
                _log.warning("other rules came for a partition of another worker", partition=number, error=str(error))
                await holding.close()  # if it is ours all the same, its next record ends the worker

    async def count_due(self, book: Rulebook) -> dict[int, Counter[str]]:
        """Count by partition how many waits of each rule other rules would make due at once."""
        holdings = [holding for holding in self._holdings.values() if holding.ready]
        return {holding.number: await holding.count_due(book) for holding in holdings}

    async def run(self) -> None:
        """Read the owner's answers and let time pass, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hear_answers())
            if not self._settings.virtual:
                group.create_task(self._tick())

    async def _hear_answers(self) -> None:
        """Bring each partition the answers to its customers' questions, from where it has come to."""
        consumer = AIOKafkaConsumer(
            **self._settings.client_options,
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            fetch_max_wait_ms=READ_TIMEOUT_MS,
        )
        await connect(consumer, self._settings)
        try:
            while True:
                if self._reassign.is_set():
                    self._reassign.clear()
                    self._seek(consumer)
                if not consumer.assignment():
                    await self._reassign.wait()
                    continue
                for place, records in (await consumer.getmany(timeout_ms=READ_TIMEOUT_MS)).items():
                    await self._answer(place.partition, records)
        finally:
            # told to end while its partitions change, aiokafka may wait for others for ever; told again it ends
            with suppress(TimeoutError):
                async with asyncio.timeout(STOPPING_S):
                    await consumer.stop()

    async def _answer(self, number: int, records: Sequence[Record]) -> None:
        """Bring a partition its answers; one that another worker has taken over meanwhile is left to that."""
        holding = self._holdings.get(number)
        if holding is None or self._placed.get(number) is not holding:
            return  # these come again once the reader is where its new owner is
        try:
            await holding.answer(records)
        except PartitionLost as error:
            _log.warning("an answer came for a partition of another worker", partition=number, error=str(error))
            await holding.close()  # if it is ours all the same, its next record ends the worker

    def _seek(self, consumer: AIOKafkaConsumer) -> None:
        topic, numbers = self._settings.topic(VERDICTS), self.partitions
        self._placed = {number: self._holdings[number] for number in numbers}
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
        producer = AIOKafkaProducer(**settings.client_options, acks="all", linger_ms=0)
        await connect(producer, settings)
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
