"""Times are read as people write them, and what is unclear is refused with the mend."""

from __future__ import annotations

import pytest

from triggers.core.times import DAY, HOUR, MINUTE, SECOND, Duration, wall_text
from triggers.language import times
from triggers.language.findings import Misfit
from triggers.language.zones import zone

SHANGHAI = zone("Asia/Shanghai")


@pytest.mark.parametrize(
    ("text", "months", "days", "ms"),
    [
        ("30min", 0, 0, 30 * MINUTE),
        ("12h", 0, 0, 12 * HOUR),
        ("1s", 0, 0, SECOND),
        ("3d", 0, 3, 0),
        ("2w", 0, 14, 0),
        ("1 month", 1, 0, 0),
        ("2 months", 2, 0, 0),
        ("1 year", 12, 0, 0),
        ("1d 12h", 0, 1, 12 * HOUR),
        ("1d12h", 0, 1, 12 * HOUR),
        ("0min", 0, 0, 0),
        ("P3D", 0, 3, 0),
        ("PT2H", 0, 0, 2 * HOUR),
        ("P1M", 1, 0, 0),
        ("PT1M", 0, 0, MINUTE),
        ("P1Y2M3W4DT5H6M7S", 14, 25, 5 * HOUR + 6 * MINUTE + 7 * SECOND),
    ],
)
def test_durations_are_calendar_steps_and_exact_times(text: str, months: int, days: int, ms: int) -> None:
    assert times.duration(text) == Duration(months, days, ms, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3m", "'3m': is 'm' minutes or months? write 'min' or 'month'"),
        ("1mo", "'1mo': write 'month' for 'mo'"),
        ("2 days", "'2 days': write 'd' for 'days'"),
        ("2 hours", "'2 hours': write 'h' for 'hours'"),
        ("3D", "'3D': write 'd' for 'D'"),
        ("3", "'3': of what? write '3min', '3h' or '3d'"),
        ("1.5d", "'1.5d': no fractions; write it in a smaller unit, such as '36h' for a day and a half"),
        ("3 blips", "'3 blips': unknown unit 'blips'; write 30min, 12h, 3d, 2w, 1 month, 1 year, or joined: 1d 12h"),
        ("soon", "'soon' is not a duration; write 30min, 12h, 3d, 2w, 1 month, 1 year, or joined: 1d 12h"),
        ("", "'' is not a duration; write 30min, 12h, 3d, 2w, 1 month, 1 year, or joined: 1d 12h"),
        ("-3d", "'-3d' is not a duration; write 30min, 12h, 3d, 2w, 1 month, 1 year, or joined: 1d 12h"),
        ("P", "'P' is not an ISO 8601 duration of whole numbers, such as P3D, PT2H or P1M"),
        ("P1.5D", "'P1.5D' is not an ISO 8601 duration of whole numbers, such as P3D, PT2H or P1M"),
        ("PT", "'PT' is not an ISO 8601 duration of whole numbers, such as P3D, PT2H or P1M"),
        ("101 years", "'101 years': longer than 100 years"),
    ],
)
def test_an_unclear_duration_is_refused_with_the_mend(text: str, message: str) -> None:
    with pytest.raises(Misfit) as caught:
        times.duration(text)
    assert caught.value.message == message


def test_an_exact_duration_has_no_months() -> None:
    assert times.exact("1d 2h") == 26 * HOUR
    with pytest.raises(Misfit, match="not in months or years"):
        times.exact("1 month")


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("10:00-12:00", 10 * HOUR, 12 * HOUR),
        ("00:00-24:00", 0, DAY),
        ("9:30 - 10:15", 9 * HOUR + 30 * MINUTE, 10 * HOUR + 15 * MINUTE),
    ],
)
def test_a_window_is_a_span_of_the_day(text: str, start: int, end: int) -> None:
    assert times.span(text) == (start, end)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("22:00-02:00", "'22:00-02:00': a window may not cross midnight; write [22:00-24:00, 00:00-02:00]"),
        ("10:00-10:00", "'10:00-10:00': the window is empty; the whole day is 00:00-24:00"),
        ("10:00", "'10:00' is not a window; write 10:00-12:00"),
        ("10-12", "'10' is not a time of day; write 10:00"),
        ("10:00-25:00", "'25:00' is not a time of day; it ends at 24:00"),
        ("10:60-11:00", "'10:60' is not a time of day; it ends at 24:00"),
    ],
)
def test_an_impossible_window_is_refused(text: str, message: str) -> None:
    with pytest.raises(Misfit) as caught:
        times.span(text)
    assert caught.value.message == message


def test_a_date_is_a_whole_day_and_until_it_includes_it() -> None:
    day = times.wall_time("2026-10-12")
    assert wall_text(SHANGHAI, day.start(SHANGHAI)) == "2026-10-12 00:00"
    assert wall_text(SHANGHAI, day.end(SHANGHAI)) == "2026-10-13 00:00"


def test_a_date_with_a_time_is_that_instant() -> None:
    moment = times.wall_time("2026-11-10 19:00")
    assert wall_text(SHANGHAI, moment.start(SHANGHAI)) == "2026-11-10 19:00"
    assert moment.end(SHANGHAI) == moment.start(SHANGHAI)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2026-02-29", "there is no such day"),
        ("2026-13-01", "there is no such day"),
        ("2026-01-01 24:00", "there is no such time of day"),
        ("2026-01-01 10:00:60", "there is no such time of day"),
        ("01.02.2026", "is not a date; write 2026-11-10 or 2026-11-10 19:00"),
        ("tomorrow", "is not a date"),
    ],
)
def test_an_impossible_date_is_refused(text: str, message: str) -> None:
    with pytest.raises(Misfit, match=message):
        times.wall_time(text)


def test_a_moment_needs_its_time_of_day() -> None:
    with pytest.raises(Misfit, match="write 2026-11-10 10:00"):
        times.moment("2026-11-10")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+3d", "2026-09-04 09:30"),
        ("+0d", "2026-09-01 09:30"),
        ("-100d", "2026-05-24 09:30"),
        ("+2h 30min", "2026-09-01 12:00"),
        ("+3d @10:00", "2026-09-04 10:00"),
        ("+1d 2h @15:00", "2026-09-02 15:00"),
        ("2026-11-02 12:00", "2026-11-02 12:00"),
    ],
)
def test_times_of_rule_tests_are_shifts_from_the_start_or_absolute(text: str, expected: str) -> None:
    start = times.wall_time("2026-09-01 09:30").start(SHANGHAI)
    assert wall_text(SHANGHAI, times.case_time(text).instant(SHANGHAI, start)) == expected


@pytest.mark.parametrize("text", ["3d", "+3", "+3d @25:00", "@10:00", "later", "+", "2026-02-30 10:00"])
def test_a_time_of_a_rule_test_must_be_readable(text: str) -> None:
    with pytest.raises(Misfit):
        times.case_time(text)


def test_days_of_the_week_have_short_names() -> None:
    assert times.weekday("thu") == 3
    with pytest.raises(Misfit, match="did you mean 'tue'"):
        times.weekday("tuesday")
