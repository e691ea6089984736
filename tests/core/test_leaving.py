"""When and whether a message leaves: S17 to S23 and S25."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from scenes import DAY, HOUR, MINUTE, START, event, rule, shop
from stories import FREE, Story, arriving, on, wall

from triggers.language import build_rule

CREATED = {"event": "order.created", "per": "order_id"}
EVENING = {"text": "x", "window": ["19:00-22:00"]}
NOON = {"text": "x", "window": ["10:00-12:00"]}
PLAIN = {"rule": "v1", "id": "r", "title": "r", "status": "live", "class": "marketing"}


def prompt(name: str = "r", **keys: Any) -> Any:
    """Make a rule whose message is due as soon as its event arrives."""
    return rule(name, **{"when": CREATED, "wait": "0min", "send": FREE, **keys})


def orders(*times: int, **fields: Any) -> list[Any]:
    return [event("order.created", at, order_id=f"o{i}", **fields) for i, at in enumerate(times)]


# The window and the bound, S17 and S18


@pytest.mark.parametrize(
    ("due", "leaves"),
    [
        ("2026-09-02 18:59", "2026-09-02 19:00"),
        ("2026-09-02 19:00", "2026-09-02 19:00"),
        ("2026-09-02 21:59", "2026-09-02 21:59"),
        ("2026-09-02 22:00", "2026-09-03 19:00"),
    ],
)
def test_a_message_leaves_at_the_first_instant_inside_its_window(due: str, leaves: str) -> None:
    story = Story(prompt(send=EVENING)).tell(event("order.created", on(due))).until(9 * DAY)
    assert [wall(send.at) for send in story.sends] == [leaves]


def test_a_message_waits_for_a_day_of_its_window() -> None:
    story = (
        Story(prompt(send={**EVENING, "days": ["sat"], "expires": "7d"})).tell(event("order.created")).until(9 * DAY)
    )
    assert [wall(send.at) for send in story.sends] == ["2026-09-05 19:00"]


@pytest.mark.parametrize(("expires", "sent"), [("8h", []), ("481min", [8 * HOUR])])
def test_an_opening_exactly_at_expiry_is_too_late(expires: str, sent: list[int]) -> None:
    story = Story(prompt(send={**EVENING, "expires": expires})).tell(event("order.created")).until(9 * DAY)
    assert story.sent == sent
    assert story.ends == (["sent"] if sent else ["expired"])


def test_a_message_is_useful_for_two_days_unless_said_otherwise() -> None:
    story = Story(prompt()).tell(arriving(event("order.created"), 2 * DAY - 1)).until(9 * DAY)
    assert story.sent == [2 * DAY - 1]
    story = Story(prompt()).tell(arriving(event("order.created"), 2 * DAY)).until(9 * DAY)
    assert story.ends == ["expired"]


def test_two_days_of_usefulness_are_two_days_on_the_wall_clock() -> None:
    paris = shop(timezone="Europe/Paris")
    due = on("2026-10-24 12:00", "Europe/Paris")
    late = arriving(event("order.created", due), due + 48 * HOUR + 30 * MINUTE)
    story = Story(prompt(in_shop=paris), in_shop=paris, clock=due).tell(late).until(due + 9 * DAY)
    assert len(story.sends) == 1


def test_the_window_of_the_shop_holds_for_rules_without_their_own() -> None:
    busy = shop(window=["19:00-22:00"])
    story = Story(prompt(in_shop=busy, send={"text": "x"}), in_shop=busy).tell(event("order.created")).until(DAY)
    assert story.sent == [8 * HOUR]


def test_no_message_leaves_in_a_closed_period_nor_after_the_rules_validity() -> None:
    sale = shop(periods={"sale": {"from": "2026-09-01 10:00", "until": "2026-09-02 09:00"}})
    story = Story(prompt(in_shop=sale, not_during=["sale"]), in_shop=sale).tell(event("order.created")).until(9 * DAY)
    assert story.sent == [22 * HOUR]
    brief = prompt(valid={"until": "2026-09-01 18:00"}, send=EVENING)
    assert Story(brief).tell(event("order.created")).until(9 * DAY).ends == ["outside period"]


def test_during_and_not_during_together_leave_what_is_in_one_and_not_in_the_other() -> None:
    sale = shop(
        periods={
            "week": {"from": "2026-09-01 00:00", "until": "2026-09-03 12:00"},
            "days": {"from": "2026-09-01 10:00", "until": "2026-09-03 00:00"},
            "hours": {"from": "2026-09-03 00:00", "until": "2026-09-03 11:00"},
        }
    )
    keys = {"during": ["week"], "not_during": ["hours", "days"], "send": {**NOON, "expires": "3d"}}
    story = Story(prompt(in_shop=sale, **keys), in_shop=sale).tell(event("order.created")).until(9 * DAY)
    assert [wall(send.at) for send in story.sends] == ["2026-09-03 11:00"]


# The order of the gates, S19


GATES: list[tuple[str, dict[str, Any]]] = [
    ("unsubscribed", {}),
    ("not in audience", {"audience": {"where": 'event.order_id != "late"'}}),
    ("recency", {"recency": "1h"}),
    ("coupon not usable", {"send": {**FREE, "coupon": {"batch": "B", "amount": 5, "min_spend": 200}}}),
    ("per customer", {"limits": {"per_customer": "once"}}),
    ("total", {"limits": {"total": 1}}),
    ("budget", {"limits": {"budget": Decimal("0.05")}}),
    ("per day", {"limits": {"per_day": 1}}),
    ("capped", {}),
]


@pytest.mark.parametrize("place", range(len(GATES)))
def test_of_all_that_refuse_a_message_the_first_in_order_names_the_reason(place: int) -> None:
    keys: dict[str, Any] = {}
    for _, more in GATES[place:]:
        limits = {**keys.get("limits", {}), **more.get("limits", {})}
        keys |= more
        if limits:
            keys["limits"] = limits
    priced = shop(price_per_message=Decimal("0.05"), caps={"marketing": ["1 / 1d"]})
    story = Story(prompt(in_shop=priced, **keys), in_shop=priced)
    story.tell(event("order.created", 0, order_id="used", amount=Decimal(500))).until(1)
    assert story.ends == ["sent"]
    if not place:
        story.tell(event("customer.unsubscribed", 1))
    story.tell(arriving(event("order.created", 3 * HOUR, order_id="late"), 5 * HOUR)).until(5 * HOUR + 1)
    assert [*story.ends[1:], *(reason for reason, _ in story.held)] == [GATES[place][0]]


def test_gates_are_asked_when_the_message_would_leave_not_when_it_is_due() -> None:
    city = prompt(send=EVENING, audience={"where": 'customer.city == "X"'})
    story = Story(city).tell(event("order.created"), event("customer.updated", 7 * HOUR, city="X")).until(DAY)
    assert story.sent == [8 * HOUR]


def test_an_unsubscribed_customer_gets_nothing_until_subscribing_again() -> None:
    story = Story(prompt()).tell(event("customer.unsubscribed", 0), *orders(1))
    story.tell(event("customer.subscribed", HOUR), event("order.created", 2 * HOUR, order_id="o9")).until(DAY)
    assert story.ends == ["unsubscribed", "sent"]


@pytest.mark.parametrize(("age", "ends"), [(30 * DAY, "sent"), (30 * DAY + 1, "recency")])
def test_recency_reaches_back_to_the_whole_span_inclusive(age: int, ends: str) -> None:
    silent = shop(recency={"marketing": {"active_within": "60d", "by": ["favorite.added"]}})
    story = Story(prompt(in_shop=silent, recency="30d"), in_shop=silent)
    assert story.known(event("favorite.added", -age)).tell(event("order.created")).until(DAY).ends == [ends]


def test_the_recency_of_the_class_holds_for_rules_without_their_own() -> None:
    silent = shop(recency={"marketing": {"active_within": "30d", "by": ["favorite.added"]}})
    own = rule("r", in_shop=silent, when=CREATED, wait="0min", send=FREE)
    default = build_rule({**PLAIN, "when": CREATED, "wait": "0min", "send": FREE}, silent)
    for made, ends in ((own, "sent"), (default, "recency")):
        assert Story(made, in_shop=silent).tell(event("order.created")).until(DAY).ends == [ends]


@pytest.mark.parametrize(("amount", "ends"), [("99.99", "coupon not usable"), ("100", "sent"), ("100.01", "sent")])
def test_a_coupon_must_be_usable_for_the_order_it_is_about(amount: str, ends: str) -> None:
    coupon = {"batch": "B", "amount": 10, "min_spend": 100}
    story = Story(prompt(send={**FREE, "coupon": coupon})).tell(event("order.created", amount=Decimal(amount)))
    assert story.until(DAY).ends == [ends]


def test_a_coupon_that_may_be_unusable_is_sent_all_the_same() -> None:
    coupon = {"batch": "B", "amount": 10, "min_spend": 100, "allow_unusable": True}
    story = Story(prompt(send={**FREE, "coupon": coupon})).tell(event("order.created", amount=Decimal(1))).until(DAY)
    assert [send.coupon for send in story.sends] == ["B"]


# Caps, S20


def test_a_cap_frees_exactly_its_span_after_the_nth_last_message() -> None:
    capped = shop(caps={"marketing": ["2 / 1d"]})
    times = (0, HOUR, 2 * HOUR)
    story = Story(prompt(in_shop=capped), in_shop=capped).tell(*orders(*times)).until(9 * DAY)
    assert story.sent == [0, HOUR, DAY]
    assert story.held == [("capped", DAY)]


def test_a_message_due_a_moment_before_or_at_the_instant_a_cap_frees_leaves_then() -> None:
    capped = shop(caps={"marketing": ["1 / 1d"]})
    for second in (DAY - 1, DAY):
        story = Story(prompt(in_shop=capped), in_shop=capped).tell(*orders(0, second)).until(9 * DAY)
        assert story.sent == [0, DAY]


def test_a_cap_of_days_keeps_the_wall_clock_over_a_change_of_clocks() -> None:
    capped = shop(timezone="Europe/Paris", caps={"marketing": ["1 / 1d"]})
    first = on("2026-10-24 12:00", "Europe/Paris")
    story = Story(prompt(in_shop=capped), in_shop=capped, clock=first)
    story.tell(*orders(first, first + HOUR)).until(first + 9 * DAY)
    assert [wall(send.at, "Europe/Paris") for send in story.sends] == ["2026-10-24 12:00", "2026-10-25 12:00"]


def test_a_cap_that_frees_outside_the_window_postpones_to_the_next_opening() -> None:
    capped = shop(caps={"marketing": ["1 / 5h"]})
    rules = prompt(in_shop=capped, send={"text": "x", "window": ["10:00-14:00", "19:00-22:00"]})
    story = Story(rules, in_shop=capped).tell(*orders(0, HOUR)).until(9 * DAY)
    assert story.sent == [0, 8 * HOUR]


def test_a_cap_that_frees_at_expiry_or_later_ends_the_wait_as_capped() -> None:
    for expires, ends in (("23h", "capped"), ("23h 1min", "sent")):
        capped = shop(caps={"marketing": ["1 / 1d"]})
        rules = prompt(in_shop=capped, send={**FREE, "expires": expires})
        story = Story(rules, in_shop=capped).tell(*orders(0, HOUR)).until(9 * DAY)
        assert story.ends == ["sent", ends]


def test_all_caps_must_be_free() -> None:
    capped = shop(caps={"marketing": ["1 / 2h", "2 / 7d"], "all": ["3 / 30d"]})
    rules = prompt(in_shop=capped, send={**FREE, "expires": "60d"})
    story = Story(rules, in_shop=capped).tell(*orders(0, 1, 2, 3)).until(60 * DAY)
    assert story.sent == [0, 2 * HOUR, 7 * DAY, 30 * DAY]


def test_the_cap_of_a_class_counts_all_rules_of_the_class_and_no_others() -> None:
    capped = shop(caps={"marketing": ["1 / 1d"]})
    rules = [prompt(name, in_shop=capped) for name in ("a", "b")]
    member = rule("m", in_shop=capped, when=CREATED, wait="0min", send=FREE, **{"class": "member"})
    story = Story(*rules, member, in_shop=capped).tell(*orders(0)).until(9 * DAY)
    assert story.who == [("a", 0), ("m", 0), ("b", DAY)]


def test_the_cap_of_all_classes_counts_everything_but_notices() -> None:
    capped = shop(caps={"all": ["1 / 1d"]})
    notice = rule("a", in_shop=capped, when=CREATED, wait="0min", send=FREE, **{"class": "notice"})
    member = rule("m", in_shop=capped, when=CREATED, wait="1h", send=FREE, **{"class": "member"})
    story = Story(notice, prompt("b", in_shop=capped), member, in_shop=capped).tell(*orders(0)).until(9 * DAY)
    assert story.who == [("a", 0), ("b", 0), ("m", DAY)]


@pytest.mark.parametrize("kind", ["withheld", "shadow"])
def test_what_never_left_counts_for_no_cap(kind: str) -> None:
    capped = shop(caps={"all": ["1 / 1d"]})
    quiet: dict[str, Any] = {"send": {**FREE, "holdout": "100%"}} if kind == "withheld" else {"status": "shadow"}
    story = Story(prompt("a", in_shop=capped, **quiet), prompt("b", in_shop=capped), in_shop=capped)
    assert story.tell(*orders(0)).until(DAY).who == [("a", 0), ("b", 0)]


def test_customers_have_caps_of_their_own() -> None:
    capped = shop(caps={"all": ["1 / 1d"]})
    story = Story(prompt(in_shop=capped), in_shop=capped)
    assert story.tell(*orders(0, customer="a"), *orders(0, customer="b")).until(DAY).sent == [0, 0]


# Looking ahead, S21


def rivals(look_ahead: str, *rules: dict[str, Any], caps: dict[str, Any] | None = None) -> Story:
    """Let rules a, b, c … of descending priority wait for one order."""
    busy = shop(look_ahead=look_ahead, caps=caps or {})
    made = [
        prompt(name, in_shop=busy, priority=90 - i, **keys)
        for i, (name, keys) in enumerate(zip("abcdef", rules, strict=False))
    ]
    return Story(*made, in_shop=busy).tell(*orders(0)).until(9 * DAY)


@pytest.mark.parametrize(("wait", "first"), [("2h", "a"), ("121min", "b")])
def test_a_message_yields_to_a_more_important_one_that_opens_within_look_ahead(wait: str, first: str) -> None:
    story = rivals("2h", {"wait": wait}, {})
    assert story.who[0][0] == first
    if first == "a":
        assert story.who == [("a", 2 * HOUR), ("b", 2 * HOUR)]
        assert story.held == [("yielded", 2 * HOUR)]


def test_after_yielding_the_caps_decide() -> None:
    story = rivals("2h", {"wait": "1h"}, {}, caps={"marketing": ["1 / 1d"]})
    assert story.who == [("a", HOUR), ("b", DAY + HOUR)]


def test_a_message_does_not_yield_to_one_of_equal_or_lower_priority() -> None:
    assert rivals("2h", {}, {"wait": "1h"}).who == [("a", 0), ("b", HOUR)]
    busy = shop(look_ahead="2h")
    story = Story(prompt("a", in_shop=busy), prompt("b", in_shop=busy, wait="1h"), in_shop=busy).tell(*orders(0))
    assert story.until(DAY).who == [("a", 0), ("b", HOUR)]


@pytest.mark.parametrize(
    "keys",
    [
        {"status": "shadow"},
        {"audience": {"where": 'customer.city == "X"'}},
        {"limits": {"per_customer": "once"}},
        {"send": {"text": "x", "window": ["17:00-18:00"]}},
        {"class": "notice"},
    ],
)
def test_a_message_does_not_yield_to_one_that_will_not_leave_soon(keys: dict[str, Any]) -> None:
    busy = shop(look_ahead="2h")
    rival = prompt("a", in_shop=busy, priority=90, **{"wait": "1h", "when": CREATED, **keys})
    story = Story(rival, prompt("b", in_shop=busy), in_shop=busy)
    if "limits" in keys:
        story.tell(event("order.created", 0, order_id="before")).until(2 * HOUR)
    at = 3 * HOUR
    story.tell(event("order.created", at, order_id="now")).until(at + MINUTE)
    assert ("b", at) in story.who


def test_a_message_yields_to_a_rival_whose_window_opens_soon() -> None:
    noon = {"text": "x", "window": ["12:30-13:00"]}
    assert rivals("2h", {"send": noon}, {}).who == [("a", 90 * MINUTE), ("b", 90 * MINUTE)]


def test_messages_yield_one_after_the_other_and_all_leave_in_the_end() -> None:
    story = rivals("2h", {"wait": "4h"}, {"wait": "3h"}, {"wait": "2h"}, {"wait": "1h"}, {})
    assert story.who == [(name, 4 * HOUR) for name in "abcde"]


def test_a_message_that_yields_beyond_its_use_ends_as_yielded() -> None:
    story = rivals("2h", {"wait": "2h"}, {"send": {**FREE, "expires": "90min"}})
    assert story.who == [("a", 2 * HOUR)]
    assert sorted(story.ends) == ["sent", "yielded"]


def test_a_message_whose_rival_is_cancelled_meanwhile_leaves_when_the_rival_would_have() -> None:
    busy = shop(look_ahead="2h")
    rival = prompt("a", in_shop=busy, priority=90, wait="2h", unless=[{"event": "order.paid"}])
    story = Story(rival, prompt("b", in_shop=busy), in_shop=busy).tell(*orders(0))
    assert story.tell(event("order.paid", HOUR, order_id="o0")).until(DAY).who == [("b", 2 * HOUR)]


def test_a_notice_does_not_yield() -> None:
    assert rivals("2h", {"wait": "1h"}, {"class": "notice"}).who == [("b", 0), ("a", HOUR)]


# How often, S22


def test_once_is_for_ever() -> None:
    story = Story(prompt(limits={"per_customer": "once"})).tell(*orders(0, DAY, 1000 * DAY)).until(1001 * DAY)
    assert story.ends == ["sent", "per customer", "per customer"]


@pytest.mark.parametrize(("second", "ends"), [(30 * DAY - 1, "per customer"), (30 * DAY, "sent")])
def test_so_often_in_so_long_frees_exactly_then(second: int, ends: str) -> None:
    story = Story(prompt(limits={"per_customer": "1 / 30d"})).tell(*orders(0, second)).until(40 * DAY)
    assert story.ends == ["sent", ends]


def test_per_customer_counts_each_customer_and_rule_by_itself() -> None:
    rules = [prompt(name, limits={"per_customer": "once"}) for name in ("a", "b")]
    story = Story(*rules).tell(*orders(0, customer="c1"), *orders(0, customer="c2")).until(DAY)
    assert len(story.sends) == 4


def test_withheld_messages_count_for_per_customer() -> None:
    story = Story(prompt(limits={"per_customer": "once"}, send={**FREE, "holdout": "100%"})).tell(*orders(0, HOUR))
    assert story.until(DAY).ends == ["withheld", "per customer"]


def test_a_trial_shows_what_per_customer_would_do_but_uses_nothing_up() -> None:
    trial = prompt(status="shadow", limits={"per_customer": "once"})
    story = Story(trial).tell(*orders(0, HOUR)).until(DAY)
    assert story.ends == ["would send", "per customer"]
    story.edit(DAY, prompt(limits={"per_customer": "once"})).tell(event("order.created", DAY + 1, order_id="n"))
    assert story.until(2 * DAY).ends[-1] == "sent"


# The order of one instant, S23


def test_tries_of_one_instant_go_by_priority_then_due_then_rule_then_identity() -> None:
    capped = shop(window=["19:00-22:00"])
    names = [("d", 10), ("c", 90), ("b", 50), ("a", 50)]
    rules = [rule(name, in_shop=capped, when=CREATED, wait="0min", priority=priority) for name, priority in names]
    story = Story(*rules, in_shop=capped)
    story.tell(event("order.created", 0, order_id="z"), event("order.created", 0, order_id="y"))
    story.tell(event("order.created", 1, order_id="x")).until(DAY)
    assert [f"{send.rule}{send.identity}" for send in story.sends] == [
        *("cy", "cz", "cx", "ay", "az", "by", "bz", "ax", "bx", "dy", "dz", "dx"),
    ]


def test_of_two_customers_the_one_due_first_gets_what_is_left() -> None:
    few = rule("r", when=CREATED, wait="0min", send=EVENING, limits={"total": 1})
    story = Story(few).tell(event("order.created", HOUR, customer="a"), event("order.created", 0, customer="b"))
    assert [send.customer for send in story.until(DAY).sends] == ["b"]
    story = Story(few).tell(event("order.created", 0, customer="b"), event("order.created", 0, customer="a"))
    assert [send.customer for send in story.until(DAY).sends] == ["a"]


# Notices, S25


def test_a_notice_passes_default_windows_caps_recency_and_opt_out() -> None:
    strict = shop(
        window=["03:00-04:00"],
        caps={"marketing": ["1 / 30d"], "all": ["1 / 30d"]},
        recency={"marketing": {"active_within": "1h", "by": ["store.visited"]}},
        opt_out=" Reply R",
        holdout="100%",
    )
    notice = rule("n", in_shop=strict, when=CREATED, wait="0min", **{"class": "notice"})
    story = Story(notice, in_shop=strict).tell(event("customer.unsubscribed", 0), *orders(1, 2, 3)).until(DAY)
    assert story.sent == [1, 2, 3]
    assert {(send.text, send.withheld) for send in story.sends} == {("x", False)}


def test_a_notice_keeps_its_own_window_audience_and_limits() -> None:
    keys = {"class": "notice", "send": EVENING, "limits": {"per_customer": "once"}}
    story = Story(prompt(**keys)).tell(*orders(0, 1)).until(DAY)
    assert story.who == [("r", 8 * HOUR)]
    assert story.ends == ["sent", "per customer"]
    city = prompt(**{"class": "notice", "audience": {"where": 'customer.city == "X"'}})
    assert Story(city).tell(*orders(0)).until(DAY).ends == ["not in audience"]


def test_marketing_carries_signature_and_opt_out() -> None:
    signed = shop(signature="[S] ", opt_out=" Reply R")
    story = Story(prompt(in_shop=signed), in_shop=signed).tell(*orders(0)).until(DAY)
    assert story.sends[0].text == "[S] x Reply R"


# The word of a message's leaving


def chained(name: str, after: str, wait: str = "0min", **keys: Any) -> Any:
    when = {"event": "message.sent", "where": f'event.rule_id == "{after}"'}
    return rule(name, when=when, wait=wait, send=FREE, **keys)


def test_a_rule_may_follow_the_message_of_another() -> None:
    story = Story(prompt(), chained("s", "r", "3d"), chained("t", "s")).tell(*orders(0)).until(9 * DAY)
    assert story.who == [("r", 0), ("s", 3 * DAY), ("t", 3 * DAY)]


@pytest.mark.parametrize("kind", ["withheld", "shadow"])
def test_no_rule_follows_a_message_that_never_left(kind: str) -> None:
    quiet: dict[str, Any] = {"send": {**FREE, "holdout": "100%"}} if kind == "withheld" else {"status": "shadow"}
    story = Story(prompt(**quiet), chained("s", "r")).tell(*orders(0)).until(9 * DAY)
    assert story.who == [("r", 0)]


def test_the_dispatchers_own_report_of_a_message_is_not_a_second_one() -> None:
    story = Story(prompt(), chained("s", "r", "1d")).tell(*orders(0)).until(HOUR)
    told = event("message.sent", HOUR, id=story.sends[0].id, source="triggers", rule_id="r")
    assert story.tell(told).until(9 * DAY).who == [("r", 0), ("s", DAY)]


def test_a_message_ends_the_waits_that_it_cancels_also_those_of_its_own_instant() -> None:
    shy = prompt("s", priority=10, unless=[{"event": "message.sent", "match": "customer"}])
    story = Story(prompt(), shy).tell(*orders(0)).until(DAY)
    assert story.who == [("r", 0)]
    assert sorted(story.ends) == ["cancelled by message.sent", "sent"]


def test_a_message_is_told_of_also_if_the_next_try_of_its_instant_asks() -> None:
    asking = prompt("z", priority=10, limits={"total": 5})
    story = Story(prompt(), asking, chained("s", "r", "1h")).tell(*orders(0)).until(DAY)
    assert story.who == [("r", 0), ("z", 0), ("s", HOUR)]


@pytest.mark.parametrize("limits", [None, {"total": 50}])
def test_a_rule_that_answers_its_own_messages_at_once_does_not_go_on_for_ever(limits: dict[str, Any] | None) -> None:
    echo = rule("e", when={"event": "message.sent"}, wait="0min", send=FREE, **({"limits": limits} if limits else {}))
    story = Story(prompt(), echo).tell(*orders(0)).until(9 * DAY)
    assert [name for name, _ in story.who].count("e") == 2


def test_rules_that_answer_each_other_at_once_do_not_go_on_for_ever() -> None:
    story = Story(prompt(), chained("a", "r"), chained("b", "a"), chained("c", "b"), chained("r2", "c"))
    assert [name for name, _ in story.tell(*orders(0)).until(DAY).who] == ["r", "a", "b", "c", "r2"]
    either = {"event": "message.sent", "where": 'event.rule_id in ["r", "a", "b"]'}
    pair = [rule(name, when=either, wait="0min", send=FREE) for name in ("a", "b")]
    story = Story(prompt(), *pair).tell(*orders(0)).until(9 * DAY)
    assert len(story.sends) < 8


def test_a_rule_may_answer_its_own_message_later_again_and_again() -> None:
    nag = rule("e", when={"event": "message.sent"}, wait="1d", send=FREE)
    story = Story(prompt(), nag).tell(*orders(0)).until(3 * DAY + 1)
    assert story.who == [("r", 0), ("e", DAY), ("e", 2 * DAY), ("e", 3 * DAY)]


def test_what_a_send_says_of_itself_is_so() -> None:
    (send,) = Story(prompt(send=EVENING), revision="v7").tell(*orders(0)).until(DAY).sends
    assert (send.anchor, send.due, send.at) == (START, START, START + 8 * HOUR)
    assert (send.rule, send.customer, send.identity, send.revision, send.klass) == ("r", "c1", "o0", "v7", "marketing")
    assert (send.expires, send.withheld, send.shadow) == (START + 2 * DAY, False, False)
