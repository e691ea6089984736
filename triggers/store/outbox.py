"""Commands on their way to a gateway: each is in the outbox once, by its id, and moves along the arrows only.

queued ──claim──▶ sending ──▶ accepted | rejected
   │                └── found so at start ──▶ unknown
   └── claimed too late ──▶ expired
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from triggers.core.decisions import Send

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

QUEUED, SENDING, ACCEPTED, UNKNOWN, REJECTED = "queued", "sending", "accepted", "unknown", "rejected"
EXPIRED = "expired"

ARROWS: dict[str, frozenset[str]] = {
    QUEUED: frozenset({SENDING, EXPIRED}),
    SENDING: frozenset({ACCEPTED, UNKNOWN, REJECTED}),
    UNKNOWN: frozenset({ACCEPTED}),
}
"""Where each state may move to; what is not named is final."""

_decoder = msgspec.json.Decoder(Send)


class Command(NamedTuple):
    """A message that is to leave, and the number it goes to (None: not known)."""

    send: Send
    phone: str | None


def queue(connection: sqlite3.Connection, commands: Iterable[Command], now: int) -> int:
    """Put commands in and tell how many are new; one that is there stays as it is (S28). ``now`` in epoch ms."""
    new = 0
    for send, phone in commands:
        new += connection.execute(
            "INSERT INTO outbox (command, customer, rule, class, state, phone, at, body, queued_at, moved_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (command) DO NOTHING",
            (
                send.id,
                send.customer,
                send.rule,
                send.klass,
                QUEUED,
                phone,
                send.at,
                msgspec.json.encode(send),
                now,
                now,
            ),
        ).rowcount
    return new


class Claimed(NamedTuple):
    """What a claim took: commands to send now, and how many it found too late to be sent."""

    commands: list[Command]
    expired: int


def claim(connection: sqlite3.Connection, limit: int, now: int, *, stale_at: int = 0) -> Claimed:
    """Take the next commands to send. Whoever claims must commit before the first byte goes to a gateway.

    A command whose time was over at ``stale_at`` (S18) ends as expired; 0 lets all pass. Epoch ms.
    """
    rows = connection.execute(
        "SELECT seq, body, phone FROM outbox WHERE state = ? ORDER BY seq LIMIT ?", (QUEUED, limit)
    ).fetchall()
    found = [(seq, Command(_decoder.decode(body), phone)) for seq, body, phone in rows]
    late = {seq for seq, command in found if command.send.expires <= stale_at}
    connection.executemany(
        "UPDATE outbox SET state = ?, moved_at = ? WHERE seq = ?",
        [(EXPIRED if seq in late else SENDING, now, seq) for seq, _ in found],
    )
    return Claimed([command for seq, command in found if seq not in late], len(late))


def move(connection: sqlite3.Connection, command: str, old: str, new: str, now: int) -> None:
    """Move a command along an arrow; it must be in ``old``."""
    assert new in ARROWS[old], f"no arrow from {old} to {new}"  # noqa: S101  a broken invariant
    moved = connection.execute(
        "UPDATE outbox SET state = ?, moved_at = ? WHERE command = ? AND state = ?", (new, now, command, old)
    ).rowcount
    assert moved == 1, f"the command was not {old}"  # noqa: S101  a broken invariant


def recover(connection: sqlite3.Connection, now: int) -> int:
    """Give up what was being sent when the service died: it may have left, so it never goes again. Tells how many."""
    return connection.execute(
        "UPDATE outbox SET state = ?, moved_at = ? WHERE state = ?", (UNKNOWN, now, SENDING)
    ).rowcount


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Count the commands in each state."""
    return dict(connection.execute("SELECT state, count(*) FROM outbox GROUP BY state").fetchall())


def commands(connection: sqlite3.Connection, customer: str | None = None) -> Iterator[tuple[str, Send]]:
    """Go through the commands in the order they were queued: state and command; of one customer, or all."""
    for state, body in connection.execute(
        "SELECT state, body FROM outbox WHERE ?1 IS NULL OR customer = ?1 ORDER BY seq", (customer,)
    ):
        yield state, _decoder.decode(body)
