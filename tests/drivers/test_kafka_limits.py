from __future__ import annotations

from typing import Any

import pytest
from scenes import DAY, START, book, rule

from triggers.core.customer import Wait
from triggers.core.decisions import Ask, Reason, Released, Responded, Verdict
from triggers.core.times import NEVER
from triggers.drivers.kafka.limits import Owner
from triggers.drivers.kafka.records import Asked, Passed, Told

ONE_LEFT = {"limits": {"total": 1}}


class Desk:
    """An owner and its records, so that it can die and be made again."""

    def __init__(self, *rules: Any, partitions: int = 2) -> None:
        self.book = book(*rules)
        self.partitions = partitions
        self.rows: dict[bytes, bytes] = {}
        self.position = -1
        self.owner = Owner(self.book, partitions, {})

    def take(self, *questions: Any) -> list[tuple[str, int, Verdict]]:
        """Hand questions in; gives who was answered, with the answer's number and the verdict."""
        numbered = []
        for question in questions:
            self.position += 1
            numbered.append((self.position, question))
        answers, rows = self.owner.take(numbered)
        for key, row in rows:
            if row is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = row
        return [(answered.customer, answered.number, answered.verdict) for _, answered in answers]

    def die(self) -> None:
        self.owner = Owner(self.book, self.partitions, dict(self.rows))


def ask(customer: str, at: int, partition: int = 0, *, following: int = NEVER, name: str = "r", **more: Any) -> Asked:
    wait = Wait(name, None, START, START + at, START + at, NEVER)
    options: dict[str, Any] = {"priority": 0, "due": START + at, "cost": 0, "reserve": True} | more
    following = following if following == NEVER else START + following
    return Asked(partition, Ask(customer, wait, name, f"{name}-{customer}", START + at, **options), following)


def passed(partition: int, clock: int, answers: int = 0) -> Passed:
    return Passed(partition, START + clock, answers)


@pytest.fixture
def desk() -> Desk:
    return Desk(rule("r", **ONE_LEFT), rule("s", limits={"total": 1}))


def test_a_question_is_answered_once_no_earlier_one_can_come(desk: Desk) -> None:
    assert desk.take(ask("late", 20), passed(0, 30)) == []
    assert desk.take(passed(1, 20)) == []  # at that very instant one may still come
    assert desk.take(ask("early", 10, 1), passed(1, 21)) == [
        ("early", 1, Verdict()),
        ("late", 1, Verdict(Reason.TOTAL)),
    ]


def test_questions_of_one_instant_go_by_priority_then_by_name(desk: Desk) -> None:
    questions = ask("b", 10, priority=5), ask("a", 10, 1), ask("c", 10, 1, priority=5)
    found = desk.take(*questions, passed(0, 11), passed(1, 11))
    assert [(who, verdict.reason) for who, _, verdict in found] == [
        ("b", None),
        ("c", Reason.TOTAL),
        ("a", Reason.TOTAL),
    ]


def test_who_may_ask_again_before_is_waited_for(desk: Desk) -> None:
    first = ask("a", 10, following=15, name="s")
    assert desk.take(first, ask("b", 20, 1), passed(0, 90), passed(1, 90)) == [("a", 1, Verdict())]
    assert desk.take(passed(0, 95)) == []  # the partition has not heard of the answer yet
    assert desk.take(ask("a", 15), passed(0, 95, answers=1)) == [
        ("a", 2, Verdict()),
        ("b", 1, Verdict(Reason.TOTAL)),
    ]


def test_who_asks_at_the_same_instant_again_is_waited_for_too(desk: Desk) -> None:
    first = ask("a", 10, following=10, name="s", priority=9)
    assert desk.take(first, ask("b", 10, 1), passed(0, 90), passed(1, 90)) == [("a", 1, Verdict())]
    found = desk.take(ask("a", 10, priority=3), passed(0, 90, answers=1))
    assert [(who, verdict.reason) for who, _, verdict in found] == [("a", None), ("b", Reason.TOTAL)]


def test_a_customer_who_is_held_back_is_waited_for_until_then() -> None:
    desk = Desk(rule("r", limits={"per_day": 1}))
    midnight = 13 * DAY // 24
    asks = [ask("a", 10), ask("b", 20), ask("c", midnight + 5, 1)]
    found = desk.take(*asks, passed(0, 2 * DAY), passed(1, 2 * DAY))
    assert found == [("a", 1, Verdict()), ("b", 2, Verdict(Reason.PER_DAY, START + midnight))]
    found = desk.take(ask("b", midnight), passed(0, 2 * DAY, answers=2))
    assert [(who, verdict.reason) for who, _, verdict in found] == [("b", None), ("c", Reason.PER_DAY)]


@pytest.mark.parametrize("step", range(6))
def test_whenever_it_dies_nothing_is_given_twice_or_forgotten(step: int) -> None:
    desk = Desk(rule("r", limits={"total": 3}))
    parts: list[list[Any]] = [
        [ask("a", 10), ask("b", 20, following=60)],
        [ask("d", 70, 1)],
        [passed(0, 50), passed(1, 80)],
        [passed(0, 90)],
        [ask("b", 60), passed(0, 90, answers=2)],
        [ask("e", 85, 1), passed(1, 99)],
    ]
    found = []
    for number, questions in enumerate(parts):
        found += desk.take(*questions)
        if number == step:
            desk.die()
    assert [(who, verdict.reason) for who, _, verdict in found] == [
        ("a", None),
        ("b", None),
        ("b", None),
        ("d", Reason.TOTAL),
        ("e", Reason.TOTAL),
    ]
    assert [number for who, number, _ in found if who in "ab"] == [1, 2, 3]


def test_questions_that_are_read_again_are_not_answered_again(desk: Desk) -> None:
    assert len(desk.take(ask("a", 10), passed(0, 20), passed(1, 20))) == 1
    desk.die()
    desk.position = -1
    assert desk.take(ask("a", 10), passed(0, 20), passed(1, 20)) == []
    assert desk.owner.ledger.accounts["r"].total == 1


def test_a_grant_that_is_given_back_goes_to_the_next(desk: Desk) -> None:
    assert desk.take(ask("a", 10, following=10), ask("b", 20, 1), passed(0, 90), passed(1, 90)) == [("a", 1, Verdict())]
    desk.die()
    back = Told(0, START + 10, released=Released("r", "r-a", START + 10))
    assert desk.take(back, passed(0, 90, answers=1)) == [("b", 1, Verdict())]


def test_an_answer_to_a_wave_counts_from_when_it_came() -> None:
    each = [{"id": "w1", "at": "2026-09-01 12:00"}, {"id": "w2", "at": "2026-09-03 12:00"}]
    made = rule("w", waves={"list": each, "min_size": 1, "responded": ["order.paid"], "within": "5d"})
    desk = Desk(made)
    told = Told(0, START + 3 * DAY, answered=Responded("x", "w", "w1", START + 3 * DAY))
    before, after = ask("a", 2 * DAY, name="w", wave="w2"), ask("b", 3 * DAY, 1, name="w", wave="w2")
    desk.take(told)
    desk.die()
    found = desk.take(before, after, passed(0, 9 * DAY), passed(1, 9 * DAY))
    assert [(who, verdict.reason) for who, _, verdict in found] == [("a", Reason.WAVE_TOO_SMALL), ("b", None)]


@pytest.mark.parametrize("when", ["before", "before, and it dies", "by a worker that does not know it yet"])
def test_the_answers_to_a_wave_move_with_its_renamed_rule(when: str) -> None:
    each = [{"id": "w1", "at": "2026-09-01 12:00"}, {"id": "w2", "at": "2026-09-03 12:00"}]
    chain = {"waves": {"list": each, "min_size": 1, "responded": ["order.paid"], "within": "5d"}}
    desk = Desk(rule("w", **chain))
    told = Told(0, START + DAY, answered=Responded("x", "w", "w1", START + DAY))
    if when.startswith("before"):
        desk.take(told)
    desk.book = book(rule("n", renamed_from="w", **chain))
    desk.owner.adopt(desk.book)
    desk.take(*[] if when.startswith("before") else [told])
    desk.book = book(rule("n", **chain))  # the new name stands alone by now
    desk.owner.adopt(desk.book)
    if when.endswith("dies"):
        desk.die()
    found = desk.take(ask("a", 2 * DAY, name="n", wave="w2"), passed(0, 9 * DAY), passed(1, 9 * DAY))
    assert [verdict.reason for _, _, verdict in found] == [None]


def test_a_grant_given_back_counts_for_a_rule_that_was_renamed_meanwhile() -> None:
    desk = Desk(rule("r", **ONE_LEFT), partitions=1)
    desk.take(ask("a", 10), passed(0, 20))
    desk.owner.adopt(book(rule("n", renamed_from="r", **ONE_LEFT)))
    desk.take(Told(0, START + 10, released=Released("r", "r-a", START + 10)), passed(0, 20, answers=1))
    found = desk.take(ask("b", 30, name="n"), passed(0, 90, answers=1))
    assert [verdict.reason for _, _, verdict in found] == [None]


def test_a_partition_may_promise_less_under_other_rules(desk: Desk) -> None:
    assert desk.take(ask("a", 20), passed(0, NEVER - START), passed(1, 30)) != []
    assert desk.take(passed(0, 40, answers=1), ask("b", 50, 1), passed(1, 90)) == []
    assert len(desk.take(ask("c", 45), passed(0, 90, answers=1))) == 2


def test_a_renamed_rule_goes_on_with_what_was_used_up(desk: Desk) -> None:
    desk.take(ask("a", 10), passed(0, 20), passed(1, 20))
    renamed = rule("n", renamed_from="r", **ONE_LEFT)
    desk.owner.adopt(book(renamed))
    found = desk.take(ask("b", 30, name="n"), passed(0, 90, answers=1), passed(1, 90))
    assert [verdict.reason for _, _, verdict in found] == [Reason.TOTAL]
    desk.book = book(renamed)
    desk.die()
    assert desk.owner.ledger.accounts["n"].total == 1
