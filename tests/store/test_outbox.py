from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import msgspec
import pytest

from triggers.core.decisions import Send
from triggers.store.database import connect, open_database
from triggers.store.messages import fates
from triggers.store.outbox import (
    being_sent,
    cancel,
    claim,
    commands_of,
    counts,
    end,
    give_back,
    move,
    next_due,
    queue,
    settle,
)
from triggers.store.states import ARROWS, STATES, Command, End, Go, Hold, Leaving, Settled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from triggers.store.database import Connection
    from triggers.store.states import Claim, Queued, Ruling

SEND = Send(
    id="1", rule="r", customer="c1", identity=None, anchor=1, due=2, at=3, withheld=False, shadow=False, variant=None,
    wave=None, coupon=None, text="hello", segments=2, cost=10_000, revision="x", klass="marketing", expires=9,
)  # fmt: skip
PHONE = "+8613800001234"
COST = 8_000  # what the gateway takes for it, not what the shop reckoned with


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Connection]:
    open_database(tmp_path / "t.db")
    with closing(connect(tmp_path / "t.db")) as connection:
        yield connection


def command(name: str, **changes: Any) -> Command:
    return Command(msgspec.structs.replace(SEND, id=name, **changes), PHONE)


def go(queued: Queued) -> Ruling:
    return Go("main", queued.phone or "", COST, 99)


def take(outbox: Connection, now: int, limit: int = 9) -> Claim:
    return claim(outbox, "marketing", limit, now, go)


def names(claimed: Claim) -> list[str]:
    return [each.queued.send.id for each in claimed.leaving]


def one(outbox: Connection, columns: str) -> Any:
    (row,) = outbox.execute(f"SELECT {columns} FROM outbox").fetchall()  # noqa: S608  a test's own columns
    return row[0] if len(row) == 1 else row


def history(outbox: Connection) -> list[tuple[Any, ...]]:
    return outbox.execute("SELECT at, old, new, reason, gateway, attempt FROM transitions ORDER BY seq").fetchall()


def money(outbox: Connection) -> tuple[int, int, int]:
    (row,) = outbox.execute("SELECT reserved, spent, released FROM spending").fetchall()
    return row  # type: ignore[no-any-return]


def leaving(outbox: Connection) -> Leaving:
    queue(outbox, [command("1")], 10)
    (found,) = take(outbox, 11).leaving
    return found


def test_a_command_is_queued_once_whatever_became_of_it(outbox: Connection) -> None:
    assert queue(outbox, [command("1"), command("2")], 10) == 2
    take(outbox, 11, limit=1)
    assert queue(outbox, [command("1"), command("2"), command("3")], 12) == 1
    assert counts(outbox) == {"queued": 2, "sending": 1}
    assert money(outbox) == (20_000, COST, 0)


def test_commands_are_claimed_in_order_and_once(outbox: Connection) -> None:
    queue(outbox, [command("b"), command("a"), command("c")], 10)
    assert names(take(outbox, 11, limit=2)) == ["b", "a"]
    assert names(take(outbox, 11, limit=2)) == ["c"]
    assert take(outbox, 11) == ([], [], [])


def test_a_claim_takes_one_class_only(outbox: Connection) -> None:
    queue(outbox, [command("1"), command("2", klass="notice")], 10)
    claimed = claim(outbox, "notice", 9, 11, go)
    assert names(claimed) == ["2"]
    assert counts(outbox) == {"queued": 1, "sending": 1}


def test_what_leaves_is_written_down_with_its_gateway_number_and_price(outbox: Connection) -> None:
    queue(outbox, [Command(SEND, None)], 10, lambda send: f"month of {send.at}")
    claimed = claim(outbox, "marketing", 9, 11, lambda _: Go("main", "+8613900005678", COST, 99))
    ((queued, went),) = claimed.leaving
    assert (queued.send, queued.phone, queued.attempts, queued.queued_at) == (SEND, None, 0, 10)
    assert (queued.gateway, queued.left_at, queued.month) == (None, None, "month of 3")
    assert went == ("main", "+8613900005678", COST, 99)
    columns = "state, gateway, phone, attempts, left_at, moved_at, cost, parts"
    assert one(outbox, columns) == ("sending", "main", "+8613900005678", 1, 11, 11, COST, 2)
    assert history(outbox) == [(11, "queued", "sending", "", "main", 1)]


def test_what_is_held_is_looked_at_again_when_its_time_has_come_and_knows_why(outbox: Connection) -> None:
    queue(outbox, [command("1"), command("2")], 10)
    held = claim(outbox, "marketing", 1, 11, lambda _: Hold(20, "capped")).held
    assert [(queued.send.id, ruling) for queued, ruling in held] == [("1", Hold(20, "capped"))]
    assert names(take(outbox, 19)) == ["2"]
    assert next_due(outbox, "marketing") == 20
    assert next_due(outbox, "notice") is None
    (found,) = take(outbox, 20).leaving
    assert (found.queued.send.id, found.queued.reason) == ("1", "capped")
    assert outbox.execute("SELECT DISTINCT reason FROM outbox").fetchall() == [("",)]


def test_what_ends_is_never_looked_at_again_and_its_money_is_released(outbox: Connection) -> None:
    queue(outbox, [command("1")], 10)
    (ended,) = claim(outbox, "marketing", 9, 11, lambda _: End("suppressed", "no phone")).ended
    assert ended[1] == End("suppressed", "no phone")
    assert one(outbox, "state, reason, cost, left_at") == ("suppressed", "no phone", 0, None)
    assert history(outbox) == [(11, "queued", "suppressed", "no phone", None, 0)]
    assert money(outbox) == (0, 0, 10_000)
    assert take(outbox, 12) == ([], [], [])
    assert next_due(outbox, "marketing") is None


def test_what_is_accepted_is_spent_at_the_gateways_price(outbox: Connection) -> None:
    found = leaving(outbox)
    assert money(outbox) == (0, COST, 0)
    settle(outbox, found, Settled("accepted", "ok", "id-1"), 12)
    assert one(outbox, "state, reason, provider_id, cost, left_at") == ("accepted", "ok", "id-1", COST, 11)
    assert history(outbox)[1:] == [(12, "sending", "accepted", "ok", "main", 1)]
    assert money(outbox) == (0, COST, 0)


def test_what_definitely_did_not_leave_is_reserved_again_and_has_not_left(outbox: Connection) -> None:
    found = leaving(outbox)
    settle(outbox, found, Settled("queued", "busy", not_before=30, spent=False, refused=True), 12)
    assert one(outbox, "cost, left_at, ambiguous, tried, not_before") == (0, None, 0, "main", 30)
    assert money(outbox) == (10_000, 0, 0)
    assert take(outbox, 29) == ([], [], [])
    (again,) = take(outbox, 30).leaving
    assert (again.queued.attempts, again.queued.tried, again.queued.reason) == (1, ("main",), "busy")
    settle(outbox, again, Settled("rejected", "bad number", spent=False), 31)
    assert one(outbox, "state, cost, left_at") == ("rejected", 0, None)
    assert money(outbox) == (0, 0, COST)


def test_what_may_have_left_stays_spent_when_it_is_sent_again(outbox: Connection) -> None:
    found = leaving(outbox)
    settle(outbox, found, Settled("queued", "reset", not_before=30, ambiguous=True), 12)
    assert one(outbox, "cost, left_at, ambiguous, tried") == (COST, 11, 1, "")
    assert money(outbox) == (10_000, COST, 0)
    (again,) = take(outbox, 30).leaving
    assert (again.queued.ambiguous, again.queued.gateway, again.queued.left_at) == (1, "main", 11)
    settle(outbox, again, Settled("unknown", "reset", ambiguous=True), 31)
    assert one(outbox, "state, cost, left_at, ambiguous, attempts") == ("unknown", 2 * COST, 30, 2, 2)
    assert money(outbox) == (0, 2 * COST, 0)


def test_a_try_that_failed_after_one_that_may_have_left_forgets_nothing_of_that(outbox: Connection) -> None:
    settle(outbox, leaving(outbox), Settled("queued", "reset", not_before=20, ambiguous=True), 12)
    (again,) = claim(outbox, "marketing", 9, 20, lambda _: Go("other", PHONE, 5_000, 99)).leaving
    settle(outbox, again, Settled("queued", "refused", not_before=30, spent=False, refused=True), 21)
    assert one(outbox, "gateway, left_at, cost, ambiguous, tried") == ("main", 11, COST, 1, "other")
    assert money(outbox) == (10_000, COST, 0)


def test_gateways_that_did_not_take_it_are_named_once_each(outbox: Connection) -> None:
    found = leaving(outbox)
    for now, gateway in ((20, "main"), (30, "other"), (40, "main")):
        settle(outbox, found, Settled("queued", not_before=now, spent=False, refused=True), now)
        (found,) = claim(outbox, "marketing", 9, now, lambda _, name=gateway: Go(name, PHONE, 1, 99)).leaving  # type: ignore[misc]
    assert found.queued.tried == ("main", "other")


def test_money_of_an_undelivered_message_can_be_given_back(outbox: Connection) -> None:
    found = leaving(outbox)
    settle(outbox, found, Settled("accepted"), 12)
    move(outbox, found.queued.seq, "accepted", "undelivered", 13)
    give_back(outbox, found.queued.seq)
    assert one(outbox, "cost") == 0
    assert money(outbox) == (0, 0, COST)


def test_money_is_counted_by_rule_and_month(outbox: Connection) -> None:
    months = {"1": "2026-08", "2": "2026-09", "3": "2026-09"}
    sends = [command("1"), command("2"), command("3", rule="other", cost=7)]
    queue(outbox, sends, 10, lambda send: months[send.id])
    take(outbox, 11, limit=1)
    rows = outbox.execute("SELECT rule, month, reserved, spent FROM spending ORDER BY 1, 2").fetchall()
    assert rows == [("other", "2026-09", 7, 0), ("r", "2026-08", 0, COST), ("r", "2026-09", 10_000, 0)]


def test_what_was_being_sent_is_found_at_start(outbox: Connection) -> None:
    queue(outbox, [command("1"), command("2"), command("3")], 10)
    first, second = take(outbox, 11, limit=2).leaving
    settle(outbox, first, Settled("accepted"), 12)
    (lost,) = being_sent(outbox)
    assert (lost.queued.seq, lost.queued.send, lost.queued.attempts) == (second.queued.seq, second.queued.send, 0)
    assert lost.go == Go("main", PHONE, 0, 0)
    settle(outbox, lost, Settled("unknown", "killed", ambiguous=True), 13)
    assert outbox.execute("SELECT state, command FROM outbox ORDER BY seq").fetchall() == [
        ("accepted", "1"),
        ("unknown", "2"),
        ("queued", "3"),
    ]
    assert money(outbox) == (10_000, 2 * COST, 0)
    assert names(take(outbox, 14)) == ["3"]


def test_states_move_along_the_arrows_only_and_what_is_refused_leaves_no_trace(outbox: Connection) -> None:
    queue(outbox, [command("1")], 10)
    with pytest.raises(AssertionError, match="no arrow"):
        move(outbox, 1, "queued", "accepted", 11)
    with pytest.raises(AssertionError, match="was not sending"):
        move(outbox, 1, "sending", "accepted", 11)
    assert history(outbox) == []
    assert counts(outbox) == {"queued": 1}


def test_the_arrows_are_those_of_the_picture_and_every_state_has_a_way_out_or_is_final() -> None:
    assert {(old, new) for old, ends in ARROWS.items() for new in ends} == {
        ("queued", "sending"), ("queued", "cancelled"), ("queued", "suppressed"), ("queued", "expired"),
        ("sending", "accepted"), ("sending", "rejected"), ("sending", "unknown"), ("sending", "queued"),
        ("accepted", "delivered"), ("accepted", "undelivered"), ("accepted", "expired"),
        ("unknown", "accepted"), ("unknown", "delivered"), ("unknown", "undelivered"), ("unknown", "unknown_final"),
    }  # fmt: skip
    assert set(STATES) == set(ARROWS) | {new for ends in ARROWS.values() for new in ends}
    assert len(STATES) == len(set(STATES)) == 11


def test_the_commands_of_one_customer_are_found_with_how_far_each_has_come(outbox: Connection) -> None:
    queue(outbox, [command("1"), command("2", customer="c2"), command("3", customer="c2")], 10)
    assert [send.id for _, send in fates(outbox, "c2")] == ["2", "3"]
    (first, second) = commands_of(outbox, "c2", "queued")
    end(outbox, first, End("suppressed", "capped"), 11)
    assert [each.send.id for each in commands_of(outbox, "c2", "queued")] == [second.send.id] == ["3"]
    assert [state for state, _ in fates(outbox, "c2")] == ["suppressed: capped", "queued"]


def test_only_the_command_of_one_wait_is_cancelled_and_only_while_it_is_queued(outbox: Connection) -> None:
    sends = [
        command("other rule", rule="q"),
        command("other identity", identity="o2"),
        command("other wait", anchor=2),
        command("other customer", customer="c2"),
        command("this"),
    ]
    queue(outbox, sends, 10)
    assert cancel(outbox, "c1", ("r", None, 1), "by order.paid", 11)
    assert not cancel(outbox, "c1", ("r", None, 1), "by order.paid", 12)
    gone = outbox.execute("SELECT command, reason, moved_at FROM outbox WHERE state = 'cancelled'").fetchall()
    assert gone == [("this", "by order.paid", 11)]
    assert names(take(outbox, 13)) == [each.send.id for each in sends[:-1]]
    assert not cancel(outbox, "c1", ("q", None, 1), "by order.paid", 14)


AGAIN = Settled("queued", "busy", not_before=20, spent=False, refused=True)
PERHAPS = Settled("queued", "timed out", not_before=20, ambiguous=True)


@pytest.mark.parametrize(
    ("answer", "moneys"), [(AGAIN, (0, 0, 10_000)), (PERHAPS, (0, COST, 10_000))], ids=["refused", "perhaps left"]
)
def test_what_is_cancelled_while_it_is_being_sent_is_not_queued_again(
    outbox: Connection, answer: Settled, moneys: tuple[int, int, int]
) -> None:
    found = leaving(outbox)
    assert not cancel(outbox, "c1", ("r", None, 1), "by order.paid", 12)
    assert counts(outbox) == {"sending": 1}
    assert settle(outbox, found, answer, 13)
    assert one(outbox, "state, reason") == ("cancelled", "by order.paid")
    assert history(outbox)[-2:] == [
        (13, "sending", "queued", answer.reason, "main", 1),
        (13, "queued", "cancelled", "by order.paid", None if answer is AGAIN else "main", 1),
    ]
    assert money(outbox) == moneys
    assert names(take(outbox, 99)) == []


def test_what_is_cancelled_while_it_is_being_sent_may_leave_by_that(outbox: Connection) -> None:
    found = leaving(outbox)
    cancel(outbox, "c1", ("r", None, 1), "by order.paid", 12)
    assert not settle(outbox, found, Settled("accepted", "", "m1"), 13)
    assert one(outbox, "state, reason") == ("accepted", "")


@pytest.mark.parametrize("wait", [("q", None, 1), ("r", "o1", 1), ("r", None, 2)])
def test_only_the_command_of_that_very_wait_is_not_queued_again(outbox: Connection, wait: Any) -> None:
    found = leaving(outbox)
    cancel(outbox, "c1", wait, "by order.paid", 12)
    cancel(outbox, "c2", ("r", None, 1), "by order.paid", 12)
    assert not settle(outbox, found, AGAIN, 13)
    assert names(take(outbox, 99)) == ["1"]
