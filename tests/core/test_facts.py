"""Facts and history: S3, S6, S7."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import pytest
from scenes import DAY, HOUR, MINUTE, START, event, rule, shop
from stories import FREE, Story, arriving, on

from triggers.core.engine import reconcile


def prompt(**keys: Any) -> Any:
    return rule(**{"when": {"event": "store.visited"}, "wait": "0min", "send": FREE, **keys})


def facts(*told: Any) -> Any:
    return Story(prompt()).tell(*told).until(9 * DAY).customer().facts


def audience_holds(audience: Any, *before: Any, at: int = 0, in_shop: Any = None) -> bool:
    """Ask an audience at an instant, of what arrived before."""
    story = Story(prompt(audience=audience, **({"in_shop": in_shop} if in_shop else {})), in_shop=in_shop)
    return bool(story.known(*before).tell(event("store.visited", at)).until(at + 1).sends)


# Orders, S3


def test_an_order_paid_twice_is_one_order_with_the_amount_of_its_first_payment() -> None:
    told = [
        event("order.paid", HOUR, order_id="a", amount=Decimal(70)),
        event("order.paid", 2 * HOUR, order_id="a", amount=Decimal(99)),
        event("order.paid", 3 * HOUR, order_id="b", amount=Decimal(30)),
    ]
    for order in itertools.permutations(told):
        found = facts(*(arriving(one, 4 * HOUR + i) for i, one in enumerate(order)))
        assert (found.orders_paid, found.total_paid, found.avg_order_value) == (2, Decimal(100), Decimal(50))
        assert found.last_paid_at == START + 3 * HOUR


def test_of_two_payments_of_an_order_at_one_instant_the_smaller_counts_whatever_arrived_first() -> None:
    told = [event("order.paid", HOUR, order_id="a", amount=Decimal(amount)) for amount in (70, 60)]
    assert [facts(*order).total_paid for order in (told, told[::-1])] == [Decimal(60), Decimal(60)]


def test_nobody_has_a_mean_before_the_first_order() -> None:
    found = facts(event("store.visited", 0))
    assert (found.orders_paid, found.total_paid, found.avg_order_value, found.last_paid_at) == (0, 0, None, None)


def test_what_is_told_last_of_a_customer_counts_whatever_arrived_last() -> None:
    told = [
        event("customer.updated", HOUR, name="Old", city="X"),
        event("customer.updated", 2 * HOUR, name="New"),
        event("customer.updated", 3 * HOUR, level="gold"),
    ]
    for order in itertools.permutations(told):
        found = facts(*(arriving(one, 4 * HOUR + i) for i, one in enumerate(order)))
        assert (found.name, found.city, found.level) == ("New", "X", "gold")


def test_the_earliest_registration_counts() -> None:
    told = [event("customer.registered", at, id=f"g{at}") for at in (HOUR, 0)]
    for order in (told, told[::-1]):
        late = [arriving(one, 2 * HOUR + i) for i, one in enumerate(order)]
        assert facts(*late).registered_at == START


def test_unsubscribing_wins_over_subscribing_at_the_same_instant_in_any_order() -> None:
    told = [event("customer.unsubscribed", 0), event("customer.subscribed", 0)]
    for order in (told, told[::-1]):
        assert facts(*(arriving(one, 1 + i) for i, one in enumerate(order))).unsubscribed


def test_a_late_subscription_does_not_undo_a_newer_unsubscription() -> None:
    assert facts(event("customer.unsubscribed", HOUR), arriving(event("customer.subscribed", 0), 2 * HOUR)).unsubscribed


def test_customers_never_share_facts() -> None:
    story = Story(prompt()).tell(event("order.paid", 0, customer="a"), event("store.visited", 1, customer="b"))
    assert (story.customer("a").facts.orders_paid, story.customer("b").facts.orders_paid) == (1, 0)


# Did … within, S6


@pytest.mark.parametrize(("age", "holds"), [(0, True), (DAY, True), (DAY + 1, False), (-1, False)])
def test_did_reaches_from_its_span_ago_until_now_both_inclusive(age: int, holds: bool) -> None:  # noqa: FBT001  a parameter
    story = Story(prompt(audience={"did": "order.paid", "within": "1d"}))
    story.tell(arriving(event("order.paid", -age), 0), event("store.visited", 0)).until(1)
    assert bool(story.sends) == holds


@pytest.mark.parametrize(("span", "holds"), [("1d", True), ("24h", False)])
def test_a_day_of_did_is_a_day_on_the_wall_clock(span: str, holds: bool) -> None:  # noqa: FBT001  a parameter
    paris = shop(timezone="Europe/Paris")
    before, now = on("2026-10-24 12:00", "Europe/Paris"), on("2026-10-25 12:00", "Europe/Paris")
    found = audience_holds({"did": "order.paid", "within": span}, event("order.paid", before), at=now, in_shop=paris)
    assert found == holds


def test_did_counts_events_of_any_of_its_types_that_its_where_holds_for() -> None:
    audience = {"did": ["order.paid", "favorite.added"], "within": "9d", "at_least": 3}
    told = [event("order.paid", -3), event("order.paid", -2), event("favorite.added", -1)]
    assert audience_holds(audience, *told)
    assert not audience_holds(audience, *told[1:])
    big = {"did": "order.paid", "within": "9d", "where": "event.amount >= 500"}
    assert not audience_holds(big, event("order.paid", -1, amount=Decimal(499)))
    assert audience_holds(big, event("order.paid", -1, amount=Decimal(500)))


def test_a_repeated_event_is_done_once() -> None:
    audience = {"did": "order.paid", "within": "9d", "at_least": 2}
    assert not audience_holds(audience, event("order.paid", -2, id="p"), event("order.paid", -1, id="p"))


@pytest.mark.parametrize(
    ("paid", "within", "holds"),
    [
        (None, "2d", True),
        (0, "2d", False),
        (2 * DAY, "2d", False),
        (2 * DAY + 1, "2d", True),
        (-1, "2d", True),
        (3 * DAY, None, False),
        (None, None, True),
        (-1, None, False),
    ],
)
def test_without_asks_for_what_did_not_follow_of_the_same_order(
    paid: int | None,
    within: str | None,
    holds: bool,  # noqa: FBT001  a parameter
) -> None:
    without = {"event": "order.paid", "match": "order_id", **({"within": within} if within else {})}
    audience = {"did": "order.created", "within": "30d", "without": without}
    told = [event("order.created", 0)] + ([event("order.paid", paid)] if paid is not None else [])
    assert audience_holds(audience, *told, at=5 * DAY) == holds
    other = [event("order.created", 0), event("order.paid", 1, order_id="another")]
    assert audience_holds(audience, *other, at=5 * DAY)


def test_what_has_not_happened_yet_does_not_follow() -> None:
    audience = {"did": "order.created", "within": "30d", "without": {"event": "order.paid", "match": "order_id"}}
    story = Story(prompt(audience=audience)).tell(
        event("order.created", 0), arriving(event("order.paid", 4 * MINUTE), 1)
    )
    assert len(story.tell(event("store.visited", MINUTE)).until(MINUTE + 1).sends) == 1


def test_conditions_join_as_their_names_say() -> None:
    yes, no = {"where": "customer.orders_paid == 0"}, {"where": "customer.orders_paid > 0"}
    for audience, holds in (
        ({"all": [yes, yes]}, True),
        ({"all": [yes, no]}, False),
        ({"any": [no, yes]}, True),
        ({"any": [no, no]}, False),
        ({"not": no}, True),
        ({"not": {"any": [no, yes]}}, False),
    ):
        assert audience_holds(audience) == holds


def test_events_older_than_any_rule_asks_for_are_let_go() -> None:
    story = Story(prompt(audience={"did": "order.paid", "within": "2d"}), keep_all=False)
    story.tell(*(event("order.paid", day * DAY) for day in range(300)))
    assert len(story.customer().kept["order.paid"]) <= 4
    assert len(story.customer().seen) < 100


# Events stamped ahead of their arrival


def city(name: str) -> dict[str, Any]:
    return {"where": f'customer.city == "{name}"'}


def test_a_fact_stamped_ahead_counts_from_its_stamp_on() -> None:
    for at, sends in ((3 * MINUTE - 1, 0), (3 * MINUTE, 1)):
        story = Story(prompt(audience=city("X"))).tell(arriving(event("customer.updated", 3 * MINUTE, city="X"), 0))
        story.tell(event("store.visited", at)).until(at + 1)
        assert len(story.sends) == sends


def test_a_timer_sees_a_fact_stamped_ahead_once_its_time_has_come_also_when_nothing_arrives() -> None:
    for wait, sends in (("2min", 0), ("3min", 1)):
        story = Story(prompt(audience=city("X"), wait=wait)).tell(event("store.visited", 0))
        story.tell(arriving(event("customer.updated", 3 * MINUTE, city="X"), 1)).until(DAY)
        assert len(story.sends) == sends


def test_the_event_being_handled_counts_itself_also_when_stamped_ahead() -> None:
    first = rule("r", when={"event": "order.paid", "where": "customer.orders_paid == 1"}, wait="0min", send=FREE)
    story = Story(first).tell(arriving(event("order.paid", 3 * MINUTE), 0))
    assert story.customer().facts.orders_paid == 0
    story.until(DAY)
    assert story.sent == [3 * MINUTE]
    assert story.customer().facts.orders_paid == 1


def test_two_events_stamped_ahead_are_learnt_in_the_end_whatever_their_order() -> None:
    told = [event("customer.updated", 2 * MINUTE, name="A"), event("customer.updated", 4 * MINUTE, name="B")]
    for order in (told, told[::-1]):
        story = Story(prompt()).tell(*(arriving(one, i) for i, one in enumerate(order)))
        story.tell(event("store.visited", 3 * MINUTE)).until(3 * MINUTE + 1)
        assert story.customer().facts.name == "A"
        assert story.tell(event("store.visited", 5 * MINUTE)).customer().facts.name == "B"


def test_an_order_paid_ahead_and_told_twice_counts_once() -> None:
    paid = event("order.paid", 3 * MINUTE, id="p")
    story = Story(prompt()).tell(arriving(paid, 0), arriving(paid, 1), event("store.visited", HOUR))
    assert story.customer().facts.orders_paid == 1


def test_moving_to_other_rules_keeps_facts() -> None:
    story = Story(prompt()).tell(event("order.paid", 0))
    reconcile(story.replay.rulebook, story.customer(), START + 1)
    assert story.customer().facts.orders_paid == 1
