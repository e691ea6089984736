"""What was decided, one row each: waits that began, were held back or ended, with the reason. Only ever appended."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from triggers.core.decisions import Armed, Decision, Ended, LateCancel, Postponed, Recall

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

ARMED, POSTPONED, ENDED, LATE_CANCEL = "armed", "postponed", "ended", "late cancel"


class DecisionRow(NamedTuple):
    """A decision as it is kept. Times in epoch ms; ``until`` is when a postponed try is made again."""

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


_COLUMNS = ", ".join(DecisionRow._fields)
_PLACES = ", ".join("?" * len(DecisionRow._fields))


def row_of(decision: Decision, revision: str) -> DecisionRow | None:
    """Turn a decision into a row; None for what leaves a trace elsewhere (commands, the ledger)."""
    if isinstance(decision, LateCancel) and not isinstance(decision, Recall):
        detail = f"{decision.event} {decision.event_id}"
        return DecisionRow(
            LATE_CANCEL,
            decision.customer,
            decision.rule,
            None,
            None,
            None,
            None,
            decision.at,
            None,
            "",
            detail,
            revision,
        )
    if not isinstance(decision, Armed | Ended | Postponed):
        return None
    wait = decision.wait
    kind, reason, detail, until = ARMED, "", "", None
    if not isinstance(decision, Armed):
        kind, reason, detail = ENDED, str(decision.reason), decision.detail
    if isinstance(decision, Postponed):
        kind, until = POSTPONED, decision.until
    return DecisionRow(
        kind,
        decision.customer,
        wait.rule,
        wait.identity,
        wait.slot,
        wait.anchor,
        wait.due,
        decision.at,
        until,
        reason,
        detail,
        revision,
    )


def append_decisions(connection: sqlite3.Connection, rows: Iterable[DecisionRow]) -> None:
    """Write decisions."""
    connection.executemany(f"INSERT INTO decisions ({_COLUMNS}) VALUES ({_PLACES})", rows)


def decisions_of(
    connection: sqlite3.Connection, customer: str, rule: str | None = None, limit: int = 10_000
) -> list[DecisionRow]:
    """Read the last decisions on one customer, in order."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM decisions WHERE customer = ? AND (? IS NULL OR rule = ?) ORDER BY seq DESC LIMIT ?",
        (customer, rule, rule, limit),
    ).fetchall()
    return [DecisionRow(*row) for row in reversed(rows)]
