"""A slot or wave at which nothing can ever leave is noticed when the file is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Folder

CLOSED = "the window never opens between a slot and the end of its day; see 'expires'"
OUTSIDE = "outside of 'valid' or 'during', or inside of 'not_during': never sent"
SHOP = (
    "shop: v1\nname: Test\ntimezone: Asia/Shanghai\nwindow: [10:00-12:00, 19:00-22:00]\n"
    "periods: {sale: {from: 2026-10-31 20:00, until: 2026-11-12 00:00}, may: {from: 2026-05-01, until: 2026-05-02}}\n"
)


@pytest.mark.parametrize(
    ("schedule", "more", "warning"),
    [
        ("{at: 2026-11-10 19:00}", "", None),
        ("{at: 2026-11-10 18:00}", "", None),
        ("{at: 2026-11-10 22:00}", "", CLOSED),
        ("{every: day, at: 22:00}", "", CLOSED),
        ("{every: day, at: 22:00}", "expires: 13h", None),
        ("{every: day, at: 22:00}", "expires: 12h", CLOSED),
        ("{every: day, at: 19:00}", "window: 10:00-12:00", CLOSED),
        ("{every: week, day: sat, at: 9:00}", "days: workdays", CLOSED),
        ("{every: day, at: 9:00}", "days: sat", None),
        ("{cron: 0 23 * * *}", "", CLOSED),
    ],
)
def test_a_window_must_open_in_time(folder: Folder, schedule: str, more: str, warning: str | None) -> None:
    folder.shop(SHOP)
    folder.rule(f"schedule: {schedule}\nsend: {{text: Hello, {more}}}\n")
    assert folder.said() == ([f"6:11: warning: {warning}"] if warning else [])


@pytest.mark.parametrize(
    ("at", "key", "warning"),
    [
        ("2026-11-10 19:00", "during: sale", None),
        ("2026-11-12 10:00", "during: sale", OUTSIDE),
        ("2026-11-12 10:00", "during: [sale, may]", OUTSIDE),
        ("2026-05-02 10:00", "during: [sale, may]", None),
        ("2026-10-31 10:00", "during: sale", None),  # held back until the period begins the same day
        ("2026-11-10 19:00", "not_during: sale", OUTSIDE),
        ("2026-11-10 19:00", "valid: {until: 2026-11-09}", OUTSIDE),
        ("2026-11-10 19:00", "valid: {until: 2026-11-10}", None),
        ("2026-11-10 19:00", "valid: {from: 2026-11-11}", OUTSIDE),
    ],
)
def test_a_dated_slot_must_be_inside_the_periods(folder: Folder, at: str, key: str, warning: str | None) -> None:
    folder.shop(SHOP)
    folder.rule(f"schedule: {{at: {at}}}\n{key}\nsend: {{text: Hello}}\n")
    assert folder.said() == ([f"6:11: warning: {warning}"] if warning else [])


def test_a_recurring_slot_waits_for_its_period(folder: Folder) -> None:
    folder.shop(SHOP)
    assert folder.rule("schedule: {every: day, at: 10:00}\nduring: sale\nsend: {text: Hello}\n").said() == []


def test_a_wave_is_looked_at_with_its_own_window(folder: Folder) -> None:
    folder.shop(SHOP)
    folder.rule(
        "waves:\n  responded: message.clicked\n  within: 1d\n  list:\n    - {id: a, at: 2026-11-02 10:00}\n"
        "    - {id: b, after: 1d, send: {window: 8:00-9:00}}\n    - {id: c, after: 30d}\n"
        "during: sale\nsend: {text: Hello}\n"
    )
    assert folder.said() == [f"11:7: warning: {CLOSED}", f"12:7: warning: {OUTSIDE}"]
