"""What all customers of a rule share: total, budget, per_day, and grants that are counted once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from scenes import DAY, HOUR, START, book, event, rule, shop
from stories import FREE, Story, on, wall

from triggers.core.customer import Customer
from triggers.core.decisions import Ask, Reason, Released, Send, Verdict
from triggers.core.engine import advance, answer, step
from triggers.core.ledger import Ledger

PRICED = shop(price_per_message=Decimal("0.05"))


def prompt(name: str = "r", **keys: Any) -> Any:
    when = {"event": "order.created", "per": "order_id"}
    return rule(name, **{"in_shop": PRICED, "when": when, "wait": "0min", "send": FREE, **keys})


def orders(names: str, at: int = 0) -> list[Any]:
    return [event("order.created", at, customer=name) for name in names]


def test_a_total_is_never_passed() -> None:
    story = Story(prompt(limits={"total": 3})).tell(*orders("abcde")).until(DAY)
    assert [send.customer for send in story.sends] == list("abc")
    assert story.ends == ["sent"] * 3 + ["total"] * 2


def test_a_budget_pays_for_whole_messages_only() -> None:
    long = {"send": {**FREE, "text": "a" * 161}}
    for budget, sent in (("0.10", "a"), ("0.19", "a"), ("0.20", "ab"), ("0.09", "")):
        story = Story(prompt(limits={"budget": Decimal(budget)}, **long), in_shop=PRICED)
        assert [send.customer for send in story.tell(*orders("abc")).until(DAY).sends] == list(sent)


def test_a_budget_that_a_long_message_breaks_may_still_pay_for_a_short_one() -> None:
    made = prompt(limits={"budget": Decimal("0.10")}, send={**FREE, "text": "{customer.name|dear}" + "a" * 150})
    names = {"a": "M", "b": "M" * 40, "c": "M"}
    story = Story(made, in_shop=PRICED)
    story.known(*(event("customer.updated", 0, customer=who, name=name) for who, name in names.items()))
    assert [send.customer for send in story.tell(*orders("abc")).until(DAY).sends] == ["a", "c"]


def test_per_day_postpones_to_midnight_of_the_shop_and_then_by_the_order_of_one_instant() -> None:
    story = Story(prompt(limits={"per_day": 2})).tell(*orders("abcde")).until(9 * DAY)
    assert [(send.customer, wall(send.at)) for send in story.sends] == [
        ("a", "2026-09-01 11:00"),
        ("b", "2026-09-01 11:00"),
        ("c", "2026-09-02 00:00"),
        ("d", "2026-09-02 00:00"),
        ("e", "2026-09-03 00:00"),
    ]


@pytest.mark.parametrize("zone", ["Europe/Paris", "America/New_York"])
def test_per_day_counts_days_of_the_shops_zone_also_when_clocks_change(zone: str) -> None:
    there = shop(timezone=zone)
    begin = on("2026-10-24 22:00" if zone == "Europe/Paris" else "2026-10-31 22:00", zone)
    made = prompt(in_shop=there, limits={"per_day": 1}, send={**FREE, "expires": "9d"})
    story = Story(made, in_shop=there, clock=begin).tell(*orders("abc", begin)).until(begin + 9 * DAY)
    assert [wall(send.at, zone)[-5:] for send in story.sends] == ["22:00", "00:00", "00:00"]
    assert story.sends[2].at - story.sends[1].at == 25 * HOUR


def test_a_message_that_per_day_holds_back_beyond_its_use_ends_so() -> None:
    story = Story(prompt(limits={"per_day": 1}, send={**FREE, "expires": "13h"})).tell(*orders("ab")).until(9 * DAY)
    assert story.ends == ["sent", "per day"]


def test_withheld_and_would_be_messages_count_for_nothing_shared() -> None:
    for keys in ({"send": {**FREE, "holdout": "100%"}}, {"status": "shadow"}):
        story = Story(prompt(limits={"total": 1, "budget": Decimal("0.05"), "per_day": 1}, **keys), in_shop=PRICED)
        assert len(story.tell(*orders("abc")).until(DAY).sends) == 3
        assert story.replay.ledger.accounts["r"].total == 0


def test_what_caps_hold_back_is_counted_only_when_it_leaves() -> None:
    capped = shop(caps={"marketing": ["1 / 1d"]})
    first = rule("a", in_shop=capped, priority=90, when={"event": "order.created"}, wait="0min", send=FREE)
    story = Story(first, prompt("b", in_shop=capped, limits={"total": 1}), in_shop=capped).tell(*orders("c")).until(1)
    assert story.replay.ledger.accounts["b"].total == 0
    story.until(2 * DAY)
    assert story.who == [("a", 0), ("b", DAY)]
    assert story.replay.ledger.accounts["b"].total == 1


def test_a_total_used_up_ends_also_those_whom_a_cap_would_only_hold_back() -> None:
    capped = shop(caps={"marketing": ["1 / 1d"]})
    story = Story(prompt(in_shop=capped, limits={"total": 1}), in_shop=capped)
    story.tell(event("order.created", 0, order_id="a"), event("order.created", 1, order_id="b")).until(1 + 1)
    assert story.ends == ["sent", "total"]


def test_shared_limits_of_two_rules_are_apart() -> None:
    story = Story(prompt("a", limits={"total": 1}), prompt("b", limits={"total": 2})).tell(*orders("xyz")).until(DAY)
    assert sorted((send.rule, send.customer) for send in story.sends) == [("a", "x"), ("b", "x"), ("b", "y")]


def test_of_one_instant_the_more_important_and_the_longer_due_are_asked_first() -> None:
    evening = {"text": "x", "window": ["19:00-20:00"]}
    story = Story(prompt(limits={"total": 2}, send=evening))
    story.tell(*orders("c", 0), *orders("b", 1), *orders("a", 2)).until(DAY)
    assert [send.customer for send in story.sends] == ["c", "b"]


def open_question(limits: dict[str, Any]) -> tuple[Any, Customer, Ask]:
    rules, customer = book(prompt(limits=limits), in_shop=PRICED), Customer(id="c1")
    step(rules, customer, event("order.created", 0), START)
    (ask,) = [d for d in advance(rules, customer, START + 1) if isinstance(d, Ask)]
    return rules, customer, ask


def test_a_question_asked_twice_is_granted_twice_and_counted_once() -> None:
    rules, _, ask = open_question({"total": 1})
    ledger = Ledger()
    assert ledger.verdict(rules, ask) == ledger.verdict(rules, ask) == Verdict()
    assert ledger.accounts["r"].total == 1


def test_a_ledger_restored_from_its_bytes_still_knows_its_grants() -> None:
    rules, _, ask = open_question({"total": 1, "budget": Decimal("0.05"), "per_day": 1})
    ledger = Ledger()
    ledger.verdict(rules, ask)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(ledger), type=Ledger)
    assert again == ledger
    assert again.verdict(rules, ask) == Verdict()
    other = msgspec.structs.replace(ask, command="another")
    assert again.verdict(rules, other) == Verdict(Reason.TOTAL)


def test_a_grant_given_back_frees_total_budget_and_day() -> None:
    rules, _, ask = open_question({"total": 1, "budget": Decimal("0.05"), "per_day": 1})
    ledger = Ledger()
    ledger.verdict(rules, ask)
    for _ in range(2):  # giving it back twice gives nothing twice
        ledger.note(Released("r", ask.command, ask.at))
    account = ledger.accounts["r"]
    assert (account.total, account.spent, sum(account.days.values())) == (0, 0, 0)
    assert ledger.verdict(rules, msgspec.structs.replace(ask, command="another")) == Verdict()


def test_a_grant_that_was_used_is_not_given_back() -> None:
    rules, customer, ask = open_question({"total": 1})
    ledger = Ledger()
    for decision in answer(rules, customer, ask, ledger.verdict(rules, ask)):
        ledger.note(decision)
    ledger.note(Released("r", ask.command, ask.at))
    assert ledger.accounts["r"].total == 1


def test_while_a_question_is_open_the_customers_other_timers_wait_and_events_are_handled() -> None:
    rules = book(prompt(limits={"total": 9}), prompt("z", priority=1, wait="1h"), in_shop=PRICED)
    customer = Customer(id="c1")
    step(rules, customer, event("order.created", 0), START)
    (ask,) = [d for d in advance(rules, customer, START + DAY) if isinstance(d, Ask)]
    assert advance(rules, customer, START + DAY) == []
    step(rules, customer, event("customer.updated", DAY, name="Mei"), START + DAY)
    assert customer.facts.name == "Mei"
    decisions = answer(rules, customer, ask, Verdict()) + advance(rules, customer, START + DAY)
    assert [(d.rule, d.at - START) for d in decisions if isinstance(d, Send)] == [("r", 0), ("z", HOUR)]


def test_a_late_answer_to_another_question_leaves_nothing_stuck() -> None:
    rules, customer, ask = open_question({"total": 9})
    stranger = msgspec.structs.replace(ask, command="another")
    (released,) = answer(rules, customer, stranger, Verdict())
    assert isinstance(released, Released)
    (again,) = [d for d in advance(rules, customer, START + 1) if isinstance(d, Ask)]
    assert again.command == ask.command
