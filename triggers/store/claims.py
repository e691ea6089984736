"""What the transaction that claims a message asks of the rest: what left before, what was spent, what is paused."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from triggers.store.states import COUNTED

if TYPE_CHECKING:
    import sqlite3

_COUNTED = ", ".join(f"'{state}'" for state in COUNTED)


def engine_is_behind(connection: sqlite3.Connection, customer: str) -> bool:
    """Tell whether the log has an event of a customer that the engine has not decided on.

    The engine of one machine tells the last event it decided on; a fleet's tells it of each partition of the log, and
    of the customers for whom that is an earlier one. Of a customer the last event to come is the last in its partition.
    """
    row = connection.execute(
        "SELECT CASE WHEN part IS NULL"
        " THEN seq > coalesce((SELECT CAST(CAST(value AS TEXT) AS INTEGER) FROM progress WHERE key = 'position'), 0)"
        " ELSE offset > coalesce((SELECT w.offset FROM waiting w WHERE w.customer = ?1 AND w.part = events.part),"
        " (SELECT p.position FROM partitions p WHERE p.part = events.part), -1) END"
        " FROM events WHERE seq = (SELECT max(seq) FROM events WHERE customer = ?1)",
        (customer,),
    ).fetchone()
    return row is not None and bool(row[0])


def commercial_since(connection: sqlite3.Connection, customer: str, since: int) -> list[tuple[str, int]]:
    """List the class and the instant of all that left to a customer, or may have, other than notices; oldest first."""
    return connection.execute(
        f"SELECT class, left_at FROM outbox WHERE customer = ? AND left_at > ? AND state IN ({_COUNTED}, 'expired')"
        " AND class NOT IN ('notice', 'verification') ORDER BY left_at",
        (customer, since),
    ).fetchall()


def rule_pause(connection: sqlite3.Connection, rule: str) -> str | None:
    """Tell why a rule is paused; None if it is not."""
    row = connection.execute("SELECT reason FROM rule_pauses WHERE rule = ? AND resumed_at IS NULL", (rule,)).fetchone()
    return None if row is None else str(row[0])


class Pause(NamedTuple):
    """A rule that was paused for its numbers; ``resumed_at`` None while it still is. Epoch ms."""

    rule: str
    reason: str
    at: int
    resumed_at: int | None


def pauses(connection: sqlite3.Connection) -> list[Pause]:
    """List the rules that were ever paused for their numbers, each with the last time."""
    return [
        Pause(*row)
        for row in connection.execute("SELECT rule, reason, at, resumed_at FROM rule_pauses ORDER BY rule").fetchall()
    ]


def pause(connection: sqlite3.Connection, rule: str, reason: str, at: int) -> bool:
    """Pause a rule; False if it is paused already."""
    return (
        connection.execute(
            "INSERT INTO rule_pauses (rule, reason, at) VALUES (?1, ?2, ?3) ON CONFLICT (rule) DO UPDATE"
            " SET reason = ?2, at = ?3, resumed_at = NULL WHERE resumed_at IS NOT NULL",
            (rule, reason, at),
        ).rowcount
        > 0
    )


def resume(connection: sqlite3.Connection, rule: str, at: int) -> bool:
    """Let a rule go on; False if it was not paused."""
    return (
        connection.execute(
            "UPDATE rule_pauses SET resumed_at = ? WHERE rule = ? AND resumed_at IS NULL", (at, rule)
        ).rowcount
        > 0
    )
