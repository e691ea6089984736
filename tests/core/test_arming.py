"""What begins a wait, and whose wait it is: S1 to S4, S8 to S11."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import pytest
from scenes import DAY, HOUR, MINUTE, START, event, rule, shop
from stories import FREE, Story, arriving

from triggers.core.intake import stamp
from triggers.language import build_rule

CREATED = {"event": "order.created", "per": "order_id"}


def waiting(**keys: Any) -> Any:
    return rule(**{"when": CREATED, "wait": "1d", "send": FREE, **keys})


def test_a_match_arms_and_the_anchor_is_when_it_happened() -> None:
    story = Story(waiting()).tell(arriving(event("order.created", 0), 3 * HOUR)).until(3 * DAY)
    assert story.armed == [0]
    assert story.sent == [DAY]


def test_a_match_that_arrives_after_it_was_due_leaves_on_arrival() -> None:
    story = Story(waiting()).tell(arriving(event("order.created", 0), DAY + 3 * HOUR)).until(3 * DAY)
    assert story.sent == [DAY + 3 * HOUR]


def test_a_match_that_arrives_when_it_has_expired_is_dropped() -> None:
    story = Story(waiting()).tell(arriving(event("order.created", 0), 3 * DAY)).until(9 * DAY)
    assert story.sent == []
    assert story.ends == ["expired"]


def test_a_match_that_arrives_just_before_it_expires_is_sent() -> None:
    story = Story(waiting()).tell(arriving(event("order.created", 0), 3 * DAY - 1)).until(9 * DAY)
    assert story.sent == [3 * DAY - 1]


# S1, S2: events


def test_events_of_equal_source_and_id_are_one_event() -> None:
    twice = [event("order.created", 0, id="e", source="s"), event("order.created", HOUR, id="e", source="s")]
    story = Story(waiting(when={**CREATED, "again": "each"})).tell(*twice).until(3 * DAY)
    assert story.sent == [DAY]


def test_events_of_equal_id_and_other_source_are_two_events() -> None:
    twice = [event("order.created", 0, id="e", source=source) for source in ("s", "t")]
    story = Story(waiting(when={**CREATED, "again": "each"})).tell(*twice).until(3 * DAY)
    assert story.sent == [DAY, DAY]
    assert len({send.id for send in story.sends}) == 2


def test_no_source_is_a_source_of_its_own() -> None:
    twice = [event("order.created", 0, id="e"), event("order.created", 0, id="e", source="s")]
    story = Story(waiting(when={**CREATED, "again": "each"})).tell(*twice).until(3 * DAY)
    assert len(story.sends) == 2


def test_a_repetition_stamped_otherwise_does_not_move_a_restarted_wait() -> None:
    again = waiting(when={"event": "order.created", "again": "restart"})
    story = Story(again).tell(event("order.created", 0, id="e"), event("order.created", 5 * HOUR, id="e"))
    assert story.until(4 * DAY).sent == [DAY]


def test_a_repetition_of_a_trigger_after_its_message_left_sends_nothing_more() -> None:
    first = event("order.created", 0, id="e")
    story = Story(waiting()).tell(first).until(DAY + HOUR).tell(arriving(first, DAY + 2 * HOUR)).until(9 * DAY)
    assert story.sent == [DAY]


def test_a_repetition_of_a_cancelled_trigger_does_not_arm_again() -> None:
    first = event("order.created", 0, id="e")
    story = Story(waiting(unless=[{"event": "order.paid"}]))
    story.tell(first, event("order.paid", HOUR), arriving(first, 2 * HOUR)).until(9 * DAY)
    assert story.sent == []
    assert story.ends == ["cancelled by order.paid"]


# S4: times of events


def test_an_event_stamped_more_than_5_minutes_ahead_happened_when_it_arrived() -> None:
    for ahead, at in ((5 * MINUTE, START + 5 * MINUTE), (5 * MINUTE + 1, START)):
        told = event("order.created", ahead)
        assert stamp(told, START) == (at == START)
        assert (told.at, told.received_at) == (at, START)


def test_an_event_stamped_5_minutes_ahead_waits_from_its_stamp() -> None:
    story = Story(waiting()).tell(arriving(event("order.created", 5 * MINUTE), 0)).until(3 * DAY)
    assert story.sent == [DAY + 5 * MINUTE]


# Identity, S8


def test_each_value_of_per_waits_by_itself() -> None:
    story = Story(waiting())
    story.tell(event("order.created", 0, order_id="a"), event("order.created", HOUR, order_id="b")).until(3 * DAY)
    assert [(send.identity, send.at - START) for send in story.sends] == [("a", DAY), ("b", DAY + HOUR)]


def test_each_customer_waits_alone_even_for_the_same_order() -> None:
    story = Story(waiting())
    story.tell(event("order.created", 0, customer="a"), event("order.created", 0, customer="b")).until(3 * DAY)
    assert sorted(send.customer for send in story.sends) == ["a", "b"]


def test_without_per_one_wait_is_all_a_customer_has() -> None:
    story = Story(waiting(when={"event": "order.created"}))
    story.tell(event("order.created", 0, order_id="a"), event("order.created", HOUR, order_id="b")).until(3 * DAY)
    assert story.sent == [DAY]
    assert story.sends[0].identity is None


def test_again_each_lets_every_event_wait() -> None:
    story = Story(waiting(when={**CREATED, "again": "each"}))
    story.tell(*(event("order.created", hours * HOUR) for hours in range(3))).until(3 * DAY)
    assert story.sent == [DAY, DAY + HOUR, DAY + 2 * HOUR]


def test_hostile_values_of_per_are_told_apart() -> None:
    names = ["o", "o|", "|o", "o\\", "o\\|", "r", "None", "order.created", "o o", "Ｏ"]  # noqa: RUF001  full width
    story = Story(waiting()).tell(*(event("order.created", 0, order_id=name) for name in names)).until(3 * DAY)
    assert sorted(send.identity or "" for send in story.sends) == sorted(names)
    assert len({send.id for send in story.sends}) == len(names)


# Arming, S9


@pytest.mark.parametrize(("status", "sends"), [("live", 1), ("shadow", 1), ("paused", 0), ("draft", 0)])
def test_only_live_and_shadow_rules_arm(status: str, sends: int) -> None:
    story = Story(waiting(status=status)).tell(event("order.created", 0)).until(3 * DAY)
    assert len(story.sends) == len(story.armed) == sends


def test_a_shadow_rules_message_is_told_but_would_only_be_sent() -> None:
    story = Story(waiting(status="shadow")).tell(event("order.created", 0)).until(3 * DAY)
    assert [(send.shadow, send.withheld) for send in story.sends] == [(True, False)]
    assert story.ends == ["would send"]


def test_where_is_decided_on_arrival_and_not_again() -> None:
    bought = waiting(when={**CREATED, "where": "customer.orders_paid == 0"})
    story = Story(bought).tell(event("order.created", 0), event("order.paid", HOUR, order_id="o9")).until(3 * DAY)
    assert story.sent == [DAY]
    story = Story(bought).tell(event("order.paid", 0, order_id="o9"), event("order.created", HOUR)).until(3 * DAY)
    assert story.armed == []


def test_what_must_hold_when_sending_belongs_in_the_audience() -> None:
    bought = waiting(audience={"where": "customer.orders_paid == 0"})
    story = Story(bought).tell(event("order.created", 0), event("order.paid", HOUR, order_id="o9")).until(3 * DAY)
    assert story.ends == ["not in audience"]


SILENT = shop(recency={"marketing": {"active_within": "20h", "by": ["message.sent"]}})


@pytest.mark.parametrize(
    ("in_shop", "keys", "sends"),
    [
        (shop(), {"audience": {"did": "message.sent", "within": "20h"}}, 2),
        (SILENT, {}, 2),
        (shop(), {"unless": [{"event": "message.sent", "match": "customer"}]}, 1),
    ],
    ids=["did", "recency", "unless"],
)
def test_the_core_tells_of_its_messages_wherever_a_rule_goes_by_them(
    in_shop: Any, keys: dict[str, Any], sends: int
) -> None:
    first = waiting(id="first", wait="12h", recency="off", in_shop=in_shop)
    second = {"id": "second", "title": "second", "when": CREATED, "wait": "1d", "send": FREE, **keys}
    story = Story(first, unfinished(second, in_shop), in_shop=in_shop).tell(event("order.created", 0)).until(3 * DAY)
    assert [send.rule for send in story.sends] == ["first", "second"][:sends]
    story = Story(unfinished(second, in_shop), in_shop=in_shop).tell(event("order.created", 0)).until(3 * DAY)
    assert len(story.sends) == 2 - sends  # and where nothing was sent before, the other way round


def unfinished(keys: dict[str, Any], in_shop: Any) -> Any:
    """Make a rule that goes by the recency of its shop."""
    return build_rule({"rule": "v1", "status": "live", "class": "marketing", **keys}, in_shop)


def test_only_events_inside_valid_and_during_arm() -> None:
    valid = waiting(valid={"from": "2026-09-01 12:00", "until": "2026-09-01 14:00"}, send={**FREE, "expires": "1d"})
    times = (HOUR - 1, HOUR, 3 * HOUR - 1, 3 * HOUR)
    story = Story(valid).tell(*(event("order.created", at, order_id=f"o{at}") for at in times))
    assert story.armed == [HOUR, 3 * HOUR - 1]
    sale = shop(periods={"sale": {"from": "2026-09-01 12:00", "until": "2026-09-01 14:00"}})
    story = Story(rule(in_shop=sale, when=CREATED, wait="0min", during=["sale"], send=FREE), in_shop=sale)
    story.tell(*(event("order.created", at, order_id=f"o{at}") for at in times)).until(2 * DAY)
    assert story.sent == [HOUR, 3 * HOUR - 1]


def test_a_match_stamped_before_valid_that_arrives_inside_does_not_arm() -> None:
    valid = waiting(valid={"from": "2026-09-01 12:00"})
    assert Story(valid).tell(arriving(event("order.created", 0), 2 * HOUR)).armed == []


# S10, S11: again


@pytest.mark.parametrize(("again", "due"), [("ignore", DAY), ("restart", DAY + 2 * HOUR)])
def test_of_two_matches_ignore_keeps_the_earlier_and_restart_the_later_whatever_arrived_first(
    again: str, due: int
) -> None:
    matches = [event("order.created", at, id=f"m{at}") for at in (0, HOUR, 2 * HOUR)]
    for order in itertools.permutations(matches):
        story = Story(waiting(when={**CREATED, "again": again}))
        story.tell(*(arriving(match, 2 * HOUR + i) for i, match in enumerate(order))).until(5 * DAY)
        assert story.sent == [due]


@pytest.mark.parametrize("again", ["ignore", "restart"])
def test_of_two_matches_at_one_instant_the_same_one_waits_whatever_arrived_first(again: str) -> None:
    matches = [event("order.created", 0, id=name) for name in ("a", "b", "c")]
    ids = set()
    for order in itertools.permutations(matches):
        story = Story(waiting(when={**CREATED, "again": again}))
        story.tell(*(arriving(match, i) for i, match in enumerate(order))).until(5 * DAY)
        ids.add(*(send.id for send in story.sends))
    assert len(ids) == 1


def test_a_match_that_restarts_starts_its_useful_time_anew() -> None:
    late = waiting(when={**CREATED, "again": "restart"}, send={**FREE, "expires": "2h"})
    story = Story(late).tell(event("order.created", 0), event("order.created", 23 * HOUR)).until(5 * DAY)
    assert story.sent == [DAY + 23 * HOUR]


def test_an_absorbed_match_is_used_up_by_the_message() -> None:
    story = Story(waiting()).tell(event("order.created", 0), event("order.created", HOUR)).until(5 * DAY)
    assert story.sent == [DAY]


def test_the_next_match_after_a_message_arms_anew() -> None:
    story = Story(waiting()).tell(event("order.created", 0), event("order.created", DAY + 1)).until(5 * DAY)
    assert story.sent == [DAY, 2 * DAY + 1]


def test_the_next_match_after_a_cancel_arms_anew() -> None:
    story = Story(waiting(unless=[{"event": "order.paid"}]))
    story.tell(event("order.created", 0), event("order.paid", HOUR), event("order.created", 2 * HOUR)).until(5 * DAY)
    assert story.sent == [DAY + 2 * HOUR]


def test_a_match_that_arrives_at_due_comes_before_the_message_and_is_absorbed() -> None:
    story = Story(waiting()).tell(event("order.created", 0), event("order.created", DAY)).until(5 * DAY)
    assert story.sent == [DAY]
    story = Story(waiting(when={**CREATED, "again": "restart"}))
    assert story.tell(event("order.created", 0), event("order.created", DAY)).until(5 * DAY).sent == [2 * DAY]


# S28: the names of commands


def test_a_commands_id_depends_on_its_cause_alone() -> None:
    plain = Story(waiting()).tell(event("order.created", 0, id="e")).until(9 * DAY).sends[0]
    priced = shop(signature="[S] ", timezone="Europe/Paris")
    other = Story(waiting(in_shop=priced, priority=7, wait="2d", send={"text": "other"}), in_shop=priced, revision="r9")
    moved = other.tell(arriving(event("order.created", 0, id="e"), 3 * HOUR)).until(9 * DAY).sends[0]
    assert moved.id == plain.id
    assert moved.at != plain.at


def test_a_commands_id_never_changes() -> None:
    sends = Story(waiting()).tell(event("order.created", 0, id="e")).until(9 * DAY).sends
    assert sends[0].id == hashlib.sha256(b"r|c1|o1|e|").hexdigest()
    slot = rule(schedule={"at": "2026-09-03 10:00"})
    sends = Story(slot).tell(event("customer.registered", 0)).until(9 * DAY).sends
    assert sends[0].id == hashlib.sha256(b"r|c1||2026-09-03T02:00:00.000Z|2026-09-03T02:00:00.000Z").hexdigest()


def test_a_bar_in_an_id_never_makes_two_commands_one() -> None:
    ids = set()
    for who, order, name in itertools.product(("c", "c|", "c|o", "c\\"), ("o", "|o", "o|e", "o\\"), ("e", "|e", "\\e")):
        told = event("order.created", 0, customer=who, order_id=order, id=name)
        ids.add(*(send.id for send in Story(waiting()).tell(told).until(3 * DAY).sends))
    assert len(ids) == 4 * 4 * 3
