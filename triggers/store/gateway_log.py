"""How gateways fare: what became of the messages they took, and each change of a gateway's standing, with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from triggers.store.states import COUNTED, DELIVERED, EXPIRED

if TYPE_CHECKING:
    import sqlite3

_TOOK = ", ".join(f"'{state}'" for state in (*COUNTED, EXPIRED))
RESET = "reset"
"""What a person changes a gateway to, so that the dispatcher lets it go on."""
MOST_TIMES = 10_000
"""Of so many of the last messages the arrival times are read."""


class Change(NamedTuple):
    """A change of a gateway's standing for a class ("" for all of them); epoch ms."""

    at: int
    gateway: str
    klass: str
    old: str
    new: str
    why: str


class Fared(NamedTuple):
    """What became of the messages that a gateway took of a class since an instant.

    ``judged`` have a report or are old enough to have one, ``delivered`` of them arrived, and ``invalid`` went to
    numbers that do not exist. ``cost`` is in 1/1000 fen.
    """

    sent: int
    judged: int
    delivered: int
    invalid: int
    parts: int
    cost: int


def fared(connection: sqlite3.Connection, gateway: str, klass: str, since: int, old_enough: int) -> Fared:
    """Count what became of the messages that left through a gateway at or after ``since`` (epoch ms).

    Those without a report are judged when they left before ``old_enough``.
    """
    row = connection.execute(
        "SELECT count(*), sum(arrived_at IS NOT NULL OR left_at < ?4), sum(state = ?5), sum(invalid),"
        f" sum(parts), sum(cost) FROM outbox"
        f" WHERE gateway = ?1 AND class = ?2 AND left_at >= ?3 AND state IN ({_TOOK})",
        (gateway, klass, since, old_enough, DELIVERED),
    ).fetchone()
    return Fared(*(int(value or 0) for value in row))


def arrival_times(connection: sqlite3.Connection, gateway: str, klass: str, since: int) -> list[int]:
    """List how long the last delivered messages took to arrive, ascending, in ms; never below 0."""
    rows = connection.execute(
        "SELECT max(0, arrived_at - left_at) FROM outbox WHERE gateway = ? AND class = ? AND left_at >= ? AND state = ?"
        " ORDER BY left_at DESC LIMIT ?",
        (gateway, klass, since, DELIVERED, MOST_TIMES),
    ).fetchall()
    return sorted(int(row[0]) for row in rows)


def tells(connection: sqlite3.Connection, gateway: str) -> bool:
    """Say whether a gateway has ever told what became of a message."""
    row = connection.execute(
        "SELECT 1 FROM outbox WHERE gateway = ? AND left_at IS NOT NULL AND arrived_at IS NOT NULL LIMIT 1", (gateway,)
    ).fetchone()
    return row is not None


def took(connection: sqlite3.Connection, since: int) -> list[tuple[str, str]]:
    """List the gateways that anything left through since an instant, with the classes."""
    return connection.execute(
        "SELECT DISTINCT gateway, class FROM outbox WHERE gateway IS NOT NULL AND left_at >= ? ORDER BY 1, 2", (since,)
    ).fetchall()


def note_change(connection: sqlite3.Connection, change: Change) -> None:
    """Write a change down."""
    connection.execute(
        "INSERT INTO gateway_changes (at, gateway, class, old, new, why) VALUES (?, ?, ?, ?, ?, ?)", change
    )


def last_changes(connection: sqlite3.Connection) -> dict[tuple[str, str], Change]:
    """Give the last change of each gateway and class."""
    rows = connection.execute(
        "SELECT at, gateway, class, old, new, why FROM gateway_changes WHERE seq IN"
        " (SELECT max(seq) FROM gateway_changes GROUP BY gateway, class)"
    ).fetchall()
    return {(row[1], row[2]): Change(*row) for row in rows}


def last_number(connection: sqlite3.Connection) -> int:
    """Tell the number of the last change, 0 if there was none."""
    return int(connection.execute("SELECT coalesce(max(seq), 0) FROM gateway_changes").fetchone()[0])


def resets_after(connection: sqlite3.Connection, number: int) -> list[tuple[int, str]]:
    """List what people asked for since a change: the number of each reset, and its gateway."""
    return connection.execute(
        "SELECT seq, gateway FROM gateway_changes WHERE seq > ? AND new = ? ORDER BY seq", (number, RESET)
    ).fetchall()


def counted_since(connection: sqlite3.Connection, state: str) -> dict[tuple[str, str], int]:
    """Tell when each gateway last came into a state or out of it for a class: what was before tells nothing since."""
    rows = connection.execute(
        "SELECT gateway, class, max(at) FROM gateway_changes WHERE old = ?1 OR new = ?1 GROUP BY gateway, class",
        (state,),
    ).fetchall()
    return {(gateway, klass): at for gateway, klass, at in rows}


class Response(NamedTuple):
    """How people took a rule's messages: how many left, were judged and arrived, and how many people opted out."""

    sent: int
    judged: int
    delivered: int
    opted_out: int


def rule_fared(connection: sqlite3.Connection, rule: str, since: int, old_enough: int) -> Response:
    """Count what became of a rule's messages since an instant (epoch ms)."""
    row = connection.execute(
        "SELECT count(*), sum(arrived_at IS NOT NULL OR left_at < ?3), sum(state = ?4) FROM outbox"
        f" WHERE rule = ?1 AND left_at >= ?2 AND state IN ({_TOOK})",
        (rule, since, old_enough, DELIVERED),
    ).fetchone()
    (opted_out,) = connection.execute(
        "SELECT count(DISTINCT customer) FROM opt_outs WHERE rule = ? AND at >= ?", (rule, since)
    ).fetchone()
    sent, judged, delivered = (int(value or 0) for value in row)
    return Response(sent, judged, delivered, int(opted_out))
