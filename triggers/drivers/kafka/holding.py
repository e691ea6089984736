"""A partition that this worker holds: its engine, what it writes each turn, and the lock that keeps turns apart."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import structlog

from triggers.clock import wall_ms
from triggers.drivers.guard import count_due
from triggers.drivers.kafka.foreign import leave_out
from triggers.drivers.kafka.journal import Batch, Journal
from triggers.drivers.kafka.keys import partition_of
from triggers.drivers.kafka.letters import bury
from triggers.drivers.kafka.partition import Partition
from triggers.drivers.kafka.records import (
    ASKS,
    COMMANDS,
    CUSTOMERS,
    DEAD_LETTERS,
    DECISIONS,
    EVENTS,
    OWN,
    Place,
    decode_place,
    encode_place,
    is_state,
)
from triggers.errors import ServiceUnusable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from triggers.core.rulebook import Rulebook
    from triggers.drivers.kafka.letters import Record
    from triggers.drivers.kafka.settings import KafkaSettings
    from triggers.drivers.kafka.turns import Turn
    from triggers.drivers.kafka.worker_metrics import WorkerMetrics

QUIET_S = 5.0
"""How long a partition may go on without writing down that time has passed."""
COUNTED_AT_ONCE = 200
"""How many customers are counted before anything else gets its turn."""

_log = structlog.get_logger("partition")


class Holding:
    """One partition of the log and its customers. Take it over (``open``) before anything else.

    ``heard_s`` is when its last record came, on the monotonic clock.
    """

    def __init__(self, settings: KafkaSettings, number: int, worker: str, metrics: WorkerMetrics) -> None:
        self.number = number
        self.heard_s = time.monotonic()
        self._settings = settings
        self._worker = worker
        self._metrics = metrics
        self._journal = Journal(settings, f"events.{number}", settings.topic(CUSTOMERS), number)
        self._lock = asyncio.Lock()
        self._partition: Partition | None = None
        self._written_s = 0.0
        self._leaving = False

    @property
    def ready(self) -> bool:
        """Whether it has been taken over."""
        return self._partition is not None

    @property
    def verdicts_from(self) -> int:
        """The place of the first answer that it has not taken in."""
        return 0 if self._partition is None else self._partition.place.verdict + 1

    async def open(self, book_for: Callable[[str], Awaitable[Rulebook]]) -> None:
        """Take the partition over, and move its customers over to the rules at hand. Raises ServiceUnusable.

        ``book_for`` is told which rules they were left with, and gives those that count.
        """
        async with self._lock:
            began_s = time.monotonic()
            found = await self._journal.open()
            rows = {key: row for key, row in found.items() if row is not None}
            if foreign := await asyncio.to_thread(_foreign, rows):
                await self._leave_out(foreign, rows)
            book = await book_for(decode_place(rows[OWN]).revision if OWN in rows else "")
            partition = self._partition = await asyncio.to_thread(self._made, book, rows)
            _log.info(
                "partition taken over",
                partition=self.number,
                customers=len(partition),
                seconds=round(time.monotonic() - began_s, 3),
            )
            self._metrics.customers.labels(self.number).set(len(partition))
            await self._work(
                partition.resume() if partition.place.revision == book.revision else partition.change(book)
            )

    async def _leave_out(self, keys: Sequence[bytes], rows: dict[bytes, bytes]) -> None:
        """Take away what is no state, unless it stands in the place of one. Raises ServiceUnusable then."""
        partitions = await self._journal.partitions_of(self._settings.topic(EVENTS))
        for key, place in (await self._journal.places_of(keys)).items():
            if key == OWN or partition_of(key, partitions) == self.number:
                raise ServiceUnusable(
                    f"{place} is no state of a customer, and nothing of the fleet wrote it: partition {self.number} stands"
                    ' still until it is taken away; "A record that stops a partition" in deploy/RUNBOOK.md tells how'
                )
            leave_out(place, "no state of a customer")
            del rows[key]

    def _made(self, book: Rulebook, rows: dict[bytes, bytes]) -> Partition:
        settings = self._settings
        return Partition(
            self.number,
            book,
            rows,
            worker=self._worker,
            virtual=settings.virtual,
            at_hand=max(1, settings.max_customers_in_memory // settings.partitions),
        )

    async def take(self, records: Sequence[Record]) -> None:
        """Decide on records of the log, and write what was decided. Raises ServiceUnusable."""
        async with self._lock:
            self.heard_s = time.monotonic()
            partition = self._partition
            assert partition is not None, "a partition is taken over first"  # noqa: S101  a broken invariant
            await self._work(partition.take(records))
            place = partition.place.position
            self._metrics.came_to(self.number, place, partition.clock, len(partition), partition.waiting)

    async def answer(self, records: Sequence[Record]) -> None:
        """Go on with the customers whose questions were answered. Raises ServiceUnusable."""
        async with self._lock:
            if self._partition is not None:
                await self._work(self._partition.answer(records))

    async def change(self, book: Rulebook) -> None:
        """Move the customers over to other rules, between two records. Raises ServiceUnusable.

        If it is to be let go of meanwhile the rest is left to its next owner, who begins anew.
        """
        async with self._lock:
            partition = self._partition
            if partition is None or partition.place.revision == book.revision:
                return
            for turn in partition.change(book):
                if self._leaving:
                    self._partition = None
                    return
                await self._work((turn,))

    async def count_due(self, book: Rulebook) -> Counter[str]:
        """Count how many waits of each rule other rules would make due at once, while the work goes on."""
        counts: Counter[str] = Counter()
        partition = self._partition
        if partition is not None:
            for customers in partition.copies(COUNTED_AT_ONCE):
                counts += count_due(partition.book, book, customers, partition.clock)
                await asyncio.sleep(0)
        return counts

    async def close(self) -> None:
        """Let go of it."""
        self._leaving = True
        async with self._lock:
            self._partition = None
            await self._journal.close()

    async def _work(self, turns: Iterable[Turn]) -> None:
        try:
            for turn in turns:
                if turn.matters or time.monotonic() >= self._written_s + QUIET_S:
                    await self._write(turn)
                    self._written_s = time.monotonic()
                else:
                    await asyncio.sleep(0)
        except BaseException:
            self._partition = None  # it has decided what is not written: nobody may go on from there
            raise

    async def _write(self, turn: Turn) -> None:
        settings, number = self._settings, self.number
        batches = [
            Batch(settings.topic(CUSTOMERS), number, [*turn.states, (OWN, encode_place(turn.place))]),
            Batch(settings.topic(COMMANDS), number, turn.commands),
            Batch(settings.topic(DECISIONS), number, turn.decisions),
            Batch(settings.topic(ASKS), 0, [(None, question) for question in turn.asks]),
        ]
        if turn.letters:
            buried = [bury(record, letter, wall_ms()) for record, letter in turn.letters]
            pairs = [(row.key, row.value) for row in buried]
            batches.append(Batch(settings.topic(DEAD_LETTERS), number, pairs, [row.headers for row in buried]))
        with self._metrics.turns.time():
            await self._journal.commit(batch for batch in batches if batch.records)
        self._metrics.took(turn)


def _foreign(rows: Mapping[bytes, bytes]) -> list[bytes]:
    """Find the keys of what is no state: of no customer, and not the partition's own."""
    found = [key for key, row in rows.items() if key != OWN and not is_state(row)]
    try:
        decode_place(rows.get(OWN, encode_place(Place())))
    except msgspec.MsgspecError:
        found.append(OWN)
    return found
