"""Receipts that come before the answer they belong to, or between two tries of one message."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from triggers.core.decisions import Send
from triggers.store.database import connect, open_database
from triggers.store.outbox import claim, queue, settle
from triggers.store.receipts import Report, catch_up, report, unmatched, was_delivered
from triggers.store.states import ACCEPTED, QUEUED, UNKNOWN, Command, Go, Settled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from triggers.store.database import Connection
    from triggers.store.states import Leaving

SEND = Send(
    id="1", rule="r", customer="c1", identity=None, anchor=1, due=2, at=3, withheld=False, shadow=False, variant=None,
    wave=None, coupon=None, text="hello", segments=1, cost=10, revision="x", klass="notice", expires=99,
)  # fmt: skip
PHONE = "+8613800001234"
ARRIVED = Report("main", "m1", "1", PHONE, "delivered", "", None, invalid=False, blacklisted=False)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Connection]:
    open_database(tmp_path / "t.db")
    with closing(connect(tmp_path / "t.db")) as connection:
        queue(connection, [Command(SEND, PHONE)], 5)
        yield connection


def leave(outbox: Connection, now: int) -> Leaving:
    (leaving,) = claim(outbox, "notice", 1, now, lambda _: Go("main", PHONE, 10, 99)).leaving
    return leaving


@pytest.mark.parametrize("is_early", [True, False])
def test_a_receipt_for_a_message_that_is_queued_again_is_kept_until_its_next_try(
    outbox: Connection,
    is_early: bool,  # noqa: FBT001  both ways in one story
) -> None:
    first = leave(outbox, 6)
    if is_early:
        assert report(outbox, ARRIVED, 7) is None
    settle(outbox, first, Settled(QUEUED, "timed out", ambiguous=True), 8)
    assert catch_up(outbox, 1, 8) is None
    if not is_early:
        assert report(outbox, ARRIVED, 9) is None
    assert report(outbox, ARRIVED, 9) is None  # told twice, kept once
    assert unmatched(outbox) == 1
    assert was_delivered(outbox, "1")


def test_a_receipt_that_nobody_stopped_the_next_try_for_is_credited_to_it(outbox: Connection) -> None:
    settle(outbox, leave(outbox, 6), Settled(QUEUED, "timed out", ambiguous=True), 8)
    report(outbox, ARRIVED, 9)
    settle(outbox, leave(outbox, 10), Settled(ACCEPTED, "", "m2"), 11)
    credited = catch_up(outbox, 1, 11)
    assert credited is not None
    assert (credited.command, credited.old, credited.report) == ("1", ACCEPTED, ARRIVED)
    assert unmatched(outbox) == 0


def test_a_receipt_faster_than_an_answer_that_never_came_settles_its_message(outbox: Connection) -> None:
    first = leave(outbox, 6)
    report(outbox, ARRIVED, 7)
    settle(outbox, first, Settled(UNKNOWN, "killed", ambiguous=True), 8)
    credited = catch_up(outbox, 1, 8)
    assert credited is not None
    assert outbox.execute("SELECT state FROM outbox").fetchone() == ("delivered",)
