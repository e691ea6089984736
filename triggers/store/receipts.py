"""What gateways report of messages, each report kept: matched to its message, or waiting for the one it names.

A report is matched by our command id where an authentic call carries it, else by (gateway, provider id, phone); it is
never guessed. The first one that tells an end counts; what contradicts it is kept beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from triggers.store.outbox import move
from triggers.store.states import ACCEPTED, DELIVERED, QUEUED, SENDING, UNDELIVERED, UNKNOWN

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence


class Report(NamedTuple):
    """A report of a gateway on a message: delivered or undelivered. ``at`` is when that was, if it says; epoch ms."""

    gateway: str
    provider_id: str | None
    command: str | None
    phone: str | None
    fate: str
    code: str
    at: int | None
    invalid: bool
    blacklisted: bool


class Credited(NamedTuple):
    """A message that a report brought to its end."""

    seq: int
    command: str
    customer: str
    rule: str
    klass: str
    phone: str | None
    old: str
    report: Report
    body: bytes


_COLUMNS = "gateway, provider_id, command, phone, fate, code, at, invalid, blacklisted"
_MOST_CANDIDATES = 2
MOST_COUNTED: Final = 10_000


def report(connection: sqlite3.Connection, told: Report, now: int) -> Credited | None:
    """Keep a report and credit its message; None where that is unknown yet, has its end already, or was told twice."""
    found = named_by(connection, told)
    if found is None or found[1] in (SENDING, QUEUED):  # it came before the answer, or before another try
        if not _is_kept(connection, told):
            _keep(connection, told, now, None, "")
        return None
    seq, state = found
    if state not in (ACCEPTED, UNKNOWN):
        note = "twice" if state == told.fate else f"the message is {state}"
        if not _is_kept(connection, told, seq):
            _keep(connection, told, now, seq, note)
        return None
    _keep(connection, told, now, seq, "")
    return _credit(connection, seq, state, told, now)


def catch_up(connection: sqlite3.Connection, seq: int, now: int) -> Credited | None:
    """Credit a message with a report that came before its answer; one that is queued again waits for its next try."""
    command, gateway, provider_id, phone, state = connection.execute(
        "SELECT command, gateway, provider_id, phone, state FROM outbox WHERE seq = ?", (seq,)
    ).fetchone()
    if state == QUEUED:
        return None
    rows = connection.execute(
        f"SELECT seq, {_COLUMNS} FROM receipts WHERE message IS NULL AND command = ?1 AND gateway = ?2"
        f" UNION SELECT seq, {_COLUMNS} FROM receipts WHERE message IS NULL AND gateway = ?2 AND provider_id = ?3"
        " AND command IS NULL AND (phone IS NULL OR phone = ?4) ORDER BY seq",
        (command, gateway, provider_id, phone),
    ).fetchall()
    credited: Credited | None = None
    for place, *values in rows:
        told = _report(values)
        found = named_by(connection, told)
        if found is None or found[0] != seq:  # its id is another message's, too
            continue
        if state not in (ACCEPTED, UNKNOWN):
            note = f"the message is {state}"
        elif credited is None:
            note = ""
        else:
            note = "twice" if credited.report.fate == told.fate else "contradicts the first"
        connection.execute("UPDATE receipts SET message = ?, note = ? WHERE seq = ?", (seq, note, place))
        if credited is None and state in (ACCEPTED, UNKNOWN):
            credited = _credit(connection, seq, state, told, now)
    return credited


def named_early(connection: sqlite3.Connection) -> set[str]:
    """List the commands that are named by a report which is not matched yet."""
    rows = connection.execute(
        "SELECT DISTINCT command FROM receipts WHERE message IS NULL AND command IS NOT NULL"
    ).fetchall()
    return {str(row[0]) for row in rows}


def was_delivered(connection: sqlite3.Connection, command: str) -> bool:
    """Tell whether a report says that a message which is queued again had arrived after all."""
    found = connection.execute(
        "SELECT 1 FROM receipts WHERE message IS NULL AND command = ? AND fate = ?", (command, DELIVERED)
    ).fetchone()
    return found is not None


def unmatched(connection: sqlite3.Connection) -> int:
    """Count the reports that name no message we know, as far as ``MOST_COUNTED``: it is asked often.

    One that names nothing at all is not among them, since no index has it.
    """
    (count,) = connection.execute(
        "SELECT count(*) FROM ("
        "SELECT seq FROM (SELECT seq FROM receipts WHERE message IS NULL AND provider_id IS NOT NULL LIMIT ?1) UNION "
        "SELECT seq FROM (SELECT seq FROM receipts WHERE message IS NULL AND command IS NOT NULL LIMIT ?1))",
        (MOST_COUNTED,),
    ).fetchone()
    return min(int(count), MOST_COUNTED)


def named_by(connection: sqlite3.Connection, told: Report) -> tuple[int, str] | None:
    """Find the one message that a report names: its number in the outbox, and its state."""
    if told.command is not None:
        row = connection.execute(
            "SELECT seq, state FROM outbox WHERE command = ? AND gateway = ?", (told.command, told.gateway)
        ).fetchone()
        return None if row is None else (row[0], row[1])
    if told.provider_id is None:
        return None
    rows = connection.execute(
        "SELECT seq, state FROM outbox WHERE gateway = ?1 AND provider_id = ?2 AND (?3 IS NULL OR phone = ?3) LIMIT ?4",
        (told.gateway, told.provider_id, told.phone, _MOST_CANDIDATES),
    ).fetchall()
    return (rows[0][0], rows[0][1]) if len(rows) == 1 else None


def _credit(connection: sqlite3.Connection, seq: int, old: str, told: Report, now: int) -> Credited:
    new = DELIVERED if told.fate == DELIVERED else UNDELIVERED
    move(connection, seq, old, new, now, reason="" if new == DELIVERED else told.code)
    row = connection.execute(
        "UPDATE outbox SET arrived_at = ?, invalid = ? WHERE seq = ?"
        " RETURNING command, customer, rule, class, phone, body",
        (now if told.at is None else told.at, told.invalid and new == UNDELIVERED, seq),
    ).fetchone()
    command, customer, rule, klass, phone, body = row
    return Credited(seq, command, customer, rule, klass, phone, old, told, body)


def _is_kept(connection: sqlite3.Connection, told: Report, message: int | None = None) -> bool:
    """Tell whether a report was told before; each question is put in the words of an index, since many are kept."""
    where: str
    key: int | str | None
    if message is not None:
        where, key = "message = ?", message
    elif told.command is not None:
        where, key = "message IS NULL AND command = ?", told.command
    else:
        where, key = "message IS NULL AND provider_id = ?", told.provider_id
    found = connection.execute(
        f"SELECT 1 FROM receipts WHERE {where} AND gateway = ? AND provider_id IS ? AND command IS ? AND phone IS ?"
        " AND fate = ?",
        (key, told.gateway, told.provider_id, told.command, told.phone, told.fate),
    ).fetchone()
    return found is not None


def _keep(connection: sqlite3.Connection, told: Report, now: int, message: int | None, note: str) -> None:
    connection.execute(
        f"INSERT INTO receipts ({_COLUMNS}, received_at, message, note) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*told, now, message, note),
    )


def _report(values: Sequence[Any]) -> Report:
    gateway, provider_id, command, phone, fate, code, at, invalid, blacklisted = values
    return Report(gateway, provider_id, command, phone, fate, code, at, bool(invalid), bool(blacklisted))
