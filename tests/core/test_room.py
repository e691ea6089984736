"""A customer has room for so many open waits, and others are not kept out by the flood of one rule."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import DAY, HOUR, START, book, event, rule
from stories import FREE, Story, arriving

from triggers.core import room, waits
from triggers.core.customer import Customer
from triggers.core.decisions import Ended
from triggers.core.engine import advance, step
from triggers.core.room import MOST_OF_A_RULE, MOST_WAITS

CREATED = {"event": "order.created", "per": "order_id"}
BEYOND = 7


def waiting(name: str = "r", **keys: Any) -> Any:
    return rule(name, **{"when": CREATED, "wait": "1d", "send": FREE, **keys})


def orders(first: int, number: int, *, since: int = 0) -> list[Any]:
    return [event("order.created", since + i, id=f"e{i:05}", order_id=f"o{i}") for i in range(first, first + number)]


def refused(story: Story) -> list[Ended]:
    return [ended for ended in story.all(Ended) if ended.reason == "too many waits"]


def open_of(story: Story, name: str) -> int:
    return sum(wait.rule == name for wait in story.customer().waits.values())


@pytest.mark.parametrize("again", ["ignore", "restart", "each"])
def test_a_match_beyond_a_rules_waits_ends_at_once_and_those_before_go_on(again: str) -> None:
    story = Story(waiting(when={**CREATED, "again": again})).tell(*orders(0, MOST_OF_A_RULE + BEYOND))
    ended = refused(story)
    assert [each.wait.identity for each in ended] == [f"o{MOST_OF_A_RULE + i}" for i in range(BEYOND)]
    assert ended[0].at == ended[0].wait.anchor == START + MOST_OF_A_RULE
    assert ended[0].detail == f"{MOST_OF_A_RULE} of this rule are open"
    assert len(story.armed) == MOST_OF_A_RULE + BEYOND
    story.until(3 * DAY)
    assert story.sent == [DAY + i for i in range(MOST_OF_A_RULE)]


def test_a_wait_that_ends_makes_room_for_one() -> None:
    story = Story(waiting(unless=[{"event": "order.paid"}])).tell(*orders(0, MOST_OF_A_RULE))
    story.tell(event("order.paid", HOUR, order_id="o3"), *orders(MOST_OF_A_RULE, 2, since=HOUR))
    assert [ended.wait.identity for ended in refused(story)] == [f"o{MOST_OF_A_RULE + 1}"]
    story.tell(*orders(MOST_OF_A_RULE + 2, 1, since=2 * DAY)).until(4 * DAY)
    assert len(refused(story)) == 1
    assert len(story.sends) == MOST_OF_A_RULE + 1


def test_a_match_of_one_who_waits_already_needs_no_room() -> None:
    story = Story(waiting(when={**CREATED, "again": "restart"})).tell(*orders(0, MOST_OF_A_RULE))
    story.tell(event("order.created", HOUR, id="again", order_id="o0")).until(4 * DAY)
    assert refused(story) == []
    assert max(story.sent) == DAY + HOUR


def test_a_match_that_is_cancelled_already_is_told_to_be_that() -> None:
    story = Story(waiting(unless=[{"event": "order.paid"}])).tell(*orders(0, MOST_OF_A_RULE))
    story.tell(event("order.paid", HOUR, order_id="new"))
    story.tell(arriving(event("order.created", HOUR - 1, order_id="new"), HOUR + 1))
    assert story.ends == ["cancelled by order.paid"]


def test_the_flood_of_one_rule_keeps_no_other_rule_out() -> None:
    story = Story(waiting("flood"), waiting("calm", when={"event": "favorite.added", "per": "product_id"}))
    story.tell(*orders(0, MOST_OF_A_RULE + BEYOND))
    story.tell(*(event("favorite.added", HOUR + i, product_id=f"p{i}") for i in range(BEYOND)))
    assert {ended.wait.rule for ended in refused(story)} == {"flood"}
    assert (open_of(story, "flood"), open_of(story, "calm")) == (MOST_OF_A_RULE, BEYOND)


def test_floods_of_many_rules_leave_each_other_rule_its_first_wait() -> None:
    names = [f"flood{number}" for number in range(4)]
    rules = [*map(waiting, names), waiting("calm", when={"event": "favorite.added", "per": "product_id"})]
    story = Story(*rules).tell(*orders(0, MOST_OF_A_RULE + BEYOND))
    full = len(story.customer().waits)
    assert full == MOST_WAITS == sum(open_of(story, name) for name in names)
    assert refused(story)[0].detail == f"{MOST_WAITS} are open, {open_of(story, names[0])} of them of this rule"
    story.tell(*(event("favorite.added", HOUR + i, product_id=f"p{i}") for i in range(2)))
    assert [ended.wait.identity for ended in refused(story) if ended.wait.rule == "calm"] == ["p1"]
    assert len(story.customer().waits) == full + 1


def test_slots_take_no_room_and_need_none() -> None:
    daily = rule("daily", schedule={"every": "day", "at": "12:00"}, send=FREE)
    hourly = rule("hourly", schedule={"cron": "* * * * *"}, send={"text": "x", "window": ["09:00-10:00"]})
    flood = [waiting(f"flood{number}") for number in range(2)]
    story = Story(daily, hourly, *flood, clock=-1).tell(event("customer.registered", 0)).until(11 * HOUR)
    assert open_of(story, "hourly") > MOST_OF_A_RULE
    story.tell(*orders(0, MOST_OF_A_RULE + BEYOND, since=11 * HOUR))
    assert [open_of(story, f"flood{number}") for number in range(2)] == [MOST_OF_A_RULE] * 2
    story.until(25 * HOUR)
    assert ("daily", HOUR) in story.who
    assert ("daily", 25 * HOUR) not in story.who
    story.until(25 * HOUR + 1)
    assert ("daily", 25 * HOUR) in story.who


FEW_OF_A_RULE, FEW = 3, 6
RULES = [
    waiting("created", wait="5h", unless=[{"event": "order.paid"}]),
    waiting("each", when={"event": "order.created", "again": "each"}, wait="9h"),
    waiting("paid", when={"event": "order.paid", "per": "order_id", "again": "restart"}, wait="7h"),
    waiting("any", when={"event": "order.paid"}, wait="3h"),
]
KINDS = ("order.created", "order.paid")
encode = msgspec.json.encode


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(KINDS), st.integers(0, 9)), max_size=60))
@settings(max_examples=150, deadline=None)
def test_whatever_happens_no_rule_has_too_many_and_restarts_change_nothing(told: list[tuple[int, str, int]]) -> None:
    rules, through, again = book(*RULES), Customer(id="c1"), Customer(id="c1")
    decisions: tuple[list[bytes], list[bytes]] = ([], [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "MOST_OF_A_RULE", FEW_OF_A_RULE)
        patch.setattr(room, "MOST_WAITS", FEW)
        patch.setattr(waits, "MOST_OF_A_RULE", FEW_OF_A_RULE)
        for number, (hour, kind, order) in enumerate(sorted(told)):
            happened = event(kind, hour * HOUR, id=f"h{number}", order_id=f"o{order}")
            decisions[0].extend(map(encode, step(rules, through, happened, happened.at)))
            again = msgspec.msgpack.decode(msgspec.msgpack.encode(again), type=Customer)
            decisions[1].extend(map(encode, advance(rules, again, happened.at - HOUR // 2)))
            decisions[1].extend(map(encode, step(rules, again, happened, happened.at)))
            owners = [wait.rule for wait in through.waits.values()]
            assert max(map(owners.count, owners), default=0) <= FEW_OF_A_RULE
            assert len(owners) < FEW + len(RULES)
        for customer, out in ((through, decisions[0]), (again, decisions[1])):
            out.extend(map(encode, advance(rules, customer, START + 9 * DAY)))
    assert not through.waits
    assert decisions[0] == decisions[1]
