"""The log of events: one order, one clock. An event is stamped once, when it enters, and stamps never go back."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import msgspec

from triggers.core.events import Event, type_of
from triggers.core.intake import MAX_AHEAD, Malformed, decode, decode_many, stamp

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from triggers.core.events import AnyEvent
    from triggers.store.writer import Writer

_KEPT_LETTER = 5_000_000
_ROWS_AT_ONCE = 5_000


class Arrival(NamedTuple):
    """What came in: the bytes, what they mean, and where they came from."""

    body: bytes
    meaning: Event | Malformed
    origin: str


class Entry(NamedTuple):
    """What became of an arrival: accepted, duplicate, conflict or rejected; ``note`` is for its sender."""

    result: str
    id: str | None
    reason: str = ""
    message: str = ""
    note: str = ""


class Horizon(NamedTuple):
    """A promise: every event after ``seq`` will be stamped at or after ``at``."""

    at: int
    seq: int


class Logged(NamedTuple):
    """An event of the log with its place in it."""

    seq: int
    received_at: int
    event: Event


class Place(NamedTuple):
    """How far an input file has been read, in bytes, and how it began: a file that begins otherwise is another one."""

    path: str
    offset: int = 0
    head: bytes = b""


class Log(Protocol):
    """Where events of our own enter."""

    def enter(self, connection: sqlite3.Connection, arrivals: Sequence[Arrival]) -> list[Entry]:
        """Log what came in as the last step of a piece of work on the writer's thread."""
        ...


class EventLog:
    """Appends, through the writer. What it remembers is read and changed on the writer's thread only.

    ``heed`` is told of each event that enters, in the transaction that it enters in.
    """

    def __init__(
        self,
        writer: Writer,
        now: Callable[[], int],
        *,
        floor: int = 0,
        heed: Callable[[sqlite3.Connection, Event], None] = lambda _connection, _event: None,
    ) -> None:
        self._writer = writer
        self._now = now
        self._heed = heed
        self._floor = floor
        self._seq = 0
        writer.submit(self._recall).result()

    def _recall(self, connection: sqlite3.Connection) -> None:
        seq, stamp = connection.execute(
            "SELECT coalesce(max(seq), 0), coalesce(max(received_at), 0) FROM events"
        ).fetchone()
        self._seq = seq
        self._floor = max(self._floor, stamp)

    @property
    def last_seq(self) -> int:
        """The place of the last event, 0 for an empty log."""
        return self._seq

    @property
    def last_stamp(self) -> int:
        """The earliest stamp that the next event can get, in epoch milliseconds."""
        return self._floor

    def append(
        self,
        arrivals: Sequence[Arrival],
        *,
        stamps: Sequence[int] | None = None,
        read_to: Place | None = None,
    ) -> Future[list[Entry]]:
        """Log what came in; the answer comes when it is on the disk.

        ``stamps`` are the recorded times of a log that is played again, else all are stamped now. ``read_to`` is
        the place in an input file behind the last of them, kept in the same transaction.
        """

        def work(connection: sqlite3.Connection) -> list[Entry]:
            if read_to is not None:
                connection.execute("INSERT OR REPLACE INTO inputs (path, offset, head) VALUES (?, ?, ?)", read_to)
            return self.enter(connection, arrivals, stamps)

        return self._writer.submit(work)

    def enter(
        self, connection: sqlite3.Connection, arrivals: Sequence[Arrival], stamps: Sequence[int] | None = None
    ) -> list[Entry]:
        """Log what came in as the last step of a piece of work on the writer's thread; see ``append``."""
        seq, now = self._seq, self._now()
        floor = self._floor if stamps else max(self._floor, now)
        entries: list[Entry] = []
        for number, arrival in enumerate(arrivals):
            if stamps:
                floor = max(floor, stamps[number])
            entry, seq = self._enter(connection, arrival, seq, floor)
            entries.append(entry)
        self._seq, self._floor = seq, floor
        return entries

    def _enter(self, connection: sqlite3.Connection, arrival: Arrival, seq: int, stamp: int) -> tuple[Entry, int]:
        event = arrival.meaning
        if isinstance(event, Malformed):
            bury(connection, arrival, event.reason, event.message, stamp)
            return Entry("rejected", None, event.reason, event.message), seq
        at = event.at
        assert isinstance(at, int), "intake turns times into integers"  # noqa: S101  a broken invariant
        added = connection.execute(
            "INSERT INTO events (seq, source, id, type, customer, occurred_at, received_at, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (source, id) DO NOTHING",
            (seq + 1, event.source, event.id, type_of(event), event.customer, at, stamp, arrival.body),
        ).rowcount
        if added:
            early = at > stamp + MAX_AHEAD
            self._heed(connection, as_happened(event, stamp))
            note = "more than 5 min from now; taken as happening now" if early else ""
            return Entry("accepted", event.id, note=note), seq + 1
        return _seen_before(connection, arrival, event, stamp), seq

    def horizon(self) -> Future[Horizon]:
        """Promise that no event will be stamped before now any more, and tell the last place before that."""

        def work(_connection: sqlite3.Connection) -> Horizon:
            self._floor = max(self._floor, self._now())
            return Horizon(self._floor, self._seq)

        return self._writer.submit(work)


def as_happened(event: Event, stamp: int) -> Event:
    """Take an event from too far ahead for one of now (S4), or no later opt-out would count. ``stamp`` in epoch ms."""
    assert isinstance(event.at, int), "intake turns times into integers"  # noqa: S101  a broken invariant
    return msgspec.structs.replace(event, at=stamp) if event.at > stamp + MAX_AHEAD else event


def _seen_before(connection: sqlite3.Connection, arrival: Arrival, event: Event, stamp: int) -> Entry:
    (body,) = connection.execute(
        "SELECT body FROM events WHERE source = ? AND id = ?", (event.source, event.id)
    ).fetchone()
    known = decode(body, far_future_ok=True)
    if isinstance(known, Event) and _unstamped(known) == _unstamped(event):
        return Entry("duplicate", event.id)
    message = f"an event {event.id!r} of source {event.source!r} with other content is in the log; the first one counts"
    bury(connection, arrival, "conflict", message, stamp)
    return Entry("conflict", event.id, "conflict", message)


def _unstamped(event: Event) -> Event:
    return msgspec.structs.replace(event, received_at=None)


def bury(connection: sqlite3.Connection, arrival: Arrival, reason: str, message: str, stamp: int) -> None:
    """Keep what could not be taken into the log, with the reason."""
    connection.execute(
        "INSERT INTO dead_letters (origin, reason, message, body, received_at) VALUES (?, ?, ?, ?, ?)",
        (arrival.origin, reason, message, arrival.body[:_KEPT_LETTER], stamp),
    )


def read_events(connection: sqlite3.Connection, after: int, limit: int) -> list[Logged]:
    """Read the events behind a place in the log, in order, each stamped (S4)."""
    return _logged(
        connection.execute(
            "SELECT seq, received_at, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit)
        ).fetchall()
    )


def events_of(connection: sqlite3.Connection, customer: str, limit: int = 10_000) -> list[Logged]:
    """Read the last events of one customer, in the order of arrival."""
    rows = connection.execute(
        "SELECT seq, received_at, body FROM events WHERE customer = ? ORDER BY seq DESC LIMIT ?", (customer, limit)
    ).fetchall()
    return _logged(rows[::-1])


def events_up_to(connection: sqlite3.Connection, customer: str, seq: int) -> Iterator[AnyEvent]:
    """Go through the events of one customer up to a place in the log, in the order of arrival, each stamped."""
    after = 0
    while rows := connection.execute(
        "SELECT seq, received_at, body FROM events WHERE customer = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
        (customer, after, seq, _ROWS_AT_ONCE),
    ).fetchall():
        yield from (cast("AnyEvent", logged.event) for logged in _logged(rows))
        after = rows[-1][0]


def _logged(rows: list[tuple[int, int, bytes]]) -> list[Logged]:
    events = decode_many([body for _, _, body in rows], far_future_ok=True)
    logged = []
    for (seq, received_at, _), event in zip(rows, events, strict=True):
        assert isinstance(event, Event), "the log takes in only what it can read"  # noqa: S101  a broken invariant
        stamp(event, received_at)
        logged.append(Logged(seq, received_at, event))
    return logged


def read_events_of_types(connection: sqlite3.Connection, types: Sequence[str]) -> Iterator[Event]:
    """Go through the events of some types in the order of the log, each stamped."""
    after = 0
    marks = ", ".join("?" * len(types))
    while rows := connection.execute(
        f"SELECT seq, received_at, body FROM events WHERE seq > ? AND type IN ({marks}) ORDER BY seq LIMIT ?",
        (after, *types, _ROWS_AT_ONCE),
    ).fetchall():
        yield from (logged.event for logged in _logged(rows))
        after = rows[-1][0]


def oldest_after(connection: sqlite3.Connection, seq: int) -> int | None:
    """Tell when the first event behind a place entered the log, None if there is none."""
    row = connection.execute("SELECT received_at FROM events WHERE seq > ? ORDER BY seq LIMIT 1", (seq,)).fetchone()
    return None if row is None else int(row[0])


def read_place(connection: sqlite3.Connection, path: str) -> Place:
    """Tell how far an input file has been read."""
    row = connection.execute("SELECT path, offset, head FROM inputs WHERE path = ?", (path,)).fetchone()
    return Place(path) if row is None else Place(*row)
