"""The numbers that get nothing but notices: who put them there, when and why. Every change is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator


class Suppression(NamedTuple):
    """A suppressed number (E.164), for a reason, by somebody; epoch ms."""

    phone: str
    reason: str
    author: str
    at: int


def suppress(connection: sqlite3.Connection, suppression: Suppression) -> bool:
    """Put a number on the list; False if it is there already: the first reason stays."""
    added = connection.execute(
        "INSERT INTO suppressions (phone, reason, author, at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", suppression
    ).rowcount
    if added:
        _note(connection, "added", suppression)
    return added > 0


def allow(connection: sqlite3.Connection, suppression: Suppression) -> bool:
    """Take a number off the list, for the reason given; False if it is not there."""
    removed = connection.execute("DELETE FROM suppressions WHERE phone = ?", (suppression.phone,)).rowcount
    if removed:
        _note(connection, "removed", suppression)
    return removed > 0


def suppression_of(connection: sqlite3.Connection, phone: str) -> str | None:
    """Tell why a number is on the list; None if it is not."""
    row = connection.execute("SELECT reason FROM suppressions WHERE phone = ?", (phone,)).fetchone()
    return None if row is None else str(row[0])


def suppressions(connection: sqlite3.Connection) -> Iterator[Suppression]:
    """Go through the list by number."""
    for row in connection.execute("SELECT phone, reason, author, at FROM suppressions ORDER BY phone"):
        yield Suppression(*row)


def changes(connection: sqlite3.Connection, phone: str) -> list[tuple[str, Suppression]]:
    """Tell what happened to a number on the list: "added" or "removed", oldest first."""
    rows = connection.execute(
        "SELECT change, phone, reason, author, at FROM suppression_changes WHERE phone = ? ORDER BY seq", (phone,)
    ).fetchall()
    return [(row[0], Suppression(*row[1:])) for row in rows]


def _note(connection: sqlite3.Connection, change: str, suppression: Suppression) -> None:
    connection.execute(
        "INSERT INTO suppression_changes (phone, change, reason, author, at) VALUES (?, ?, ?, ?, ?)",
        (suppression.phone, change, suppression.reason, suppression.author, suppression.at),
    )
