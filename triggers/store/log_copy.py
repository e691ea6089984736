"""The log of a fleet as its dispatcher keeps it: a copy of what the log's topic holds, each event with its place there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from triggers.core.events import CustomerUnsubscribed, CustomerUpdated, Event, type_of
from triggers.core.intake import decode
from triggers.store.event_log import Entry, as_happened

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable


class Logged(NamedTuple):
    """An event of the log: where it stands, when it came in (epoch ms), its bytes and what they mean."""

    part: int
    offset: int
    received_at: int
    body: bytes
    event: Event


class LogCopy:
    """Copies the log. ``heed`` is told of each event that enters, in the transaction that it enters in."""

    def __init__(self, heed: Callable[[sqlite3.Connection, Event], None]) -> None:
        self._heed = heed

    def take(self, connection: sqlite3.Connection, events: Iterable[Logged]) -> list[Entry]:
        """Copy events in the order of the log; an id of a source that is there already changes nothing.

        An opt-out counts all the same where the id is another event's: the log cannot turn it away any more.
        """
        return [self._take(connection, logged) for logged in events]

    def _take(self, connection: sqlite3.Connection, logged: Logged) -> Entry:
        event = logged.event
        added = connection.execute(
            "INSERT INTO events (source, id, type, customer, occurred_at, received_at, body, part, offset)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (source, id) DO NOTHING",
            (
                event.source,
                event.id,
                type_of(event),
                event.customer,
                event.at,
                logged.received_at,
                logged.body,
                logged.part,
                logged.offset,
            ),
        ).rowcount
        happened = as_happened(event, logged.received_at)
        if added:
            self._heed(connection, happened)
            return Entry("accepted", event.id, note="" if happened is event else "taken as happening when it came in")
        if _same(connection, event):
            return Entry("duplicate", event.id)
        if opts_out(event):
            self._heed(connection, happened)
        return Entry("conflict", event.id)


def opts_out(event: object) -> bool:
    """Tell whether a customer wants nothing commercial from this event on."""
    return isinstance(event, CustomerUnsubscribed) or (isinstance(event, CustomerUpdated) and event.consent is False)


def _same(connection: sqlite3.Connection, event: Event) -> bool:
    (body,) = connection.execute(
        "SELECT body FROM events WHERE source = ? AND id = ?", (event.source, event.id)
    ).fetchone()
    known = decode(body, far_future_ok=True)
    return isinstance(known, Event) and _unstamped(known) == _unstamped(event)


def _unstamped(event: Event) -> Event:
    return msgspec.structs.replace(event, received_at=None)
