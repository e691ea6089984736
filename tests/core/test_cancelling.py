"""What ends a wait before its message leaves: S12 to S16, S24, and what is the same whatever the order, S40."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import pytest
from scenes import DAY, HOUR, MINUTE, START, event, rule, shop
from stories import FREE, Story, arriving

from triggers.core.decisions import Recall

PAID = [{"event": "order.paid"}]


def waiting(again: str = "ignore", **keys: Any) -> Any:
    when = {"event": "order.created", "per": "order_id", "again": again}
    return rule(**{"when": when, "wait": "1d", "send": FREE, "unless": PAID, **keys})


@pytest.mark.parametrize(("stamp", "sends"), [(-1, 1), (0, 0), (1, 0), (DAY - 1, 0), (DAY, 0), (DAY + 1, 1)])
def test_a_cancel_counts_from_the_anchor_until_the_message_leaves(stamp: int, sends: int) -> None:
    story = Story(waiting()).tell(event("order.created", 0), event("order.paid", stamp)).until(9 * DAY)
    assert len(story.sends) == sends


@pytest.mark.parametrize(("stamp", "sends"), [(-1, 1), (0, 0), (1, 0)])
def test_a_cancel_that_arrives_before_its_trigger_still_counts(stamp: int, sends: int) -> None:
    cancel, late = event("order.paid", stamp), arriving(event("order.created", 0), HOUR)
    story = Story(waiting()).tell(cancel, late).until(9 * DAY)
    assert len(story.sends) == sends
    assert story.ends == (["sent"] if sends else ["cancelled by order.paid"])


def test_an_event_that_arrives_at_due_is_handled_before_the_timer() -> None:
    late = arriving(event("order.paid", HOUR), DAY)
    assert Story(waiting()).tell(event("order.created", 0), late).until(9 * DAY).sent == []
    later = arriving(event("order.paid", HOUR), DAY + 1)
    assert Story(waiting()).tell(event("order.created", 0), later).until(9 * DAY).sent == [DAY]


def test_a_cancel_after_due_counts_while_the_window_is_closed() -> None:
    evening = waiting(send={"text": "x", "window": ["20:00-21:00"]})
    story = Story(evening).tell(event("order.created", 0), event("order.paid", DAY + 3 * HOUR)).until(9 * DAY)
    assert story.sent == []
    assert story.ends == ["cancelled by order.paid"]


def test_a_cancel_of_another_identity_does_not_count() -> None:
    story = Story(waiting()).tell(event("order.created", 0), event("order.paid", 1, order_id="o2")).until(9 * DAY)
    assert story.sent == [DAY]


def test_a_cancel_of_the_customer_counts_for_all_identities_if_so_written() -> None:
    story = Story(waiting(unless=[{"event": "favorite.added", "match": "customer"}]))
    story.tell(event("order.created", 0, order_id="a"), event("order.created", 1, order_id="b"))
    story.tell(event("favorite.added", 2)).until(9 * DAY)
    assert story.ends == ["cancelled by favorite.added"] * 2


def test_a_cancel_of_another_customer_does_not_count() -> None:
    story = Story(waiting()).tell(event("order.created", 0), event("order.paid", 1, customer="c2")).until(9 * DAY)
    assert story.sent == [DAY]


@pytest.mark.parametrize(("amount", "sends"), [(99, 1), (100, 0)])
def test_a_cancel_counts_if_its_where_holds(amount: int, sends: int) -> None:
    big = waiting(unless=[{"event": "order.paid", "where": "event.amount >= 100"}])
    cancel = event("order.paid", 1, amount=Decimal(amount))
    assert len(Story(big).tell(event("order.created", 0), cancel).until(9 * DAY).sends) == sends
    first = arriving(event("order.created", 0), 2)
    assert len(Story(big).tell(cancel, first).until(9 * DAY).sends) == sends


def test_any_of_several_cancels_ends_the_wait_and_is_named() -> None:
    both = waiting(unless=[{"event": ["order.paid", "order.cancelled"]}, {"event": "order.refunded"}])
    for kind in ("order.paid", "order.cancelled", "order.refunded"):
        assert Story(both).tell(event("order.created", 0), event(kind, 1)).ends == [f"cancelled by {kind}"]


def test_a_trigger_does_not_cancel_itself() -> None:
    own = waiting(unless=[{"event": "order.created"}])
    assert Story(own).tell(event("order.created", 0)).until(9 * DAY).sent == [DAY]


@pytest.mark.parametrize("again", ["ignore", "restart", "each"])
def test_two_triggers_of_one_instant_that_cancel_each_other_are_both_gone(again: str) -> None:
    own = waiting(again, unless=[{"event": "order.created"}])
    for names in ("ab", "ba"):
        story = Story(own).tell(*(event("order.created", 0, id=name) for name in names)).until(9 * DAY)
        assert story.sent == []


@pytest.mark.parametrize("again", ["ignore", "restart", "each"])
def test_a_trigger_that_cancels_waits_before_it_waits_itself(again: str) -> None:
    own = waiting(again, unless=[{"event": "order.created"}])
    matches = [event("order.created", at, id=f"m{at}") for at in (0, HOUR)]
    for order in (matches, matches[::-1]):
        story = Story(own).tell(*(arriving(match, 2 * HOUR + i) for i, match in enumerate(order))).until(9 * DAY)
        assert story.sent == [DAY + HOUR]


def test_a_cancel_of_the_first_match_leaves_a_later_one_waiting() -> None:
    matches = [event("order.created", 0, id="m0"), event("order.created", 4 * HOUR, id="m4")]
    story = Story(waiting()).tell(*matches, arriving(event("order.paid", 2 * HOUR), 5 * HOUR)).until(9 * DAY)
    assert story.sent == [DAY + 4 * HOUR]
    assert story.ends == ["cancelled by order.paid", "sent"]


def test_a_cancel_after_all_matches_leaves_none_waiting() -> None:
    matches = [event("order.created", at * HOUR, id=f"m{at}") for at in range(5)]
    story = Story(waiting()).tell(*matches, event("order.paid", 5 * HOUR)).until(9 * DAY)
    assert story.sent == []


def test_cancels_one_after_the_other_leave_each_time_what_came_later() -> None:
    story = Story(waiting()).tell(*(event("order.created", at * HOUR, id=f"m{at}") for at in (0, 4, 8)))
    story.tell(arriving(event("order.paid", 2 * HOUR), 9 * HOUR), arriving(event("order.paid", 6 * HOUR), 10 * HOUR))
    assert story.until(9 * DAY).sent == [DAY + 8 * HOUR]


@pytest.mark.parametrize("again", ["ignore", "restart", "each"])
def test_the_order_of_arrival_of_matches_and_cancels_changes_nothing(again: str) -> None:
    told = [
        event("order.created", 0, id="m0"),
        event("order.paid", 2 * HOUR, id="p2"),
        event("order.created", 2 * HOUR, id="m2"),
        event("order.created", 3 * HOUR, id="m3"),
        event("order.paid", 3 * HOUR - 1, id="p3"),
    ]
    outcomes = set()
    for order in itertools.permutations([*told, told[1]]):
        story = Story(waiting(again)).tell(*(arriving(one, 4 * HOUR + i) for i, one in enumerate(order)))
        outcomes.add(tuple((send.id, send.at) for send in story.until(9 * DAY).sends))
    assert len(outcomes) == 1
    assert len(next(iter(outcomes))) == 1


def test_a_restarted_wait_is_not_cancelled_by_what_came_before_its_last_match() -> None:
    story = Story(waiting("restart")).tell(event("order.created", 0), event("order.created", 4 * HOUR))
    story.tell(arriving(event("order.paid", 2 * HOUR), 5 * HOUR)).until(9 * DAY)
    assert story.sent == [DAY + 4 * HOUR]


def test_a_restarted_wait_is_cancelled_by_a_cancel_that_came_before_the_match_that_restarts_it() -> None:
    story = Story(waiting("restart")).tell(event("order.created", 0))
    story.tell(event("order.paid", 2 * HOUR), arriving(event("order.created", HOUR), 3 * HOUR)).until(9 * DAY)
    assert story.sent == []


def test_a_cancel_that_arrives_after_the_message_left_recalls_nothing_and_is_counted() -> None:
    late = arriving(event("order.paid", 23 * HOUR, id="p"), 25 * HOUR)
    story = Story(waiting()).tell(event("order.created", 0), late).until(9 * DAY)
    assert story.sent == [DAY]
    assert story.late == ["p"]


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"at": DAY + 1}, "it happened after the message had left: that is success"),
        ({"at": -1}, "it happened before the wait began"),
        ({"at": HOUR, "order_id": "o2"}, "it is of another order"),
        ({"at": HOUR, "amount": Decimal(1)}, "its where does not hold"),
    ],
)
def test_what_would_not_have_cancelled_is_no_late_cancel(told: dict[str, Any], why: str) -> None:
    big = waiting(unless=[{"event": "order.paid", "where": "event.amount >= 100"}])
    late = arriving(event("order.paid", **told), 30 * HOUR)
    assert Story(big).tell(event("order.created", 0), late).until(9 * DAY).late == [], why


def test_a_cancel_stamped_at_the_very_instant_of_leaving_that_arrives_later_is_late() -> None:
    late = arriving(event("order.paid", DAY, id="p"), DAY + 1)
    assert Story(waiting()).tell(event("order.created", 0), late).until(9 * DAY).late == ["p"]


def test_a_late_cancel_told_twice_is_counted_once() -> None:
    late = event("order.paid", HOUR, id="p")
    story = Story(waiting()).tell(event("order.created", 0), arriving(late, 30 * HOUR), arriving(late, 31 * HOUR))
    assert story.late == ["p"]


@pytest.mark.parametrize("key", ["shadow", "withheld"])
def test_nothing_is_cancelled_late_that_never_left(key: str) -> None:
    quiet = waiting(status="shadow") if key == "shadow" else waiting(send={**FREE, "holdout": "100%"})
    story = Story(quiet).tell(event("order.created", 0), arriving(event("order.paid", HOUR), 30 * HOUR))
    assert len(story.sends) == 1
    assert story.late == []


def test_the_word_of_a_messages_own_leaving_is_no_late_cancel() -> None:
    shy = waiting(unless=[{"event": "message.sent", "match": "customer"}])
    story = Story(shy).tell(event("order.created", 0)).until(9 * DAY)
    assert story.sent == [DAY]
    assert story.late == []


def test_settle_delays_the_try_and_lets_late_cancels_count() -> None:
    late = arriving(event("order.paid", DAY - 1), DAY + 2 * MINUTE)
    story = Story(waiting(), settle=2 * MINUTE).tell(event("order.created", 0), late).until(9 * DAY)
    assert story.sent == []
    story = Story(waiting(), settle=2 * MINUTE).tell(event("order.created", 0)).until(9 * DAY)
    assert story.sent == [DAY + 2 * MINUTE]
    assert story.sends[0].due == story.sends[0].anchor + DAY


def test_a_cancel_stamped_ahead_of_its_arrival_cancels_a_trigger_that_comes_in_between() -> None:
    cancel = arriving(event("order.paid", 4 * MINUTE), 0)
    trigger = event("order.created", 2 * MINUTE)
    assert Story(waiting()).tell(cancel, trigger).until(9 * DAY).sent == []


def test_a_trigger_stamped_ahead_is_not_cancelled_by_what_happened_before_it() -> None:
    trigger = arriving(event("order.created", 4 * MINUTE), 0)
    story = Story(waiting()).tell(trigger, event("order.paid", 2 * MINUTE)).until(9 * DAY)
    assert story.sent == [DAY + 4 * MINUTE]


def test_more_matches_than_are_remembered_still_end_in_one_message() -> None:
    story = Story(waiting()).tell(*(event("order.created", at * MINUTE, id=f"m{at:03}") for at in range(150)))
    story.tell(arriving(event("order.paid", 100 * MINUTE), 150 * MINUTE)).until(9 * DAY)
    assert story.sent == [DAY + 101 * MINUTE]


@pytest.mark.parametrize(
    ("told", "recalled"),
    [
        ({}, True),
        ({"order_id": "other"}, False),  # another order's
        ({"kind": "order.created", "order_id": "o2"}, False),  # cancels nothing
    ],
)
def test_a_service_calls_back_what_was_decided_before_the_cancel_happened(told: dict[str, Any], recalled: bool) -> None:  # noqa: FBT001
    after = event(**{"kind": "order.paid", "at": 30 * HOUR, "id": "p", **told})
    story = Story(waiting(), recalls=True).tell(event("order.created", 0)).until(29 * HOUR).tell(after)
    recalls = [(each.rule, each.identity, each.anchor) for each in story.decisions if isinstance(each, Recall)]
    assert recalls == ([("r", "o1", START)] if recalled else [])
    assert not any(
        isinstance(each, Recall) for each in Story(waiting()).tell(event("order.created", 0), after).decisions
    )


def test_a_message_is_called_back_as_long_as_it_may_leave() -> None:
    slow = waiting(send={**FREE, "expires": "10d"}, in_shop=shop(history="3d"))
    story = Story(slow, in_shop=shop(history="3d"), recalls=True, keep_all=False)
    story.tell(event("order.created", 0), event("order.created", 6 * DAY, order_id="o2")).until(8 * DAY)
    assert story.sent == [DAY, 7 * DAY]
    story.tell(event("order.paid", 9 * DAY))
    assert [each.identity for each in story.decisions if isinstance(each, Recall)] == ["o1"]
