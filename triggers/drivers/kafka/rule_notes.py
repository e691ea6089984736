"""What the workers of a fleet tell each other of their rules, in triggers.rules, beside since when each counts.

It holds the files in use, so that a broken one keeps its last good version wherever a worker starts (S37). Before a set of
rules that may make waits due, each partition's owner tells how many it would (S38); when all have, every worker comes to
the same answer. What was told before the files in use last changed counts no more.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import msgspec
from aiokafka import TopicPartition

from triggers.drivers.kafka.connection import reading, writing
from triggers.drivers.kafka.foreign import decoded
from triggers.drivers.kafka.journal import Batch, Journal
from triggers.drivers.kafka.records import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from triggers.drivers.kafka.settings import KafkaSettings

READ_TIMEOUT_MS: Final = 500
FILE: Final = b"file/"
NOTE: Final = b"note"


class Due(msgspec.Struct, tag="due", frozen=True):
    """How many waits of each rule a set of rules would make due at once in a partition."""

    revision: str
    partition: int
    counts: dict[str, int]


class Held(msgspec.Struct, tag="held", frozen=True):
    """An edit that is not taken up: with this content of a file so many waits of a rule are due at once."""

    rule: str
    file: str
    digest: str
    due: int


class Said(msgspec.Struct, tag="said", frozen=True):
    """What somebody said becomes of the waits that a held edit makes due: send, spread or drop."""

    rule: str
    overdue: str


class Switched(msgspec.Struct, tag="switched", frozen=True):
    """A set of rules that the fleet has taken up, and what becomes of waits by rule; it stands behind its files."""

    revision: str
    overdue: dict[str, str]


Note: TypeAlias = Due | Held | Said | Switched

_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[Note] = msgspec.json.Decoder(Note)


class Notes:
    """All that was told. ``files`` are in use; ``dues`` by revision and partition, the first of each counts."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.dues: dict[tuple[str, int], Due] = {}
        self.held: dict[str, Held] = {}
        self.said: dict[str, str] = {}
        self.switched = Switched("", {})

    def learn(self, record: Read) -> None:
        """Take in the next record; those that are no notes tell since when a rule counts, and are left out."""
        if record.key.startswith(FILE):
            name = record.key.removeprefix(FILE).decode(errors="replace")
            if record.value is None:
                self.files.pop(name, None)
            else:
                self.files[name] = record.value
            self._forget()
        elif record.key == NOTE and (note := decoded(record, _decoder.decode)) is not None:
            self._note(note)

    def _note(self, note: Note) -> None:
        if isinstance(note, Due):
            self.dues.setdefault((note.revision, note.partition), note)
        elif isinstance(note, Held):
            old = self.held.get(note.rule)
            if old != note:
                self.held[note.rule] = note
                self.said.pop(note.rule, None)
        elif isinstance(note, Said):
            self.said[note.rule] = note.overdue
        else:
            self.switched = note

    def _forget(self) -> None:
        self.dues.clear()
        self.held.clear()
        self.said.clear()

    def counts(self, revision: str, partitions: int) -> Counter[str] | None:
        """Add up how many waits of each rule a set would make due; None while not every partition has told."""
        total: Counter[str] = Counter()
        for partition in range(partitions):
            due = self.dues.get((revision, partition))
            if due is None:
                return None
            total.update(due.counts)
        return total


class Record(NamedTuple):
    """A record to write to triggers.rules."""

    key: bytes
    value: bytes | None


class Read(NamedTuple):
    """A record of triggers.rules where it stands."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes | None


async def read_records(settings: KafkaSettings) -> list[Read]:
    """Read all of triggers.rules. Raises ServiceUnusable."""
    records: list[Read] = []
    place = TopicPartition(settings.topic(RULES), 0)
    async with reading(settings) as consumer:
        consumer.assign([place])
        end = (await consumer.end_offsets([place]))[place]
        await consumer.seek_to_beginning(place)
        while await consumer.position(place) < end:
            found = (await consumer.getmany(timeout_ms=READ_TIMEOUT_MS)).get(place, ())
            records += [Read(each.topic, each.partition, each.offset, each.key or b"", each.value) for each in found]
    return records


async def read_notes(settings: KafkaSettings) -> Notes:
    """Read what the workers have told. Raises ServiceUnusable."""
    notes = Notes()
    for record in await read_records(settings):
        notes.learn(record)
    return notes


async def tell_notes(settings: KafkaSettings, notes: Iterable[Note]) -> None:
    """Tell the other workers something. Raises ServiceUnusable."""
    await write_records(settings, [Record(NOTE, _encode(note)) for note in notes])


async def keep_files(settings: KafkaSettings, contents: Mapping[str, bytes], switched: Switched) -> None:
    """Tell that these files are in use from now on; all of it is there at once, or nothing.

    Raises ServiceUnusable, and PartitionLost where another worker does the same just now.
    """
    topic = settings.topic(RULES)
    journal = Journal(settings, "rules", topic, 0)
    try:
        last = await journal.open()
        known = {key for key, value in last.items() if key.startswith(FILE) and value is not None}
        files = {FILE + name.encode(): content for name, content in contents.items()}
        changed = [Record(key, content) for key, content in files.items() if last.get(key) != content]
        gone = [Record(key, None) for key in sorted(known - files.keys())]
        if changed or gone:
            await journal.commit([Batch(topic, 0, [*changed, *gone, Record(NOTE, _encode(switched))])])
    finally:
        await journal.close()


async def write_records(settings: KafkaSettings, records: Iterable[Record]) -> None:
    """Append to triggers.rules, in order. Raises ServiceUnusable."""
    topic = settings.topic(RULES)
    async with writing(settings) as producer:
        for record in records:
            await producer.send_and_wait(topic, record.value, key=record.key, partition=0)
