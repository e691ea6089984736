"""Outer hours by country: checked against a walk from minute to minute, over changes of clocks, in all zones at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triggers.core.times import DAY, HOUR, MINUTE, NEVER, Window, iso
from triggers.dispatch.hours import BY_COUNTRY, ELSEWHERE, EVERY_DAY, Hours, Span, outer_hours, zones_in
from triggers.language.findings import Misfit
from triggers.language.zones import zone


def at(wall: str, name: str = "UTC") -> int:
    return int(datetime.fromisoformat(wall).replace(tzinfo=ZoneInfo(name)).timestamp() * 1000)


def inside(span: Span, names: tuple[str, ...], instant: int) -> bool:
    """Ask every zone's wall clock, as the standard library has it."""
    for name in names:
        shown = datetime.fromtimestamp(instant // 1000, UTC).astimezone(ZoneInfo(name))
        of_day = (shown.hour * 60 + shown.minute) * MINUTE
        if shown.weekday() not in span.days or not span.start <= of_day < span.end:
            return False
    return True


def agrees_with_a_walk(hours: Hours, span: Span, names: tuple[str, ...], start: int, minutes: int) -> None:
    """Go back in time from minute to minute, so that the next opening and closing are always known."""
    moments = range(start, start + minutes * MINUTE, MINUTE)
    states = [inside(span, names, moment) for moment in moments]
    opens = closes = None
    for moment, state, before in zip(reversed(moments), reversed(states), [*states[-2::-1], None], strict=True):
        opens = moment if state else opens
        closes = closes if state else moment
        if opens is not None:
            assert hours.opening(moment) == opens, iso(moment)
            if before is not None:
                late = moment - 1  # the last instant of the minute before
                assert hours.opening(late) == (late if before else opens), iso(late)
        if state and closes is not None:
            assert hours.closing(moment) == closes, iso(moment)
            assert hours.closing(moment + MINUTE - 1) == closes, iso(moment)


CHANGES = [
    ("FR", "2026-03-28 12:00"),
    ("FR", "2026-10-24 06:00"),
    ("US", "2026-03-07 12:00"),
    ("US", "2026-10-31 12:00"),
    ("AU", "2026-04-04 00:00"),  # Lord Howe changes by half an hour
    ("CL", "2026-04-04 00:00"),  # at midnight, back to the day before
    ("CU", "2026-10-31 12:00"),
    ("PT", "2026-10-24 12:00"),
    ("NZ", "2026-09-26 00:00"),
    ("RU", "2026-06-01 00:00"),
    ("CN", "2026-06-01 00:00"),
    ("NP", "2026-06-01 00:00"),
    ("KI", "2026-06-01 00:00"),
]


@pytest.mark.parametrize(("country", "start"), CHANGES)
def test_hours_agree_with_a_walk_over_changes_of_clocks(country: str, start: str) -> None:
    span = BY_COUNTRY.get(country, ELSEWHERE)
    agrees_with_a_walk(outer_hours(country), span, zones_in(country), at(start), 2 * 24 * 60)


@given(
    name=st.sampled_from(
        [
            "Europe/Paris",
            "America/Havana",
            "America/Santiago",
            "Africa/Cairo",
            "Asia/Beirut",
            "Australia/Lord_Howe",
            "UTC",
        ]
    ),
    bounds=st.tuples(st.integers(0, 96), st.integers(0, 96)).filter(lambda pair: pair[0] != pair[1]),
    days=st.frozensets(st.integers(0, 6), min_size=1),
    month=st.integers(1, 12),
    day=st.integers(1, 28),
)
@settings(max_examples=40, deadline=None)
def test_custom_hours_agree_with_a_walk(
    name: str, bounds: tuple[int, int], days: frozenset[int], month: int, day: int
) -> None:
    span = Span(min(bounds) * 15 * MINUTE, max(bounds) * 15 * MINUTE, days, name)
    hours = outer_hours("FR", custom={"FR": span})
    agrees_with_a_walk(hours, span, (name,), at(f"2026-{month:02d}-{day:02d} 00:00"), 2 * 24 * 60)


@pytest.mark.parametrize("minute", ["00:30", "23:30"])
def test_an_hour_that_comes_twice_is_inside_twice(minute: str) -> None:
    """In Havana 1:00 becomes 0:00, in Santiago 0:00 becomes 23:00 of the day before."""
    name = "America/Havana" if minute == "00:30" else "America/Santiago"
    day = "2026-11-01" if minute == "00:30" else "2026-04-04"
    first = at(f"{day} {minute}", name)
    start = (30 if minute == "00:30" else 23 * 60 + 30) * MINUTE
    hours = outer_hours("CU", custom={"CU": Span(start, start + 15 * MINUTE, zone=name)})
    assert hours.opening(first - 10 * MINUTE) == first
    assert hours.closing(first) == first + 15 * MINUTE
    assert hours.opening(first + 15 * MINUTE) == first + HOUR


def test_the_hours_are_those_of_the_reference() -> None:
    for country, name, opens, closes in (
        ("CN", "Asia/Shanghai", 9, 21),
        ("FR", "Europe/Paris", 10, 20),
        ("DE", "Europe/Berlin", 9, 20),
        ("HK", "Asia/Hong_Kong", 9, 20),
    ):
        hours = outer_hours(country)
        night = at("2026-07-01 02:00", name)  # a Wednesday
        assert hours.opening(night) == night + (opens - 2) * HOUR
        assert hours.closing(night + (opens - 2) * HOUR) == night + (closes - 2) * HOUR
    new_york = outer_hours("US", "America/New_York")
    assert new_york.opening(at("2026-07-01 02:00", "America/New_York")) == at("2026-07-01 09:00", "America/New_York")
    assert new_york.opening(at("2026-07-01 20:00", "America/New_York")) == at("2026-07-02 09:00", "America/New_York")


def test_there_is_no_sunday_in_france() -> None:
    hours = outer_hours("FR")
    assert hours.opening(at("2026-07-04 19:59", "Europe/Paris")) == at("2026-07-04 19:59", "Europe/Paris")
    assert hours.opening(at("2026-07-04 20:00", "Europe/Paris")) == at("2026-07-06 10:00", "Europe/Paris")
    assert hours.opening(at("2026-07-05 12:00", "Europe/Paris")) == at("2026-07-06 10:00", "Europe/Paris")


def test_a_country_of_many_zones_is_open_when_all_of_it_is() -> None:
    hours = outer_hours("US")  # from nine in Honolulu until eight in New York
    opens = hours.opening(at("2026-07-01 00:00", "America/New_York"))
    assert opens == at("2026-07-01 09:00", "Pacific/Honolulu")
    assert hours.closing(opens) == at("2026-07-01 20:00", "America/New_York")
    russian = outer_hours("RU").opening(at("2026-07-01 12:00"))
    assert russian == at("2026-07-02 09:00", "Europe/Kaliningrad")
    assert outer_hours("RU").closing(russian) == at("2026-07-02 20:00", "Asia/Kamchatka")


def test_china_has_one_time() -> None:
    assert zones_in("CN") == ("Asia/Shanghai",)


@pytest.mark.parametrize("country", sorted(phonenumbers.SUPPORTED_REGIONS | {"AQ", "UM"}))
def test_every_country_that_has_telephones_opens_each_day_of_the_year(country: str) -> None:
    hours = outer_hours(country)
    for day in range(0, 366, 5):
        start = at("2026-01-01 00:00") + day * DAY
        opens = hours.opening(start)
        assert opens - start < (3 if country == "FR" else 2) * DAY
        assert HOUR <= hours.closing(opens) - opens <= 12 * HOUR


def test_settings_replace_the_hours_of_their_country_alone() -> None:
    custom = {"DE": Span(12 * HOUR, 13 * HOUR, frozenset({0}))}
    monday = at("2026-07-06 12:00", "Europe/Berlin")
    assert outer_hours("DE", custom=custom).opening(at("2026-07-01 12:30", "Europe/Berlin")) == monday
    assert outer_hours("FR", custom=custom).opening(monday) == monday
    assert outer_hours("DE").opening(monday - 2 * HOUR) == monday - 2 * HOUR


def test_the_customers_zone_goes_before_that_of_the_settings() -> None:
    custom = {"US": Span(9 * HOUR, 20 * HOUR, zone="America/Chicago")}
    nine = at("2026-07-01 09:00", "America/New_York")
    assert outer_hours("US", custom=custom).opening(nine) == nine + HOUR
    assert outer_hours("US", "America/New_York", custom).opening(nine) == nine


def test_hours_of_all_day_are_always_open() -> None:
    hours = outer_hours("CN", custom={"CN": Span(0, DAY)})
    for instant in (0, at("2026-07-01 03:00"), NEVER):
        assert hours.opening(instant) == instant
        assert hours.closing(instant) == NEVER


def test_days_that_follow_each_other_are_one_stretch() -> None:
    hours = outer_hours("CN", custom={"CN": Span(0, DAY, EVERY_DAY - {6})})
    saturday = at("2026-07-04 12:00", "Asia/Shanghai")
    assert hours.closing(saturday - 3 * DAY) == saturday + 12 * HOUR
    assert hours.opening(saturday + 12 * HOUR) == saturday + 36 * HOUR


def test_hours_that_never_come_are_never() -> None:
    nowhere = Hours(Window(((9 * HOUR, 10 * HOUR),)), (zone("Asia/Shanghai"), zone("Europe/Paris")))
    assert nowhere.opening(at("2026-07-01 00:00")) == NEVER
    assert nowhere.closing(at("2026-07-01 00:00")) == NEVER


@pytest.mark.parametrize(
    ("span", "name"),
    [
        (Span(10 * HOUR, 18 * HOUR), None),  # ten hours between Kaliningrad and Kamchatka
        (Span(20 * HOUR, 9 * HOUR), "Europe/Moscow"),
        (Span(9 * HOUR, 9 * HOUR), "Europe/Moscow"),
        (Span(-1, HOUR), "Europe/Moscow"),
        (Span(0, DAY + 1), "Europe/Moscow"),
        (Span(0, HOUR, frozenset()), "Europe/Moscow"),
        (Span(0, HOUR, frozenset({7})), "Europe/Moscow"),
        (Span(0, HOUR), "Europe/Nowhere"),
    ],
)
def test_hours_that_cannot_be_are_refused(span: Span, name: str | None) -> None:
    with pytest.raises(Misfit):
        outer_hours("RU", custom={"RU": span._replace(zone=name)})


@pytest.mark.parametrize("country", ["", "ZZ", "cn", "001", "China"])
def test_an_unknown_country_is_refused_unless_its_zone_is_known(country: str) -> None:
    with pytest.raises(Misfit):
        outer_hours(country)
    assert outer_hours(country, "Asia/Tokyo").opening(at("2026-07-01 00:00")) == at("2026-07-01 00:00")  # 9 o'clock


def test_answers_are_kept_within_a_bound() -> None:
    hours = outer_hours("NP")
    start = at("2026-01-01 00:00")
    instants = [start + step * HOUR for step in range(3_000)]
    first = [hours.opening(instant) for instant in instants]
    assert [hours.opening(instant) for instant in reversed(instants)] == first[::-1]
    assert len(hours._stretches) <= 2_000  # noqa: SLF001  nothing else shows that memory is bounded


def test_the_walk_itself_knows_the_hours() -> None:
    paris = datetime(2026, 7, 4, 10, tzinfo=ZoneInfo("Europe/Paris"))
    for later, expected in ((0, True), (-1, False), (599, True), (600, False), (24 * 60, False)):
        moment = int((paris + timedelta(minutes=later)).timestamp() * 1000)
        assert inside(BY_COUNTRY["FR"], ("Europe/Paris",), moment) is expected
