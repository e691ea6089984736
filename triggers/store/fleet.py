"""What the dispatcher of a fleet keeps of the fleet's topics: how far each is read, and how far the engine has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping


class Reading(NamedTuple):
    """How far a partition of a topic is read: the next record's offset, and the latest time of a record (epoch ms)."""

    topic: str
    part: int
    offset: int
    clock: int = -1


class Reached(NamedTuple):
    """How far the engine has come in a partition of the log: the last record decided on and its time (epoch ms).

    ``heard_at`` is when that was heard, epoch ms. For the customers in ``waiting`` it is an earlier record.
    """

    part: int
    position: int
    clock: int
    revision: str
    worker: str
    heard_at: int
    waiting: Mapping[str, int] = {}


def identity(connection: sqlite3.Connection) -> str:
    """Name this database; a copy of the file has the same name."""
    return str(connection.execute("SELECT database FROM identity").fetchone()[0])


def is_of_a_fleet(connection: sqlite3.Connection) -> bool | None:
    """Tell whether a fleet's dispatcher wrote this database, or another service; None: nobody did yet."""
    (fleets, others) = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM readings), EXISTS (SELECT 1 FROM events) OR EXISTS (SELECT 1 FROM outbox)"
        " OR EXISTS (SELECT 1 FROM progress WHERE key = 'clock')"
    ).fetchone()
    return True if fleets else False if others else None


def read_to(connection: sqlite3.Connection, readings: Iterable[Reading]) -> None:
    """Note how far topics are read, in the transaction of what their records did."""
    connection.executemany(
        "INSERT INTO readings (topic, part, offset, clock) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (topic, part) DO UPDATE SET offset = excluded.offset, clock = max(clock, excluded.clock)",
        readings,
    )


def readings(connection: sqlite3.Connection) -> dict[tuple[str, int], Reading]:
    """Tell how far each partition of each topic is read."""
    rows = connection.execute("SELECT topic, part, offset, clock FROM readings").fetchall()
    return {(topic, part): Reading(topic, part, offset, clock) for topic, part, offset, clock in rows}


def engine_reached(connection: sqlite3.Connection, reached: Reached) -> None:
    """Note how far the engine has come in a partition; what was noted of it before is forgotten."""
    connection.execute(
        "INSERT OR REPLACE INTO partitions (part, position, clock, revision, worker, heard_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        reached[:-1],
    )
    connection.execute("DELETE FROM waiting WHERE part = ?", (reached.part,))
    if reached.waiting:
        connection.executemany(
            "INSERT OR REPLACE INTO waiting (customer, part, offset) VALUES (?, ?, ?)",
            [(customer, reached.part, offset) for customer, offset in reached.waiting.items()],
        )


def partitions(connection: sqlite3.Connection) -> list[Reached]:
    """List how far the engine has come in each partition it was heard of, without the customers who wait."""
    return [
        Reached(*row)
        for row in connection.execute(
            "SELECT part, position, clock, revision, worker, heard_at FROM partitions ORDER BY part"
        ).fetchall()
    ]


def decided_up_to(connection: sqlite3.Connection, after: int) -> int:
    """Tell the last place in the copied log up to which all events are decided on; all up to ``after`` are."""
    row = connection.execute(
        "SELECT e.seq FROM events e LEFT JOIN partitions p ON p.part = e.part"
        " WHERE e.seq > ? AND e.offset > coalesce(p.position, -1) ORDER BY e.seq LIMIT 1",
        (after,),
    ).fetchone()
    if row is not None:
        return int(row[0]) - 1
    return int(connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0])
