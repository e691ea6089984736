"""What becomes of waiting timers when the rules are edited: S30 to S36, S39."""

from __future__ import annotations

import copy
import itertools
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import DAY, HOUR, MINUTE, START, book, event, rule, shop
from stories import FREE, Story, arriving, wall

from triggers.core.customer import Customer
from triggers.core.decisions import Ask, Ended, Released, Send, Verdict
from triggers.core.engine import advance, answer, reconcile, step
from triggers.core.ledger import Ledger

if TYPE_CHECKING:
    import random

PAID = [{"event": "order.paid"}]
NOON = {"text": "x", "window": ["10:00-12:00"]}


def waiting(name: str = "r", **keys: Any) -> Any:
    when = {"event": "order.created", "per": "order_id", **keys.pop("when", {})}
    data = {"when": when, "wait": "1d", "send": FREE, "unless": PAID, **keys}
    return rule(name, **{key: value for key, value in data.items() if value is not None})


def begun(**keys: Any) -> Story:
    return Story(waiting(**keys)).tell(event("order.created", 0))


# Pausing, S30


def test_a_paused_rule_arms_nothing_also_not_later() -> None:
    story = Story(waiting(status="paused")).tell(event("order.created", 0)).edit(HOUR, waiting()).until(9 * DAY)
    assert story.decisions == []


def test_what_waited_when_a_rule_was_paused_leaves_when_it_is_live_again() -> None:
    story = begun().edit(HOUR, waiting(status="paused")).edit(2 * DAY, waiting()).until(9 * DAY)
    assert story.sent == [2 * DAY]


@pytest.mark.parametrize(("resumed", "ends"), [(3 * DAY - 1, "sent"), (3 * DAY, "expired"), (6 * DAY, "expired")])
def test_what_has_expired_when_a_rule_is_live_again_is_dropped(resumed: int, ends: str) -> None:
    story = begun().edit(HOUR, waiting(status="paused")).edit(resumed, waiting()).until(9 * DAY)
    assert story.ends == [ends]


@pytest.mark.parametrize("status", ["paused", "draft"])
def test_waits_of_a_paused_rule_go_on_being_cancelled(status: str) -> None:
    story = begun().edit(HOUR, waiting(status=status)).tell(event("order.paid", 2 * HOUR))
    assert story.edit(3 * HOUR, waiting()).until(9 * DAY).ends == ["cancelled by order.paid"]


def test_a_second_match_does_not_restart_a_wait_while_its_rule_is_paused() -> None:
    again = {"when": {"again": "restart"}}
    story = begun(**again).edit(HOUR, waiting(status="paused", **again)).tell(event("order.created", 2 * HOUR))
    assert story.edit(3 * HOUR, waiting(**again)).until(9 * DAY).sent == [DAY]


def test_a_slot_that_would_have_opened_in_a_pause_is_not_opened_after_it() -> None:
    daily: dict[str, Any] = {"schedule": {"every": "day", "at": "10:00"}, "send": FREE}
    story = Story(rule(**daily)).tell(event("customer.registered", 0))
    story.edit(DAY, rule(status="paused", **daily)).until(3 * DAY).edit(3 * DAY, rule(**daily)).until(4 * DAY)
    assert [wall(send.at) for send in story.sends] == ["2026-09-02 10:00", "2026-09-05 10:00"]


# No arming for the past, S31


def test_an_edit_never_arms_for_events_of_the_past() -> None:
    story = Story().tell(event("order.created", 0)).edit(HOUR, waiting()).until(9 * DAY)
    assert story.decisions == []
    wide = Story(waiting(when={"where": "event.amount > 500"})).tell(event("order.created", 0))
    assert wide.edit(HOUR, waiting()).until(9 * DAY).decisions == []


def test_what_was_known_beforehand_never_arms_but_counts_as_history() -> None:
    story = Story(waiting(unless=None, audience={"did": "order.created", "within": "10d", "at_least": 2}))
    story.known(event("order.created", -DAY, order_id="old")).tell(event("order.created", 0)).until(9 * DAY)
    assert story.sent == [DAY]
    assert len(story.armed) == 1


# Everything else is read when leaving, S32


@pytest.mark.parametrize(
    ("change", "leaves"),
    [
        ({"send": {**FREE, "text": "new"}}, DAY),
        ({"send": {**FREE, "coupon": {"batch": "N", "amount": 1}}}, DAY),
        ({"send": {"text": "x", "window": ["19:00-22:00"]}}, DAY + 8 * HOUR),
        ({"priority": 99}, DAY),
        ({"audience": {"where": 'customer.city == "X"'}}, None),
        ({"limits": {"per_customer": "once"}}, DAY),
    ],
)
def test_everything_but_when_is_read_at_the_moment_of_leaving(change: dict[str, Any], leaves: int | None) -> None:
    story = begun().edit(DAY - 1, waiting(**change), revision="new").until(9 * DAY)
    assert story.sent == ([leaves] if leaves else [])
    if leaves:
        (send,) = story.sends
        sending = change.get("send", {})
        assert (send.text, send.coupon, send.revision) == (
            sending.get("text", "x"),
            "N" if "coupon" in sending else None,
            "new",
        )


def test_an_edit_of_expires_counts_for_those_who_wait() -> None:
    late = {"send": {**NOON, "expires": "12h"}}
    story = Story(waiting(send=NOON)).tell(event("order.created", HOUR))  # due at 12:00, outside
    assert story.edit(2 * HOUR, waiting(**late)).until(9 * DAY).ends == ["expired"]


def test_an_edit_while_a_message_is_held_back_looks_again_at_once() -> None:
    story = begun(send={"text": "x", "window": ["19:00-22:00"]}).until(DAY + HOUR)
    assert story.edit(DAY + HOUR, waiting()).until(9 * DAY).sent == [DAY + HOUR]


def test_an_edit_does_not_change_the_name_of_a_command() -> None:
    ids = {begun().until(9 * DAY).sends[0].id for _ in range(2)}
    told = [event("order.created", 0, id="e")]
    ids = {Story(waiting()).tell(*told).edit(HOUR, waiting(**change)).until(9 * DAY).sends[0].id for change in CHANGES}
    assert len(ids) == 1


CHANGES: list[dict[str, Any]] = [{}, {"wait": "2d"}, {"send": {**FREE, "text": "y"}}, {"priority": 1}]


# New cancels, S33


@pytest.mark.parametrize(("stamp", "ends"), [(-1, "sent"), (0, "cancelled by favorite.added"), (HOUR, None)])
def test_a_new_unless_looks_back_to_the_anchor(stamp: int, ends: str | None) -> None:
    story = Story(waiting()).tell(event("favorite.added", stamp), event("order.created", 0))
    story.edit(2 * HOUR, waiting(unless=[*PAID, {"event": "favorite.added", "match": "customer"}])).until(9 * DAY)
    assert story.ends == [ends or "cancelled by favorite.added"]


def test_a_new_unless_asks_its_where_and_identity_of_the_past() -> None:
    big = waiting(unless=[{"event": "order.paid", "where": "event.amount >= 100"}])
    for fields, ends in (({}, "cancelled by order.paid"), ({"amount": 1}, "sent"), ({"order_id": "o2"}, "sent")):
        story = Story(waiting(unless=None)).tell(event("order.created", 0), event("order.paid", 1, **fields))
        assert story.edit(HOUR, big).until(9 * DAY).ends == [ends]


def test_a_new_unless_that_kills_the_first_match_leaves_a_later_one_waiting() -> None:
    story = Story(waiting(unless=None))
    story.tell(event("order.created", 0), event("order.paid", HOUR), event("order.created", 2 * HOUR))
    story.edit(3 * HOUR, waiting()).until(9 * DAY)
    assert story.sent == [DAY + 2 * HOUR]
    assert story.ends == ["cancelled by order.paid", "sent"]


def test_a_match_that_a_new_unless_killed_does_not_wait_on_when_the_first_is_cancelled() -> None:
    story = Story(waiting(unless=None)).tell(event("order.created", 0), event("favorite.added", 2 * HOUR))
    story.tell(arriving(event("order.created", HOUR), 3 * HOUR), event("order.created", 4 * HOUR))
    story.edit(5 * HOUR, waiting(unless=[*PAID, {"event": "favorite.added", "match": "customer"}]))
    assert story.until(9 * DAY).sent == [DAY + 4 * HOUR]


def test_an_unless_taken_away_cancels_no_more() -> None:
    story = begun().edit(HOUR, waiting(unless=None)).tell(event("order.paid", 2 * HOUR)).until(9 * DAY)
    assert story.sent == [DAY]


# Another wait, S34


@pytest.mark.parametrize(
    ("wait", "at", "sent"),
    [
        ("3d", HOUR, [3 * DAY]),
        ("2h", HOUR, [2 * HOUR]),
        ("1h", 5 * HOUR, [5 * HOUR]),
        ("1h", DAY - 1, [DAY - 1]),
        ("0min", HOUR, [HOUR]),
    ],
)
def test_a_changed_wait_counts_from_the_anchor(wait: str, at: int, sent: list[int]) -> None:
    assert begun().edit(at, waiting(wait=wait)).until(9 * DAY).sent == sent


def test_a_message_that_a_shorter_wait_makes_too_late_is_dropped() -> None:
    story = begun(wait="5d").edit(3 * DAY, waiting(wait="1d")).until(9 * DAY)
    assert story.ends == ["expired"]
    assert begun(wait="5d").edit(3 * DAY - 1, waiting(wait="1d")).until(9 * DAY).sent == [3 * DAY - 1]


def test_a_message_that_a_shorter_wait_makes_due_still_goes_by_window_and_caps() -> None:
    capped = shop(caps={"marketing": ["1 / 1d"]})
    keys = {"in_shop": capped, "unless": None}
    story = Story(waiting(wait="5d", **keys), in_shop=capped)
    story.tell(event("order.created", 0, order_id="a"), event("order.created", 1, order_id="b"))
    story.edit(DAY, waiting(wait="1h", send={**NOON, "window": ["15:00-16:00"]}, **keys)).until(9 * DAY)
    assert [wall(send.at) for send in story.sends] == ["2026-09-02 15:00", "2026-09-03 15:00"] or story.ends == [
        "sent",
        "capped",
    ]


def test_a_wait_edited_to_months_keeps_the_wall_clock() -> None:
    assert [wall(send.at) for send in begun().edit(HOUR, waiting(wait="1 month")).until(40 * DAY).sends] == [
        "2026-10-01 11:00"
    ]


def test_settle_counts_after_an_edit_too() -> None:
    story = Story(waiting(), settle=2 * MINUTE).tell(event("order.created", 0)).edit(HOUR, waiting(wait="2h"))
    assert story.until(9 * DAY).sent == [2 * HOUR + 2 * MINUTE]


# Another when, S35


@pytest.mark.parametrize(
    ("when", "ends"),
    [
        ({"where": "event.amount >= 100"}, "sent"),
        ({"where": "event.amount > 100"}, "rule changed"),
        ({"event": "order.paid"}, "rule changed"),
        ({"per": "customer"}, "rule changed"),
        ({"again": "restart"}, "sent"),
        ({"again": "each"}, "sent"),
    ],
)
def test_a_changed_when_is_asked_again_of_what_waits(when: dict[str, Any], ends: str) -> None:
    story = begun(unless=None).edit(HOUR, waiting(unless=None, when=when)).until(9 * DAY)
    assert story.ends == [ends]


def test_a_changed_title_does_not_ask_when_again() -> None:
    first = waiting(when={"where": "customer.orders_paid == 0"}, unless=None)
    other = waiting(when={"where": "customer.orders_paid == 0"}, unless=None, title="Other")
    story = Story(first).tell(event("order.created", 0), event("order.paid", 1, order_id="x"))
    assert story.edit(HOUR, other).until(9 * DAY).ends == ["sent"]


def test_a_rule_that_changes_its_kind_ends_what_waits() -> None:
    slot = rule("r", schedule={"at": "2026-09-02 10:00", "spread": "60min"}, send=NOON)
    assert begun().edit(HOUR, slot).until(HOUR + 1).ends == ["rule changed"]
    story = Story(rule("r", schedule={"at": "2026-09-02 09:00"}, send=NOON)).tell(event("customer.registered", 0))
    story.edit(22 * HOUR + MINUTE, waiting()).until(9 * DAY)
    assert story.ends == ["rule changed"]


def test_a_wave_that_is_no_longer_in_the_list_ends_its_waits() -> None:
    def chain(name: str) -> Any:
        each = [{"id": name, "at": "2026-09-02 09:00"}]
        return rule("w", waves={"responded": ["order.paid"], "within": "1d", "list": each}, send=NOON)

    story = Story(chain("one")).tell(event("customer.registered", 0)).edit(22 * HOUR + MINUTE, chain("two"))
    assert story.until(9 * DAY).ends == ["rule changed"]


def test_a_slot_that_waits_goes_on_when_its_rule_is_edited() -> None:
    story = Story(rule("r", schedule={"at": "2026-09-02 09:00"}, send=NOON)).tell(event("customer.registered", 0))
    edited = rule("r", schedule={"at": "2026-09-02 09:00"}, send={**NOON, "text": "new"})
    story.edit(22 * HOUR + MINUTE, edited).until(9 * DAY)
    assert [(send.text, wall(send.at)) for send in story.sends] == [("new", "2026-09-02 10:00")]


def test_of_several_matches_those_that_a_changed_when_refuses_are_gone() -> None:
    story = Story(waiting()).tell(*(event("order.created", at * HOUR, amount=at) for at in range(4)))
    story.edit(4 * HOUR, waiting(when={"where": "event.amount in [1, 3]"}))
    assert story.ends == ["rule changed"]
    story.tell(arriving(event("order.paid", 2 * HOUR), 5 * HOUR)).until(9 * DAY)
    assert story.ends == ["rule changed", "cancelled by order.paid", "sent"]
    assert story.sent == [DAY + 3 * HOUR]


@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(["ignore", "restart", "each"], 2)))
def test_cancels_find_what_waits_also_after_again_was_changed(before: str, after: str) -> None:
    story = begun(when={"again": before}).edit(HOUR, waiting(when={"again": after}))
    assert story.tell(event("order.paid", 2 * HOUR)).until(9 * DAY).ends == ["cancelled by order.paid"]


@pytest.mark.parametrize(("again", "due"), [("ignore", DAY), ("restart", DAY + HOUR)])
def test_at_most_one_waits_per_identity_also_after_again_was_changed(again: str, due: int) -> None:
    story = Story(waiting(when={"again": "each"})).tell(event("order.created", 0), event("order.created", HOUR))
    story.edit(2 * HOUR, waiting(when={"again": again}))
    story.tell(event("order.created", 2 * HOUR) if again == "ignore" else event("favorite.added", 2 * HOUR))
    assert story.until(9 * DAY).sent == [due]


def test_all_that_is_edited_at_once_counts_at_once() -> None:
    story = Story(waiting(unless=None, wait="5d"))
    story.tell(
        event("order.created", 0, order_id="small", amount=1),
        event("order.created", 0, order_id="paid"),
        event("order.created", 0, order_id="late"),
        event("order.created", 2 * DAY, order_id="good"),
        event("order.paid", HOUR, order_id="paid"),
    )
    story.edit(3 * DAY + HOUR, waiting(when={"where": "event.amount >= 100"}, wait="1d")).until(9 * DAY)
    assert [(send.identity, send.at - START) for send in story.sends] == [("good", 3 * DAY + HOUR)]
    assert {ended.wait.identity: ended.words for ended in story.all(Ended)} == {
        "small": "rule changed",
        "paid": "cancelled by order.paid",
        "late": "expired",
        "good": "sent",
    }


@st.composite
def histories(draw: st.DrawFn) -> list[Any]:
    made = []
    for serial in range(draw(st.integers(1, 9))):
        kind = draw(st.sampled_from(["order.created", "order.created", "order.paid", "favorite.added"]))
        fields: dict[str, Any] = {}
        if kind.startswith("order."):
            fields = {"order_id": f"o{draw(st.integers(1, 2))}", "amount": Decimal(draw(st.sampled_from([10, 90])))}
        made.append(event(kind, draw(st.integers(0, 4)) * HOUR, id=f"h{serial}", **fields))
    return made


@given(
    histories(),
    st.sampled_from(["ignore", "each"]),
    st.sampled_from([(0, 0), (0, 1), (0, 2), (1, 2)]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=250, deadline=None)
def test_after_an_edit_that_only_narrows_it_is_as_if_the_rule_had_always_been_so(
    history: list[Any], again: str, strictness: tuple[int, int], chance: random.Random
) -> None:
    unlesses: list[Any] = [None, PAID, [*PAID, {"event": "favorite.added", "match": "customer"}]]
    before = book(waiting(when={"again": again}, unless=unlesses[strictness[0]], wait="20d"))
    narrow = {"again": again, "where": "event.amount >= 50"}
    after = book(waiting(when=narrow, unless=unlesses[strictness[1]], wait="30d"))
    outcomes = []
    for rules in (before, after):
        customer, decisions = Customer(id="c1"), []
        chance.shuffle(history)
        for i, happened in enumerate(history):
            decisions += step(rules, customer, copy.copy(happened), START + DAY + i)
        decisions += reconcile(after, customer, START + 2 * DAY)
        decisions += advance(after, customer, START + 60 * DAY)
        outcomes.append(sorted((d.id, d.at) for d in decisions if isinstance(d, Send)))
    assert outcomes[0] == outcomes[1]


# A file that is gone, S36


def test_waits_of_a_removed_rule_are_set_aside_and_go_on_if_it_comes_back_in_a_day() -> None:
    story = begun().edit(HOUR, removed={"r": START + HOUR}).until(24 * HOUR + 59 * MINUTE)
    assert story.ends == []
    assert story.edit(25 * HOUR - 1, waiting(), removed={}).until(9 * DAY).sent == [25 * HOUR - 1]


def test_waits_of_a_rule_that_comes_back_before_due_leave_when_due() -> None:
    story = begun().edit(HOUR, removed={"r": START + HOUR}).edit(5 * HOUR, waiting(), removed={}).until(9 * DAY)
    assert story.sent == [DAY]


def test_waits_of_a_rule_that_stays_away_for_a_day_end_as_removed() -> None:
    story = begun(wait="5d").edit(HOUR, removed={"r": START + HOUR}).until(9 * DAY)
    assert story.ends == ["rule removed"]
    assert story.decisions[-1].at == START + 25 * HOUR


def test_a_cancel_while_the_rule_was_away_counts_when_it_comes_back() -> None:
    story = begun().edit(HOUR, removed={"r": START + HOUR}).tell(event("order.paid", 2 * HOUR))
    assert story.edit(5 * HOUR, waiting(), removed={}).until(9 * DAY).ends == ["cancelled by order.paid"]


def test_a_rule_that_vanished_without_a_word_ends_its_waits_at_once() -> None:
    assert begun().edit(HOUR).until(HOUR + 1).ends == ["rule removed"]


def test_slots_of_a_removed_rule_are_set_aside_too() -> None:
    daily = rule("r", schedule={"at": "2026-09-02 09:00"}, send=NOON)
    story = Story(daily).tell(event("customer.registered", 0)).until(22 * HOUR + 1)
    story.edit(22 * HOUR + 2, removed={"r": START + 22 * HOUR}).edit(22 * HOUR + 30 * MINUTE, daily, removed={})
    assert [wall(send.at) for send in story.until(9 * DAY).sends] == ["2026-09-02 10:00"]


# A rule with a new name, S39


def test_waits_limits_and_counts_move_with_a_renamed_rule() -> None:
    limits = {"limits": {"per_customer": "once", "total": 2}}
    story = Story(waiting(**limits)).tell(event("order.created", 0, customer="a")).until(2 * DAY)
    story.tell(event("order.created", 2 * DAY, customer="b"))
    story.edit(2 * DAY + HOUR, waiting("n", renamed_from="r", **limits))
    story.tell(*(event("order.created", 3 * DAY + i, customer=who) for i, who in enumerate("ac", start=1)))
    story.until(9 * DAY)
    assert [(send.rule, send.customer) for send in story.sends] == [("r", "a"), ("n", "b")]
    assert [(ended.wait.rule, ended.words) for ended in story.all(Ended)] == [
        ("r", "sent"),
        ("n", "sent"),
        ("n", "per customer"),
        ("n", "total"),
    ]


def test_without_renamed_from_a_new_name_is_a_new_rule() -> None:
    limits = {"limits": {"per_customer": "once"}}
    story = Story(waiting(**limits)).tell(event("order.created", 0)).until(2 * DAY)
    story.edit(2 * DAY, waiting("n", **limits)).tell(event("order.created", 2 * DAY + 1)).until(9 * DAY)
    assert [send.rule for send in story.sends] == ["r", "n"]


def test_cancels_and_repetitions_find_a_renamed_rules_waits() -> None:
    for again in ("ignore", "restart", "each"):
        first = event("order.created", 0, id="e")
        story = Story(waiting(when={"again": again})).tell(first)
        story.edit(HOUR, waiting("n", renamed_from="r", when={"again": again})).tell(arriving(first, 2 * HOUR))
        assert len(story.customer().waits) == 1
        story.tell(event("order.paid", 3 * HOUR)).until(9 * DAY)
        assert story.ends == ["cancelled by order.paid"]


def test_a_removed_rule_that_comes_back_under_a_new_name_has_its_waits() -> None:
    story = begun().edit(HOUR, removed={"r": START + HOUR})
    story.edit(2 * HOUR, waiting("n", renamed_from="r"), removed={"r": START + HOUR}).until(9 * DAY)
    assert story.who == [("n", DAY)]


def test_a_renamed_rules_messages_may_wait_under_either_name() -> None:
    assert book(waiting("n", renamed_from="r")).names_of("n") == ("n", "r")
    assert book(waiting("n", renamed_from="r")).names_of("other") == ("other",)
    assert book(waiting("n", renamed_from="r"), waiting()).names_of("n") == ("n",)


def test_renamed_from_a_rule_that_is_still_there_moves_nothing() -> None:
    story = begun().edit(HOUR, waiting(), waiting("n", renamed_from="r")).until(9 * DAY)
    assert story.who == [("r", DAY)]


def test_a_rule_renamed_onto_one_that_waits_for_the_same_leaves_one_wait() -> None:
    story = Story(waiting(), waiting("n")).tell(event("order.created", 0))
    story.edit(HOUR, waiting("n", renamed_from="r")).until(9 * DAY)
    assert story.who == [("n", DAY)]
    assert story.ends == ["rule changed", "sent"]


# Edits while a question is open


def asked() -> tuple[Customer, Ledger, Ask, Verdict]:
    rules = book(waiting(limits={"total": 5}))
    customer, ledger = Customer(id="c1"), Ledger()
    step(rules, customer, event("order.created", 0), START)
    (ask,) = [d for d in advance(rules, customer, START + DAY + 1) if isinstance(d, Ask)]
    return customer, ledger, ask, ledger.verdict(rules, ask)


@pytest.mark.parametrize("kind", ["removed", "paused", "renamed", "cancelled"])
def test_the_answer_to_a_question_that_an_edit_made_void_sends_nothing_and_is_given_back(kind: str) -> None:
    customer, ledger, ask, verdict = asked()
    after = {
        "removed": book(removed={"r": START + DAY}),
        "paused": book(waiting(status="paused", limits={"total": 5})),
        "renamed": book(waiting("n", renamed_from="r", limits={"total": 5})),
        "cancelled": book(waiting(when={"where": "event.amount > 500"}, limits={"total": 5})),
    }[kind]
    reconcile(after, customer, START + DAY + 1)
    decisions = answer(after, customer, ask, verdict)
    assert [type(d) for d in decisions] == [Released]
    ledger.note(decisions[0])
    assert ledger.accounts["r"].total == 0


def test_after_an_edit_an_open_question_is_asked_again_and_counted_once() -> None:
    customer, ledger, ask, verdict = asked()
    after = book(waiting(limits={"total": 5}, send={**FREE, "text": "new"}))
    reconcile(after, customer, START + DAY + 1)
    (again,) = [d for d in advance(after, customer, START + DAY + 2) if isinstance(d, Ask)]
    assert again.command == ask.command
    decisions = answer(after, customer, ask, verdict) + answer(after, customer, again, ledger.verdict(after, again))
    for decision in decisions:
        ledger.note(decision)
    assert [d.text for d in decisions if isinstance(d, Send)] == ["new"]
    assert ledger.accounts["r"].total == 1


def test_a_message_free_to_leave_only_after_its_question_was_asked_is_counted() -> None:
    busy = shop(look_ahead="2h")
    rival = waiting(
        "z", in_shop=busy, priority=90, wait="25h", unless=[{"event": "favorite.added", "match": "customer"}]
    )
    rules = book(waiting(in_shop=busy, limits={"total": 5}, unless=None), rival, in_shop=busy)
    customer, ledger = Customer(id="c1"), Ledger()
    step(rules, customer, event("order.created", 0), START)
    (ask,) = [d for d in advance(rules, customer, START + DAY + 1) if isinstance(d, Ask)]
    assert not ask.reserve
    step(rules, customer, event("favorite.added", DAY + 1), START + DAY + 1)
    (again,) = [d for d in answer(rules, customer, ask, ledger.verdict(rules, ask)) if isinstance(d, Ask)]
    assert again.reserve
    sends = [d for d in answer(rules, customer, again, ledger.verdict(rules, again)) if isinstance(d, Send)]
    assert [send.at for send in sends] == [START + DAY]
    assert ledger.accounts["r"].total == 1
