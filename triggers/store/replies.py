"""What people answered to messages, each reply once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3


class Answered(NamedTuple):
    """A reply as it was read. ``id`` is the gateway's; None where it gives none. Times in epoch ms."""

    gateway: str
    id: str | None
    phone: str
    text: str
    meaning: str
    alarm: bool
    at: int | None


def keep_reply(connection: sqlite3.Connection, reply: Answered, now: int) -> int | None:
    """Keep a reply and give its number; None for one that was told before.

    An id that was another reply's is none: no opt-out is lost where a gateway counts anew, or the wrong field is read.
    """
    used = connection.execute(
        "SELECT phone, text FROM replies WHERE gateway = ? AND id = ?", (reply.gateway, reply.id)
    ).fetchone()
    if used is not None and used != (reply.phone, reply.text):
        reply = reply._replace(id=None)
    row = connection.execute(
        "INSERT INTO replies (gateway, id, phone, text, meaning, alarm, at, received_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (gateway, id) DO NOTHING RETURNING seq",
        (*reply, now),
    ).fetchone()
    return None if row is None else int(row[0])


def complaints(connection: sqlite3.Connection) -> int:
    """Count the replies that threatened with a complaint."""
    return int(connection.execute("SELECT count(*) FROM replies WHERE alarm").fetchone()[0])
