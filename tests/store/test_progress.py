from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from triggers.core.customer import Customer, Facts, Wait
from triggers.core.decisions import Armed, Ended, LateCancel, Postponed, Reason
from triggers.core.times import DAY, NEVER
from triggers.store.customers import all_ids, encode, load_customer, load_customers, save_customers, waking
from triggers.store.database import connect, open_database
from triggers.store.decisions import append_decisions, decisions_of, row_of
from triggers.store.progress import Progress, enrol, load_progress, save_progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from triggers.store.database import Connection

NOW = 1_788_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Connection]:
    open_database(tmp_path / "t.db")
    with closing(connect(tmp_path / "t.db")) as connection:
        yield connection


def test_progress_comes_back_as_it_was(store: Connection) -> None:
    assert load_progress(store) == (0, None, None, "")
    save_progress(store, Progress(7, NOW, b"ledger", "r1"))
    save_progress(store, Progress(9, NOW + 1, None, "r2"))
    assert load_progress(store) == (9, NOW + 1, b"ledger", "r2")


def test_the_rules_of_a_new_database_count_from_its_beginning_and_later_ones_from_when_they_come(
    store: Connection,
) -> None:
    assert enrol(store, ["a", "b"], NOW, 0) == ({"a": 0, "b": 0}, {})
    assert enrol(store, ["a", "b", "c"], NOW + 5, 0) == ({"a": 0, "b": 0, "c": NOW + 5}, {})


def test_a_rule_that_goes_is_removed_from_the_first_time_it_is_missed(store: Connection) -> None:
    enrol(store, ["a", "b"], NOW, NOW)
    assert enrol(store, ["a"], NOW + 1, NOW).removed == {"b": NOW + 1}
    assert enrol(store, ["a"], NOW + 2, NOW).removed == {"b": NOW + 1}


@pytest.mark.parametrize(("away", "since"), [(DAY - 1, NOW), (DAY, NOW + DAY)])
def test_a_rule_that_comes_back_within_a_day_goes_on_and_later_is_a_new_one(
    store: Connection, away: int, since: int
) -> None:
    enrol(store, ["a"], NOW, NOW)
    enrol(store, [], NOW, NOW)
    assert enrol(store, ["a"], NOW + away, NOW) == ({"a": since}, {})


def test_customers_come_back_as_they_were(store: Connection) -> None:
    first, second, idle = Customer(id="a", wake=NOW), Customer(id="b", wake=NOW + 1), Customer(id="c")
    first.facts = Facts(name="李雷")
    save_customers(store, [encode(each, 0) for each in (first, second, idle)])
    second.wake = NOW + 9
    save_customers(store, [encode(second, 0)])
    assert load_customer(store, "a") == first
    assert load_customer(store, "x") is None
    assert sorted(load_customers(store, ["b", "x", "c"]), key=lambda each: each.id) == [second, idle]
    assert sorted(waking(store)) == [(NOW, "a"), (NOW + 9, "b")]
    assert list(all_ids(store)) == [["a", "b", "c"]]
    assert idle.wake == NEVER


def test_decisions_come_back_in_order_with_their_reasons(store: Connection) -> None:
    wait = Wait("r", "o1", NOW, NOW + 1, NOW + 1, NOW + 9)
    made = [
        Armed("c1", wait, NOW),
        Postponed("c1", wait, NOW + 1, Reason.CAPPED, NOW + 5, "1 / 1d"),
        Ended("c1", wait, NOW + 5, Reason.CANCELLED, "order.paid"),
        LateCancel("c1", "other", NOW + 6, "order.paid", "e9"),
        Armed("c2", wait, NOW),
    ]
    append_decisions(store, [row for each in made if (row := row_of(each, "rev")) is not None])
    rows = decisions_of(store, "c1")
    assert [(row.kind, row.at, row.reason, row.detail, row.until) for row in rows] == [
        ("armed", NOW, "", "", None),
        ("postponed", NOW + 1, "capped", "1 / 1d", NOW + 5),
        ("ended", NOW + 5, "cancelled", "order.paid", None),
        ("late cancel", NOW + 6, "", "order.paid e9", None),
    ]
    assert [row.kind for row in decisions_of(store, "c1", rule="other")] == ["late cancel"]
    assert [row.kind for row in decisions_of(store, "c1", limit=1)] == ["late cancel"]
