"""The dispatcher's own events on their way into a fleet's log: kept with what caused them until the log has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from triggers.core.intake import Malformed
from triggers.store.event_log import Entry, as_happened, bury

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from triggers.core.events import Event
    from triggers.store.event_log import Arrival


class MessageEvent(NamedTuple):
    """An event that the log does not have yet."""

    seq: int
    customer: str
    body: bytes


class MessageEvents:
    """Takes events in where the log is elsewhere. ``now`` is the wall's time, epoch ms.

    ``heed`` is told of each at once, so that an opt-out holds for the next claim, however long the log's way is. The
    events come back with the log; to heed one again changes nothing.
    """

    def __init__(self, heed: Callable[[sqlite3.Connection, Event], None], now: Callable[[], int]) -> None:
        self._heed = heed
        self._now = now

    def enter(self, connection: sqlite3.Connection, arrivals: Sequence[Arrival]) -> list[Entry]:
        """Keep events for the log, as the last step of a piece of work on the writer's thread."""
        return [self._enter(connection, arrival, self._now()) for arrival in arrivals]

    def _enter(self, connection: sqlite3.Connection, arrival: Arrival, now: int) -> Entry:
        event = arrival.meaning
        if isinstance(event, Malformed):
            bury(connection, arrival, event.reason, event.message, now)
            return Entry("rejected", None, event.reason, event.message)
        connection.execute("INSERT INTO message_events (customer, body) VALUES (?, ?)", (event.customer, arrival.body))
        self._heed(connection, as_happened(event, now))
        return Entry("accepted", event.id)


def leaving_events(connection: sqlite3.Connection, limit: int) -> list[MessageEvent]:
    """List the next events that the log does not have, in their order."""
    rows = connection.execute(
        "SELECT seq, customer, body FROM message_events ORDER BY seq LIMIT ?", (limit,)
    ).fetchall()
    return [MessageEvent(*row) for row in rows]


def gone(connection: sqlite3.Connection, events: Sequence[MessageEvent]) -> None:
    """Forget events that the log has."""
    connection.executemany("DELETE FROM message_events WHERE seq = ?", [(event.seq,) for event in events])


def count_leaving(connection: sqlite3.Connection) -> int:
    """Count the events that the log does not have yet."""
    return int(connection.execute("SELECT count(*) FROM message_events").fetchone()[0])
