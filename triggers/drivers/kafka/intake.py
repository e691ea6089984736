"""Intake: what comes in the shop's topics becomes records of the one log, or dead letters that say why not.

Flat JSON goes into the log byte for byte. All else (CloudEvents, JSON over several lines) is written anew as flat JSON,
so that the engine reads its chunks fast.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import structlog

from triggers.clock import wall_ms
from triggers.core.flaws import MAX_EVENT_BYTES
from triggers.core.intake import Malformed, decode, decode_chunk
from triggers.drivers.kafka.batches import BATCH_BYTES, Row, send_all
from triggers.drivers.kafka.cloud_events import enveloped, flattened
from triggers.drivers.kafka.connection import start_writing
from triggers.drivers.kafka.foreign import place_of
from triggers.drivers.kafka.keys import partition_of
from triggers.drivers.kafka.letters import Letter, Record, bury
from triggers.drivers.kafka.records import DEAD_LETTERS, EVENTS, TICK
from triggers.drivers.kafka.topics import expect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiokafka import AIOKafkaProducer

    from triggers.core.events import AnyEvent, Event
    from triggers.drivers.kafka.settings import KafkaSettings

TOMBSTONE: Final = "tombstone"
WRONG_KEY: Final = "wrong key"
ONE_BY_ONE: Final = 64
"""Up to how many records with a bad one among them are looked at one by one; more are halved first."""

_encode = msgspec.json.Encoder().encode
_log = structlog.get_logger(__name__)


class Forward(NamedTuple):
    """What goes into the log: the customer as its key, and the event. ``time`` (epoch ms) is the source record's."""

    key: bytes
    value: bytes
    time: int


class Skip(NamedTuple):
    """A record with nothing in it to keep."""

    reason: str


class Taken(NamedTuple):
    """What came of a chunk; ``letters`` and ``skipped`` count by reason."""

    forwarded: int
    letters: Counter[str]
    skipped: Counter[str]


# The one log


def check(record: Record) -> Letter | None:
    """Say why a record of the log cannot be decided on; None where it is a tick, or an event of its key's customer."""
    if record.value is None:
        return Letter(TOMBSTONE, "a record without a value; the log keeps every event")
    if record.key is None and record.value == TICK:
        return None
    read = decode(record.value, far_future_ok=True)
    if isinstance(read, Malformed):
        return Letter(read.reason, read.message)
    if record.key is None:
        return Letter(WRONG_KEY, "no key; the customer is expected")
    if record.key != read.customer.encode():
        return Letter(WRONG_KEY, "the key is not the event's customer")
    return None


def events_in(values: Sequence[bytes]) -> list[AnyEvent] | None:
    """Read the values of a chunk at once; None where one of them must be looked at by itself."""
    data = b"\n".join(values)
    if not (data.startswith(b"{") and data.endswith(b"}") and _single(data, len(values))):
        return None
    events = decode_chunk(data)
    return events if events is not None and len(events) == len(values) else None


def _single(data: bytes, number: int) -> bool:
    """Tell whether each value is one line from brace to brace: two events in one, and none in the next, may not pass."""
    return data.count(b"\n") == data.count(b"}\n{") == number - 1


# The sources


def read(record: Record) -> Forward | Letter | Skip:
    """Read a record of one of the shop's topics: JSON, or a CloudEvent, all of it in the value or in the headers."""
    came = enveloped(record.value, record.headers or ())
    if came is None:
        return Skip(TOMBSTONE)
    found = understood(came)
    return found if isinstance(found, Letter) else Forward(found[0].customer.encode(), found[1], record.timestamp)


def understood(came: bytes, *, far_future_ok: bool = True) -> tuple[Event, bytes] | Letter:
    """Read one value, and give it as the log is to have it: as it came where it is flat JSON on one line."""
    value = flattened(came)
    event = decode(value, far_future_ok=far_future_ok)
    if isinstance(event, Malformed) and value != came:
        event = decode(came, far_future_ok=far_future_ok)  # it is the sender's own envelope that is to be mended
    if isinstance(event, Malformed):
        return Letter(event.reason, event.message)
    if events_in([value]) is None:
        value = _encode(event)
        if len(value) > MAX_EVENT_BYTES:
            return Letter("too large", f"{len(value)} bytes as flat JSON; an event has at most {MAX_EVENT_BYTES}")
    return event, value


def read_many(records: Sequence[Record]) -> list[Forward | Letter | Skip]:
    """Read a chunk; fast where all of it is well."""
    values = [value for value in map(_flat, records) if value is not None]
    events = events_in(values) if len(values) == len(records) else None
    if events is not None:
        return [
            Forward(event.customer.encode(), value, record.timestamp)
            for event, value, record in zip(events, values, records, strict=True)
        ]
    if len(records) <= ONE_BY_ONE:
        return [read(record) for record in records]
    half = len(records) // 2
    return read_many(records[:half]) + read_many(records[half:])


def _flat(record: Record) -> bytes | None:
    value = enveloped(record.value, record.headers) if record.headers else record.value
    return None if value is None else flattened(value)


class Intake:
    """Takes chunks of the shop's topics into the log.

    What it has taken is in the log, or among the dead letters, when ``take`` comes back. A chunk that is taken twice
    is in the log twice; the engine lets each event count once (S2).
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._log = settings.topic(EVENTS)
        self._letters = settings.topic(DEAD_LETTERS)
        self._producer: AIOKafkaProducer | None = None
        self._partitions = {self._log: 0, self._letters: 0}

    async def start(self) -> None:
        """Connect. Raises ServiceUnusable where Kafka does not answer, or has not the topics."""
        await expect(self._settings, self._partitions)  # aiokafka would ask for one for ever
        self._producer = await start_writing(self._settings, max_batch_size=BATCH_BYTES)
        for topic in self._partitions:
            self._partitions[topic] = len(await self._producer.partitions_for(topic))

    async def stop(self) -> None:
        """Disconnect."""
        if self._producer is not None:
            await self._producer.stop()

    async def take(self, topic: str, records: Sequence[Record]) -> Taken:
        """Take a chunk of a source topic in; comes back when all of it is acked. Raises aiokafka's KafkaError."""
        forwards: list[Forward] = []
        rows: list[Row] = []
        letters: Counter[str] = Counter()
        skipped: Counter[str] = Counter()
        now = wall_ms()
        for record, meaning in zip(records, read_many(records), strict=True):
            if isinstance(meaning, Forward):
                forwards.append(meaning)
                continue
            counts = letters if isinstance(meaning, Letter) else skipped
            if not counts[meaning.reason]:  # the others of the chunk are only counted: they may be many
                _log.info("intake.refused", reason=meaning.reason, origin=place_of(record), topic=topic)
            counts[meaning.reason] += 1
            if isinstance(meaning, Letter):
                rows.append(bury(record, meaning, now))
        await self.bury(rows)
        await self.forward(forwards)
        return Taken(len(forwards), letters, skipped)

    async def forward(self, forwards: Sequence[Forward]) -> None:
        """Write events to the log; comes back when all are acked. Raises aiokafka's KafkaError."""
        partitions = self._partitions[self._log]
        rows: dict[int, list[Row]] = {}
        for key, value, time in forwards:
            stamp = time if self._settings.virtual else None
            rows.setdefault(partition_of(key, partitions), []).append(Row(key, value, stamp))
        await self._send(self._log, rows)

    async def bury(self, letters: Sequence[Row]) -> None:
        """Write dead letters; comes back when all are acked. Raises aiokafka's KafkaError."""
        partitions = self._partitions[self._letters]
        rows: dict[int, list[Row]] = {}
        for row in letters:
            rows.setdefault(partition_of(row.key or b"", partitions), []).append(row)
        await self._send(self._letters, rows)

    async def _send(self, topic: str, rows: dict[int, list[Row]]) -> None:
        assert self._producer is not None, "started first"  # noqa: S101  a broken invariant
        await send_all(self._producer, topic, rows)
