"""_shop.yaml: every key has a default that limits nothing, and every mistake its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from triggers.core.rules import Recency
from triggers.core.times import DAY, HOUR, Duration, Window
from triggers.language import build_shop

if TYPE_CHECKING:
    from conftest import Folder

LEAST = {"shop": "v1", "name": "Test", "timezone": "Asia/Shanghai"}


def test_a_plain_shop_limits_nothing() -> None:
    shop = build_shop(LEAST)
    assert shop.window.always
    assert (shop.caps, shop.recency, shop.look_ahead, shop.holdout) == ({}, {}, 0, 0.0)
    assert shop.history == Duration(days=400, text="400d")
    assert (shop.signature, shop.price, shop.max_segments, shop.counting) == ("", 0, None, "gsm")
    assert shop.opt_out == "拒收请回复R"
    assert shop.timezone == "Asia/Shanghai"


def test_a_shop_with_everything(folder: Folder) -> None:
    folder.shop(
        "shop: v1\nname: Test\ntimezone: UTC\nrepurchase: high\nsignature: '[T] '\nopt_out: ' R'\n"
        "price_per_message: 0.05\nwindow: [19:00-22:00, 10:00-12:00]\nlook_ahead: 2h\nhistory: 1 year\nholdout: 5%\n"
        "caps: {marketing: [1 / 1d, 2 / 7d], all: [3 / 1d]}\n"
        "recency: {marketing: {active_within: 365d, by: [order.paid]}}\n"
        "calendar: {new_year: [1970-01-03, 1970-01-02]}\n"
        "safety: [{delivered_below: 90%, after_sends: 500}]\n"
        "copy: {counting: china, max_segments: 2, banned: [x], promo_words: [off]}\n"
    )
    shop = folder.load().shop
    assert shop is not None
    assert shop.price == 5_000
    assert shop.window == Window(((10 * HOUR, 12 * HOUR), (19 * HOUR, 22 * HOUR)))
    assert shop.look_ahead == 2 * HOUR
    assert shop.holdout == 0.05
    assert shop.caps == {
        "marketing": ((1, Duration(days=1, text="1d")), (2, Duration(days=7, text="7d"))),
        "all": ((3, Duration(days=1, text="1d")),),
    }
    assert shop.recency == {"marketing": Recency(Duration(days=365, text="365d"), ("order.paid",))}
    assert shop.calendar == {"new_year": (1, 2)}
    assert (shop.counting, shop.max_segments, shop.banned, shop.promo_words) == ("china", 2, ("x",), ("off",))
    assert shop.data["history"] == "1 year"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("timezon: UTC", "4:1: error: unknown key 'timezon'; did you mean 'timezone'?"),
        ("window: 22:00-02:00", "4:9: error: '22:00-02:00': a window may not cross midnight"),
        ("window: [10:00-12:00, 11:00-13:00]", "4:23: error: this window overlaps another one; join them"),
        ("look_ahead: 2", "4:13: error: '2': of what?"),
        ("history: 0d", "4:10: error: keep a day at least"),
        ("caps: {marketng: [1 / 1d]}", "4:8: error: unknown key 'marketng'; did you mean 'marketing'?"),
        ("caps: {marketing: [1]}", "4:20: error: write how many in how long"),
        (
            "recency: {marketng: {active_within: 1d, by: order.paid}}",
            "4:11: error: unknown key 'marketng'; did you mean 'marketing'?",
        ),
        ("recency: {member: {active_within: 1d, by: order.payed}}", "4:43: error: unknown event 'order.payed'"),
        ("periods: {x: {from: 2026-02-01, until: 2026-01-01}}", "4:40: error: 'until' is not after 'from'"),
        ("calendar: {x: [2026-02-30]}", "4:16: error: '2026-02-30': there is no such day"),
        ("calendar: {x: [2026-02-01 10:00]}", "4:16: error: a holiday is a day"),
        ("calendar: {x: [2026-02-01, 2026-02-01]}", "4:28: error: the same day twice"),
        ("copy: {counting: gms}", "4:18: error: 'gms' is not one of gsm, china; did you mean 'gsm'?"),
        ("signature:", "4:1: error: 'signature' has no value"),
        ("price_per_message: -1", "4:20: error: -1: an amount is between 0 and"),
        ("holdout: 5", "4:10: error: write a percentage: '5%'"),
        ("link_base: 'http://x/'", "4:12: error: 'http://x/'"),
    ],
)
def test_a_mistake_in_the_shop(folder: Folder, line: str, expected: str) -> None:
    folder.shop(f"shop: v1\nname: Test\ntimezone: UTC\n{line}\n")
    found = [each.removeprefix("_shop.yaml:") for each in folder.findings()]
    assert [each[: len(expected)] for each in found] == [expected]


def test_rules_are_not_blamed_for_what_is_wrong_in_the_shop(folder: Folder) -> None:
    folder.shop("shop: v1\nname: Test\ntimezone: UTC\nperiods: {sale: {from: 2026-02-30, until: 2026-03-01}}\n")
    folder.rule("schedule: {every: day, at: 10:00}\nduring: sale\nsend: {text: Hello}\n")
    assert folder.findings() == ["_shop.yaml:4:24: error: '2026-02-30': there is no such day"]


def test_an_overridden_shop_is_checked_as_well() -> None:
    with pytest.raises(ValueError, match=r"unknown key 'cap'; did you mean 'caps'\?"):
        build_shop({**LEAST, "cap": {}})


def test_a_whole_day_is_a_window(folder: Folder) -> None:
    folder.shop("shop: v1\nname: Test\ntimezone: UTC\nwindow: [00:00-24:00]\n")
    shop = folder.load().shop
    assert shop is not None
    assert shop.window.spans == ((0, DAY),)


@pytest.mark.parametrize("text", ["- 1\n", "~\n", "hello\n"])
def test_a_file_that_is_no_mapping_is_told_how_one_of_its_kind_begins(folder: Folder, text: str) -> None:
    folder.shop(text)
    (folder.path / "bad.yaml").write_text(text)
    assert [str(finding) for finding in folder.load().errors] == [
        f"{folder.path / '_shop.yaml'}:1:1: error: write keys and values: 'shop: v1', 'name: …'",
        f"{folder.path / 'bad.yaml'}:1:1: error: write keys and values: 'rule: v1', 'id: …'",
    ]
