"""Reads what could not be taken into the log of the embedded service, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection


class StoredLetter(NamedTuple):
    """A dead letter; ``at`` is when it came, epoch ms, ``size`` the bytes that were kept of it."""

    at: int
    origin: str
    reason: str
    message: str
    size: int
    body: bytes


def count_letters(connection: sqlite3.Connection, reasons: Collection[str] = ()) -> int:
    """Count the letters, or those with one of some reasons."""
    where, given = _where(reasons)
    (number,) = connection.execute(f"SELECT count(*) FROM dead_letters{where}", given).fetchone()
    return int(number)


def last_letters(connection: sqlite3.Connection, limit: int, reasons: Collection[str] = ()) -> list[StoredLetter]:
    """Read the last letters, or of those with one of some reasons, in the order in which they came."""
    where, given = _where(reasons)
    rows = connection.execute(
        "SELECT received_at, origin, reason, message, length(body), body FROM dead_letters"
        f"{where} ORDER BY seq DESC LIMIT ?",
        (*given, limit),
    ).fetchall()
    return [StoredLetter(*row) for row in rows[::-1]]


def _where(reasons: Collection[str]) -> tuple[str, tuple[str, ...]]:
    marks = ", ".join("?" * len(reasons))
    return (f" WHERE reason IN ({marks})" if reasons else "", tuple(reasons))
