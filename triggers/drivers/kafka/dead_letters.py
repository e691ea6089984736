"""Looks through a fleet's dead letters, and sends them again to the topics that they came from, each once."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from heapq import heappush, heappushpop
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka import TopicPartition

from triggers.drivers.kafka.batches import BATCH_BYTES, Row, send_all
from triggers.drivers.kafka.connection import administering, reading, writing
from triggers.drivers.kafka.keys import partition_of
from triggers.drivers.kafka.letters import marked, marker, read_letter
from triggers.drivers.kafka.records import DEAD_LETTERS, EVENTS
from triggers.drivers.kafka.topics import partitions_of, timestamps_of
from triggers.errors import ServiceUnusable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    from triggers.drivers.kafka.letters import DeadLetter, Record
    from triggers.drivers.kafka.settings import KafkaSettings

AT_ONCE: Final = 200
"""How many letters are sent again in one transaction."""
MOST_BYTES: Final = 16 * 1024 * 1024
"""How many bytes of letters are held to be sent again."""
STALLED_S: Final = 90.0
"""How long the topic may give nothing of what it has; a transaction may be open for a minute."""
SHOWN_BYTES: Final = 10_000
"""How much of a value is kept to be shown."""


class Wanted(NamedTuple):
    """Which letters: from one of some origins (topic, topic/partition or topic/partition/offset), for one of some reasons.

    Empty means any.
    """

    origins: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    def has(self, letter: DeadLetter) -> bool:
        """Tell whether a letter is among them."""
        place = letter.origin + "/"
        return (not self.reasons or letter.reason in self.reasons) and (
            not self.origins or any(place.startswith(origin.rstrip("/") + "/") for origin in self.origins)
        )


class Listed(NamedTuple):
    """Letters in the order in which they were put aside, whether each was sent again, and how many more there are."""

    letters: list[tuple[DeadLetter, bool]]
    more: int


class Sent(NamedTuple):
    """What became of the letters that were wanted.

    ``requeued`` were sent again now and ``before`` were earlier; ``cut`` are too large to have been kept whole;
    ``homeless`` came from a file, or from a topic that is no more.
    """

    requeued: int = 0
    before: int = 0
    cut: int = 0
    homeless: int = 0


class _Shelf:
    """The dead letters that there were when it was opened."""

    def __init__(self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> None:
        self._consumer = consumer
        self._ends = ends

    async def sent_again(self) -> set[str]:
        """Tell the origins of what was sent again."""
        return {origin async for record in self._records() if (origin := marked(record)) is not None}

    async def letters(self) -> AsyncIterator[DeadLetter]:
        """Give the letters, each partition's in order."""
        async for record in self._records():
            letter = read_letter(record)
            if letter is not None:
                yield letter

    async def _records(self) -> AsyncIterator[Record]:
        """Read all from the first on."""
        loop = asyncio.get_running_loop()
        begins = await self._consumer.beginning_offsets(list(self._ends))
        for place, begin in begins.items():
            self._consumer.seek(place, begin)
        waiting, until = list(self._ends), loop.time() + STALLED_S
        while waiting := [place for place in waiting if await self._consumer.position(place) < self._ends[place]]:
            fetched = await self._consumer.getmany(*waiting, timeout_ms=500)
            for place, records in fetched.items():
                for record in records:
                    if record.offset < self._ends[place]:
                        yield record
            if fetched:
                until = loop.time() + STALLED_S
            elif loop.time() > until:
                raise ServiceUnusable(f"{waiting[0].topic} gives nothing for {STALLED_S:g} s: see that all brokers run")


@asynccontextmanager
async def _opened(settings: KafkaSettings) -> AsyncIterator[_Shelf]:
    topic = settings.topic(DEAD_LETTERS)
    places = [TopicPartition(topic, i) for i in range(await partitions_of(settings, topic))]
    async with reading(settings, isolation_level="read_uncommitted") as consumer:
        ends = await consumer.end_offsets(
            places
        )  # transactions that are open may hide what was sent again: wait for them
    async with reading(settings) as consumer:
        consumer.assign(places)
        yield _Shelf(consumer, ends)


async def list_letters(settings: KafkaSettings, wanted: Wanted, limit: int, *, requeued: bool) -> Listed:
    """Find the last letters that are wanted; those that were sent again only if ``requeued``. Raises ServiceUnusable.

    The topic is read twice: what says that a letter was sent again stands behind it. Of large values only the beginning
    is given.
    """
    number = 0
    last: list[tuple[int, int, int, DeadLetter]] = []
    async with _opened(settings) as shelf:
        done = await shelf.sent_again()
        async for letter in shelf.letters():
            if not wanted.has(letter) or (letter.origin in done and not requeued):
                continue
            number += 1
            shown = letter._replace(value=letter.value and letter.value[:SHOWN_BYTES], headers=())
            entry = (letter.at, letter.partition, letter.offset, shown)
            if len(last) < limit:
                heappush(last, entry)
            else:
                heappushpop(last, entry)
    return Listed([(letter, letter.origin in done) for *_, letter in sorted(last)], number - len(last))


async def requeue(settings: KafkaSettings, wanted: Wanted, *, again: bool) -> Sent:
    """Send letters that are wanted to the topics that they came from, as they came; what was sent before, if ``again``.

    A letter, and the note that it was sent, are one transaction; another requeue that is under way is ended by this
    one. Raises ServiceUnusable.
    """
    name = f"{settings.app}.requeue"
    async with writing(settings, transactional_id=name, max_batch_size=BATCH_BYTES) as producer:
        own_times = await timestamps_of(settings, settings.topic(EVENTS)) == "CreateTime"
        sending = _Sending(producer, settings, await _homes(settings), own_times=own_times)
        async with _opened(settings) as shelf:  # the producer has put an end to transactions of others by now
            done = await shelf.sent_again()
            async for letter in shelf.letters():
                if wanted.has(letter):
                    await sending.take(letter, before=letter.origin in done and not again)
        await sending.flush()
    return sending.outcome


async def _homes(settings: KafkaSettings) -> dict[str, int]:
    """Find the topics that a letter may go back to, with their partitions."""
    async with administering(settings) as admin:
        return {each["topic"]: len(each["partitions"]) for each in await admin.describe_topics()}


class _Sending:
    """Letters on their way back, from each origin one."""

    def __init__(
        self, producer: AIOKafkaProducer, settings: KafkaSettings, homes: dict[str, int], *, own_times: bool
    ) -> None:
        self._producer = producer
        self._notes_to = settings.topic(DEAD_LETTERS)
        self._homes = homes
        self._own_times = own_times
        self._seen: set[str] = set()
        self._held: list[DeadLetter] = []
        self._counts: Counter[str] = Counter()

    @property
    def outcome(self) -> Sent:
        """Tell what became of them."""
        return Sent(**self._counts)

    async def take(self, letter: DeadLetter, *, before: bool) -> None:
        """Take a letter on its way, unless it cannot go; ``before`` says that it has gone already."""
        if letter.origin in self._seen:
            return
        self._seen.add(letter.origin)
        what = "before" if before else "cut" if letter.cut else "requeued" if self._home(letter) else "homeless"
        self._counts[what] += 1
        if what == "requeued":
            self._held.append(letter)
            if len(self._held) >= AT_ONCE or sum(each.size for each in self._held) >= MOST_BYTES:
                await self.flush()

    async def flush(self) -> None:
        """Send what is held, with a note for each."""
        back: dict[str, dict[int, list[Row]]] = {}
        notes: dict[int, list[Row]] = {}
        for letter in self._held:
            topic, partition = self._home(letter) or ("", 0)
            time = letter.time if self._own_times else None
            row = Row(letter.key, letter.value, time, letter.headers)
            back.setdefault(topic, {}).setdefault(partition, []).append(row)
            notes.setdefault(letter.partition, []).append(marker(letter))
        if self._held:
            async with self._producer.transaction():
                for topic, rows in back.items():
                    await send_all(self._producer, topic, rows)
                await send_all(self._producer, self._notes_to, notes)
        self._held.clear()

    def _home(self, letter: DeadLetter) -> tuple[str, int] | None:
        """Tell where a letter came from: the topic, and the partition of its key."""
        topic, _, place = letter.origin.partition("/")
        partition, _, offset = place.partition("/")
        number = self._homes.get(topic)
        if number is None or not partition.isdigit() or not offset.isdigit():
            return None
        return topic, int(partition) % number if letter.key is None else partition_of(letter.key, number)
