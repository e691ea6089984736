"""What the writer does for one message or one round of upkeep takes as long with a year of messages as with none."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from triggers.store.database import connect, open_database
from triggers.store.messages import leaving_to
from triggers.store.outbox import being_sent, next_due
from triggers.store.overdue import open_since, overdue
from triggers.store.receipts import Report, catch_up, report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from triggers.store.database import Connection

KEPT = 3_000
FEW_STEPS = 1_000
PHONE = "+8613800001234"


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """Make a database of messages that arrived, and of some that nothing is told of."""
    path: Path = tmp_path_factory.mktemp("year") / "t.db"
    open_database(path)
    with closing(connect(path)) as connection:
        connection.execute("BEGIN")
        for number in range(KEPT):
            state, gateway = ("accepted", "silent") if number % 2 else ("delivered", "main")
            connection.execute(
                "INSERT INTO outbox (command, customer, rule, class, state, phone, at, body, queued_at, moved_at,"
                " gateway, provider_id, left_at) VALUES (?, 'c', 'r', 'marketing', ?, ?, 1, x'', 1, ?, ?, ?, 1)",
                (f"m{number}", state, PHONE, number, gateway, f"p{number}"),
            )
            connection.execute(
                "INSERT INTO receipts (gateway, provider_id, fate, code, received_at, invalid, blacklisted, message)"
                " VALUES ('main', ?, 'delivered', '', 1, 0, 0, ?)",
                (f"p{number}", number + 1),
            )
            connection.execute(  # nobody knows what these speak of
                "INSERT INTO receipts (gateway, provider_id, fate, code, received_at, invalid, blacklisted)"
                " VALUES ('main', ?, 'delivered', '', 1, 0, 0)",
                (f"q{number}",),
            )
        connection.execute("COMMIT")
        yield connection


def told(provider_id: str | None, command: str | None = None) -> Report:
    return Report("main", provider_id, command, None, "delivered", "", None, invalid=False, blacklisted=False)


@pytest.mark.parametrize(
    "work",
    [
        pytest.param(lambda c: overdue(c, "unknown", 1 << 60, 10), id="overdue, of all gateways"),
        pytest.param(lambda c: overdue(c, "accepted", 1 << 60, 10, gateway="main"), id="overdue, of one gateway"),
        pytest.param(lambda c: open_since(c, "unknown", ["main", "silent"], 10), id="what may be asked for"),
        pytest.param(being_sent, id="what a killed service was sending"),
        pytest.param(lambda c: leaving_to(c, PHONE), id="what is leaving to a number"),
        pytest.param(lambda c: next_due(c, "marketing"), id="what is due next"),
        pytest.param(lambda c: report(c, told("new"), 5), id="a receipt before its answer"),
        pytest.param(lambda c: report(c, told(None, "new"), 5), id="a receipt for a command before its answer"),
        pytest.param(lambda c: report(c, told("q7"), 5), id="the same receipt twice, before its answer"),
        pytest.param(lambda c: report(c, told("p8"), 5), id="a receipt for what has its end"),
        pytest.param(lambda c: catch_up(c, 9, 5), id="receipts that were faster than an answer"),
    ],
)
def test_no_question_looks_through_all_that_was_ever_sent(year: Connection, work: Callable[[Connection], Any]) -> None:
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    year.set_progress_handler(count, 1)
    year.execute("BEGIN")
    try:
        work(year)
    finally:
        year.set_progress_handler(None, 0)
        year.execute("ROLLBACK")
    assert 0 < steps < FEW_STEPS


def test_a_receipt_that_is_told_again_before_its_answer_is_kept_once(year: Connection) -> None:
    year.execute("BEGIN")
    before = year.execute("SELECT count(*) FROM receipts").fetchone()
    for again in (told("q7"), told(None, "later"), told(None, "later"), told("q7", "later")):
        report(year, again, 5)
    after = year.execute("SELECT count(*) FROM receipts").fetchone()
    year.execute("ROLLBACK")
    assert after[0] - before[0] == 2  # the one for the command, with its number and without
