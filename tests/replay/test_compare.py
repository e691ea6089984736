"""Comparing two sets of sends: added, dropped, moved, reworded, and what that costs."""

from __future__ import annotations

from triggers.core.decisions import Send
from triggers.core.times import Zone
from triggers.replay.compare import Comparison, Sends

UTC = Zone("UTC")


def send(name: str, rule: str = "a", at: int = 0, text: str = "hello", cost: int = 5_000, **flags: bool) -> Send:
    return Send(
        id=name,
        rule=rule,
        customer=f"c-{name}",
        identity=None,
        anchor=0,
        due=0,
        at=at,
        withheld=flags.get("withheld", False),
        shadow=flags.get("shadow", False),
        variant=None,
        wave=None,
        coupon=None,
        text=text,
        segments=1,
        cost=cost,
        revision="",
        klass="marketing",
        expires=9,
    )


def taken(*sends: Send) -> Sends:
    kept = Sends()
    for one in sends:
        kept.send(one)
    return kept


def test_each_kind_of_change_is_counted_by_rule_with_its_cost() -> None:
    before = taken(send("1"), send("2"), send("3"), send("4"), send("9", "b"))
    after = taken(send("4", text="bye", cost=10_000), send("0"), send("3", at=60_000), send("1"), send("8", "c"))
    comparison = Comparison(before, after)
    assert comparison.table() == [
        ["rule", "before", "added", "dropped", "moved", "reworded", "after", "cost"],
        ["a", "4", "1", "1", "1", "1", "4", "+0.05"],
        ["b", "1", "0", "1", "0", "0", "0", "-0.05"],
        ["c", "0", "1", "0", "0", "0", "1", "+0.05"],
        ["all", "5", "2", "2", "1", "1", "5", "+0.05"],
    ]
    assert comparison.said(UTC).splitlines() == [
        "against 5 sends now: 2 added, 2 dropped, 1 moved, 1 reworded; for example:",
        "  added: a to c-0, 1970-01-01 00:00",
        "  dropped: a to c-2, 1970-01-01 00:00",
        "  reworded: a to c-4, 1970-01-01 00:00",
        "  moved: a to c-3, 1970-01-01 00:00 -> 1970-01-01 00:01",
        "  dropped: b to c-9, 1970-01-01 00:00",
        "  added: c to c-8, 1970-01-01 00:00",
    ]


def test_the_same_sends_are_no_change() -> None:
    assert Comparison(taken(send("1")), taken(send("1"))).said(UTC) == "nothing changes: the same 1 send"
    assert Comparison(taken(), taken()).said(UTC) == "nothing changes: the same 0 sends"


def test_what_never_leaves_is_not_compared() -> None:
    comparison = Comparison(taken(send("1", withheld=True), send("2", shadow=True)), taken())
    assert comparison.said(UTC) == "nothing changes: the same 0 sends"


def test_few_of_many_changes_are_shown() -> None:
    comparison = Comparison(taken(), taken(*(send(f"{number:04d}") for number in range(5_000))))
    assert len(comparison.examples) == 3
    assert comparison.table()[-1][2] == "5,000"
