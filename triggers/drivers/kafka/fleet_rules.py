"""The rules of a worker: chosen so that all workers of the fleet come to the same set, whichever of them starts when."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog

from triggers.clock import wall_ms
from triggers.core.overdue import may_make_due
from triggers.drivers.editions import choose, digest_of
from triggers.drivers.guard import refusals, tell_refused
from triggers.drivers.kafka.records import EVENTS
from triggers.drivers.kafka.register import enrol, read_known
from triggers.drivers.kafka.rule_notes import Due, Held, Switched, keep_files, read_notes, tell_notes
from triggers.drivers.kafka.topics import partitions_of
from triggers.drivers.rules import first_edition, rulebook
from triggers.errors import AccessRefused, PartitionLost, ServiceUnusable
from triggers.store.progress import Register

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from triggers.core.rulebook import Rulebook
    from triggers.drivers.editions import Edition
    from triggers.drivers.kafka.rule_notes import Notes
    from triggers.drivers.kafka.settings import KafkaSettings

Counting: TypeAlias = "Callable[[Rulebook], Awaitable[Mapping[int, Counter[str]]]]"
"""Counts by partition how many waits of each rule a set of rules makes due, in the partitions of this worker."""

MOST_ATTEMPTS: Final = 10
AGAIN_S: Final = 0.1
"""How long to wait before a second attempt; before each further one as much longer."""

_log = structlog.get_logger("rules")


class FleetRules:
    """Makes rulebooks of what a worker's folder holds, and what the fleet has in use."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._waiting_for = ""

    async def first(self) -> Edition:
        """Choose what to start with: what the fleet has in use, if what the folder holds now must be weighed first.

        Raises RulesUnusable where nothing can be used, and ServiceUnusable.
        """
        settings = self._settings
        good = (await read_notes(settings)).files
        edition = await asyncio.to_thread(first_edition, settings.rules, good)
        if not good or edition.contents == good or settings.virtual or not settings.reload_s:
            return edition
        used = await asyncio.to_thread(choose, settings.rules, good, good)
        if used.loaded.rules and may_make_due(await self._weighed(used), await self._weighed(edition)):
            return used
        return edition

    async def in_use(self, edition: Edition) -> Edition | None:
        """Find the set of rules that another worker took up; None where it is the one that is used here.

        A worker follows the others, so a folder that gets an edit late does not keep the fleet apart.
        """
        files = (await read_notes(self._settings)).files
        if not files or files == edition.contents:
            return None
        found = await asyncio.to_thread(choose, self._settings.rules, files, files)
        return found if found.loaded.shop is not None else None

    async def book(self, edition: Edition) -> Rulebook:
        """Make the rulebook that all workers with these rules have, and note that they are in use.

        Raises ServiceUnusable, and PartitionLost where others do the same again and again.
        """
        settings = self._settings
        overdue = await self._take_up(edition)
        now = wall_ms()
        ids = [rule.id for rule in edition.loaded.rules]
        register = await enrol(settings, ids, now, 0 if settings.virtual else now)
        recalls = not settings.virtual
        return rulebook(edition.loaded, register, settle=settings.settle_ms, recalls=recalls, overdue=overdue)

    async def _take_up(self, edition: Edition) -> dict[str, str]:
        """Note that a set is in use, unless that is known; gives what becomes of waits that are due, by rule."""
        for attempt in range(MOST_ATTEMPTS):
            notes = await read_notes(self._settings)
            if notes.files == edition.contents:
                return notes.switched.overdue if notes.switched.revision == edition.revision else {}
            overdue = _said(notes, edition)
            try:
                await keep_files(self._settings, edition.contents, Switched(edition.revision, overdue))
            except PartitionLost:
                pass  # another worker takes up the same, most likely
            except AccessRefused:
                raise
            except ServiceUnusable as error:  # the next look tells whether it was written; it ends where Kafka is away
                if attempt + 1 == MOST_ATTEMPTS:
                    raise
                _log.warning("which rules are used could not be noted, it is tried again", error=str(error))
            else:
                return overdue
            await asyncio.sleep(AGAIN_S * (attempt + 1))
        raise PartitionLost("other workers take up other rules again and again; see that all have the same folder")

    async def weigh(self, old: Rulebook, edition: Edition, count: Counting) -> Collection[tuple[str, str]] | None:
        """Tell what of other rules is not to be taken up, as file and digest; None while that cannot be told.

        What the fleet has taken up is not weighed, nor what can make nothing due.
        """
        settings, revision = self._settings, edition.revision
        notes = await read_notes(settings)
        if notes.files == edition.contents:
            return ()
        new = await self._weighed(edition)
        if not may_make_due(old, new):
            return ()
        partitions = await partitions_of(settings, settings.topic(EVENTS))
        if (counts := notes.counts(revision, partitions)) is None:
            notes = await self._tell_mine(notes, revision, await count(new))
            if (counts := notes.counts(revision, partitions)) is None:
                self._say_that_it_waits(notes, revision, partitions)
                return None
        for rule in _said(notes, edition):
            del counts[rule]
        refused = refusals(counts, settings.max_due_at_once, edition, notes.files)
        held = [Held(each.rule, each.file, each.digest, each.due) for each in refused]
        if any(notes.held.get(each.rule) != each for each in held):
            await tell_notes(settings, held)
        tell_refused(refused, settings.max_due_at_once)
        return [(each.file, each.digest) for each in refused]

    async def allowed(self, refused: Collection[tuple[str, str]]) -> Collection[tuple[str, str]]:
        """Name what was refused, and is to be taken up since somebody said what becomes of its waits."""
        if not refused:
            return ()
        notes = await read_notes(self._settings)
        return [(held.file, held.digest) for rule, held in notes.held.items() if rule in notes.said]

    async def _tell_mine(self, notes: Notes, revision: str, counts: Mapping[int, Counter[str]]) -> Notes:
        untold = [(number, count) for number, count in counts.items() if (revision, number) not in notes.dues]
        if untold:
            await tell_notes(self._settings, [Due(revision, number, dict(count)) for number, count in untold])
        return await read_notes(self._settings)

    def _say_that_it_waits(self, notes: Notes, revision: str, partitions: int) -> None:
        if self._waiting_for != revision:
            self._waiting_for = revision
            silent = [number for number in range(partitions) if (revision, number) not in notes.dues]
            _log.info(
                "rules are edited; waiting for the workers of all partitions to tell what that makes due",
                revision=revision,
                partitions=silent,
            )

    async def _weighed(self, edition: Edition) -> Rulebook:
        """Make a rulebook only to weigh it: since when rules count is of no account there."""
        known = await read_known(self._settings)
        since = dict.fromkeys((rule.id for rule in edition.loaded.rules), 0)
        gone = {rule: each.gone for rule, each in known.items() if each.gone is not None and rule not in since}
        return rulebook(edition.loaded, Register(since, gone), settle=self._settings.settle_ms, recalls=False)


def _said(notes: Notes, edition: Edition) -> dict[str, str]:
    """Tell what becomes of the waits of rules whose held edits are in a set of rules."""
    there = {(name, digest_of(content)) for name, content in edition.contents.items()}
    return {
        rule: notes.said[rule]
        for rule, held in notes.held.items()
        if rule in notes.said and (held.file, held.digest) in there
    }
