"""Reads a topic whole and in order; what its records do is stored together with how far they were read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from triggers.drivers.kafka.closing import let_go
from triggers.drivers.kafka.connection import connect, saying
from triggers.errors import ServiceUnusable
from triggers.store.fleet import Reading, read_to

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aiokafka import ConsumerRecord

    from triggers.drivers.kafka.dispatch_settings import DispatchSettings
    from triggers.store.database import Connection
    from triggers.store.writer import Writer

    Record: TypeAlias = ConsumerRecord[bytes | None, bytes | None]
    Found: TypeAlias = Mapping[int, Sequence[Record]]

T = TypeVar("T")
POLL_MS: Final = 50
"""How long a look for new records takes at most."""
FETCH_BYTES: Final = 8 * 1024 * 1024


class Taker(Protocol[T]):
    """What the records of a topic do."""

    async def ready(self, found: Found) -> None:
        """Return once records may take effect."""
        ...

    def work(self, found: Found) -> Callable[[Connection], T]:
        """Read records, by partition; gives what is to be done in one transaction."""
        ...

    def clock(self, part: int) -> int:
        """Tell the latest time of the records of a partition that were read, epoch ms; -1: none is kept."""
        ...

    def done(self, outcome: T) -> None:
        """Go on, now that it is on the disk."""
        ...


class Reader:
    """Reads a topic. By partition, ``stored`` is the place behind the last record that is on the disk.

    ``read`` is that or a later one, behind what is no record. ``ends`` is the last known end of a partition, and
    ``heard_at`` when it was last read to its end, epoch ms.
    """

    def __init__(self, settings: DispatchSettings, topic: str, writer: Writer, taker: Taker[Any]) -> None:
        self.topic = topic
        self._settings = settings
        self._writer = writer
        self._taker = taker
        self._turned = asyncio.Event()
        self._consumer: AIOKafkaConsumer | None = None
        self.stored: dict[int, int] = {}
        self.read: dict[int, int] = {}
        self.ends: dict[int, int] = {}
        self.heard_at: dict[int, int] = {}

    @property
    def unread(self) -> int:
        """How many records are not stored yet, as far as is known."""
        return sum(max(0, self.ends.get(part, at) - at) for part, at in self.read.items())

    async def open(self, starts: Mapping[int, int]) -> None:
        """Connect, to read each partition from its place on. Raises ServiceUnusable."""
        consumer = AIOKafkaConsumer(
            **self._settings.client_options,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_partition_fetch_bytes=FETCH_BYTES,
        )
        with saying(self._settings):
            try:
                await connect(consumer, self._settings)
                consumer.assign([TopicPartition(self.topic, part) for part in starts])
                for part, offset in starts.items():
                    consumer.seek(TopicPartition(self.topic, part), offset)
            except BaseException:
                await let_go(consumer.stop())
                raise
        self._consumer = consumer
        self.stored, self.read = dict(starts), dict(starts)

    async def close(self) -> None:
        """Disconnect."""
        if self._consumer is not None:
            await let_go(self._consumer.stop())

    async def run(self) -> None:
        """Read until cancelled. Raises ServiceUnusable for what cannot be read."""
        assert self._consumer is not None, "opened first"  # noqa: S101  a broken invariant
        while True:
            with saying(self._settings):
                found = await self._next(self._consumer)
            if found:
                await self._take({place.partition: records for place, records in found.items()})
            await self._look(self._consumer)
            self._turned.set()

    async def _next(self, consumer: AIOKafkaConsumer) -> Mapping[TopicPartition, Sequence[Record]]:
        try:
            found: Mapping[TopicPartition, Sequence[Record]] = await consumer.getmany(
                timeout_ms=POLL_MS, max_records=self._settings.max_records
            )
        except OffsetOutOfRangeError as error:
            raise ServiceUnusable(f"{self.topic} lost records before they were read; start again") from error
        return found

    async def reached(self, ends: Mapping[int, int]) -> None:
        """Return once what is before some places is on the disk."""
        while any(self.read[part] < end for part, end in ends.items()):
            self._turned.clear()
            await self._turned.wait()

    async def _take(self, found: Found) -> None:
        await self._taker.ready(found)
        work = self._taker.work(found)
        places = [
            Reading(self.topic, part, records[-1].offset + 1, self._taker.clock(part))
            for part, records in found.items()
        ]

        def transaction(connection: Connection) -> Any:
            outcome = work(connection)
            read_to(connection, places)
            return outcome

        outcome = await asyncio.wrap_future(self._writer.submit(transaction))
        self.stored.update({place.part: place.offset for place in places})
        self._taker.done(outcome)

    async def _look(self, consumer: AIOKafkaConsumer) -> None:
        """Note how far all partitions are read by now; the marks of transactions stand between records, too."""
        for part in self.read:
            place = TopicPartition(self.topic, part)
            end, asked_at = consumer.highwater(place), consumer.last_poll_timestamp(place)
            if end is None or asked_at is None:
                continue
            self.read[part] = position = await consumer.position(place)
            self.ends[part] = end
            if position >= end:
                self.heard_at[part] = asked_at
