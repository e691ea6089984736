"""Reads the fleet's log, or a stretch of it, as a recorded log: the events of all partitions in the order of receipt."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import msgspec
from aiokafka import TopicPartition

from triggers.core.events import Event
from triggers.core.intake import decode
from triggers.core.times import NEVER
from triggers.drivers.kafka.connection import reading
from triggers.drivers.kafka.intake import events_in
from triggers.drivers.kafka.records import TICK
from triggers.drivers.kafka.topics import partitions_of
from triggers.errors import ServiceUnusable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from aiokafka import AIOKafkaConsumer

    from triggers.drivers.kafka.letters import Record
    from triggers.drivers.kafka.settings import KafkaSettings

    Row: TypeAlias = tuple[int, int, int, bytes]

STALLED_S: Final = 60.0
"""How long the log may give nothing of what it has."""
FETCHED_BYTES: Final = 64 * 1024 * 1024
"""How much of all partitions together is fetched ahead."""
MOST_FETCHED: Final = 1024 * 1024
"""How much of a partition is fetched at once, and more only where one record is larger."""

_place: Any = itemgetter(0, 1, 2)
_encode = msgspec.json.Encoder().encode
_fields: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Exported(NamedTuple):
    """What was read; ``refused`` are records that the engine refuses, ``last`` is the log's last instant, epoch ms."""

    events: int
    refused: int
    last: int | None


class _Partition:
    """What was read of a partition: rows of instant, partition, offset and line, up to ``end``.

    The instants are the engine's: those of the records, but never before an earlier one's.
    """

    def __init__(self, place: TopicPartition, end: int, until: int) -> None:
        self.place = place
        self.end = end
        self.rows: list[Row] = []
        self.done = False
        self.clock = -1
        self.refused = 0
        self._until = until

    def take(self, records: Sequence[Record]) -> None:
        """Take what was fetched next."""
        told = []
        for record in records:
            if record.offset >= self.end or max(record.timestamp, self.clock) > self._until:
                self.done = True
                break
            self.clock = max(record.timestamp, self.clock)
            if record.key is not None or record.value != TICK:
                told.append((self.clock, record))
        events = events_in([record.value or b"" for _, record in told]) if told else []
        for i, (clock, record) in enumerate(told):
            value = record.value or b""
            event = decode(value, far_future_ok=True) if events is None else events[i]
            if isinstance(event, Event) and event.customer.encode() == record.key:
                line = line_of(value, event, clock) if events is None else _received_at(value, event, clock)
                self.rows.append((clock, record.partition, record.offset, line))
            else:
                self.refused += 1

    def until(self, bound: tuple[int, int, int] | None) -> list[Row]:
        """Give the rows up to a place away; None is all."""
        number = len(self.rows) if bound is None else bisect_right(self.rows, bound, key=_place)
        given = self.rows[:number]
        del self.rows[:number]
        return given


async def export(
    settings: KafkaSettings,
    topic: str,
    take: Callable[[list[bytes]], None],
    *,
    since: int | None = None,
    until: int | None = None,
) -> Exported:
    """Give ``take`` the lines of what was received from ``since`` up to and including ``until``, epoch ms.

    Each line is an event with ``received_at``; ticks, and what the engine refuses, are left out. What comes in
    meanwhile is not read. Raises ServiceUnusable.
    """
    events = 0
    number = await partitions_of(settings, topic)
    async with reading(settings, max_partition_fetch_bytes=min(MOST_FETCHED, FETCHED_BYTES // number)) as consumer:
        places = [TopicPartition(topic, i) for i in range(number)]
        partitions = await _partitions(consumer, places, since, NEVER if until is None else until)
        async for rows in _merged(consumer, partitions):
            events += len(rows)
            take([line for _, _, _, line in rows])
    last = max((partition.clock for partition in partitions), default=-1)
    return Exported(events, sum(partition.refused for partition in partitions), None if last < 0 else last)


async def _partitions(
    consumer: AIOKafkaConsumer, places: list[TopicPartition], since: int | None, until: int
) -> list[_Partition]:
    """Put the consumer to the first record to read of each partition."""
    consumer.assign(places)
    ends = await consumer.end_offsets(places)
    if since is None:
        begins = await consumer.beginning_offsets(places)
    else:
        found = await consumer.offsets_for_times(dict.fromkeys(places, since))
        begins = {place: ends[place] if found[place] is None else found[place].offset for place in places}
    for place in places:
        consumer.seek(place, begins[place])
    return [_Partition(place, ends[place], until) for place in places]


async def _merged(consumer: AIOKafkaConsumer, partitions: list[_Partition]) -> AsyncIterator[list[Row]]:
    """Give rows in order: up to the first end of what is known of the partitions that go on."""
    while True:
        await _fill(consumer, partitions)
        going_on = [partition.rows[-1][:3] for partition in partitions if not partition.done]
        bound = min(going_on, default=None)
        rows = sorted(row for partition in partitions for row in partition.until(bound))
        if rows:
            yield rows
        if bound is None:
            return


async def _fill(consumer: AIOKafkaConsumer, partitions: list[_Partition]) -> None:
    """Read on where nothing is known of what comes next."""
    loop = asyncio.get_running_loop()
    end = loop.time() + STALLED_S
    while hungry := {
        partition.place: partition for partition in partitions if not partition.rows and not partition.done
    }:
        for place, partition in hungry.items():
            partition.done = await consumer.position(place) >= partition.end
        if all(partition.done for partition in hungry.values()):
            return
        fetched = await consumer.getmany(*hungry, timeout_ms=500)
        for place, records in fetched.items():
            hungry[place].take(records)
        if fetched:
            end = loop.time() + STALLED_S
        elif loop.time() > end:
            raise ServiceUnusable(
                f"{next(iter(hungry)).topic} gives nothing for {STALLED_S:g} s: see that all brokers run"
            )


def line_of(value: bytes, event: Event, received: int) -> bytes:
    """Write an event of the log as a line with the instant of its receipt, epoch ms."""
    if events_in([value]) is None:  # CloudEvents, several lines
        event.received_at = received
        return _encode(event) + b"\n"
    return _received_at(value, event, received)


def _received_at(value: bytes, event: Event, received: int) -> bytes:
    """Do as ``line_of`` for flat JSON on one line: all that stands in it stays."""
    if event.received_at == received:
        return value + b"\n"
    if b"received_at" not in value and b"\\" not in value:
        return b'%b,"received_at":%d}\n' % (value[:-1], received)
    fields: dict[str, Any] = dict(_fields.decode(value))
    return _encode(fields | {"received_at": received}) + b"\n"
