"""Commands on their way: each is in the outbox once, by its id, and moves along the arrows of ``states`` only.

Every move is written to ``transitions`` in the same transaction, and moves the money with it: what is queued is
reserved, what may have left is spent, and what neither will any more is released. Amounts in 1/1000 fen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from triggers.core.decisions import Send
from triggers.store.spending import pay
from triggers.store.states import (
    ARROWS,
    CANCELLED,
    OPEN,
    QUEUED,
    SENDING,
    Claim,
    Command,
    End,
    Go,
    Leaving,
    Queued,
    Ruling,
    Settled,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

_decoder = msgspec.json.Decoder(Send)
_encoder = msgspec.json.Encoder()


def queue(
    connection: sqlite3.Connection, commands: Iterable[Command], now: int, month: Callable[[Send], str] = lambda _: ""
) -> int:
    """Put commands in and tell how many are new; one that is there stays as it is (S28). ``now`` in epoch ms.

    ``month`` gives the shop's month that a command's money counts in, as "2026-09".
    """
    new = 0
    for send, phone in commands:
        added = connection.execute(
            "INSERT INTO outbox (command, customer, rule, class, state, phone, at, body, queued_at, moved_at, month,"
            " parts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (command) DO NOTHING",
            (
                send.id,
                send.customer,
                send.rule,
                send.klass,
                QUEUED,
                phone,
                send.at,
                _encoder.encode(send),
                now,
                now,
                month(send),
                send.segments,
            ),
        ).rowcount
        if added:
            pay(connection, send.rule, month(send), reserved=send.cost)
        new += added
    return new


def claim(connection: sqlite3.Connection, klass: str, limit: int, now: int, rule: Callable[[Queued], Ruling]) -> Claim:
    """Take the next commands of a class to send; ``rule`` says of each whether it may leave now.

    Whoever claims must commit before the first byte goes to a gateway.
    """
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM outbox WHERE state = '{QUEUED}' AND class = ? AND not_before <= ?"
        " ORDER BY not_before, seq LIMIT ?",
        (klass, now, limit),
    ).fetchall()
    found = Claim([], [], [])
    for row in rows:
        queued = _queued(row)
        ruling = rule(queued)
        if isinstance(ruling, Go):
            _begin(connection, queued, ruling, now)
            found.leaving.append(Leaving(queued, ruling))
        elif isinstance(ruling, End):
            end(connection, queued, ruling, now)
            found.ended.append((queued, ruling))
        else:
            connection.execute(
                "UPDATE outbox SET not_before = ?, reason = ? WHERE seq = ?", (ruling.until, ruling.reason, queued.seq)
            )
            found.held.append((queued, ruling))
    return found


def _begin(connection: sqlite3.Connection, queued: Queued, go: Go, now: int) -> None:
    attempt = queued.attempts + 1
    connection.execute(
        f"UPDATE outbox SET state = '{SENDING}', moved_at = ?, reason = '', attempts = ?, gateway = ?, phone = ?,"
        " left_at = ?, cost = cost + ?, provider_id = NULL WHERE seq = ?",
        (now, attempt, go.gateway, go.phone, now, go.cost, queued.seq),
    )
    _note(connection, queued.seq, now, QUEUED, SENDING, "", go.gateway, attempt)
    _pay_of(connection, queued, reserved=-queued.send.cost, spent=go.cost)


def end(connection: sqlite3.Connection, queued: Queued, ruling: End, now: int) -> None:
    """End a queued command for a reason: it will not leave."""
    move(connection, queued.seq, QUEUED, ruling.state, now, reason=ruling.reason)
    _pay_of(connection, queued, reserved=-queued.send.cost, released=queued.send.cost)


def settle(connection: sqlite3.Connection, leaving: Leaving, settled: Settled, now: int) -> bool:
    """Move a command that was being sent to where its gateway's answer puts it; tell whether that cancelled it."""
    return settle_all(connection, [(leaving, settled)], now) > 0


def settle_all(connection: sqlite3.Connection, answers: Sequence[tuple[Leaving, Settled]], now: int) -> int:
    """Move commands that were being sent to where the answers put them.

    One that would be queued again and was cancelled meanwhile is cancelled now; tells how many those are.
    """
    moves, notes = [], []
    for (queued, go), settled in answers:
        new, seq = settled.state, queued.seq
        assert new in ARROWS[SENDING], f"no arrow from {SENDING} to {new}"  # noqa: S101  a broken invariant
        tried = queued.tried + ((go.gateway,) if settled.refused and go.gateway not in queued.tried else ())
        left = (settled.provider_id, settled.not_before, ",".join(tried), settled.ambiguous)
        moves.append((new, now, settled.reason, *left, seq))
        notes.append((seq, now, SENDING, new, settled.reason, go.gateway or None, queued.attempts + 1))
    changed = connection.executemany(
        "UPDATE outbox SET state = ?, moved_at = ?, reason = ?, provider_id = ?, not_before = ?, tried = ?,"
        f" ambiguous = ambiguous + ? WHERE seq = ? AND state = '{SENDING}'",
        moves,
    ).rowcount
    assert changed == len(moves), f"a command was not {SENDING}"  # noqa: S101  a broken invariant
    connection.executemany(_NOTE, notes)
    for leaving, settled in answers:
        if not settled.spent:
            _take_back(connection, leaving, settled.state)
        elif settled.state == QUEUED:
            _pay_of(connection, leaving.queued, reserved=leaving.queued.send.cost)
    return sum(
        _end_recalled(connection, leaving.queued, now) for leaving, settled in answers if settled.state == QUEUED
    )


def _end_recalled(connection: sqlite3.Connection, queued: Queued, now: int) -> bool:
    """End a command that is queued again, if it was cancelled while it was being sent."""
    (reason,) = connection.execute("SELECT recalled FROM outbox WHERE seq = ?", (queued.seq,)).fetchone()
    if reason is not None:
        end(connection, queued, End(CANCELLED, reason), now)
    return reason is not None


def _take_back(connection: sqlite3.Connection, leaving: Leaving, new: str) -> None:
    """Put what did not leave after all back to what it was: what it cost, what may have left before, and where."""
    queued, go = leaving
    gateway = queued.gateway if new == QUEUED else go.gateway or None
    connection.execute(
        "UPDATE outbox SET cost = cost - ?, gateway = ?, left_at = ? WHERE seq = ?",
        (go.cost, gateway, queued.left_at, queued.seq),
    )
    if new == QUEUED:
        _pay_of(connection, queued, spent=-go.cost, reserved=queued.send.cost)
    else:
        _pay_of(connection, queued, spent=-go.cost, released=go.cost)


def move(connection: sqlite3.Connection, seq: int, old: str, new: str, now: int, *, reason: str = "") -> None:
    """Move a command along an arrow and write it to the history; it must be in ``old``."""
    assert new in ARROWS[old], f"no arrow from {old} to {new}"  # noqa: S101  a broken invariant
    row = connection.execute(
        "UPDATE outbox SET state = ?, moved_at = ?, reason = ? WHERE seq = ? AND state = ? RETURNING gateway, attempts",
        (new, now, reason, seq, old),
    ).fetchone()
    assert row is not None, f"the command was not {old}"  # noqa: S101  a broken invariant
    _note(connection, seq, now, old, new, reason, *row)


def name(connection: sqlite3.Connection, seq: int, provider_id: str | None) -> None:
    """Note what a gateway calls a message, which its answer did not tell."""
    connection.execute("UPDATE outbox SET provider_id = ? WHERE seq = ? AND provider_id IS NULL", (provider_id, seq))


def give_back(connection: sqlite3.Connection, seq: int) -> None:
    """Take back what a message had cost, where only delivered ones are billed."""
    cost, rule, month = connection.execute("SELECT cost, rule, month FROM outbox WHERE seq = ?", (seq,)).fetchone()
    connection.execute("UPDATE outbox SET cost = 0 WHERE seq = ?", (seq,))
    pay(connection, rule, month, spent=-cost, released=cost)


def commands_of(connection: sqlite3.Connection, customer: str, state: str) -> list[Queued]:
    """List a customer's commands in a state, in the order in which they came."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM outbox WHERE customer = ? AND state = ? ORDER BY seq", (customer, state)
    ).fetchall()
    return [_queued(row) for row in rows]


def cancel(
    connection: sqlite3.Connection,
    customer: str,
    wait: tuple[str, str | None, int],
    reason: str,
    now: int,
) -> bool:
    """Cancel the command of a wait (rule, identity, anchor) if it has not left yet, and tell whether that was so.

    One that is being sent may leave by that, but it is not queued again: its gateway's answer cancels it then.
    """
    for queued in commands_of(connection, customer, QUEUED):
        if _wait_of(queued) == wait:
            end(connection, queued, End(CANCELLED, reason), now)
            return True
    for queued in commands_of(connection, customer, SENDING):
        if _wait_of(queued) == wait:
            connection.execute("UPDATE outbox SET recalled = ? WHERE seq = ?", (reason, queued.seq))
    return False


def _wait_of(queued: Queued) -> tuple[str, str | None, int]:
    return queued.send.rule, queued.send.identity, queued.send.anchor


def being_sent(connection: sqlite3.Connection) -> list[Leaving]:
    """List what a killed service was sending, as its claims found it, but for the money: it may have left."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM outbox WHERE {OPEN} AND state = '{SENDING}' ORDER BY seq"
    ).fetchall()
    return [
        Leaving(each._replace(attempts=each.attempts - 1), Go(each.gateway or "", each.phone or "", 0, 0))
        for each in map(_queued, rows)
    ]


def next_due(connection: sqlite3.Connection, klass: str) -> int | None:
    """Tell when the next queued command of a class may be claimed, epoch ms; None if there is none."""
    row = connection.execute(
        f"SELECT not_before FROM outbox WHERE state = '{QUEUED}' AND class = ? ORDER BY not_before LIMIT 1",
        (klass,),
    ).fetchone()
    return None if row is None else int(row[0])


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Count the commands in each state."""
    return dict(connection.execute("SELECT state, count(*) FROM outbox GROUP BY state").fetchall())


_NOTE = "INSERT INTO transitions (message, at, old, new, reason, gateway, attempt) VALUES (?, ?, ?, ?, ?, ?, ?)"
_COLUMNS = "seq, body, phone, attempts, ambiguous, tried, gateway, queued_at, left_at, reason, month"


def _queued(row: Sequence[Any]) -> Queued:
    seq, body, phone, attempts, ambiguous, tried, *rest = row
    return Queued(seq, _decoder.decode(body), phone, attempts, ambiguous, tuple(filter(None, tried.split(","))), *rest)


def _note(
    connection: sqlite3.Connection,
    seq: int,
    now: int,
    old: str,
    new: str,
    reason: str,
    gateway: str | None,
    attempt: int,
) -> None:
    connection.execute(_NOTE, (seq, now, old, new, reason, gateway, attempt))


def _pay_of(connection: sqlite3.Connection, queued: Queued, **amounts: int) -> None:
    pay(connection, queued.send.rule, queued.month, **amounts)
