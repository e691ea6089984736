"""Finds out a customer's story from the service's database: what was decided then, in the words of now."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING, cast

from triggers.core.customer import Customer, Wait
from triggers.core.decisions import Armed, Ended, LateCancel, Postponed, Reason
from triggers.core.events import type_of
from triggers.core.rulebook import Rulebook
from triggers.core.rules import Shop
from triggers.core.times import NEVER, Zone
from triggers.core.waits import expiry_of
from triggers.replay.diary import Diary, still_waiting
from triggers.reports.story import Story, Unknown
from triggers.store.customers import ENGINES, all_ids, load_customer
from triggers.store.database import connect_reader
from triggers.store.decisions import ARMED, ENDED, LATE_CANCEL, POSTPONED, decisions_of
from triggers.store.event_log import events_of
from triggers.store.messages import fates
from triggers.store.progress import load_progress
from triggers.store.states import CANCELLED, EXPIRED, REJECTED, SUPPRESSED

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

    from triggers.core.decisions import Decision, Send
    from triggers.core.events import AnyEvent
    from triggers.store.decisions import DecisionRow
    from triggers.store.event_log import Logged

NO_RULES = Rulebook((), Shop("", Zone("UTC")))
"""What explains where the rules of that time are not at hand: the stored details alone, in UTC."""

NEVER_LEFT = frozenset({CANCELLED, EXPIRED, REJECTED, SUPPRESSED})
"""States of a command that was decided and did not leave."""

MAX_KNOWN = 200_000
"""Among how many customers one that is unknown is looked for."""


def stored(customer: str, database: Path, book: Rulebook = NO_RULES) -> Story | Unknown:
    """Tell what the service decided for a customer. Raises ServiceUnusable for a database that cannot be read."""
    with closing(connect_reader(database)) as connection:
        known = load_customer(connection, customer)
        if known is None and not events_of(connection, customer, limit=1):
            return Unknown(customer, list(islice(chain.from_iterable(all_ids(connection)), MAX_KNOWN)))
        return _Telling(connection, known, customer, book).tell()


class _Telling:
    """One customer's rows, told in the words of a diary."""

    def __init__(self, connection: sqlite3.Connection, known: Customer | None, name: str, book: Rulebook) -> None:
        self.connection = connection
        self.known = known is not None
        self.customer = customer = known or Customer(id=name)
        self.log = events_of(connection, customer.id)
        customer.kept = _past(customer, self.log)
        self.book = book
        self.past = Rulebook((), book.shop)  # for what was decided by other rules than those at hand
        self.diary = Diary({customer.id: customer}, later=True)
        self.states: dict[tuple[str, str | None, int], tuple[str, Send]] = {
            (send.rule, send.identity, send.at): (state, send) for state, send in fates(connection, customer.id)
        }

    def tell(self) -> Story:
        diary, progress = self.diary, load_progress(self.connection)
        rows = decisions_of(self.connection, self.customer.id)
        for row in rows:
            self._tell_row(row)
        begun = {(row.rule, row.anchor) for row in rows if row.kind == ARMED}
        decided, diary.entries = diary.entries, []
        for logged in self.log:
            event = cast("AnyEvent", logged.event)  # the log holds no other types
            diary.saw(self.book, event)
            if progress.revision == self.book.revision and logged.seq <= progress.position:
                mark = len(diary.entries)
                diary.handled(self.book, event)
                diary.entries[mark:] = [each for each in diary.entries[mark:] if (each.rule, event.at) not in begun]
        entries = diary.entries
        if not self.known:
            self._recall_waits(rows)
        now = progress.clock or max((entry.at for entry in entries), default=0)
        waiting = still_waiting(self.book, self.customer)
        story = Story(self.customer.id, self.book.shop.zone, now, entries + decided, waiting, dropped=diary.dropped)
        if self.book is NO_RULES:
            story.notes.append("without the rules times are in UTC, and some reasons short; give --rules DIR")
        return story

    def _recall_waits(self, rows: Sequence[DecisionRow]) -> None:
        """Find out what waits from what was decided: the customers of a fleet are with its workers, not in a database."""
        open_rows: dict[tuple[str, str | None, str | None, int | None], DecisionRow] = {}
        for row in rows:
            key = (row.rule, row.identity, row.slot, row.anchor)
            if row.kind in (ARMED, POSTPONED):
                open_rows[key] = row
            elif row.kind == ENDED:
                open_rows.pop(key, None)
        for number, row in enumerate(open_rows.values()):
            wait = self._wait(row, self.book)
            if row.until is not None:
                wait.wake, wait.held = row.until, row.reason
            self.customer.put(str(number), wait)

    def _tell_row(self, row: DecisionRow) -> None:
        """Let the diary note a row; a command adds its text, and how far it has come."""
        book = self.book if row.revision == self.book.revision else self.past
        decision = self._decision(row, book)
        state, send = self.states.get((row.rule, row.identity, row.at), ("", None))
        left = row.kind == ENDED and row.reason == Reason.SENT and send is not None
        if left and send is not None:
            self.diary.take(book, send)
        self.diary.take(book, decision)
        if left:
            last = self.diary.entries[-1]
            kind = "not sent" if state.partition(":")[0] in NEVER_LEFT else last.kind
            self.diary.entries[-1] = replace(last, kind=kind, text=f"{last.text} ({state})")

    def _decision(self, row: DecisionRow, book: Rulebook) -> Decision:
        if row.kind == LATE_CANCEL:
            event, _, event_id = row.detail.partition(" ")
            return LateCancel(row.customer, row.rule, row.at, event, event_id)
        wait = self._wait(row, book)
        if row.kind == ARMED:
            return Armed(row.customer, wait, row.at)
        if row.kind == ENDED:
            return Ended(row.customer, wait, row.at, Reason(row.reason), row.detail)
        return Postponed(row.customer, wait, row.at, Reason(row.reason), row.until or NEVER, row.detail)

    def _wait(self, row: DecisionRow, book: Rulebook) -> Wait:
        anchor, due = row.anchor or 0, row.due or 0
        wait = Wait(row.rule, row.identity, anchor, due, due, NEVER, slot=row.slot)
        rule = book.rules.get(row.rule)
        if rule is not None:
            wait.expiry = expiry_of(book, rule, wait)
            if rule.when is not None:
                wait.trigger = next(
                    (
                        event
                        for event in self.customer.kept.get(rule.when.event, ())
                        if event.at == anchor
                        and (rule.when.per is None or str(getattr(event, rule.when.per, None)) == row.identity)
                    ),
                    None,
                )
        return wait


def _past(customer: Customer, log: Sequence[Logged]) -> dict[str, list[AnyEvent]]:
    """Put together all that happened to a customer: what the log says, also where the engine has forgotten it."""
    past = {kind: [each for each in kept if each.source == ENGINES] for kind, kept in customer.kept.items()}
    for logged in log:
        event = cast("AnyEvent", logged.event)  # the log holds no other types
        past.setdefault(type_of(event), []).append(event)
    for events in past.values():
        events.sort(key=lambda event: event.at)
    return past
