from __future__ import annotations

from textwrap import dedent, indent
from typing import TYPE_CHECKING

import pytest

from triggers.language import load
from triggers.replay.cases import CaseResult, run_cases

if TYPE_CHECKING:
    from pathlib import Path

SHOP = """
shop: v1
name: Test
timezone: Asia/Shanghai
opt_out: ''
window: [10:00-12:00, 15:00-17:00]
look_ahead: 2h
caps: {marketing: [1 / 1d]}
recency: {marketing: {active_within: 30d, by: [order.created, order.paid]}}
"""
RULE = """
rule: v1
id: left-order
title: Left order
status: live
class: marketing
priority: 60
when: {event: order.created, where: event.amount >= 200, per: order_id}
wait: 1d
unless: [{event: order.paid}]
audience: {did: order.created, within: 7d, at_least: 1}
send:
  coupon: {batch: PAY, amount: 20, min_spend: 300}
  text: "{customer.name|dear}, {coupon.amount} yuan for you"
"""
OTHER = """
rule: v1
id: hello
title: Hello
status: draft
class: marketing
priority: 40
when: {event: customer.registered}
wait: 1d
send: {text: "hello"}
"""
DAILY = """
rule: v1
id: daily
title: Daily
status: live
class: marketing
schedule: {every: day, at: 10:00}
recency: off
audience: {where: customer.is_member}
send: {holdout: 100%, text: "good morning"}
limits: {per_customer: once}
"""
LEFT = "{at: +0d, event: order.created, order_id: o1, amount: 899}"


def results(folder: Path, tests: str, rule: str = RULE) -> list[CaseResult]:
    """Run tests of a rule in a folder beside two other rules."""
    files = {"_shop": SHOP, "left-order": RULE, "hello": OTHER, "daily": DAILY}
    name = next(name for name in files if f"id: {name}\n" in rule)
    files[name] = f"{rule}tests:\n{indent(dedent(tests), '  ')}"
    for each, content in files.items():
        (folder / f"{each}.yaml").write_text(content.lstrip("\n"), encoding="utf-8")
    loaded = load(folder)
    assert [str(finding) for finding in loaded.errors] == []
    return run_cases(loaded.files[name], loaded)


def result(folder: Path, test: str, rule: str = RULE) -> CaseResult:
    (one,) = results(folder, "- name: a test\n" + indent(dedent(test), "  "), rule)
    return one


def messages(one: CaseResult) -> list[str]:
    return [failure.message for failure in one.failures]


@pytest.mark.parametrize(
    "expect",
    [
        "{at: 2026-09-02 10:30}",
        "{at: +1d @10:30, to: c1, coupon: PAY, rule: left-order, withheld: false}",
        '{text_has: "20 yuan"}',
        "{}",
    ],
)
def test_a_send_that_fits_what_is_written_passes(tmp_path: Path, expect: str) -> None:
    one = result(tmp_path, f"start: 2026-09-01 10:30\nfeed: [{LEFT}]\nexpect: [{expect}]")
    assert one.passed, str(one)
    assert [send.text for send in one.sends] == ["dear, 20 yuan for you"]


def test_a_send_at_another_time_is_shown_beside_the_expected_one(tmp_path: Path) -> None:
    one = result(tmp_path, f"feed: [{LEFT}]\nexpect:\n  - {{at: +1d, coupon: PAY}}")
    (failure,) = one.failures
    assert failure.message == ("expected a send at 2026-09-02 09:00 with coupon PAY; sent instead: at 2026-09-02 10:00")
    lines = (tmp_path / "left-order.yaml").read_text(encoding="utf-8").split("\n")
    assert lines[failure.line - 1][failure.column - 1 :] == "{at: +1d, coupon: PAY}"
    assert "\n".join(one.story) == dedent("""\
        what happened, in the time of Asia/Shanghai:
        left-order for c1, since order.created feed-1 at 2026-09-01 09:00 for o1, due 2026-09-02 09:00, window opens 2026-09-02 10:00
          2026-09-02 09:00 held back: window closed, tried again 2026-09-02 10:00
          2026-09-02 10:00 sent: coupon PAY: "dear, 20 yuan for you\"""")  # noqa: E501  the story's own lines


def test_an_unexpected_send_fails_at_the_expectations(tmp_path: Path) -> None:
    one = result(tmp_path, f"start: 2026-09-01 10:30\nfeed: [{LEFT}]\nexpect: []")
    assert messages(one) == [
        'not expected: left-order was sent to c1 at 2026-09-02 10:30, coupon PAY: "dear, 20 yuan for you"'
    ]


def test_an_expected_send_that_never_left_tells_what_would_have_been_needed(tmp_path: Path) -> None:
    rule = RULE.replace("at_least: 1", "at_least: 2")
    one = result(tmp_path, f"start: 2026-09-01 10:30\nfeed: [{LEFT}]\nexpect: [{{at: +1d}}]", rule)
    assert messages(one) == ["expected a send at 2026-09-02 10:30; nothing was sent"]
    assert one.story[-1] == "  2026-09-02 10:30 ended: not in audience: 2 order.created within 7d needed, had 1"


def test_a_trigger_that_began_no_wait_tells_why(tmp_path: Path) -> None:
    one = result(tmp_path, f"feed: [{LEFT.replace('899', '150')}]\nexpect: [{{to: c1}}]")
    assert one.story[-2:] == (
        "left-order for c1, 2026-09-01 09:00: feed-1 began no wait: event.amount >= 200 needed",
        "no timer began",
    )


def test_a_test_that_feeds_no_trigger_says_so(tmp_path: Path) -> None:
    one = result(tmp_path, "feed: [{at: +0d, event: order.paid, order_id: o1, amount: 899}]\nexpect: [{to: c1}]")
    assert one.story[-1] == "no timer began: no order.created was fed"


@pytest.mark.parametrize("reason", ["cancelled by order.paid", "cancelled"])
def test_the_reason_of_an_end_is_matched(tmp_path: Path, reason: str) -> None:
    paid = "{at: +1h, event: order.paid, order_id: o1, amount: 899}"
    one = result(tmp_path, f"feed: [{LEFT}, {paid}]\nexpect: []\nnot_sent: [{{to: c1, reason: {reason}}}]")
    assert one.passed, str(one)


def test_another_reason_than_the_expected_one_is_told(tmp_path: Path) -> None:
    paid = "{at: +1h, event: order.paid, order_id: o1, amount: 899}"
    one = result(tmp_path, f"feed: [{LEFT}, {paid}]\nexpect: []\nnot_sent: [{{to: c1, reason: capped}}]")
    assert messages(one) == [
        "expected that a wait of c1 ends as 'capped'; it was: cancelled by order.paid (c1, 2026-09-01 10:00)"
    ]
    assert one.story[-1] == "  2026-09-01 10:00 ended: cancelled by order.paid: feed-2 at 2026-09-01 10:00"


def test_one_end_is_not_the_reason_of_two_waits(tmp_path: Path) -> None:
    paid = "{at: +1h, event: order.paid, order_id: o1, amount: 899}"
    twice = "[{reason: cancelled}, {reason: cancelled}]"
    one = result(tmp_path, f"feed: [{LEFT}, {paid}]\nexpect: []\nnot_sent: {twice}")
    assert len(one.failures) == 1


def test_a_customer_who_must_get_nothing_and_did_fails(tmp_path: Path) -> None:
    one = result(tmp_path, f"start: 2026-09-01 10:30\nfeed: [{LEFT}]\nexpect: [{{to: c1}}]\nnot_sent: [{{to: c1}}]")
    assert messages(one) == ["expected that left-order sends nothing to c1; sent at 2026-09-02 10:30"]


def test_rules_that_compete_are_named_with_what_fills_the_cap(tmp_path: Path) -> None:
    one = result(
        tmp_path,
        f"""
        start: 2026-09-01 10:30
        with_rules: [hello]
        feed: [{LEFT}, {{at: +0d, event: customer.registered}}]
        expect: [{{at: +1d}}]
        """,
    )
    assert messages(one) == ['not expected: hello was sent to c1 at 2026-09-03 10:30, "hello"']
    assert "for marketing is filled by left-order at 2026-09-02 10:30; frees 2026-09-03 10:30" in "\n".join(one.story)


@pytest.mark.parametrize("status", ["draft", "paused", "shadow", "live"])
def test_a_rule_is_tested_as_it_is_once_live(tmp_path: Path, status: str) -> None:
    rule = RULE.replace("status: live", f"status: {status}")
    assert result(tmp_path, f"start: 2026-09-01 10:30\nfeed: [{LEFT}]\nexpect: [{{at: +1d}}]", rule).passed


def test_a_rule_on_trial_ends_as_would_send_and_sends_nothing(tmp_path: Path) -> None:
    feed = f"[{LEFT}, {{at: +1h, status: shadow}}]"
    assert result(tmp_path, f"feed: {feed}\nexpect: []\nnot_sent: [{{reason: would send}}]").passed


def test_everybody_named_in_a_test_is_known_from_its_start(tmp_path: Path) -> None:
    one = result(
        tmp_path,
        """
        start: 2026-09-01 09:00
        until: +2h
        customers: {m1: {is_member: true}, m2: {is_member: true}, guest: {is_member: false}}
        expect: [{at: +0d @10:00, to: m1}, {at: 2026-09-01 10:00, to: m2}]
        not_sent: [{to: guest, reason: not in audience}, {to: other, reason: not in audience}]
        """,
        DAILY,
    )
    assert one.passed, str(one)


def test_slots_are_played_for_45_days_where_no_end_is_written(tmp_path: Path) -> None:
    test = "customers: {c1: {is_member: false}}\nexpect: []\nnot_sent:\n"
    ends = "  - {reason: not in audience}\n"
    assert result(tmp_path, test + 45 * ends, DAILY).passed
    assert not result(tmp_path, test + 46 * ends, DAILY).passed


def test_an_end_that_is_written_is_inside(tmp_path: Path) -> None:
    test = "until: {}\ncustomers: {{c1: {{is_member: true}}}}\nexpect: [{{at: 2026-09-01 10:00}}]"
    assert result(tmp_path, test.format("2026-09-01 10:00"), DAILY).passed
    assert not result(tmp_path, test.format("2026-09-01 09:59"), DAILY).passed


def test_the_end_lies_after_the_last_wait_also_of_an_edited_one(tmp_path: Path) -> None:
    feed = f"[{LEFT}, {{at: +1h, edit: {{wait: 300d, audience: null}}}}]"
    one = result(tmp_path, f"start: 2026-09-01 10:30\nshop: {{recency: null}}\nfeed: {feed}\nexpect: [{{at: +300d}}]")
    assert one.passed, str(one)


def test_nobody_is_held_out_and_nothing_spread_unless_pinned(tmp_path: Path) -> None:
    test = "until: +2h\n{}customers: {{c1: {{is_member: true}}}}\nexpect: [{{at: +1h, withheld: {}}}]"
    rule = DAILY.replace("at: 10:00}", "at: 10:00, spread: 60min}")
    assert result(tmp_path, test.format("", "false"), rule).passed
    assert result(tmp_path, test.format("pin: {holdout: true}\n", "true"), rule).passed


def test_tests_do_not_know_of_each_other(tmp_path: Path) -> None:
    test = "- name: {}\n  until: +2h\n  customers: {{c1: {{is_member: true}}}}\n  expect: [{{at: +1h}}]\n"
    assert [one.passed for one in results(tmp_path, test.format("one") + test.format("two"), DAILY)] == [True, True]


def test_starting_facts_are_known_and_later_events_replace_them(tmp_path: Path) -> None:
    told = "{at: +1h, event: customer.updated, name: Lan}"
    facts = "{name: Mei, orders_paid: 2, registered_at: -30d}"
    test = f"start: 2026-09-01 10:30\ncustomers: {{c1: {facts}}}\nfeed: [{LEFT}{{}}]"
    assert result(tmp_path, test.replace("{}", "") + '\nexpect: [{text_has: "Mei,"}]').passed
    assert result(tmp_path, test.replace("{}", f", {told}") + '\nexpect: [{text_has: "Lan,"}]').passed


def test_history_is_known_beforehand_and_never_arms(tmp_path: Path) -> None:
    rule = RULE.replace("at_least: 1", "at_least: 2")
    past = "history: [{at: -1h, event: order.created, order_id: o0, amount: 899}]"
    one = result(tmp_path, f"start: 2026-09-01 10:30\n{past}\nfeed: [{LEFT}]\nexpect: [{{at: +1d}}]", rule)
    assert one.passed, str(one)


def test_the_same_id_twice_is_one_event(tmp_path: Path) -> None:
    rule = RULE.replace("at_least: 1", "at_least: 2")
    twice = LEFT.replace("{", "{id: e7, ") + ", " + LEFT.replace("{", "{id: e7, arrives: +1h, ")
    one = result(tmp_path, f"feed: [{twice}]\nexpect: []\nnot_sent: [{{reason: not in audience}}]", rule)
    assert one.passed, str(one)


def test_an_event_arrives_when_the_test_says(tmp_path: Path) -> None:
    late = "{at: +0d, arrives: +2d, event: order.created, order_id: o1, amount: 899}"
    assert result(tmp_path, f"start: 2026-09-01 10:30\nfeed: [{late}]\nexpect: [{{at: +2d}}]").passed


def test_at_one_instant_the_file_is_played_in_its_order(tmp_path: Path) -> None:
    paused = "{at: +0d, status: paused}"
    assert result(tmp_path, f"start: 2026-09-01 10:30\nfeed: [{LEFT}, {paused}]\nexpect: []").passed
    live = "{at: +0d, status: live}"
    one = result(tmp_path, f"start: 2026-09-01 10:30\nfeed: [{paused}, {live}, {LEFT}]\nexpect: [{{at: +1d}}]")
    assert one.passed, str(one)


def test_a_removed_file_counts_as_missing_at_once_and_may_come_back(tmp_path: Path) -> None:
    gone = f"start: 2026-09-01 10:30\nfeed:\n  - {LEFT}\n  - {{at: +1h, remove: true}}\n"
    assert result(tmp_path, gone + "expect: []\nnot_sent: [{reason: rule removed}]").passed
    assert result(tmp_path, gone + "  - {at: +2h, restore: true}\nexpect: [{at: +1d}]").passed


def test_overrides_of_the_shop_go_deep_and_leave_the_rest(tmp_path: Path) -> None:
    test = f"start: 2026-09-01 13:30\nshop: {{caps: {{all: [5 / 1d]}}, window: 13:00-14:00}}\nfeed: [{LEFT}, {LEFT}]\n"
    test = test.replace("o1, amount: 899}]", "o2, amount: 899}]")
    assert result(tmp_path, test + "expect: [{at: +1d}, {at: +2d}]").passed


@pytest.mark.parametrize(
    ("test", "message", "place"),
    [
        (
            "feed: [{at: +0d, event: order.created, order_id: '', amount: 1}]\nexpect: []",
            "order_id",
            "{at: +0d, event",
        ),
        (
            "feed: [{at: -1d, event: order.created, order_id: o1, amount: 1}]\nexpect: []",
            "this arrives before the test's start; put it under history",
            "-1d",
        ),
        (
            "history: [{at: +1d, event: order.created, order_id: o1, amount: 1}]\nexpect: []",
            "history lies before the start; put this under feed",
            "+1d",
        ),
        (
            "until: +1h\nfeed: [{at: +2h, event: order.created, order_id: o1, amount: 1}]\nexpect: []",
            "this comes after the test's end, until: +1h",
            "{at: +2h",
        ),
        ("until: +9 years\nexpect: []", "a test spans 5 years at most", "+9 years"),
        (
            "feed: [{at: +1h, edit: {wait: 1x}}]\nexpect: []",
            "the edited rule does not load: '1x': unknown unit 'x'",
            "{wait: 1x}",
        ),
        ("shop: {window: '10'}\nexpect: []", "'10' is not a window", "{window"),
        ("customers: {c1: {name: 7}}\nexpect: []", "expected `str | null`, got `int`", "{name: 7}"),
        ("customers: {c1: {registered_at: soon}}\nexpect: []", "'soon' is not a time", "{registered_at"),
    ],
)
def test_a_test_that_cannot_be_played_fails_where_that_is_written(
    tmp_path: Path, test: str, message: str, place: str
) -> None:
    (failure,) = result(tmp_path, test).failures
    assert message in failure.message
    line = (tmp_path / "left-order.yaml").read_text(encoding="utf-8").split("\n")[failure.line - 1]
    assert line[failure.column - 1 :].startswith(place)


def test_a_rule_that_competes_must_be_without_errors(tmp_path: Path) -> None:
    result(tmp_path, f"with_rules: [hello]\nfeed: [{LEFT}]\nexpect: []")
    (tmp_path / "hello.yaml").write_text(OTHER.replace("wait: 1d", "wait: 1x").lstrip("\n"), encoding="utf-8")
    loaded = load(tmp_path)
    (one,) = run_cases(loaded.files["left-order"], loaded)
    assert messages(one) == ["rule 'hello' has errors, so this test cannot run"]


def test_only_wanted_tests_are_run(tmp_path: Path) -> None:
    results(tmp_path, "- {name: one, expect: []}\n- {name: two, expect: []}\n")
    loaded = load(tmp_path)
    (one,) = run_cases(loaded.files["left-order"], loaded, wanted=lambda name: "w" in name)
    assert one.name == "two"


def test_a_timer_that_still_waits_at_the_end_is_told(tmp_path: Path) -> None:
    one = result(tmp_path, f"until: +2h\nfeed: [{LEFT}]\nexpect: [{{}}]")
    assert one.story[-1] == "  still waiting at the end, due 2026-09-02 09:00"
