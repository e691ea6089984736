"""Writes many records at once: whole batches to each partition, all acked at the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from aiokafka import AIOKafkaProducer
    from aiokafka.producer.message_accumulator import BatchBuilder

    Headers: TypeAlias = Sequence[tuple[str, bytes]]
    Packable: TypeAlias = tuple[bytes | None, bytes | None, int | None, Headers]

BATCH_BYTES: Final = 1024 * 1024
"""How large a batch is at most; a larger record is one of its own."""


class Row(NamedTuple):
    """A record to write. ``timestamp`` in epoch ms; None is now."""

    key: bytes | None
    value: bytes | None
    timestamp: int | None = None
    headers: Headers = ()


async def send_all(producer: AIOKafkaProducer, topic: str, rows: Mapping[int, Sequence[Row]]) -> None:
    """Write rows to the partitions of a topic, those of each in order; comes back when all are acked.

    The producer's ``max_batch_size`` cuts the batches. Raises aiokafka's KafkaError where one is refused.
    """
    writing = [_send(producer, topic, partition, each) for partition, each in rows.items() if each]
    for outcome in await asyncio.gather(*writing, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def packed(producer: AIOKafkaProducer, rows: Iterable[Packable]) -> Iterator[BatchBuilder]:
    """Pack rows, in their order, into batches of the producer's ``max_batch_size``; a larger row is one of its own."""
    batch = producer.create_batch()
    append = batch.append
    none: list[tuple[str, bytes]] = []
    for key, value, timestamp, headers in rows:
        while append(key=key, value=value, timestamp=timestamp, headers=[*headers] if headers else none) is None:
            yield batch
            batch = producer.create_batch()  # the first one always fits
            append = batch.append
    if batch.record_count():
        batch.close()
        yield batch


async def _send(producer: AIOKafkaProducer, topic: str, partition: int, rows: Sequence[Row]) -> None:
    """Write the next batch while the one before is under way; none after one that failed."""
    under_way: Any = None
    for batch in packed(producer, rows):
        if under_way is not None:
            await under_way
        under_way = await producer.send_batch(batch, topic, partition=partition)
    if under_way is not None:
        await under_way
