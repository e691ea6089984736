from __future__ import annotations

from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import pytest

from triggers.core.decisions import Send
from triggers.store.claims import (
    Pause,
    commercial_since,
    engine_is_behind,
    pause,
    pauses,
    resume,
    rule_pause,
)
from triggers.store.database import connect, open_database
from triggers.store.outbox import claim, move, queue, settle
from triggers.store.progress import Progress, save_progress
from triggers.store.spending import month_spent, rule_spent
from triggers.store.states import COUNTED, Command, Go, Settled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from triggers.store.database import Connection

SEND = Send(
    id="1", rule="r", customer="c1", identity=None, anchor=1, due=2, at=3, withheld=False, shadow=False, variant=None,
    wave=None, coupon=None, text="hello", segments=1, cost=10, revision="x", klass="marketing", expires=99,
)  # fmt: skip
PHONE = "+8613800001234"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Connection]:
    open_database(tmp_path / "t.db")
    with closing(connect(tmp_path / "t.db")) as connection:
        yield connection


def event(store: Connection, seq: int, customer: str) -> None:
    store.execute(
        "INSERT INTO events (seq, source, id, type, customer, occurred_at, received_at, body)"
        " VALUES (?, '', ?, 'store.visited', ?, 0, 0, x'')",
        (seq, f"e{seq}", customer),
    )


def bring(store: Connection, name: str, at: int, *path: str, **changes: str) -> None:
    """Bring a message into a state, by the states after sending."""
    send = msgspec.structs.replace(SEND, id=name, **changes)
    queue(store, [Command(send, PHONE)], at, lambda send: "2026-09" if send.rule == "r" else "2026-10")
    (leaving,) = claim(store, send.klass, 1, at, lambda _: Go("main", PHONE, 7, 99)).leaving
    if path:
        spent = path[0] not in ("rejected", "queued")
        settle(store, leaving, Settled(path[0], not_before=1 << 60, spent=spent), at)
    for old, new in pairwise(path):
        move(store, leaving.queued.seq, old, new, at)


def test_the_engine_is_behind_with_a_customer_until_it_has_decided_on_their_last_event(store: Connection) -> None:
    assert not engine_is_behind(store, "c1")
    event(store, 1, "c1")
    event(store, 2, "c2")
    assert engine_is_behind(store, "c1")  # before the first commit it has decided on nothing
    for position, behind in ((0, [True, True]), (1, [False, True]), (2, [False, False]), (30, [False, False])):
        save_progress(store, Progress(position, 5, None, "x"))
        assert [engine_is_behind(store, customer) for customer in ("c1", "c2")] == behind
    assert not engine_is_behind(store, "nobody")
    event(store, 100, "c1")  # the position is a number, not a text
    assert engine_is_behind(store, "c1")


def test_all_commercial_that_left_or_may_have_counts_the_oldest_first(store: Connection) -> None:
    for at, path in enumerate(
        [
            (),
            ("unknown",),
            ("unknown", "unknown_final"),
            ("accepted",),
            ("accepted", "delivered"),
            ("accepted", "undelivered"),
            ("accepted", "expired"),
        ],
        start=100,
    ):
        bring(store, f"{at}", at, *path, klass="member" if at == 103 else "marketing")
    assert {*COUNTED, "expired"} == {row[0] for row in store.execute("SELECT state FROM outbox")}
    found = commercial_since(store, "c1", 0)
    assert found == [("member" if at == 103 else "marketing", at) for at in range(100, 107)]
    assert commercial_since(store, "c1", 104) == [("marketing", 105), ("marketing", 106)]
    assert commercial_since(store, "c2", 0) == []


def test_what_did_not_leave_and_what_was_asked_for_does_not_count(store: Connection) -> None:
    bring(store, "1", 100, "rejected")
    bring(store, "2", 100, "queued")
    bring(store, "3", 100, "accepted", klass="notice")
    bring(store, "4", 100, "accepted", klass="verification")
    queue(store, [Command(msgspec.structs.replace(SEND, id="5"), PHONE)], 100)
    store.execute("UPDATE outbox SET state = 'expired' WHERE command = '5'")  # it never left
    assert commercial_since(store, "c1", 0) == []


def test_spending_is_told_by_rule_and_by_month(store: Connection) -> None:
    assert (rule_spent(store, "r"), month_spent(store, "2026-09")) == (0, 0)
    bring(store, "1", 100, "accepted")
    bring(store, "2", 100, "unknown")
    bring(store, "3", 100, "rejected")
    bring(store, "4", 100, "accepted", rule="q")
    assert (rule_spent(store, "r"), rule_spent(store, "q"), rule_spent(store, "p")) == (14, 7, 0)
    assert (month_spent(store, "2026-09"), month_spent(store, "2026-10")) == (14, 7)


def test_a_rule_is_paused_once_until_somebody_lets_it_go_on(store: Connection) -> None:
    assert rule_pause(store, "r") is None
    assert not resume(store, "r", 4)
    assert pause(store, "r", "60% arrived", 5)
    assert not pause(store, "r", "50% arrived", 6)
    assert rule_pause(store, "r") == "60% arrived"
    assert rule_pause(store, "q") is None
    assert resume(store, "r", 7)
    assert not resume(store, "r", 8)
    assert rule_pause(store, "r") is None
    assert pauses(store) == [Pause("r", "60% arrived", 5, 7)]
    assert pause(store, "r", "40% arrived", 9)
    assert pause(store, "q", "9% opted out", 9)
    assert pauses(store) == [Pause("q", "9% opted out", 9, None), Pause("r", "40% arrived", 9, None)]
