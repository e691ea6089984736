from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import msgspec
import pytest

from triggers.core.decisions import Send
from triggers.store.database import connect, open_database
from triggers.store.gateway_log import (
    Change,
    Fared,
    Response,
    arrival_times,
    counted_since,
    fared,
    last_changes,
    last_number,
    note_change,
    resets_after,
    rule_fared,
    tells,
    took,
)
from triggers.store.outbox import claim, move, queue, settle
from triggers.store.receipts import Report, report
from triggers.store.states import Command, Go, Settled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from triggers.store.database import Connection

SEND = Send(
    id="1", rule="r", customer="c1", identity=None, anchor=1, due=2, at=3, withheld=False, shadow=False, variant=None,
    wave=None, coupon=None, text="hello", segments=2, cost=10, revision="x", klass="marketing", expires=9,
)  # fmt: skip
PHONE = "+8613800001234"


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Connection]:
    open_database(tmp_path / "t.db")
    with closing(connect(tmp_path / "t.db")) as connection:
        yield connection


def left(
    outbox: Connection, name: str, at: int, state: str = "accepted", *, gateway: str = "main", **changes: str
) -> int:
    """Let a message leave and be settled; gives its number."""
    send = msgspec.structs.replace(SEND, id=name, **changes)
    queue(outbox, [Command(send, PHONE)], at)
    (leaving,) = claim(outbox, send.klass, 1, at, lambda _: Go(gateway, PHONE, 7, 99)).leaving
    spent = state in ("accepted", "unknown")
    if state != "sending":
        settle(outbox, leaving, Settled(state, "", f"id-{name}", not_before=1 << 60, spent=spent), at)
    return leaving.queued.seq


def told(
    outbox: Connection, name: str, at: int, fate: str = "delivered", *, gateway: str = "main", invalid: bool = False
) -> None:
    receipt = Report(gateway, f"id-{name}", None, None, fate, "", at, invalid=invalid, blacklisted=False)
    assert report(outbox, receipt, at) is not None


def test_all_that_a_gateway_may_have_taken_counts_and_is_judged_by_its_receipt_or_its_age(outbox: Connection) -> None:
    left(outbox, "delivered", 100)
    told(outbox, "delivered", 130)
    left(outbox, "undelivered", 100)
    told(outbox, "undelivered", 130, "undelivered")
    left(outbox, "no such number", 100)
    told(outbox, "no such number", 130, "undelivered", invalid=True)
    left(outbox, "old", 99)
    left(outbox, "young", 100)
    left(outbox, "unknown", 99, "unknown")
    left(outbox, "leaving", 99, "sending")
    move(outbox, left(outbox, "silent", 99), "accepted", "expired", 120)
    move(outbox, left(outbox, "lost", 99, "unknown"), "unknown", "unknown_final", 120)
    assert fared(outbox, "main", "marketing", 0, 100) == Fared(9, 8, 1, 1, 18, 63)
    assert fared(outbox, "main", "marketing", 0, 99) == Fared(9, 3, 1, 1, 18, 63)


def test_what_did_not_leave_is_not_the_gateways_fault(outbox: Connection) -> None:
    left(outbox, "refused", 100, "rejected")
    left(outbox, "again", 100, "queued")
    queue(outbox, [Command(msgspec.structs.replace(SEND, id="waiting"), PHONE)], 100)
    assert fared(outbox, "main", "marketing", 0, 200) == Fared(0, 0, 0, 0, 0, 0)


def test_only_one_gateway_one_class_and_what_left_since_then_counts(outbox: Connection) -> None:
    left(outbox, "1", 99)
    left(outbox, "2", 100)
    left(outbox, "3", 101, gateway="other")
    left(outbox, "4", 101, klass="notice")
    assert fared(outbox, "main", "marketing", 100, 0).sent == 1
    assert fared(outbox, "main", "marketing", 99, 0).sent == 2
    assert took(outbox, 101) == [("main", "notice"), ("other", "marketing")]
    assert took(outbox, 0) == [("main", "marketing"), ("main", "notice"), ("other", "marketing")]


def test_times_of_arrival_are_those_of_the_delivered_and_none_is_negative(outbox: Connection) -> None:
    for name, at in (("a", 130), ("b", 90), ("c", 105)):
        left(outbox, name, 100)
        told(outbox, name, at)
    left(outbox, "d", 100)
    told(outbox, "d", 150, "undelivered")
    left(outbox, "e", 100)
    assert arrival_times(outbox, "main", "marketing", 0) == [0, 5, 30]
    assert arrival_times(outbox, "main", "marketing", 101) == []


def test_a_delivered_message_was_to_a_number_that_exists_whatever_else_its_receipt_says(outbox: Connection) -> None:
    left(outbox, "1", 100)
    told(outbox, "1", 130, invalid=True)
    seen = fared(outbox, "main", "marketing", 0, 200)
    assert (seen.judged, seen.delivered, seen.invalid) == (1, 1, 0)


def test_a_gateway_that_once_told_of_a_delivery_is_known(outbox: Connection) -> None:
    left(outbox, "1", 100)
    assert not tells(outbox, "main")
    told(outbox, "1", 130, "undelivered")
    assert tells(outbox, "main")
    assert not tells(outbox, "other")


def test_the_last_change_of_each_gateway_and_class_is_found(outbox: Connection) -> None:
    changes = [
        Change(1, "main", "marketing", "good", "demoted", "60%"),
        Change(2, "main", "", "closed", "open", "refused"),
        Change(3, "main", "marketing", "demoted", "good", "99%"),
        Change(4, "other", "marketing", "good", "warned", "93%"),
        Change(5, "main", "", "open", "reset", "by ann"),
    ]
    for change in changes:
        note_change(outbox, change)
    assert last_changes(outbox) == {
        ("main", "marketing"): changes[2],
        ("other", "marketing"): changes[3],
        ("main", ""): changes[4],
    }
    assert counted_since(outbox, "demoted") == {("main", "marketing"): 3}
    assert counted_since(outbox, "warned") == {("other", "marketing"): 4}
    assert last_number(outbox) == 5
    assert resets_after(outbox, 4) == [(5, "main")]
    assert resets_after(outbox, 5) == []


def test_how_people_took_a_rules_messages_is_counted_by_people_who_opted_out(outbox: Connection) -> None:
    left(outbox, "1", 100)
    told(outbox, "1", 110)
    left(outbox, "2", 100)
    left(outbox, "3", 101, gateway="other")
    left(outbox, "4", 101, rule="another")
    left(outbox, "5", 99)
    left(outbox, "6", 100, "rejected")
    answers = [
        ("c1", "r", 100),
        ("c1", "r", 140),
        ("c2", "r", 120),
        ("c3", "another", 120),
        ("c4", None, 120),
        ("c5", "r", 99),
    ]
    outbox.executemany("INSERT INTO opt_outs (customer, rule, at) VALUES (?, ?, ?)", answers)
    assert rule_fared(outbox, "r", 100, 101) == Response(3, 2, 1, 2)
    assert rule_fared(outbox, "r", 99, 101) == Response(4, 3, 1, 3)
    assert rule_fared(outbox, "nobody's", 0, 101) == Response(0, 0, 0, 0)
