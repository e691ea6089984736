"""A partition of a compacted topic that only its owner writes: read whole once the former owner is shut out.

A worker that stood still may not know that its partition is another's by now. So whoever takes one over first begins a
new epoch of the partition's transactions, which the broker holds against the former owner, and only then reads what that
one left. All that one turn brings is one transaction: it is there whole, or not at all.
"""

from __future__ import annotations

import asyncio
import time
from itertools import repeat
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import IllegalOperation, KafkaError, ProducerFenced

from triggers.clock import wall_ms
from triggers.drivers.kafka.batches import packed
from triggers.drivers.kafka.connection import connect, reading, saying
from triggers.errors import PartitionLost, ServiceUnusable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aiokafka.structs import ConsumerRecord, RecordMetadata

    from triggers.drivers.kafka.batches import Headers, Packable
    from triggers.drivers.kafka.settings import KafkaSettings

MOST_BATCH: Final = 900_000
"""How large a batch is at most; a larger record goes alone."""
MOST_RECORD: Final = 8_000_000
FETCH_BYTES: Final = 8_000_000
READ_TIMEOUT_MS: Final = 1_000
TRANSACTION_MS: Final = 60_000
FAULT_S: Final = 1.0
"""How long the outcome of what was sent is waited for when a turn has failed."""
STUCK_S: Final = 60.0
"""How long nothing may come of a partition that is not read to its end; then the worker ends, and another one tries."""
_OVERHEAD: Final = 80  # bytes that a record may take in a batch beside its key and value


class Batch(NamedTuple):
    """Records for one partition of a topic, in order: key and value; ``headers`` are those of each, if any has some."""

    topic: str
    partition: int
    records: Sequence[tuple[bytes | None, bytes | None]]
    headers: Sequence[Headers] = ()


class Journal:
    """One partition of state: ``open`` it before anything else, ``commit`` each turn.

    ``name`` tells its transactions from all others.
    """

    def __init__(self, settings: KafkaSettings, name: str, topic: str, partition: int) -> None:
        self.name = f"{settings.app}.{name}"
        self.topic, self.partition = topic, partition
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None

    async def open(self) -> dict[bytes, bytes | None]:
        """Shut out any other owner, then read what it left; the last record of each key counts.

        Raises ServiceUnusable where the broker cannot be asked.
        """
        await self.close()
        producer = AIOKafkaProducer(
            **self._settings.client_options,
            transactional_id=self.name,
            transaction_timeout_ms=TRANSACTION_MS,
            max_batch_size=MOST_BATCH,
            max_request_size=MOST_RECORD + MOST_BATCH,
            linger_ms=0,
        )
        self._producer = producer
        found: dict[bytes, bytes | None] = {}
        with saying(self._settings):
            try:
                await connect(producer, self._settings)
                await self._read(lambda records: found.update((each.key, each.value) for each in records))
            except BaseException:
                await self.close()
                raise
        return found

    async def _read(self, take: Callable[[Sequence[ConsumerRecord[bytes, bytes]]], None]) -> None:
        place = TopicPartition(self.topic, self.partition)
        async with reading(self._settings, max_partition_fetch_bytes=FETCH_BYTES) as consumer:
            consumer.assign([place])
            at, end = 0, (await consumer.end_offsets([place]))[place]
            moved_s = time.monotonic()
            while at < end:
                for records in (await consumer.getmany(timeout_ms=READ_TIMEOUT_MS)).values():
                    take(records)
                before, at = at, await consumer.position(place)
                if at != before:
                    moved_s = time.monotonic()
                elif time.monotonic() > moved_s + STUCK_S:
                    raise ServiceUnusable(
                        f"{self.topic} {self.partition} cannot be read: nothing came for {STUCK_S:g} s at {at} of {end}"
                    )

    async def places_of(self, keys: Iterable[bytes]) -> dict[bytes, str]:
        """Name the places of the last records of some keys, as they are told. Raises ServiceUnusable."""
        places = dict.fromkeys(keys, "")

        def take(records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
            here = ((record.key, record.offset) for record in records if record.key in places)
            places.update((key, f"{self.topic}/{self.partition}/{offset}") for key, offset in here)

        await self._read(take)
        return places

    async def commit(self, batches: Iterable[Batch]) -> None:
        """Write records in one transaction. Raises PartitionLost if another owner has taken over.

        Raises ServiceUnusable if it fails otherwise.
        """
        producer = self._producer
        assert producer is not None, "a journal is opened before it is written"  # noqa: S101  an invariant
        sent: list[asyncio.Future[RecordMetadata]] = []
        try:
            await producer.begin_transaction()
            for batch in batches:
                for builder in packed(producer, _rows(batch)):
                    ack = await producer.send_batch(builder, batch.topic, partition=batch.partition)
                    sent.append(ack)
            await asyncio.gather(*sent)
            await producer.commit_transaction()
        except (KafkaError, IllegalOperation) as error:
            raise await self._fault(error, sent) from error

    async def _fault(self, error: Exception, acks: list[asyncio.Future[RecordMetadata]]) -> ServiceUnusable:
        """Find out what ended a turn: what is sent after the word that another owner is there fails otherwise."""
        found: list[BaseException] = [error]
        if acks:
            done, _ = await asyncio.wait(acks, timeout=FAULT_S)
            found += [fault for ack in done if not ack.cancelled() and (fault := ack.exception()) is not None]
        if any(isinstance(fault, ProducerFenced) for fault in found):
            return PartitionLost(
                f"another process has taken over {self.topic} {self.partition}; nothing of this turn was written"
            )
        return ServiceUnusable(f"{self.topic} {self.partition} cannot be written: {error!r}")

    async def partitions_of(self, topic: str) -> int:
        """Tell how many partitions a topic has."""
        assert self._producer is not None, "a journal is opened first"  # noqa: S101  an invariant
        return len(await self._producer.partitions_for(topic))

    async def close(self) -> None:
        """Let go of it; the next owner need not wait for anything."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()


def _rows(batch: Batch) -> Iterable[Packable]:
    """Give the records as they are packed. Raises ServiceUnusable for one that no topic of ours takes."""
    if not batch.records:
        return ()
    keys, values = zip(*batch.records, strict=True)
    largest = max(map(len, filter(None, values)), default=0)
    if largest > MOST_RECORD - _OVERHEAD:
        raise ServiceUnusable(f"a record of {largest} bytes is too large for {batch.topic} {batch.partition}")
    headers = batch.headers or repeat((), len(values))
    return zip(keys, values, repeat(wall_ms(), len(values)), headers, strict=True)
