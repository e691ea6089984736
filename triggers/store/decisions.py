"""What was decided, one row each: waits that began, were held back or ended, with the reason. Only ever appended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from triggers.core.decisions import Armed, Decision, Ended, LateCancel, Postponed, Recall

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

ARMED, POSTPONED, ENDED, LATE_CANCEL = "armed", "postponed", "ended", "late cancel"


class DecisionRow(msgspec.Struct, tag="decided", array_like=True, frozen=True, gc=False):
    """A decision as it is kept. Times in epoch ms; ``until`` is when a postponed try is made again.

    A fleet's workers write it, too, as an array behind its tag: there are many, so names are left out.
    """

    kind: str
    customer: str
    rule: str
    identity: str | None
    slot: str | None
    anchor: int | None
    due: int | None
    at: int
    until: int | None
    reason: str
    detail: str
    revision: str


_COLUMNS = ", ".join(DecisionRow.__struct_fields__)
_PLACES = ", ".join("?" * len(DecisionRow.__struct_fields__))


def row_of(decision: Decision, revision: str) -> DecisionRow | None:
    """Turn a decision into a row; None for what leaves a trace elsewhere (commands, the ledger)."""
    if isinstance(decision, Ended):
        kind, reason, detail, until = ENDED, decision.reason.value, decision.detail, None
    elif isinstance(decision, Armed):
        kind, reason, detail, until = ARMED, "", "", None
    elif isinstance(decision, Postponed):
        kind, reason, detail, until = POSTPONED, decision.reason.value, decision.detail, decision.until
    else:
        return _late(decision, revision)
    wait, customer, at = decision.wait, decision.customer, decision.at
    identity, slot, anchor, due = wait.identity, wait.slot, wait.anchor, wait.due
    return DecisionRow(kind, customer, wait.rule, identity, slot, anchor, due, at, until, reason, detail, revision)


def _late(decision: Decision, revision: str) -> DecisionRow | None:
    if isinstance(decision, LateCancel) and not isinstance(decision, Recall):
        detail = f"{decision.event} {decision.event_id}"
        customer, rule, at = decision.customer, decision.rule, decision.at
        return DecisionRow(LATE_CANCEL, customer, rule, None, None, None, None, at, None, "", detail, revision)
    return None


def append_decisions(connection: sqlite3.Connection, rows: Iterable[DecisionRow]) -> None:
    """Write decisions."""
    connection.executemany(f"INSERT INTO decisions ({_COLUMNS}) VALUES ({_PLACES})", map(msgspec.structs.astuple, rows))


def decisions_of(
    connection: sqlite3.Connection, customer: str, rule: str | None = None, limit: int = 10_000
) -> list[DecisionRow]:
    """Read the last decisions on one customer, in order."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM decisions WHERE customer = ? AND (? IS NULL OR rule = ?) ORDER BY seq DESC LIMIT ?",
        (customer, rule, rule, limit),
    ).fetchall()
    return [DecisionRow(*row) for row in reversed(rows)]
