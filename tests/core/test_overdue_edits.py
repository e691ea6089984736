"""What becomes of the waits that an edit makes due, where somebody said so (S38)."""

from __future__ import annotations

import pytest

from triggers.core.customer import Customer
from triggers.core.decisions import Ended, Reason, Send
from triggers.core.edits import SPREAD_OVER
from triggers.core.engine import advance, reconcile, step
from triggers.core.events import FavoriteAdded
from triggers.core.rulebook import Rulebook
from triggers.language import build_rule, build_shop

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_788_000_000_000
NOW = START + DAY + HOUR
SHOP = build_shop({"shop": "v1", "name": "Test", "timezone": "Asia/Shanghai"})


def book(*waits: tuple[str, str], overdue: dict[str, str] | None = None, expires: str = "2d") -> Rulebook:
    rules = []
    for name, wait in waits:
        data = {
            "rule": "v1", "id": name, "title": "T", "status": "live", "class": "notice",
            "when": {"event": "favorite.added"}, "wait": wait, "send": {"text": "hello", "expires": expires},
        }  # fmt: skip
        rules.append(build_rule(data, SHOP))
    return Rulebook(rules, SHOP, keep_all=True, overdue=overdue)


def waiting(under: Rulebook, name: str = "c1") -> Customer:
    customer = Customer(id=name)
    fields = {"id": "e1", "source": "", "customer": name, "at": START, "received_at": START}
    step(under, customer, FavoriteAdded(**fields, product_id="p1", category="A", price=1), START)
    return customer


def test_what_is_overdue_ends_and_what_is_not_waits_on() -> None:
    customer = waiting(book(("a", "3d"), ("b", "3d"), ("c", "3d")))
    new = book(("a", "1d"), ("b", "2d"), ("c", "1d"), overdue={"a": "drop", "b": "drop"})
    out = reconcile(new, customer, NOW)
    assert [(each.wait.rule, each.reason, each.detail) for each in out if isinstance(each, Ended)] == [
        ("a", Reason.RULE_CHANGED, "overdue")
    ]
    assert sorted(wait.rule for wait in customer.waits.values()) == ["b", "c"]


def test_a_wait_that_is_due_just_now_is_overdue() -> None:
    customer = waiting(book(("a", "3d")))
    assert len(reconcile(book(("a", "1d"), overdue={"a": "drop"}), customer, START + DAY)) == 1


def test_what_is_overdue_leaves_within_an_hour_each_at_an_instant_of_its_own() -> None:
    new = book(("a", "1d"), overdue={"a": "spread"})
    wakes = []
    for number in range(200):
        customer = waiting(book(("a", "3d")), f"c{number}")
        reconcile(new, customer, NOW)
        wakes.append(customer.wake)
        sent = [each for each in advance(new, customer, NOW + SPREAD_OVER + 1) if isinstance(each, Send)]
        assert [each.at for each in sent] == [customer.sends[-1].at] == [wakes[-1]]
    assert NOW <= min(wakes) < NOW + SPREAD_OVER / 10
    assert NOW + SPREAD_OVER * 0.9 < max(wakes) < NOW + SPREAD_OVER
    assert len(set(wakes)) == 200


def test_what_would_expire_in_that_hour_leaves_before_it_does() -> None:
    new = book(("a", "1d"), overdue={"a": "spread"}, expires="62min")
    for number in range(50):
        customer = waiting(book(("a", "3d")), f"c{number}")
        reconcile(new, customer, NOW)
        (ended,) = [each for each in advance(new, customer, NOW + DAY) if isinstance(each, Ended)]
        assert ended.reason is Reason.SENT


@pytest.mark.parametrize("overdue", [None, {"a": "send"}, {"other": "drop"}])
def test_else_what_is_overdue_leaves_at_once(overdue: dict[str, str] | None) -> None:
    customer = waiting(book(("a", "3d")))
    assert reconcile(book(("a", "1d"), overdue=overdue), customer, NOW) == []
    assert customer.wake == NOW
