"""Wall clocks, durations and windows where clocks change: S5, S17."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import DAY, HOUR, MINUTE

from triggers.core.times import NEVER, Duration, Window, add_months, iso, month_text, wall_text, weekday
from triggers.language.times import duration
from triggers.language.zones import zone

PARIS, NEW_YORK, SHANGHAI = "Europe/Paris", "America/New_York", "Asia/Shanghai"


def at(name: str, wall: str, fold: int = 0) -> int:
    """Name an instant by its wall time, as the standard library understands it."""
    return int(datetime.fromisoformat(wall).replace(tzinfo=ZoneInfo(name), fold=fold).timestamp() * 1000)


def after(name: str, wall: str, span: str, fold: int = 0) -> str:
    return wall_text(zone(name), zone(name).add(at(name, wall, fold), duration(span)))


@pytest.mark.parametrize(
    ("name", "wall", "day", "hours"),
    [
        (PARIS, "2027-03-27 12:00", "2027-03-28 12:00", "2027-03-28 13:00"),
        (PARIS, "2026-10-24 12:00", "2026-10-25 12:00", "2026-10-25 11:00"),
        (NEW_YORK, "2027-03-13 12:00", "2027-03-14 12:00", "2027-03-14 13:00"),
        (NEW_YORK, "2026-10-31 12:00", "2026-11-01 12:00", "2026-11-01 11:00"),
        (SHANGHAI, "2027-03-27 12:00", "2027-03-28 12:00", "2027-03-28 12:00"),
    ],
)
def test_a_day_keeps_the_wall_clock_and_24_hours_do_not(name: str, wall: str, day: str, hours: str) -> None:
    assert after(name, wall, "1d") == day
    assert after(name, wall, "24h") == hours


def test_a_day_over_a_change_of_clocks_is_23_or_25_hours() -> None:
    for wall, hours in (("2027-03-27 12:00", 23), ("2026-10-24 12:00", 25)):
        start = at(PARIS, wall)
        assert zone(PARIS).add(start, duration("1d")) - start == hours * HOUR
        assert zone(PARIS).add(start, duration("24h")) - start == 24 * HOUR


@pytest.mark.parametrize(
    ("wall", "span", "then"),
    [
        ("2026-01-31 10:00", "1 month", "2026-02-28 10:00"),
        ("2028-01-31 10:00", "1 month", "2028-02-29 10:00"),
        ("2026-01-31 10:00", "2 month", "2026-03-31 10:00"),
        ("2026-12-31 10:00", "2 month", "2027-02-28 10:00"),
        ("2028-02-29 10:00", "1 year", "2029-02-28 10:00"),
        ("2026-08-31 10:00", "P1M", "2026-09-30 10:00"),
        ("2026-01-31 10:00", "1 month 1d", "2026-03-01 10:00"),
        ("2026-01-01 10:00", "2w", "2026-01-15 10:00"),
        ("2026-01-01 10:00", "1d 12h", "2026-01-02 22:00"),
    ],
)
def test_months_clamp_the_day_and_keep_the_wall_clock(wall: str, span: str, then: str) -> None:
    assert after(SHANGHAI, wall, span) == then


def test_a_skipped_wall_time_moves_forward_and_a_repeated_one_is_the_first() -> None:
    assert after(PARIS, "2027-03-27 02:30", "1d") == "2027-03-28 03:30"
    assert after(NEW_YORK, "2027-03-13 02:30", "1d") == "2027-03-14 03:30"
    first = zone(PARIS).add(at(PARIS, "2026-10-24 02:30"), duration("1d"))
    assert first == at(PARIS, "2026-10-25 02:30", fold=0)
    assert iso(first) == "2026-10-25T00:30:00.000Z"


def test_going_back_a_span_of_days_keeps_the_wall_clock_too() -> None:
    now = at(NEW_YORK, "2026-11-02 12:00")
    assert zone(NEW_YORK).subtract(now, duration("2d")) == at(NEW_YORK, "2026-10-31 12:00")
    assert zone(NEW_YORK).subtract(now, duration("48h")) == at(NEW_YORK, "2026-10-31 13:00")


def test_midnight_is_the_start_of_the_local_day_also_on_long_and_short_days() -> None:
    for wall, hours in (("2027-03-28 15:00", 23), ("2026-10-25 15:00", 25)):
        begins, ends = (zone(PARIS).midnight(at(PARIS, wall), days) for days in (0, 1))
        assert ends - begins == hours * HOUR
        assert wall_text(zone(PARIS), begins) == f"{wall[:10]} 00:00"


def test_midnight_that_the_clock_skips_is_the_first_instant_of_the_day() -> None:
    beirut = zone("Asia/Beirut")  # the clock goes from 00:00 to 01:00 on the last Sunday of March
    noon = at("Asia/Beirut", "2027-03-28 12:00")
    assert wall_text(beirut, beirut.midnight(noon)) == "2027-03-28 01:00"
    assert wall_text(beirut, beirut.midnight(noon) - 1) == "2027-03-27 23:59"


@pytest.mark.parametrize("name", [PARIS, NEW_YORK, SHANGHAI, "Asia/Beirut", "Australia/Lord_Howe", "Asia/Kathmandu"])
@given(st.integers(at(SHANGHAI, "1999-01-03 00:00"), at(SHANGHAI, "2059-01-01 00:00")))
@settings(max_examples=300, deadline=None)
def test_walls_agree_with_the_standard_library(name: str, instant: int) -> None:
    instant -= instant % 1000
    wall = datetime.fromtimestamp(instant / 1000, ZoneInfo(name))
    assert wall_text(zone(name), instant) == wall.strftime("%Y-%m-%d %H:%M")
    assert weekday(zone(name).wall(instant)) == wall.weekday()
    assert zone(name).instant(zone(name).wall(instant)) == int(wall.replace(fold=0).timestamp() * 1000)


@given(st.integers(0, 4 * 10**12), st.integers(-1200, 1200))
def test_months_forward_and_back_never_change_the_time_of_day(wall: int, months: int) -> None:
    moved = add_months(wall, months)
    assert moved % DAY == wall % DAY
    assert abs(moved - wall - months * 30.4375 * DAY) < 4 * DAY


# Windows


def window(*spans: tuple[float, float], days: set[int] | None = None) -> Window:
    made = tuple((int(start * HOUR), int(end * HOUR)) for start, end in spans)
    return Window(made, frozenset(days) if days is not None else frozenset(range(7)))


@pytest.mark.parametrize(
    ("due", "leaves"),
    [
        ("2026-09-01 09:59", "2026-09-01 10:00"),
        ("2026-09-01 10:00", "2026-09-01 10:00"),
        ("2026-09-01 11:59", "2026-09-01 11:59"),
        ("2026-09-01 12:00", "2026-09-01 19:00"),
        ("2026-09-01 22:00", "2026-09-02 10:00"),
    ],
)
def test_a_windows_start_is_inside_and_its_end_outside(due: str, leaves: str) -> None:
    hours = window((10, 12), (19, 22))
    assert wall_text(zone(SHANGHAI), hours.opening(zone(SHANGHAI), at(SHANGHAI, due))) == leaves


def test_the_last_millisecond_of_a_window_is_inside() -> None:
    noon = at(SHANGHAI, "2026-09-01 12:00")
    assert window((10, 12)).opening(zone(SHANGHAI), noon - 1) == noon - 1


def test_a_window_until_midnight_joins_the_next_days_beginning() -> None:
    hours, due = window((0, 8), (20, 24)), at(SHANGHAI, "2026-09-01 23:59")
    assert hours.opening(zone(SHANGHAI), due + MINUTE) == due + MINUTE


def test_days_without_a_window_are_passed_over() -> None:
    saturday = at(SHANGHAI, "2026-09-05 11:00")
    workdays = window((10, 12), days={0, 1, 2, 3, 4})
    assert wall_text(zone(SHANGHAI), workdays.opening(zone(SHANGHAI), saturday)) == "2026-09-07 10:00"
    saturdays = window((10, 12), days={5})
    assert wall_text(zone(SHANGHAI), saturdays.opening(zone(SHANGHAI), saturday + HOUR)) == "2026-09-12 10:00"
    assert window((10, 12), days=set()).opening(zone(SHANGHAI), saturday) == NEVER


def test_a_window_opening_in_a_skipped_hour_opens_when_the_clock_has_jumped() -> None:
    before = at(NEW_YORK, "2027-03-14 01:59")
    opens = window((2.5, 4)).opening(zone(NEW_YORK), before)
    assert wall_text(zone(NEW_YORK), opens) == "2027-03-14 03:00"


def test_a_window_inside_a_skipped_hour_does_not_open_that_day() -> None:
    before = at(NEW_YORK, "2027-03-14 01:59")
    opens = window((2, 3)).opening(zone(NEW_YORK), before)
    assert wall_text(zone(NEW_YORK), opens) == "2027-03-15 02:00"


def test_a_window_of_a_repeated_hour_never_opens_in_the_past() -> None:
    second = at(NEW_YORK, "2026-11-01 01:10", fold=1)
    opens = window((1.5, 3)).opening(zone(NEW_YORK), second)
    assert opens == at(NEW_YORK, "2026-11-01 01:30", fold=1)


SPANS = st.lists(st.integers(0, 48), min_size=2, max_size=4, unique=True).map(
    lambda marks: tuple(pairwise(sorted(marks)))[::2]
)


@given(st.integers(0, 60), SPANS, st.sampled_from([(PARIS, "2027-03-27 20:00"), (NEW_YORK, "2027-03-13 20:00")]))
@settings(max_examples=150, deadline=None)
def test_a_window_opens_at_the_first_instant_inside_it_when_the_clock_jumps(
    quarters: int, spans: tuple[tuple[int, int], ...], where: tuple[str, str]
) -> None:
    name, start = where
    hours = Window(tuple((a * HOUR // 2, b * HOUR // 2) for a, b in spans))
    due = at(name, start) + quarters * 15 * MINUTE

    def inside(instant: int) -> bool:
        of_day = zone(name).wall(instant) % DAY
        return any(a <= of_day < b for a, b in hours.spans)

    assert hours.opening(zone(name), due) == next(
        due + i * 15 * MINUTE for i in range(4 * 24 * 3) if inside(due + i * 15 * MINUTE)
    )


@given(st.integers(0, 60), SPANS, st.sampled_from([(PARIS, "2026-10-24 20:00"), (NEW_YORK, "2026-10-31 20:00")]))
@settings(max_examples=150, deadline=None)
def test_a_window_opens_inside_itself_and_not_before_when_the_clock_goes_back(
    quarters: int, spans: tuple[tuple[int, int], ...], where: tuple[str, str]
) -> None:
    name, start = where
    hours = Window(tuple((a * HOUR // 2, b * HOUR // 2) for a, b in spans))
    due = at(name, start) + quarters * 15 * MINUTE
    opens = hours.opening(zone(name), due)
    assert due <= opens < due + 2 * DAY
    assert any(a <= zone(name).wall(opens) % DAY < b for a, b in hours.spans)
    assert hours.opening(zone(name), opens) == opens


CHANGES = st.sampled_from(
    [
        (PARIS, "2026-10-24 20:00"),
        (PARIS, "2027-03-27 20:00"),
        (NEW_YORK, "2026-10-31 20:00"),
        (NEW_YORK, "2027-03-13 20:00"),
        (SHANGHAI, "2026-09-04 20:00"),
        ("America/Havana", "2026-10-31 20:00"),  # at 01:00 back to midnight
        ("Australia/Lord_Howe", "2027-04-03 20:00"),  # back by half an hour
    ]
)
DAYS = st.sets(st.integers(0, 6), min_size=1).map(frozenset)


@given(st.integers(0, 90), SPANS, DAYS, CHANGES)
@settings(max_examples=300, deadline=None)
def test_a_window_closes_at_the_first_instant_outside_it_whatever_the_clock_does(
    quarters: int, spans: tuple[tuple[int, int], ...], days: frozenset[int], where: tuple[str, str]
) -> None:
    name, start = where
    hours = Window(tuple((a * HOUR // 2, b * HOUR // 2) for a, b in spans), days)
    step = 15 * MINUTE

    def inside(instant: int) -> bool:
        wall = zone(name).wall(instant)
        return weekday(wall) in days and any(a <= wall % DAY < b for a, b in hours.spans)

    begin = at(name, start) + quarters * step
    opened = next((begin + i * step for i in range(4 * 24 * 8) if inside(begin + i * step)), None)
    if opened is None:  # the hour was skipped, on the only day
        return
    closed = next((opened + i * step for i in range(4 * 24 * 9) if not inside(opened + i * step)), NEVER)
    assert hours.closing(zone(name), opened) == closed


def test_a_window_that_never_shuts_never_closes() -> None:
    now = at(SHANGHAI, "2026-09-01 12:00")
    assert Window().closing(zone(SHANGHAI), now) == NEVER
    assert window((0, 12), (12, 24)).closing(zone(SHANGHAI), now) == NEVER
    assert window((0, 12), (12, 24), days={1, 2, 3}).closing(zone(SHANGHAI), now) == at(SHANGHAI, "2026-09-04 00:00")


def test_a_window_that_goes_on_after_midnight_closes_on_the_next_day() -> None:
    late = at(SHANGHAI, "2026-09-01 23:00")
    assert window((0, 8), (20, 24)).closing(zone(SHANGHAI), late) == at(SHANGHAI, "2026-09-02 08:00")
    tuesdays = window((0, 8), (20, 24), days={1})
    assert tuesdays.closing(zone(SHANGHAI), late) == at(SHANGHAI, "2026-09-02 00:00")


@pytest.mark.parametrize(
    ("wall", "month"),
    [
        ("2026-09-30 23:59", "2026-09"),
        ("2026-10-01 00:00", "2026-10"),
        ("2026-12-31 23:59", "2026-12"),
        ("2027-01-01 00:00", "2027-01"),
        ("2028-02-29 12:00", "2028-02"),
    ],
)
@pytest.mark.parametrize("name", [PARIS, NEW_YORK, SHANGHAI])
def test_a_month_is_the_one_on_the_shops_wall(name: str, wall: str, month: str) -> None:
    assert month_text(zone(name).wall(at(name, wall))) == month


def test_the_next_change_of_a_clock_is_found() -> None:
    change = at(PARIS, "2026-10-25 02:00", fold=1)
    assert zone(PARIS).next_change(change - 1) == change
    assert zone(PARIS).next_change(change) == at(PARIS, "2027-03-28 03:00")
    assert zone(SHANGHAI).next_change(change) == NEVER


def test_a_duration_is_bounded_from_above_whatever_the_calendar() -> None:
    for span in ("1 month", "1d", "1 year", "3d 5h", "90min"):
        for name, wall in ((PARIS, "2026-10-24 12:00"), (PARIS, "2027-03-27 12:00"), (SHANGHAI, "2026-07-31 00:00")):
            start = at(name, wall)
            assert zone(name).add(start, duration(span)) - start <= duration(span).at_most()


def test_no_time_moves_nothing() -> None:
    start = at(PARIS, "2026-10-25 02:30", fold=1)
    assert zone(PARIS).add(start, Duration()) == start
