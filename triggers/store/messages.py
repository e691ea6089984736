"""What became of messages: how each stands, and every move that brought it there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from triggers.core.decisions import Send
from triggers.store.states import OPEN, SENDING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

MOST_MOVES = 1_000
"""Of so many moves the first are told; a message has a few."""

_decoder = msgspec.json.Decoder(Send)


class Move(NamedTuple):
    """A move between two states, at an instant (epoch ms), for a reason ("" for none); ``attempt`` counts from 1."""

    at: int
    old: str
    new: str
    reason: str
    gateway: str | None
    attempt: int


class Message(NamedTuple):
    """A message in the outbox; epoch ms. ``reason`` is what brought it to its state, or holds it back in it."""

    send: Send
    state: str
    reason: str
    queued_at: int
    moves: list[Move]


def message_of(connection: sqlite3.Connection, command: str) -> Message | None:
    """Read a message by its command id; None if there is none."""
    row = connection.execute(
        "SELECT seq, body, state, reason, queued_at FROM outbox WHERE command = ?", (command,)
    ).fetchone()
    if row is None:
        return None
    seq, body, state, reason, queued_at = row
    moves = connection.execute(
        "SELECT at, old, new, reason, gateway, attempt FROM transitions WHERE message = ? ORDER BY seq LIMIT ?",
        (seq, MOST_MOVES),
    ).fetchall()
    return Message(_decoder.decode(body), state, reason, queued_at, [Move(*move) for move in moves])


def send_of(connection: sqlite3.Connection, command: str) -> Send | None:
    """Read a command by its id, as it was queued; None if there is none."""
    row = connection.execute("SELECT body FROM outbox WHERE command = ?", (command,)).fetchone()
    return None if row is None else _decoder.decode(row[0])


def fates(connection: sqlite3.Connection, customer: str) -> Iterator[tuple[str, Send]]:
    """Go through a customer's commands in the order they were queued: how far each has come, with the reason if any."""
    for state, reason, body in connection.execute(
        "SELECT state, reason, body FROM outbox WHERE customer = ? ORDER BY seq", (customer,)
    ):
        yield f"{state}: {reason}" if reason else state, _decoder.decode(body)


def codes_since(connection: sqlite3.Connection, phone: str, since: int) -> list[int]:
    """List when codes were posted to a number (E.164) after an instant, epoch ms, oldest first."""
    rows = connection.execute(
        "SELECT queued_at FROM outbox WHERE class = 'verification' AND phone = ? AND queued_at > ? ORDER BY queued_at",
        (phone, since),
    ).fetchall()
    return [int(row[0]) for row in rows]


def leaving_to(connection: sqlite3.Connection, phone: str) -> list[int]:
    """List the commercial messages that are leaving to a number (E.164) at this moment, by their place in the outbox."""
    rows = connection.execute(
        f"SELECT seq FROM outbox WHERE {OPEN} AND state = '{SENDING}' AND phone = ?"
        " AND class NOT IN ('notice', 'verification')",
        (phone,),
    ).fetchall()
    return [int(row[0]) for row in rows]
