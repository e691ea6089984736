"""Questions of many customers at once are answered in the order of time, whoever waits for whose answer meanwhile."""

from __future__ import annotations

import json
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from fleets import lines
from scenes import book as core_book
from scenes import rule, shop
from test_kafka_partition import AFTER_THE_END, Fleet, bodies, replayed

from triggers.core.customer import Customer, Sent, Wait
from triggers.core.events import Event
from triggers.core.intake import decode_many, stamp
from triggers.core.rulebook import Rulebook
from triggers.core.times import DAY, HOUR, MINUTE, NEVER
from triggers.drivers.kafka.foresight import after_message, next_try, soonest
from triggers.drivers.kafka.limits import Owner
from triggers.drivers.kafka.records import TICK
from triggers.language import load

if TYPE_CHECKING:
    from pathlib import Path

    from triggers.core.events import AnyEvent
    from triggers.drivers.kafka.records import Answered, Asked

START = 1_795_000_200_000
EVENTS = 700
KINDS = ("order.created", "order.created", "order.paid", "order.cancelled", "favorite.added", "store.visited")
SHOP = """shop: v1
name: Crowded
timezone: UTC
opt_out: " Reply R to stop"
look_ahead: 2s
caps: {all: [2 / 9s]}
"""
RULE = """rule: v1
id: {id}
title: Crowded
owner: crm@yunque.example
status: live
class: {klass}
priority: {priority}
{body}
"""
RULES = {
    "first": (
        "marketing",
        50,
        """when: {event: order.created}
wait: 3s
unless: [{event: order.paid}]
send: {expires: 9s, text: One}
limits: {total: 30}""",
    ),
    "order": (
        "member",
        60,
        """when: {event: order.created, per: order_id}
wait: 5s
unless: [{event: order.cancelled}]
send: {expires: 6s, text: Two}
limits: {per_day: 20}""",
    ),
    "wish": (
        "marketing",
        70,
        """when: {event: favorite.added, again: restart}
wait: 2s
send: {expires: 4s, text: Three}
limits: {total: 25}""",
    ),
    "visit": (
        "notice",
        10,
        """when: {event: store.visited}
wait: 1s
send: {expires: 9s, text: Four}""",
    ),
    "waves": (
        "marketing",
        80,
        """waves:
  responded: [order.paid]
  within: 1h
  min_size: 3
  list:
    - {id: w1, at: 2026-11-18 11:11, take: 9}
    - {id: w2, at: 2026-11-18 11:12}
send: {expires: 30s, text: Five}""",
    ),
    "slot": (
        "greeting",
        40,
        """schedule: {at: 2026-11-18 11:11, spread: 20s}
send: {expires: 30s, text: Six}
limits: {total: 9}""",
    ),
}


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Rulebook:
    folder = tmp_path_factory.mktemp("rules")
    (folder / "_shop.yaml").write_text(SHOP)
    for name, (klass, priority, body) in RULES.items():
        (folder / f"{name}.yaml").write_text(RULE.format(id=name, klass=klass, priority=priority, body=body))
    loaded = load(folder)
    assert loaded.shop is not None
    return Rulebook(loaded.rules, loaded.shop, revision=loaded.revision, keep_all=True, settle=300)


def write_crowded_log(path: Path, chance: Random) -> Path:
    """Make up a few customers who do much within two minutes, much of it at one instant, some of it heard late."""
    rows, at = [], START
    for number in range(EVENTS):
        at += int(chance.expovariate(1 / (2.2 * MINUTE / EVENTS))) if chance.random() < 0.8 else 0
        happened = at - chance.choice((0, 0, 0, 700, 4_000))
        event = {"id": f"e{number}", "type": chance.choice(KINDS), "customer": f"c{chance.randrange(40)}"}
        more = {"order_id": f"o{chance.randrange(60)}", "product_id": "p", "amount": 9, "category": "A"}
        rows.append(json.dumps(event | more | {"at": happened, "received_at": at}))
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize("seed", range(12))
def test_a_crowd_is_decided_as_in_a_replay(
    book: Rulebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    answered: list[int] = []
    decide = Owner._decide  # noqa: SLF001  the order of its answers is what is looked at

    def noted(owner: Owner, asked: Asked) -> Answered:
        answered.append(asked.ask.at)
        return decide(owner, asked)

    monkeypatch.setattr(Owner, "_decide", noted)
    path = write_crowded_log(tmp_path / "log.jsonl", Random(seed))  # noqa: S311  chance that a seed repeats
    arrived = bodies(path)
    until = arrived[-1][2] + AFTER_THE_END
    fleet = Fleet(book, 3, seed, crashes=0.05 * (seed % 2), most=(5, 40, 400)[seed % 3])
    fleet.write(arrived, tick_at=until)
    fleet.run()
    assert answered == sorted(answered)
    sends, _ = replayed(book, path, until)
    assert {send.rule for send in sends} == set(RULES)
    assert lines(fleet.sends) == lines(sends)
    assert {each.reason for each in fleet.decided} >= {"per day", "total", "capped", "cancelled"}


def event(kind: str, at: int, received_at: int) -> AnyEvent:
    fields = {"id": f"{kind}{at}", "type": kind, "customer": "c1", "order_id": "o1", "amount": 9, "product_id": "p"}
    (read,) = decode_many([json.dumps(fields | {"at": at, "category": "A"}).encode()])
    assert isinstance(read, Event)
    stamp(read, received_at)
    return read  # type: ignore[return-value]  # one of AnyEvent


def wait(rule: str, **more: Any) -> Wait:
    return Wait(rule, None, START, START + 3_000, START + 3_300, START + 9_000, **more)


def test_what_arms_asks_once_its_wait_is_over_and_not_before_it_came(book: Rulebook) -> None:
    customer = Customer(id="c1")
    assert soonest(book, customer, [event("order.created", START, START + 50)]) == START + 3_300
    assert soonest(book, customer, [event("order.created", START - 60_000, START + 50)]) == START + 50
    created, wished = event("order.created", START, START), event("favorite.added", START, START)
    assert soonest(book, customer, [created, wished]) == START + 2_300


def test_what_neither_arms_nor_revives_nor_answers_leads_to_no_question(book: Rulebook) -> None:
    customer = Customer(id="c1", waits={"first": wait("first")})
    held = [event(kind, START, START + 50) for kind in ("store.visited", "order.paid", "order.cancelled")]
    assert soonest(book, customer, held) == NEVER


def test_what_cancels_the_first_of_several_matches_may_bring_a_question_at_once(book: Rulebook) -> None:
    created, paid = event("order.created", START, START), event("order.paid", START, START + 50)
    customer = Customer(id="c1", waits={"first": wait("first", later=[created])})
    assert soonest(book, customer, [paid]) == START + 50
    assert soonest(book, Customer(id="c1"), [paid], [created]) == START + 50


def test_an_answer_to_a_wave_that_left_or_may_leave_is_told_at_once(book: Rulebook) -> None:
    paid = event("order.paid", START, START + 50)
    sent = Sent("waves", "marketing", START - 1_000, START - 1_000, wave="w1")
    assert soonest(book, Customer(id="c1", sends=[sent]), [paid]) == START + 50
    assert soonest(book, Customer(id="c1", waits={"waves": wait("waves", slot="w1")}), [paid]) == START + 50


def test_only_waits_of_rules_that_share_something_ask_next(book: Rulebook) -> None:
    asking, other = wait("wish"), wait("first")
    customer = Customer(id="c1", waits={"wish": asking, "visit": wait("visit")}, opened=START + 5 * MINUTE)
    assert next_try(book, customer, asking) == NEVER
    customer.waits["first"] = other
    assert next_try(book, customer, asking) == other.wake
    customer.opened = START
    assert next_try(book, customer, asking) == other.wake
    other.wake = NEVER
    assert next_try(book, customer, asking) == START + MINUTE  # the first slot


SECOND = {"id": "second", "when": {"event": "message.sent", "again": "each"}, "wait": "1h", "limits": {"total": 99}}


def test_a_message_leads_to_a_question_once_the_wait_that_it_begins_is_over() -> None:
    made = core_book(rule(**SECOND), settle=300)
    assert after_message(made, Customer(id="c1"), START) == START + HOUR + 300
    assert soonest(made, Customer(id="c1"), [event("store.visited", START, START + 50)]) == START + 50 + HOUR + 300
    assert after_message(core_book(rule(**SECOND | {"wait": "0s"})), Customer(id="c1"), START) == START


def test_a_message_that_no_sharing_rule_answers_leads_to_no_question() -> None:
    made = core_book(rule(**SECOND | {"limits": {}}), rule("r", limits={"total": 9}, unless=[{"event": "order.paid"}]))
    assert made.chains
    assert after_message(made, Customer(id="c1", waits={"r": wait("r")}), START) == NEVER


def test_a_message_that_may_cancel_the_first_of_several_matches_may_bring_a_question_at_once() -> None:
    made = core_book(rule("r", limits={"total": 9}, unless=[{"event": "message.sent", "match": "customer"}]))
    created = event("order.created", START, START)
    assert after_message(made, Customer(id="c1", waits={"r": wait("r")}), START) == NEVER
    assert after_message(made, Customer(id="c1", waits={"r": wait("r", later=[created])}), START) == START
    assert after_message(made, Customer(id="c1"), START, [created]) == START
    assert soonest(made, Customer(id="c1"), [created]) == START


def test_a_message_that_may_be_an_answer_to_a_wave_is_told_at_once() -> None:
    waves = {
        "list": [{"id": "w1", "at": "2026-11-18 11:11"}],
        "min_size": 1,
        "responded": ["message.sent"],
        "within": "1d",
    }
    made = core_book(rule("w", waves=waves))
    sent = Sent("w", "marketing", START - 1_000, START - 1_000, wave="w1")
    assert after_message(made, Customer(id="c1", sends=[sent]), START) == START
    assert after_message(made, Customer(id="c1"), START) == NEVER


def test_a_wait_of_days_is_as_short_as_the_clocks_can_make_it() -> None:
    in_shop = shop(timezone="America/New_York")
    made = core_book(rule(in_shop=in_shop, **SECOND | {"wait": "1d 1h"}), in_shop=in_shop)
    assert after_message(made, Customer(id="c1"), START) == START + DAY
    assert after_message(core_book(rule(**SECOND | {"wait": "1 month"})), Customer(id="c1"), START) == START + 28 * DAY


def test_a_backlog_of_questions_is_answered_at_once_also_where_rules_answer_to_messages() -> None:
    first = rule("r", wait="1h", send={"text": "x", "window": ["00:00-24:00"]}, limits={"total": 150})
    fleet = Fleet(core_book(first, rule(**SECOND), revision="v1"), 2, seed=1)
    body = {"type": "order.created", "order_id": "o", "amount": 1, "at": START}
    customers = [f"c{number}" for number in range(200)]
    fleet.write([(json.dumps(body | {"id": c, "customer": c}).encode(), c, START) for c in customers], tick_at=START)
    for number in range(2):
        fleet.append(number, START + 3 * HOUR, None, TICK)
    answered: list[int] = []
    take = fleet.owner.take

    def counted(questions: Any) -> Any:
        found = take(questions)
        answered.append(len(found[0]))
        return found

    fleet.owner.take = counted  # type: ignore[method-assign]  # how many at a time shows nowhere else
    fleet.run()
    assert max(answered) >= 100
    assert Counter(send.rule for send in fleet.sends) == {"r": 150, "second": 99}
