"""Finds out a customer's story by deciding recorded logs once more, with a diary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triggers.core.rulebook import Rulebook
from triggers.core.times import NEVER
from triggers.errors import RulesUnusable
from triggers.language import load
from triggers.replay.diary import Diary, still_waiting
from triggers.replay.groups import Groups
from triggers.replay.replay import Replay
from triggers.reports.story import Story, Unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from triggers.core.events import AnyEvent
    from triggers.replay.log import Log
    from triggers.replay.playing import Report

MAX_FINDINGS = 20


def rulebook(folder: Path) -> Rulebook:
    """Load rules to explain by; drafts are kept, to say that they are drafts. Raises RulesUnusable where errors are."""
    loaded = load(folder)
    if loaded.errors or loaded.shop is None:
        shown = [str(finding) for finding in loaded.errors[:MAX_FINDINGS]]
        raise RulesUnusable("\n".join([f"the rules in {folder} have errors:", *shown]))
    return Rulebook(loaded.rules, loaded.shop, revision=loaded.revision)


def replayed(customer: str, log: Log, book: Rulebook, report: Report | None = None) -> Story | Unknown:
    """Tell what the rules decide for a customer on recorded logs, up to the last event of them all.

    ``report`` is told how far the reading has come, from 0 to 1, and how many events were read.
    """
    seen = _Seen(customer, alone=not book.shares)
    for batch in log.read():
        seen.take(batch)
        if report is not None:
            report(log.share, log.events)
    if customer not in seen.customers:
        seen.close()
        return Unknown(customer, seen.customers)
    diary = Diary({}, customer)
    replay = Replay(book, lambda decision: diary.take(book, decision), clock=seen.begin - 1)
    diary.customers = replay.customers
    replay.play(_written_down(seen.in_order(sorted_already=log.sorted), diary, book))
    replay.run_until(seen.end)
    known = replay.customers.get(customer)
    waiting = still_waiting(book, known) if known is not None else []
    return Story(customer, book.shop.zone, seen.end, diary.entries, waiting, dropped=diary.dropped)


class _Seen:
    """What was read: who there is, from when to when, and the events to play.

    Where no limit is shared, only the customer's own events matter, which are few. Else it does who comes first: then all
    of them are played, from a temporary file.
    """

    def __init__(self, customer: str, *, alone: bool) -> None:
        self.customer = customer
        self.customers: set[str] = set()
        self.begin, self.end = NEVER, -1
        self._own: list[AnyEvent] = []
        self._all = None if alone else Groups(1)

    def take(self, batch: list[AnyEvent]) -> None:
        """Take in the next events of the log."""
        self.customers.update(event.customer for event in batch)
        self.begin = min(self.begin, min(map(_received, batch), default=NEVER))
        self.end = max(self.end, max(map(_received, batch), default=-1))
        if self._all is None:
            self._own += [event for event in batch if event.customer == self.customer]
        else:
            self._all.deal(batch)

    def in_order(self, *, sorted_already: bool) -> Iterator[AnyEvent]:
        """Go through the events to play in the order of their arrival; once."""
        if self._all is None:
            return iter(sorted(self._own, key=_received))
        return next(iter(self._all if sorted_already else self._all.sorted()), iter(()))

    def close(self) -> None:
        """Let go of the events unplayed."""
        for _ in self.in_order(sorted_already=True):
            pass


def _written_down(events: Iterable[AnyEvent], diary: Diary, book: Rulebook) -> Iterator[AnyEvent]:
    """Pass events on, writing down those of the diary's customer before and after they are handled."""
    for event in events:
        if event.customer != diary.only:
            yield event
            continue
        diary.saw(book, event)
        yield event
        diary.handled(book, event)


def _received(event: AnyEvent) -> int:
    assert isinstance(event.received_at, int)  # noqa: S101  the log stamps every event
    return event.received_at
