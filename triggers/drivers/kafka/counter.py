"""The limits' owner at work: the worker that has triggers.asks answers for the whole fleet."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from triggers.drivers.kafka.foreign import decoded, leave_out, place_of
from triggers.drivers.kafka.journal import Batch, Journal
from triggers.drivers.kafka.limits import Owner
from triggers.drivers.kafka.records import EVENTS, LIMITS, VERDICTS, decode_question, encode_answered
from triggers.errors import ServiceUnusable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triggers.core.rulebook import Rulebook
    from triggers.drivers.kafka.letters import Record
    from triggers.drivers.kafka.settings import KafkaSettings


class Counter:
    """Where questions are answered, while this worker has their topic."""

    def __init__(self, settings: KafkaSettings, book: Rulebook) -> None:
        self._settings = settings
        self._book = book
        self._journal = Journal(settings, "limits", settings.topic(LIMITS), 0)
        self._owner: Owner | None = None
        self._lock = asyncio.Lock()

    @property
    def open(self) -> int:
        """How many questions wait for an answer here."""
        return 0 if self._owner is None else self._owner.open

    async def take(self, _partition: int, records: Sequence[Record]) -> None:
        """Take in questions and answer those that can be. Raises ServiceUnusable where that cannot be written."""
        async with self._lock:
            owner = self._owner
            assert owner is not None, "it is taken over first"  # noqa: S101  a broken invariant
            questions = []
            for record in records:
                question = decoded(record, decode_question)
                if question is not None and owner.knows(question):
                    questions.append((record.offset, question))
                elif question is not None:
                    leave_out(place_of(record), "of another fleet")
            if not questions:
                return
            answers, rows = owner.take(questions)
            by_partition: dict[int, list[tuple[bytes | None, bytes | None]]] = {}
            for number, answered in answers:
                by_partition.setdefault(number, []).append((None, encode_answered(answered)))
            verdicts, limits = self._settings.topic(VERDICTS), self._settings.topic(LIMITS)
            batches = [Batch(verdicts, number, each) for number, each in sorted(by_partition.items())]
            await self._journal.commit([*batches, Batch(limits, 0, rows)])

    async def gained(self, _partition: int) -> None:
        """Shut out the former owner, and go on from what it wrote. Raises ServiceUnusable."""
        async with self._lock:
            rows = {key: row for key, row in (await self._journal.open()).items() if row is not None}
            partitions = await self._journal.partitions_of(self._settings.topic(EVENTS))
            try:
                self._owner = Owner(self._book, partitions, rows)
            except (msgspec.MsgspecError, ValueError, IndexError) as error:
                raise ServiceUnusable(
                    f"a record of {self._journal.topic} is no state of the shared limits, and nothing of the fleet wrote it"
                    f" ({', '.join(getattr(error, '__notes__', []))}): no limit is answered for until it is taken away;"
                    ' "A record that stops a partition" in deploy/RUNBOOK.md tells how'
                ) from error

    async def change(self, book: Rulebook) -> None:
        """Answer by other rules from here on."""
        async with self._lock:
            self._book = book
            if self._owner is not None:
                self._owner.adopt(book)

    async def lost(self, _partition: int) -> None:
        """Let go: another worker may answer from here on."""
        async with self._lock:
            self._owner = None
            await self._journal.close()
            self._journal = Journal(self._settings, "limits", self._settings.topic(LIMITS), 0)
