from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from triggers.core.customer import Wait
from triggers.core.decisions import Ended, Postponed, Reason
from triggers.core.times import HOUR, NEVER, Zone
from triggers.drivers.embedded.driver import Outcome
from triggers.drivers.embedded.screen import ALL_HELD, HELD_AT_ONCE, Screen

NOON = 1_788_000_000_000


@pytest.fixture
def paper() -> StringIO:
    return StringIO()


@pytest.fixture
def screen(paper: StringIO) -> Screen:
    return Screen(Console(file=paper, width=200), Zone("Asia/Shanghai", (), (8 * HOUR,)))


def ended(rule: str, reason: Reason, detail: str = "") -> Ended:
    return Ended("c1", Wait(rule, None, NOON, NOON, NOON, NEVER), NOON, reason, detail)


def outcome(*decisions: Ended | Postponed) -> Outcome:
    return Outcome([(decision, None) for decision in decisions], 0, NOON)


def test_what_was_held_back_is_told_with_its_reason_and_for_how_long(screen: Screen, paper: StringIO) -> None:
    wait = Wait("r", None, NOON, NOON, NOON, NEVER)
    screen.take(
        outcome(
            ended("a", Reason.CANCELLED, "order.paid"),
            ended("b", Reason.NOT_IN_AUDIENCE, "1 visit\nof 2"),
            ended("c", Reason.SENT),
            Postponed("c2", wait, NOON, Reason.CAPPED, NOON + HOUR, "1 / 1d"),
        )
    )
    screen.refresh()
    assert paper.getvalue().splitlines() == [
        "2026-08-29 18:40  not sent  c1  a: cancelled by order.paid",
        "2026-08-29 18:40  not sent  c1  b: not in audience (1 visit�of 2)",
        "2026-08-29 18:40  held  c2  r: capped (1 / 1d), again at 2026-08-29 19:40",
    ]
    screen.refresh()
    assert len(paper.getvalue().splitlines()) == 3


def test_until_something_happens_the_numbers_are_of_the_instant_at_which_it_goes_on(
    screen: Screen, paper: StringIO
) -> None:
    screen.welcome("http://127.0.0.1:1", 12, NOON, 1_440.0)
    screen.summary(20_765)
    assert paper.getvalue().splitlines()[-1] == "— 2026-08-29 18:40 · 20,765 events · 0 sent"


def test_of_little_all_is_told(screen: Screen, paper: StringIO) -> None:
    screen.take(outcome(*[ended("a", Reason.EXPIRED)] * ALL_HELD))
    screen.refresh()
    assert len(paper.getvalue().splitlines()) == ALL_HELD


def test_of_much_the_rarest_are_told_and_all_is_counted(screen: Screen, paper: StringIO) -> None:
    screen.take(outcome(*[ended("a", Reason.EXPIRED)] * 500, ended("b", Reason.RECENCY), ended("c", Reason.CAPPED)))
    screen.refresh()
    told = paper.getvalue().splitlines()
    assert len(told) == HELD_AT_ONCE
    assert sum("  b: recency" in line or "  c: capped" in line for line in told) == 2
    screen.summary(9)
    assert "9 events · 0 sent · not sent: expired 500, recency 1, capped 1" in paper.getvalue()
