"""A folder is loaded as far as it is good: a bad file stops only itself; what files say of each other is checked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from triggers.core.times import DAY
from triggers.errors import RulesUnusable
from triggers.language import load
from triggers.language.contents import MAX_FILES

if TYPE_CHECKING:
    from conftest import Folder

SHARED = Path(__file__).parents[3] / "shared"
RULE = "when: {event: order.created, per: order_id}\nwait: 1d\nsend: {text: Hello}\n"
WAVES = (
    "waves:\n  responded: message.clicked\n  within: 48h\n  keep_as: answered\n"
    "  list:\n    - {id: a, at: 2026-11-02 10:00}\n    - {id: b, after: 3d}\nsend: {text: Hello}\n"
)
TODAY = 20_700  # 2026-09-04


@pytest.mark.skipif(not SHARED.exists(), reason="the reference rules are beside the repository")
@pytest.mark.parametrize(("name", "count"), [("rules/examples", 12), ("rules/conformance", 1), ("bench/rules", 3)])
def test_the_reference_rules_load_without_a_finding(name: str, count: int) -> None:
    loaded = load(SHARED / name, today=TODAY)
    assert [finding for finding in loaded.findings if "without a test" not in finding.message] == []
    assert name == "bench/rules" or loaded.findings == []
    assert len(loaded.rules) == count


def test_the_sample_rules_load_without_a_finding() -> None:
    loaded = load(Path(__file__).parents[2] / "rules", today=TODAY)
    assert loaded.findings == []
    assert len(loaded.rules) >= 12


def test_a_file_with_an_error_keeps_only_itself_out(folder: Folder) -> None:
    folder.rule(RULE, "good").rule(RULE + "wiat: 1d\n", "bad")
    loaded = folder.load()
    assert [rule.id for rule in loaded.rules] == ["good"]
    assert list(loaded.files) == ["good"]
    assert [finding.path for finding in loaded.errors] == [str(folder.path / "bad.yaml")]


def test_a_file_with_a_warning_is_loaded(folder: Folder) -> None:
    loaded = folder.rule(RULE, status="live").load()
    assert [finding.severity for finding in loaded.findings] == ["warning"]
    assert loaded.errors == []
    assert len(loaded.rules) == 1


def test_with_a_bad_shop_there_are_no_rules_but_all_findings(folder: Folder) -> None:
    folder.shop("shop: v1\nname: Test\ntimezone: Asia/Shanghay\n")
    loaded = folder.rule(RULE).rule("wiat: 1d\n" + RULE, "bad").load()
    assert loaded.shop is None
    assert loaded.rules == ()
    assert len(loaded.findings) == 2


def test_without_a_shop_that_is_said(folder: Folder) -> None:
    (folder.path / "_shop.yaml").unlink()
    found = folder.rule(RULE).findings()
    assert found == ["_shop.yaml:1:1: error: there is no _shop.yaml; it holds name and timezone of the shop"]


@pytest.mark.parametrize(("name", "message"), [("nowhere", "there is no such folder"), ("_shop.yaml", "is a file")])
def test_a_folder_that_cannot_be_used_at_all_is_an_error(folder: Folder, name: str, message: str) -> None:
    with pytest.raises(RulesUnusable, match=message):
        load(folder.path / name)


def test_a_folder_has_a_greatest_number_of_rules(folder: Folder) -> None:
    for number in range(MAX_FILES + 1):
        folder.file(f"r{number}.yaml", "")
    with pytest.raises(RulesUnusable, match=f"{MAX_FILES} at most"):
        folder.load()


def test_what_is_no_rule_file_is_left_alone(folder: Folder) -> None:
    folder.file("README.md", "x")
    folder.file(".r.yaml", "x")
    folder.file("r.yaml~", "x")
    assert folder.findings() == []


def test_a_folder_named_like_a_rule_is_a_finding(folder: Folder) -> None:
    (folder.path / "x.yaml").mkdir()
    assert folder.findings() == ["x.yaml:1:1: error: a folder where a rule file is expected; rename it"]


def test_a_pipe_is_a_finding_and_not_waited_for(folder: Folder) -> None:
    os.mkfifo(folder.path / "x.yaml")
    assert folder.findings() == ["x.yaml:1:1: error: not a file; a pipe or a device holds no rule"]


def test_a_broken_link_is_a_finding(folder: Folder) -> None:
    (folder.path / "x.yaml").symlink_to(folder.path / "gone")
    assert folder.findings() == ["x.yaml:1:1: error: there is no x.yaml"]


def test_a_byte_order_mark_is_only_a_warning(folder: Folder) -> None:
    folder.rule(RULE)
    path = folder.path / "r.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert folder.said() == ["1:1: warning: starts with a byte order mark; save the file as UTF-8 without one"]
    assert len(folder.load().rules) == 1


def test_a_large_file_is_not_read_to_its_end(folder: Folder) -> None:
    folder.file("r.yaml", b"a: " + b"x" * 5_000_000)
    assert folder.said() == ["1:1: error: the file is larger than 200 kB; a file holds one rule"]


class TestRevisions:
    """What names the content."""

    def test_the_revision_changes_with_any_file(self, folder: Folder) -> None:
        first = folder.rule(RULE).load().revision
        assert folder.load().revision == first
        second = folder.rule(RULE, "s").load().revision
        folder.file("s.yaml", (folder.path / "s.yaml").read_bytes() + b"# a note\n")
        assert len({first, second, folder.load().revision}) == 3

    def test_a_rule_revision_changes_with_its_file_and_the_shop_only(self, folder: Folder) -> None:
        def revision() -> str:
            return next(rule.revision for rule in folder.load().rules if rule.id == "r")

        first = folder.rule(RULE).rule(RULE, "s") and revision()
        folder.rule(RULE + "note: changed\n", "s")
        assert revision() == first
        folder.shop((folder.path / "_shop.yaml").read_text() + "repurchase: high\n")
        assert revision() != first

    @pytest.mark.parametrize(
        ("changed", "same"),
        [
            ("wait: 2d\nwhen: {per: order_id, event: order.created}\nsend: {text: Hello}\n", True),
            ("wait: 1d\nwhen: {event: order.created}\nsend: {text: Hello}\n", False),
            ("wait: 1d\nwhen: {event: order.paid, per: order_id}\nsend: {text: Hello}\n", False),
            ("wait: 1d\nwhen: {event: order.created, per: order_id, again: each}\nsend: {text: Hello}\n", False),
            (RULE.replace("order_id}", "order_id, where: event.amount > 1}"), False),
        ],
    )
    def test_the_key_of_when_changes_with_when_only(self, folder: Folder, changed: str, *, same: bool) -> None:
        first = folder.rule(RULE).load().rules[0].when_key
        assert (folder.rule(changed).load().rules[0].when_key == first) is same


class TestAcrossFiles:
    """What one file says of another."""

    def test_an_id_is_there_once(self, folder: Folder) -> None:
        folder.rule(RULE)
        folder.file("r.yml", (folder.path / "r.yaml").read_bytes())
        assert folder.findings() == [f"r.yml:2:5: error: 'r' is the id of {folder.path}/r.yaml, too"]
        assert len(folder.load().rules) == 1

    def test_a_segment_must_be_kept_by_a_rule(self, folder: Folder) -> None:
        folder.rule(RULE + "audience:\n  not: {in: answerd}\n").rule(WAVES, "w")
        assert folder.said() == [
            "10:13: error: unknown segment 'answerd': no rule keeps it with 'keep_as:'; did you mean 'answered'?"
        ]
        assert folder.rule(RULE + "audience: {in: answered}\n").findings() == []

    def test_a_segment_counts_as_kept_while_its_rule_has_other_errors(self, folder: Folder) -> None:
        folder.rule(RULE + "audience: {in: answered}\n").rule(WAVES + "wiat: 1d\n", "w")
        assert all(finding.startswith("w.yaml") for finding in folder.findings())

    def test_a_file_that_cannot_be_read_may_keep_the_segment(self, folder: Folder) -> None:
        folder.rule(RULE + "audience: {in: answered}\n").file("w.yaml", "a: [")
        assert [rule.id for rule in folder.load().rules] == ["r"]

    def test_a_copy_that_kept_the_id_does_not_stop_the_original(self, folder: Folder) -> None:
        folder.rule(RULE)
        folder.file("copy.yaml", (folder.path / "r.yaml").read_bytes())
        assert folder.findings() == [
            "copy.yaml:2:5: error: 'r' is the id of " + f"{folder.path}/r.yaml, too",
            "copy.yaml:2:5: error: id 'r' and file name 'copy.yaml' differ; the id is what timers belong to",
        ]
        assert [rule.id for rule in folder.load().rules] == ["r"]

    def test_a_segment_is_kept_by_one_rule(self, folder: Folder) -> None:
        folder.rule(WAVES, "v").rule(WAVES, "w")
        assert folder.findings() == ["w.yaml:9:12: error: 'answered' is kept by v, too"]

    def test_a_renamed_rule_is_gone_under_its_old_name(self, folder: Folder) -> None:
        folder.rule(RULE, "old").rule(RULE + "renamed_from: old\n")
        assert folder.said() == [f"9:15: error: 'old' is still there: {folder.path}/old.yaml"]
        (folder.path / "old.yaml").unlink()
        assert folder.load().rules[0].renamed_from == "old"

    def test_rules_that_compete_in_a_test_exist_and_take_part(self, folder: Folder) -> None:
        tests = (
            "tests:\n  - name: a\n    with_rules: [othr, r]\n    feed: []\n"
            "    expect: [{rule: other}, {rule: r}, {rule: othr}]\n"
        )
        folder.rule(RULE + tests).rule(RULE, "other")
        assert folder.said() == [
            "11:18: error: rule 'othr' is unknown; did you mean 'other'?",
            "11:24: error: rule 'r' is this rule itself",
            "13:21: error: rule 'other' does not take part; name it in with_rules; did you mean 'othr'?",
        ]

    def test_a_cap_of_nothing_never_lets_the_rule_through(self, folder: Folder) -> None:
        folder.shop("shop: v1\nname: T\ntimezone: UTC\ncaps: {marketing: [0 / 1d], all: [2 / 1d]}\n")
        assert folder.rule(RULE).said() == [
            "5:8: warning: the cap '0 / 1d' of 'marketing' never lets this rule through"
        ]
        assert folder.rule(RULE, klass="notice").said() == []
        assert folder.rule(RULE, klass="member").said() == []

    @pytest.mark.parametrize(
        ("caps", "limit", "found"),
        [
            ("[1 / 1d]", "", []),
            ("[1 / 3d, 5 / 30d]", "", []),
            ("[1 / 7d]", "", ["the caps of 'marketing' never let this wave follow the one before"]),
            ("[]", "limits: {per_customer: 1 / 2d}\n", []),
            ("[]", "limits: {per_customer: once}\n", ["'per_customer' never lets this wave follow the one before"]),
        ],
    )
    def test_waves_that_can_never_follow_each_other(
        self, folder: Folder, caps: str, limit: str, found: list[str]
    ) -> None:
        folder.shop(f"shop: v1\nname: T\ntimezone: UTC\ncaps: {{marketing: {caps}}}\n")
        assert folder.rule(WAVES + limit).said() == [f"12:7: warning: {message}" for message in found]

    def test_a_holiday_without_a_coming_date_is_noticed(self, folder: Folder) -> None:
        folder.shop(
            "shop: v1\nname: T\ntimezone: UTC\ncalendar: {past: [2025-09-01], soon: [2025-01-01, 2027-01-01]}\n"
        )
        folder.rule("schedule: {holiday: [past, soon, sooon], at: 10:00}\nsend: {text: Hello}\n")
        unknown = "6:34: warning: 'sooon' has no date in the calendar of _shop.yaml; did you mean 'soon'?"
        assert folder.said() == [unknown]
        found = [each.removeprefix("r.yaml:") for each in folder.findings(today=TODAY)]
        assert found == [
            "6:22: warning: 'past' has no date in the next twelve months; add one to the calendar of _shop.yaml",
            unknown,
        ]


def test_a_rule_knows_since_when_it_is_loaded(folder: Folder) -> None:
    assert folder.rule(RULE).load().rules[0].since == 5


def test_places_of_a_loaded_file_can_be_asked_for(folder: Folder) -> None:
    folder.rule(RULE + "tests:\n  - name: a\n    expect:\n      - {at: +1d}\n      - {at: +2d}\n")
    file = folder.load().files["r"]
    assert file.line_of(("tests", 0)) == (10, 5)
    assert file.line_of(("tests", 0, "expect", 1, "at")) == (13, 14)
    assert file.data["when"] == {"event": "order.created", "per": "order_id"}
    assert file.tests[0].expect[1].at == "+2d"


def test_a_period_that_ends_with_a_day_includes_it(folder: Folder) -> None:
    folder.shop("shop: v1\nname: T\ntimezone: UTC\nperiods: {sale: {from: 1970-01-02, until: 1970-01-03}}\n")
    period = folder.rule(RULE + "during: sale\n").load().rules[0].during[0]
    assert (period.name, period.start, period.end) == ("sale", DAY, 3 * DAY)
