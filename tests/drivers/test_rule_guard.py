"""Which edits are held since they make too many waits due at once, and what a fleet's workers tell each other of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
import structlog

from triggers.core.customer import Customer
from triggers.core.engine import step
from triggers.core.events import FavoriteAdded
from triggers.core.overdue import may_make_due
from triggers.core.rulebook import Rulebook
from triggers.drivers.editions import choose, digest_of
from triggers.drivers.guard import Refusal, count_due, refusals
from triggers.drivers.kafka.rule_notes import FILE, NOTE, Due, Held, Note, Notes, Read, Said, Switched
from triggers.language import build_rule, build_shop
from triggers.language.contents import contents_of

if TYPE_CHECKING:
    from pathlib import Path

    from triggers.core.rules import Rule

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_788_000_000_000
SHOP = build_shop({"shop": "v1", "name": "Test", "timezone": "Asia/Shanghai"})
ELSEWHERE = build_shop({"shop": "v1", "name": "Test", "timezone": "America/New_York"})


def rule(name: str = "wish", **keys: object) -> Rule:
    data = {
        "rule": "v1", "id": name, "title": "T", "status": "live", "class": "notice",
        "when": {"event": "favorite.added"}, "wait": "3d", "send": {"text": "hello"},
    }  # fmt: skip
    return build_rule(data | keys, SHOP)


def book(*rules: Rule, removed: dict[str, int] | None = None) -> Rulebook:
    return Rulebook(rules, SHOP, keep_all=True, removed=removed)


def waiting(under: Rulebook, number: int = 3) -> list[Customer]:
    customers = [Customer(id=f"c{each}") for each in range(number)]
    for customer in customers:
        fields = {"id": "e1", "source": "", "customer": customer.id, "at": START, "received_at": START}
        step(under, customer, FavoriteAdded(**fields, product_id="p1", category="A", price=1), START)
    return customers


@pytest.mark.parametrize(
    ("new", "due"),
    [
        pytest.param(book(rule(wait="1d")), {"wish": 3}, id="a shorter wait"),
        pytest.param(book(rule(wait="2d")), {}, id="a wait that is not over yet"),
        pytest.param(book(rule(wait="1h", send={"text": "hello", "expires": "2h"})), {}, id="a wait whose end is past"),
        pytest.param(book(rule(wait="1d", status="paused")), {}, id="a rule that is paused"),
        pytest.param(book(rule(wait="1d", status="shadow")), {}, id="a rule on trial"),
        pytest.param(book(rule("nudge", wait="1d", renamed_from="wish")), {"nudge": 3}, id="a renamed rule"),
        pytest.param(book(rule(wait="1d", when={"event": "order.paid"})), {}, id="a rule of another event"),
        pytest.param(book(rule(send={"text": "bye"})), {}, id="another text"),
    ],
)
def test_waits_that_become_due_are_counted(new: Rulebook, due: dict[str, int]) -> None:
    old = book(rule())
    assert count_due(old, new, waiting(old), START + DAY + HOUR) == due
    assert may_make_due(old, new) or not due


def test_waits_that_were_due_before_are_not_counted() -> None:
    old = book(rule(send={"text": "hello", "window": ["03:00-03:30"]}))
    assert count_due(old, book(rule(wait="2d")), waiting(old), START + 3 * DAY) == {}


@pytest.mark.parametrize("before", ["paused", "removed"])
def test_waits_of_a_rule_that_goes_on_are_counted(before: str) -> None:
    customers = waiting(book(rule()))
    old = book(rule(status="paused")) if before == "paused" else book(removed={"wish": START + DAY})
    assert count_due(old, book(rule()), customers, START + 3 * DAY + HOUR) == {"wish": 3}
    assert may_make_due(old, book(rule()))


def test_another_time_zone_may_make_waits_due_and_another_text_may_not() -> None:
    assert may_make_due(book(rule()), Rulebook([rule()], ELSEWHERE))
    assert not may_make_due(book(rule()), book(rule(send={"text": "bye"}), rule("more")))
    assert not may_make_due(book(rule(), rule("more")), book(rule(status="paused")))


def test_the_rules_with_the_most_are_held_until_the_rest_is_few_enough(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    (tmp_path / "_shop.yaml").write_text("shop: v1\nname: Test\ntimezone: Asia/Shanghai\n")
    keys = "title: T\nstatus: draft\nclass: notice\nwhen: {event: favorite.added}\nwait: 1d\nsend: {text: x}\n"
    for name in names:
        (tmp_path / f"{name}.yaml").write_text(f"rule: v1\nid: {name}\n{keys}")
    edition = choose(tmp_path, contents_of(tmp_path), {})
    counts = {"a": 3, "b": 150, "c": 190}
    held = [(each.rule, each.file, each.due) for each in refusals(counts, 160, edition, {})]
    assert held == [("c", "c.yaml", 190)]
    assert refusals(counts, 343, edition, {}) == []
    assert [each.rule for each in refusals(counts, 2, edition, {})] == ["c", "b", "a"]
    same = {"c.yaml": edition.contents["c.yaml"]}
    shop = digest_of(edition.contents["_shop.yaml"])
    assert refusals(counts, 160, edition, same) == [Refusal("c", "_shop.yaml", shop, 190)]


# What workers tell each other


def read(key: bytes, value: bytes | None, offset: int = 0) -> Read:
    return Read("rules", 0, offset, key, value)


def notes(*told: Note | tuple[str, bytes | None]) -> Notes:
    made = Notes()
    for each in told:
        if isinstance(each, tuple):
            made.learn(read(FILE + each[0].encode(), each[1]))
        else:
            made.learn(read(NOTE, msgspec.json.encode(each)))
    return made


def test_counts_are_known_when_every_partition_has_told_and_the_first_word_of_each_holds() -> None:
    told = [Due("r", 0, {"wish": 2}), Due("r", 0, {"wish": 9}), Due("other", 1, {"wish": 5})]
    assert notes(*told).counts("r", 2) is None
    assert notes(*told, Due("r", 1, {"wish": 1, "more": 1})).counts("r", 2) == {"wish": 3, "more": 1}


def test_what_was_told_before_the_files_changed_counts_no_more() -> None:
    told = [Due("r", 0, {}), Held("wish", "wish.yaml", "d", 9), Said("wish", "drop")]
    made = notes(*told, ("wish.yaml", b"1"))
    assert made.counts("r", 1) is None
    assert (made.held, made.said) == ({}, {})


def test_files_are_those_of_last() -> None:
    made = notes(("a.yaml", b"1"), ("b.yaml", b"1"), ("a.yaml", b"2"), ("b.yaml", None), Switched("r", {"a": "drop"}))
    assert made.files == {"a.yaml": b"2"}
    assert made.switched == Switched("r", {"a": "drop"})


def test_what_was_said_of_one_edit_does_not_hold_for_the_next() -> None:
    held, other = Held("wish", "wish.yaml", "d1", 9), Held("wish", "wish.yaml", "d2", 9)
    assert notes(held, Said("wish", "drop"), held).said == {"wish": "drop"}
    assert notes(held, Said("wish", "drop"), other).said == {}


def test_since_when_a_rule_counts_is_no_note() -> None:
    made = Notes()
    made.learn(read(b"wish", b'{"rule":"wish","since":1}'))
    assert (made.files, made.held) == ({}, {})


def test_a_note_that_nothing_of_the_fleet_wrote_is_told_once_and_left_out() -> None:
    made = notes(Said("wish", "drop"))
    with structlog.testing.capture_logs() as told:
        for _ in range(2):
            made.learn(read(NOTE, b"\x00", 4_711))
            made.learn(read(NOTE, b'{"rule":"note","since":1}', 4_712))
    assert [each["place"] for each in told] == ["rules/0/4711", "rules/0/4712"]
    assert made.said == {"wish": "drop"}
