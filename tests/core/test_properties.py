"""What must hold for any history: order, repetition, strides and restarts do not change what is decided."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import DAY, HOUR, START, book, event, rule, shop

from triggers.core.customer import Customer
from triggers.core.decisions import Ended, Reason, Send
from triggers.core.engine import advance, answer, step
from triggers.core.ledger import Ledger
from triggers.replay.replay import Replay

if TYPE_CHECKING:
    import random

SPAN = 5 * DAY

KINDS = ("order.created", "order.paid", "order.cancelled", "favorite.added", "customer.registered")


def waiting_rules() -> list[Any]:
    """Rules whose waits outlast the histories below, so every event arrives before it is due."""
    free = {"window": ["00:00-24:00"], "text": "x"}
    return [
        rule(
            "first",
            when={"event": "order.created", "per": "order_id"},
            wait="10d",
            send=free,
            unless=[{"event": "order.paid"}],
        ),
        rule(
            "last",
            when={"event": "favorite.added", "again": "restart"},
            wait="10d",
            send=free,
            unless=[{"event": ["order.created", "order.cancelled"]}],
        ),
        rule(
            "each",
            when={"event": "favorite.added", "again": "each"},
            wait="10d",
            send=free,
            unless=[{"event": "order.paid", "where": "event.amount > 50"}],
        ),
        rule(
            "kept",
            when={"event": "favorite.added"},
            wait="10d",
            send=free,
            unless=[{"event": "order.cancelled", "match": "customer"}],
        ),
        rule("self", when={"event": "order.created"}, wait="10d", send=free, unless=[{"event": "order.created"}]),
        rule(
            "whole",
            when={"event": "customer.registered"},
            wait="10d",
            send=free,
            audience={
                "all": [
                    {"did": "order.paid", "within": "20d", "at_least": 2},
                    {"where": "customer.orders_paid >= 1 and customer.total_paid < 100000"},
                    {
                        "not": {
                            "did": "order.created",
                            "within": "20d",
                            "without": {"event": "order.paid", "match": "order_id"},
                        }
                    },
                ]
            },
        ),
    ]


@st.composite
def histories(draw: st.DrawFn) -> list[Any]:
    made = []
    for serial in range(draw(st.integers(1, 14))):
        kind = draw(st.sampled_from(KINDS))
        fields: dict[str, Any] = {}
        if kind.startswith("order."):
            fields["order_id"] = f"o{draw(st.integers(1, 3))}"
        if kind in ("order.created", "order.paid"):
            fields["amount"] = draw(st.integers(1, 100))
        made.append(event(kind, draw(st.integers(0, 6)) * 12 * HOUR, id=f"h{serial}", **fields))
    return made


def outcome(rules: Any, arrivals: list[tuple[int, Any]]) -> list[tuple[str, str, int]]:
    """Let events arrive at instants and name what is sent in the end."""
    replay_sends: list[tuple[str, str, int]] = []
    customer = Customer(id="c1")
    decisions = []
    for now, arrived in arrivals:
        decisions += step(rules, customer, copy.copy(arrived), now)
    decisions += advance(rules, customer, START + 60 * DAY)
    replay_sends += [(d.id, d.rule, d.at) for d in decisions if isinstance(d, Send)]
    return sorted(replay_sends)


WAITING = book(*waiting_rules())


@given(histories(), st.randoms(use_true_random=False))
@settings(max_examples=400, deadline=None)
def test_order_and_repetition_of_events_that_arrive_before_due_change_nothing(
    history: list[Any], chance: random.Random
) -> None:
    in_order = sorted(history, key=lambda e: (e.at, e.id))
    plain = outcome(WAITING, [(e.at, e) for e in in_order])
    muddled = history + chance.choices(history, k=len(history) // 2)
    chance.shuffle(muddled)
    assert outcome(WAITING, [(START + SPAN + i, e) for i, e in enumerate(muddled)]) == plain


def busy_rules() -> Any:
    busy = shop(
        caps={"marketing": ["1 / 1d", "2 / 7d"], "all": ["2 / 1d"]},
        look_ahead="6h",
        window=["10:00-12:00", "19:00-22:00"],
    )
    return [
        rule(
            "abandoned",
            in_shop=busy,
            when={"event": "order.created", "per": "order_id"},
            wait="2h",
            priority=80,
            unless=[{"event": ["order.paid", "order.cancelled"]}],
        ),
        rule(
            "quiet",
            in_shop=busy,
            when={"event": "favorite.added", "again": "restart"},
            wait="1d",
            priority=40,
            unless=[{"event": "order.created"}],
            limits={"per_customer": "1 / 3d"},
        ),
        rule(
            "welcome",
            in_shop=busy,
            when={"event": "customer.registered"},
            wait="1d",
            priority=60,
            unless=[{"event": "order.paid"}],
        ),
        rule(
            "weekly",
            in_shop=busy,
            schedule={"every": "week", "day": "thu", "at": "19:00", "spread": "2h"},
            priority=30,
            audience={"did": "favorite.added", "within": "7d"},
        ),
        rule(
            "chained",
            in_shop=busy,
            when={"event": "message.sent", "where": 'event.rule_id == "welcome"'},
            wait="3d",
            priority=20,
        ),
    ], busy


BUSY = book(*busy_rules()[0], in_shop=busy_rules()[1])


def told(decisions: list[Any]) -> list[Any]:
    return [
        (type(d).__name__, d.rule, d.at) if isinstance(d, Send) else (type(d).__name__, d.wait.rule, d.at, d.reason)
        for d in decisions
        if isinstance(d, (Send, Ended))
    ]


@given(histories(), st.lists(st.integers(0, 20 * 24), max_size=30))
@settings(max_examples=300, deadline=None)
def test_waking_eagerly_or_lazily_decides_the_same(history: list[Any], hours: list[int]) -> None:
    history.sort(key=lambda e: (e.at, e.id))
    lazy, eager = Customer(id="c1"), Customer(id="c1")
    lazily, eagerly = [], []
    looks = sorted(START + hour * HOUR + 1 for hour in hours)
    for happened in history:
        lazily += step(BUSY, lazy, happened, happened.at)
        while looks and looks[0] < happened.at:
            look = looks.pop(0)
            eagerly += advance(BUSY, eager, look) if eager.opened >= 0 else []
        eagerly += step(BUSY, eager, happened, happened.at)
    for look in looks:
        eagerly += advance(BUSY, eager, max(look, history[-1].at))
    end = START + 40 * DAY
    assert told(lazily + advance(BUSY, lazy, end)) == told(eagerly + advance(BUSY, eager, end))


@given(histories())
@settings(max_examples=200, deadline=None)
def test_a_restart_before_any_event_changes_nothing(history: list[Any]) -> None:
    history.sort(key=lambda e: (e.at, e.id))
    encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(Customer).decode
    through, restarted = Customer(id="c1"), Customer(id="c1")
    plain, again = [], []
    for happened in history:
        plain += step(BUSY, through, happened, happened.at)
        restarted = decode(encode(restarted))
        again += step(BUSY, restarted, happened, happened.at)
    end = START + 40 * DAY
    restarted = decode(encode(restarted))
    assert told(plain + advance(BUSY, through, end)) == told(again + advance(BUSY, restarted, end))


@given(st.lists(st.tuples(st.integers(0, 8), st.sampled_from("abcdef"), st.sampled_from(KINDS)), max_size=40))
@settings(max_examples=150, deadline=None)
def test_a_replay_in_order_and_one_by_customer_send_the_same(story: list[tuple[int, str, str]]) -> None:
    rules = [r for r in busy_rules()[0] if r.id != "weekly"]
    events = [
        event(
            kind, hours * 9 * HOUR, customer=who, id=f"s{i}", **({"order_id": f"o{i % 5}"} if "order" in kind else {})
        )
        for i, (hours, who, kind) in enumerate(sorted(story))
    ]
    sent = []
    for keys in ({"in_order": True}, {"in_order": False}):
        for lateness in (None, 0):
            decisions: list[Any] = []
            rulebook = book(*rules, in_shop=busy_rules()[1], keep_all=False, lateness=lateness)
            replay = Replay(rulebook, decisions.append, **keys)
            replay.play(copy.copy(e) for e in events)
            replay.run_until(START + 40 * DAY)
            sent.append(sorted((d.id, d.at) for d in decisions if isinstance(d, Send)))
    assert sent[0] == sent[1] == sent[2] == sent[3]


@pytest.mark.parametrize("limits", [{"total": 3}, {"per_day": 2}, {"budget": Decimal("0.10")}])
def test_shared_limits_are_kept_whatever_the_order_of_customers(limits: dict[str, Any]) -> None:
    priced = shop(price_per_message=Decimal("0.05"))
    rules = book(
        rule("r", in_shop=priced, limits=limits, send={"text": "x", "window": ["10:00-12:00"]}), in_shop=priced
    )
    results = []
    for order in ("abcde", "edcba", "cabde"):
        decisions: list[Any] = []
        replay = Replay(rules, decisions.append, clock=START)
        replay.play(event("order.created", 0, customer=who, id=f"x{who}") for who in order)
        replay.run_until(START + 10 * DAY)
        results.append(sorted((d.customer, d.at) for d in decisions if isinstance(d, Send)))
        assert len([d for d in decisions if isinstance(d, Ended)]) == 5
    assert results[0] == results[1] == results[2]
    assert [who for who, _ in results[0]] == {"total": ["a", "b", "c"], "per_day": list("abcde"), "budget": ["a", "b"]}[
        next(iter(limits))
    ]


def test_a_question_open_while_its_wait_is_cancelled_gives_its_grant_back() -> None:
    rules = book(rule("r", limits={"total": 5}, unless=[{"event": "order.paid"}]))
    customer, ledger = Customer(id="c1"), Ledger()
    step(rules, customer, event("order.created", 0), START)
    (ask,) = [d for d in advance(rules, customer, START + 2 * DAY) if type(d).__name__ == "Ask"]
    verdict = ledger.verdict(rules, ask)
    ended = step(rules, customer, event("order.paid", 2 * DAY), START + 2 * DAY)
    assert [d.reason for d in ended if isinstance(d, Ended)] == [Reason.CANCELLED]
    (released,) = answer(rules, customer, ask, verdict)
    assert ledger.accounts["r"].total == 1
    ledger.note(released)
    assert ledger.accounts["r"].total == 0
