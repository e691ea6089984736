"""The tests inside rule files are checked like the rules: every key, every field of an event, every time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Folder

RULE = "when: {event: order.created, per: order_id}\nwait: 1d\nsend: {text: Hello}\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "feed: [{at: +1d, event: order.paid, order_id: a, amuont: 1}]",
            "OrderPaid has no field 'amuont'; did you mean",
        ),
        ("feed: [{at: +1d, event: order.paid, order_id: a}]", "'amount' is missing in 'order.paid'"),
        ("feed: [{at: +1d, event: order.paid, order_id: 1, amount: 1}]", "expected text (in quotes), got 'int'"),
        ("feed: [{at: +1d, event: order.payed}]", "unknown event 'order.payed'; did you mean 'order.paid'?"),
        ("feed: [{at: 1d, event: store.visited}]", "'1d' is not a time; write +3d"),
        ("feed: [{at: +1d}]", "write one of event, edit, status, remove, restore"),
        ("feed: [{at: +1d, remove: true, status: live}]", "write one of event, edit, status, remove, restore"),
        ("feed: [{at: +1d, remove: true, amount: 3}]", "unknown key 'amount' beside 'remove'"),
        ("feed: [{at: +1d, remove: false}]", "'false' is not 'true'"),
        ("feed: [{at: +1d, status: stopped}]", "'stopped' is not one of draft, shadow, live, paused"),
        ("feed: [{event: store.visited}]", "'at' is missing in 'feed'"),
        ("history: [{at: -1d, status: paused}]", "history holds events: write 'event: …'"),
        ("customers: {c1: {nmae: Mei}}", "unknown fact 'nmae'; did you mean 'name'?"),
        ("pin: {variant: hok}", "unknown variant 'hok'"),
        ("start: yesterday", "'yesterday' is not a date"),
        ("until: 30d", "'30d' is not a time; write +3d"),
        ("not_sent: [{reason: cancelled by order.payed}]", "unknown event 'order.payed'; did you mean 'order.paid'?"),
        ("not_sent: [{reason: caped}]", "unknown reason 'caped'; did you mean 'capped'?"),
        ("with_rules: [nobody]", "rule 'nobody' is unknown"),
        ("fed: []", "unknown key 'fed'; did you mean 'feed'?"),
    ],
)
def test_a_mistake_in_a_test(folder: Folder, line: str, expected: str) -> None:
    said = folder.rule(f"{RULE}tests:\n  - name: a\n    expect: []\n    {line}\n").said()
    assert len(said) == 1, said
    assert said[0].startswith("12:")
    assert said[0].split("error: ")[1].startswith(expected)


def test_a_test_says_what_it_expects(folder: Folder) -> None:
    assert folder.rule(f"{RULE}tests:\n  - name: a\n").said() == ["10:5: error: 'expect' is missing in 'tests'"]


def test_tests_have_different_names(folder: Folder) -> None:
    case = "  - {name: a, expect: []}\n"
    assert folder.rule(f"{RULE}tests:\n{case}{case}").said() == ["11:12: error: another test has this name"]


def test_null_is_a_value_in_an_edit_and_nowhere_else(folder: Folder) -> None:
    case = "tests:\n  - name: a\n    feed: [{at: +1d, edit: {unless: null}}]\n    expect: []\n"
    assert folder.rule(RULE + case).said() == []
    assert folder.rule(RULE + case + "    until:\n").said() == [
        "13:5: error: 'until' has no value; write one or take the key out"
    ]


@pytest.mark.parametrize(
    ("tests", "missing"),
    [
        ("[]", "a live rule without a test that sends and one that does not send"),
        ("[{name: a, expect: []}]", "a live rule without a test that sends"),
        ("[{name: a, expect: [{at: +1d}]}]", "a live rule without a test that does not send"),
        ("[{name: a, expect: []}, {name: b, expect: [{}]}]", None),
        ("[{name: a, expect: [{to: a}], not_sent: [{to: b}]}]", None),
    ],
)
def test_a_live_rule_has_a_test_that_sends_and_one_that_does_not(
    folder: Folder, tests: str, missing: str | None
) -> None:
    said = folder.rule(f"{RULE}tests: {tests}\n", status="live").said()
    assert said == ([f"4:9: warning: {missing}"] if missing else [])
    assert folder.rule(f"{RULE}tests: {tests}\n", status="shadow").said() == []


def test_fields_of_events_and_times_stay_as_written(folder: Folder) -> None:
    folder.rule(
        f"{RULE}tests:\n  - name: a\n    start: 2026-09-01 10:30\n    expect: []\n"
        "    feed: [{at: +2d @10:00, arrives: +3d, id: e7, event: order.paid, order_id: o1, amount: 99}]\n"
    )
    case = folder.load().files["r"].tests[0]
    assert (case.start, case.feed[0].at, case.feed[0].arrives) == ("2026-09-01 10:30", "+2d @10:00", "+3d")
    assert case.feed[0].fields == {"order_id": "o1", "amount": 99}
    assert (case.feed[0].id, case.pin.holdout, case.until) == ("e7", None, None)
