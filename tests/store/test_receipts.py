from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from triggers.core.decisions import Send
from triggers.store.database import connect, open_database
from triggers.store.outbox import being_sent, claim, commands_of, end, move, name, queue, settle
from triggers.store.receipts import Report, catch_up, named_by, report, unmatched, was_delivered
from triggers.store.states import Command, End, Go, Settled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from triggers.store.database import Connection
    from triggers.store.states import Leaving

SEND = Send(
    id="1", rule="r", customer="c1", identity=None, anchor=1, due=2, at=3, withheld=False, shadow=False, variant=None,
    wave=None, coupon=None, text="hello", segments=1, cost=10, revision="x", klass="marketing", expires=99,
)  # fmt: skip
PHONE, OTHER = "+8613800001234", "+8613800005678"
ARRIVED = Report("main", "p1", None, None, "delivered", "ok", 50, invalid=False, blacklisted=False)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Connection]:
    open_database(tmp_path / "t.db")
    with closing(connect(tmp_path / "t.db")) as connection:
        yield connection


def leave(outbox: Connection, command: str = "1", *, phone: str = PHONE, gateway: str = "main") -> Leaving:
    queue(outbox, [Command(msgspec.structs.replace(SEND, id=command), phone)], 10)
    (leaving,) = claim(outbox, "marketing", 1, 11, lambda queued: Go(gateway, queued.phone or "", 5, 99)).leaving
    return leaving


def accepted(outbox: Connection, command: str = "1", provider_id: str | None = "p1", **more: str) -> None:
    settle(outbox, leave(outbox, command, **more), Settled("accepted", "", provider_id), 12)


def states(outbox: Connection) -> dict[str, str]:
    return dict(outbox.execute("SELECT command, state FROM outbox").fetchall())


def kept(outbox: Connection) -> list[tuple[Any, ...]]:
    """List the reports with the command each was credited to."""
    return outbox.execute(
        "SELECT r.fate, o.command, r.note FROM receipts r LEFT JOIN outbox o ON o.seq = r.message ORDER BY r.seq"
    ).fetchall()


def test_a_report_ends_its_message_with_its_time_and_its_words(outbox: Connection) -> None:
    accepted(outbox)
    credited = report(outbox, ARRIVED, 60)
    assert credited is not None
    assert (credited.command, credited.customer, credited.rule, credited.klass) == ("1", "c1", "r", "marketing")
    assert (credited.phone, credited.old, credited.report) == (PHONE, "accepted", ARRIVED)
    assert msgspec.json.decode(credited.body, type=Send) == SEND
    (row,) = outbox.execute("SELECT state, reason, arrived_at, invalid, moved_at FROM outbox").fetchall()
    assert row == ("delivered", "", 50, 0, 60)
    assert kept(outbox) == [("delivered", "1", "")]


def test_a_report_without_a_time_counts_as_of_now_and_one_of_failure_says_why(outbox: Connection) -> None:
    accepted(outbox)
    failed = ARRIVED._replace(fate="undelivered", code="MK:0001", at=None, invalid=True)
    assert report(outbox, failed, 60) is not None
    (row,) = outbox.execute("SELECT state, reason, arrived_at, invalid FROM outbox").fetchall()
    assert row == ("undelivered", "MK:0001", 60, 1)


def test_a_report_is_matched_by_our_id_where_it_carries_it_whatever_the_gateways_says(outbox: Connection) -> None:
    accepted(outbox, "1", "p1")
    accepted(outbox, "2", "p2")
    assert report(outbox, ARRIVED._replace(provider_id="p1", command="2"), 60) is not None
    assert states(outbox) == {"1": "accepted", "2": "delivered"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"gateway": "other"},
        {"provider_id": "p9"},
        {"phone": OTHER},
        {"provider_id": None},
        {"command": "9"},
        {"command": "1", "gateway": "other"},
    ],
)
def test_a_report_that_names_no_message_of_ours_is_kept_and_credits_nothing(
    outbox: Connection, wrong: dict[str, str | None]
) -> None:
    accepted(outbox)
    assert report(outbox, ARRIVED._replace(**wrong), 60) is None
    assert states(outbox) == {"1": "accepted"}
    assert kept(outbox) == [("delivered", None, "")]
    assert unmatched(outbox) == (0 if wrong == {"provider_id": None} else 1)


def test_a_report_is_credited_once_however_often_it_comes(outbox: Connection) -> None:
    accepted(outbox)
    assert report(outbox, ARRIVED, 60) is not None
    assert [report(outbox, ARRIVED, 61 + number) for number in range(3)] == [None, None, None]
    assert kept(outbox) == [("delivered", "1", "")]
    history = outbox.execute("SELECT old, new FROM transitions ORDER BY seq").fetchall()
    assert history == [("queued", "sending"), ("sending", "accepted"), ("accepted", "delivered")]


@pytest.mark.parametrize("fates", [("delivered", "undelivered"), ("undelivered", "delivered")])
def test_the_first_end_counts_and_what_contradicts_it_is_kept_beside_it(
    outbox: Connection, fates: tuple[str, str]
) -> None:
    accepted(outbox)
    first, second = fates
    assert report(outbox, ARRIVED._replace(fate=first), 60) is not None
    assert report(outbox, ARRIVED._replace(fate=second), 61) is None
    assert states(outbox) == {"1": first}
    assert kept(outbox) == [(first, "1", ""), (second, "1", f"the message is {first}")]


@pytest.mark.parametrize(
    "fates", [("delivered", "undelivered"), ("undelivered", "delivered"), ("delivered", "delivered")]
)
@pytest.mark.parametrize("told", [{}, {"command": "1", "provider_id": None}, {"phone": PHONE}])
def test_reports_that_come_before_the_answer_are_credited_with_it_the_first_first(
    outbox: Connection, fates: tuple[str, str], told: dict[str, str | None]
) -> None:
    leaving = leave(outbox)
    for number, fate in enumerate(fates):
        assert report(outbox, ARRIVED._replace(fate=fate, code=f"{number}", **told), 20 + number) is None
    assert states(outbox) == {"1": "sending"}
    settle(outbox, leaving, Settled("accepted", "", "p1"), 30)
    credited = catch_up(outbox, leaving.queued.seq, 31)
    assert credited is not None
    assert (credited.old, credited.report.code) == ("accepted", "0")
    assert states(outbox) == {"1": fates[0]}
    after = [] if fates[0] == fates[1] else [(fates[1], "1", "contradicts the first")]
    assert kept(outbox) == [(fates[0], "1", ""), *after]
    assert catch_up(outbox, leaving.queued.seq, 32) is None


def test_an_early_report_waits_for_the_message_that_it_names(outbox: Connection) -> None:
    leaving = leave(outbox)
    report(outbox, ARRIVED._replace(phone=OTHER), 20)
    report(outbox, ARRIVED._replace(gateway="other"), 20)
    report(outbox, ARRIVED._replace(provider_id="p2"), 20)
    settle(outbox, leaving, Settled("accepted", "", "p1"), 30)
    assert catch_up(outbox, leaving.queued.seq, 31) is None
    assert states(outbox) == {"1": "accepted"}
    assert unmatched(outbox) == 3


def test_two_messages_with_one_id_at_the_gateway_are_told_apart_by_number_or_not_at_all(outbox: Connection) -> None:
    accepted(outbox, "1", "p1", phone=PHONE)
    accepted(outbox, "2", "p1", phone=OTHER)
    assert report(outbox, ARRIVED, 60) is None
    assert states(outbox) == {"1": "accepted", "2": "accepted"}
    assert report(outbox, ARRIVED._replace(phone=OTHER), 61) is not None
    assert states(outbox) == {"1": "accepted", "2": "delivered"}
    accepted(outbox, "3", "p1", phone=PHONE)
    assert report(outbox, ARRIVED._replace(phone=PHONE), 62) is None
    assert states(outbox)["1"] == states(outbox)["3"] == "accepted"


def test_a_report_that_could_be_for_either_of_two_is_not_credited_to_a_third(outbox: Connection) -> None:
    accepted(outbox, "1", "p1")
    accepted(outbox, "2", "p1")
    assert report(outbox, ARRIVED, 60) is None
    leaving = leave(outbox, "3")
    settle(outbox, leaving, Settled("accepted", "", "p1"), 61)
    assert catch_up(outbox, leaving.queued.seq, 62) is None
    assert set(states(outbox).values()) == {"accepted"}
    assert unmatched(outbox) == 1


def test_an_id_that_two_gateways_gave_names_one_message_of_each(outbox: Connection) -> None:
    accepted(outbox, "1", "p1")
    accepted(outbox, "2", "p1", gateway="other")
    assert report(outbox, ARRIVED._replace(gateway="other"), 60) is not None
    assert states(outbox) == {"1": "accepted", "2": "delivered"}


def test_a_message_that_may_have_left_is_settled_by_our_id_or_by_one_learnt_later(outbox: Connection) -> None:
    for command in ("1", "2"):
        settle(outbox, leave(outbox, command), Settled("unknown", "reset", ambiguous=True), 12)
    assert report(outbox, ARRIVED, 20) is None
    credited = report(outbox, ARRIVED._replace(command="1"), 21)
    assert credited is not None
    assert credited.old == "unknown"
    name(outbox, 2, "p1")
    name(outbox, 2, "p2")  # what it is called already is kept
    caught = catch_up(outbox, 2, 22)
    assert caught is not None
    assert (caught.command, caught.old) == ("2", "unknown")
    assert states(outbox) == {"1": "delivered", "2": "delivered"}


def test_a_service_killed_between_the_report_and_the_answer_credits_it_at_its_next_start(outbox: Connection) -> None:
    leave(outbox)
    report(outbox, ARRIVED._replace(command="1"), 20)
    (lost,) = being_sent(outbox)
    settle(outbox, lost, Settled("unknown", "killed", ambiguous=True), 30)
    credited = catch_up(outbox, lost.queued.seq, 30)
    assert credited is not None
    assert states(outbox) == {"1": "delivered"}


@pytest.mark.parametrize("state", ["expired", "unknown_final"])
def test_a_report_that_comes_too_late_is_kept_with_its_message(outbox: Connection, state: str) -> None:
    before = "accepted" if state == "expired" else "unknown"
    leaving = leave(outbox)
    settle(outbox, leaving, Settled(before, "", "p1", ambiguous=before == "unknown"), 12)
    move(outbox, leaving.queued.seq, before, state, 40)
    assert report(outbox, ARRIVED, 60) is None
    assert states(outbox) == {"1": state}
    assert kept(outbox) == [("delivered", "1", f"the message is {state}")]


def test_a_report_that_came_before_a_refusal_is_kept_with_its_message(outbox: Connection) -> None:
    leaving = leave(outbox)
    report(outbox, ARRIVED._replace(command="1"), 20)
    settle(outbox, leaving, Settled("rejected", "no", spent=False), 30)
    assert catch_up(outbox, leaving.queued.seq, 31) is None
    assert states(outbox) == {"1": "rejected"}
    assert kept(outbox) == [("delivered", "1", "the message is rejected")]


def test_a_delivery_is_known_before_the_message_leaves_again(outbox: Connection) -> None:
    settle(outbox, leave(outbox), Settled("queued", "reset", not_before=20, ambiguous=True), 12)
    assert not was_delivered(outbox, "1")
    report(outbox, ARRIVED._replace(command="1", fate="undelivered"), 15)
    report(outbox, ARRIVED._replace(command="2"), 15)
    assert not was_delivered(outbox, "1")
    report(outbox, ARRIVED._replace(command="1", gateway="other"), 16)  # through whichever gateway it was
    assert was_delivered(outbox, "1")
    (queued,) = commands_of(outbox, "c1", "queued")
    end(outbox, queued, End("cancelled", "delivered"), 17)
    assert named_by(outbox, ARRIVED._replace(command="1")) == (1, "cancelled")


def test_reports_that_name_no_message_are_counted_once_each_and_not_without_end(
    outbox: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted(outbox)
    report(outbox, ARRIVED, 60)
    for number in range(4):
        report(outbox, ARRIVED._replace(provider_id=f"x{number}", command=f"y{number}"), 60)
    report(outbox, ARRIVED._replace(provider_id=None, command="z"), 60)
    assert unmatched(outbox) == 5
    monkeypatch.setattr("triggers.store.receipts.MOST_COUNTED", 4)
    assert unmatched(outbox) == 4


def test_to_count_them_the_others_are_not_gone_through(outbox: Connection) -> None:
    asked: list[str] = []
    outbox.set_trace_callback(asked.append)
    unmatched(outbox)
    outbox.set_trace_callback(None)
    plan = [str(row[3]) for row in outbox.execute(f"EXPLAIN QUERY PLAN {asked[0]}")]
    looked = [line for line in plan if "receipts" in line]
    assert len(looked) == 2
    assert all(re.search("INDEX receipts_open_by_(id|command)", line) for line in looked), plan
