"""Slots open on the wall clock of the shop, also when the clocks change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from triggers.core.times import HOUR, MINUTE, wall_text
from triggers.language.findings import Misfit
from triggers.language.schedules import Dates, Every, check_cron, cron
from triggers.language.times import wall_time
from triggers.language.zones import zone

if TYPE_CHECKING:
    from triggers.core.rules import Schedule
    from triggers.core.times import Zone

BERLIN = zone("Europe/Berlin")


def slots(schedule: Schedule, start: str, count: int, where: Zone = BERLIN) -> list[str]:
    at = wall_time(start).start(where)
    found = []
    for _ in range(count):
        following = schedule.next_after(at)
        if following is None:
            break
        assert following > at
        at = following
        found.append(wall_text(where, at))
    return found


def test_dates_come_in_order_and_end() -> None:
    schedule = Dates([30, 10, 20, 10])
    assert [schedule.next_after(at) for at in (0, 10, 29, 30)] == [10, 20, 30, None]


def test_every_day_keeps_the_wall_clock_over_a_change() -> None:
    schedule = Every(BERLIN, "day", 10 * HOUR)
    assert slots(schedule, "2026-03-28 12:00", 2) == ["2026-03-29 10:00", "2026-03-30 10:00"]


def test_a_skipped_time_moves_forward_and_a_repeated_one_comes_once() -> None:
    schedule = Every(BERLIN, "day", 2 * HOUR + 30 * MINUTE)
    assert slots(schedule, "2026-03-28 12:00", 2) == ["2026-03-29 03:30", "2026-03-30 02:30"]
    assert slots(schedule, "2026-10-24 12:00", 2) == ["2026-10-25 02:30", "2026-10-26 02:30"]


def test_every_week_on_its_days() -> None:
    schedule = Every(BERLIN, "week", 19 * HOUR, (3, 0))
    assert slots(schedule, "2026-09-01 12:00", 3) == ["2026-09-03 19:00", "2026-09-07 19:00", "2026-09-10 19:00"]


def test_a_month_without_the_day_takes_its_last() -> None:
    schedule = Every(BERLIN, "month", 10 * HOUR, (31,))
    assert slots(schedule, "2027-01-30 12:00", 4) == [
        "2027-01-31 10:00",
        "2027-02-28 10:00",
        "2027-03-31 10:00",
        "2027-04-30 10:00",
    ]


def test_a_slot_is_strictly_after_the_instant() -> None:
    schedule = Every(BERLIN, "day", 10 * HOUR)
    assert slots(schedule, "2026-09-01 10:00", 1) == ["2026-09-02 10:00"]


def test_a_daily_cron_job_fires_once_when_the_clock_goes_back() -> None:
    where = zone("America/New_York")
    schedule = cron("30 1 * * *", where)
    assert slots(schedule, "2026-10-31 12:00", 2, where) == ["2026-11-01 01:30", "2026-11-02 01:30"]


def test_a_cron_job_in_the_skipped_hour_fires_after_it() -> None:
    schedule = cron("30 2 * * *", BERLIN)
    assert slots(schedule, "2026-03-28 12:00", 2) == ["2026-03-29 03:00", "2026-03-30 02:30"]


@pytest.mark.parametrize("line", ["* * * *", "61 * * * *", "@daily", "* * * * * *", "a b c d e", "0 0 30 2 *"])
def test_a_cron_line_must_be_readable(line: str) -> None:
    with pytest.raises(Misfit):
        check_cron(line)
