"""Finds the messages whose fate is still open, and how long one has waited that may leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from triggers.store.states import OPEN, QUEUED

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence


class Open(NamedTuple):
    """A message whose fate is open. ``left_at`` epoch ms."""

    seq: int
    command: str
    gateway: str
    provider_id: str | None
    phone: str
    left_at: int


def overdue(
    connection: sqlite3.Connection, state: str, before: int, limit: int, *, gateway: str | None = None
) -> list[int]:
    """List the messages that have been in an open state since before an instant, of one gateway or of all; oldest first.

    Those of gateways that tell nothing stay accepted, so there may be a year of them: one gateway's are found by index.
    """
    where = "" if gateway is None else " AND gateway = ?"
    rows = connection.execute(
        f"SELECT seq FROM outbox WHERE {OPEN} AND state = ? AND moved_at < ?{where} ORDER BY moved_at LIMIT ?",
        (state, before, *(() if gateway is None else (gateway,)), limit),
    ).fetchall()
    return [int(row[0]) for row in rows]


def gateways_with(connection: sqlite3.Connection, state: str) -> list[str]:
    """List the gateways that messages in an open state left through, however many messages there are."""
    rows = connection.execute(
        f"WITH RECURSIVE found (name) AS (SELECT min(gateway) FROM outbox WHERE {OPEN} AND state = ?1 UNION ALL"
        f" SELECT (SELECT min(gateway) FROM outbox WHERE {OPEN} AND state = ?1 AND gateway > found.name) FROM found"
        " WHERE name IS NOT NULL) SELECT name FROM found WHERE name IS NOT NULL",
        (state,),
    ).fetchall()
    return [str(row[0]) for row in rows]


def open_since(connection: sqlite3.Connection, state: str, gateways: Sequence[str], limit: int) -> list[Open]:
    """List the messages in an open state that left through some gateways; oldest first."""
    marks = ", ".join("?" * len(gateways))
    rows = connection.execute(
        "SELECT seq, command, gateway, provider_id, phone, left_at FROM outbox"
        f" WHERE {OPEN} AND state = ? AND gateway IN ({marks}) AND phone IS NOT NULL AND left_at IS NOT NULL"
        " ORDER BY moved_at LIMIT ?",
        (state, *gateways, limit),
    ).fetchall()
    return [Open(*row) for row in rows]


def waiting_since(connection: sqlite3.Connection, classes: Iterable[str], now: int) -> int | None:
    """Tell since when a queued message waits that may be looked at, epoch ms; None where none does.

    One that was held waits since it may be looked at again.
    """
    found = [
        connection.execute(
            f"SELECT max(not_before, queued_at) FROM outbox WHERE state = '{QUEUED}' AND class = ? AND not_before <= ?"
            " ORDER BY not_before, seq LIMIT 1",
            (klass, now),
        ).fetchone()
        for klass in classes
    ]
    return min((int(row[0]) for row in found if row is not None), default=None)
