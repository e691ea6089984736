"""Says when commercial messages may reach a country's phones, whatever rules say: outer hours (SMS.md section 4)."""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from triggers.core.times import DAY, HOUR, NEVER, WEEKDAYS, Window, Zone, days_of, weekday
from triggers.language.findings import Misfit
from triggers.language.zones import zone as zone_of

if TYPE_CHECKING:
    from collections.abc import Mapping

EVERY_DAY = frozenset(range(len(WEEKDAYS)))
KEPT_COUNTRIES = 512
KEPT_STRETCHES = 2_000
LONGEST_WAIT = 16 * DAY
"""What opens at all does so once a week, in the worst case just when a zone leaves out a day of its calendar."""


class Span(NamedTuple):
    """Hours of a country: [start, end) in ms of the local day, on days of the week (Monday is 0), in a zone or in all."""

    start: int
    end: int
    days: frozenset[int] = EVERY_DAY
    zone: str | None = None


ELSEWHERE = Span(9 * HOUR, 20 * HOUR)
BY_COUNTRY = {
    "CN": Span(9 * HOUR, 21 * HOUR),
    "US": Span(9 * HOUR, 20 * HOUR),
    "FR": Span(10 * HOUR, 20 * HOUR, days=EVERY_DAY - {6}),
}

# Where zone.tab is no help: it counts an unofficial time in the west of China, does not know a few countries that have
# telephones, and lists stations at the South Pole that are nowhere near each other.
_ZONES = {
    "CN": ("Asia/Shanghai",),
    "AC": ("Atlantic/St_Helena",),
    "TA": ("Atlantic/St_Helena",),
    "XK": ("Europe/Belgrade",),
    "AQ": ("Antarctica/McMurdo",),
}


class _Stretch(NamedTuple):
    opens: int
    closes: int


class Hours:
    """When it is inside the hours in each of some zones. Times in epoch ms; what was worked out is kept."""

    __slots__ = ("_always", "_stretches", "_window", "_zones")

    def __init__(self, window: Window, zones: tuple[Zone, ...]) -> None:
        self._window = window
        self._always = window.always
        self._zones = tuple({(*zone.starts, *zone.offsets): zone for zone in zones}.values())
        self._stretches: dict[int, _Stretch] = {}

    def opening(self, at: int) -> int:
        """Find the first instant at or after ``at`` that is inside; NEVER if there is none within 16 days."""
        return at if self._always else max(at, self._stretch(at).opens)

    def closing(self, at: int) -> int:
        """Find the first instant after ``at`` that is outside; ``at`` is inside. NEVER if all are inside."""
        return NEVER if self._always else self._stretch(at).closes

    def _stretch(self, at: int) -> _Stretch:
        """Find the first stretch that ends after an instant; one hour's questions share an answer."""
        found = self._first_after(at - at % HOUR)
        while found.closes <= at:
            found = self._first_after(found.closes)
        return found

    def _first_after(self, at: int) -> _Stretch:
        found = self._stretches.get(at)
        if found is None:
            if len(self._stretches) >= KEPT_STRETCHES:
                self._stretches.clear()
            found = self._stretches[at] = self._walk(at)
        return found

    def _walk(self, at: int) -> _Stretch:
        """Go from one change to the next: nothing opens before the last closed zone does, the first to close ends it."""
        opens = at
        while closed := [until for inside, until in self._looks(opens) if not inside]:
            opens = max(closed)
            if opens > at + LONGEST_WAIT:
                return _Stretch(NEVER, NEVER)
        closes, looks = opens, self._looks(opens)
        while all(inside for inside, _ in looks):
            closes = min(until for _, until in looks)
            looks = self._looks(closes)
        return _Stretch(opens, closes)

    def _looks(self, at: int) -> list[tuple[bool, int]]:
        return [_look(self._window, zone, at) for zone in self._zones]


def _look(window: Window, zone: Zone, at: int) -> tuple[bool, int]:
    """Tell whether an instant is inside in a zone, and until when, at least, that stays so."""
    wall = zone.wall(at)
    of_day = wall % DAY
    inside, edge = False, DAY
    if weekday(wall) in window.days:
        for start, end in window.spans:
            if of_day < end:
                inside, edge = of_day >= start, end if of_day >= start else start
                break
    until = at + edge - of_day
    change = bisect_right(zone.starts, at)
    return inside, min(until, zone.starts[change]) if change < len(zone.starts) else until


def outer_hours(country: str, zone: str | None = None, custom: Mapping[str, Span] | None = None) -> Hours:
    """Give the outer hours of a country (ISO 3166 alpha-2); ``custom`` replaces the usual ones of some countries.

    ``zone`` is the customer's, if it is known, else the settings' for the country; else it must be inside in all of the
    country's zones. The first question about a country with many of them takes up to 0.2 s. Raises Misfit for an unknown
    country or zone, and for custom hours that are never inside in all zones.
    """
    own = custom.get(country) if custom else None
    return _hours(country, zone or (own.zone if own else None), own)


@lru_cache(maxsize=KEPT_COUNTRIES)
def _hours(country: str, zone: str | None, own: Span | None) -> Hours:
    span = own or BY_COUNTRY.get(country, ELSEWHERE)
    if not (0 <= span.start < span.end <= DAY and span.days and span.days <= EVERY_DAY):
        raise Misfit(f"the hours of {country} do not begin before they end, or have no day")
    names = (zone,) if zone else zones_in(country)
    hours = Hours(Window(((span.start, span.end),), span.days), tuple(zone_of(name) for name in names))
    if not _opens_all_year(hours):
        raise Misfit(f"these hours never hold in all {len(names)} time zones of {country} at once; name one 'zone'")
    return hours


def _opens_all_year(hours: Hours) -> bool:
    """Tell whether there are hours in every week of a year; clocks change within one, but not from year to year."""
    start = days_of(2026, 1, 1) * DAY
    return all(hours.opening(at) < at + LONGEST_WAIT for at in range(start, start + 365 * DAY, 7 * DAY))


def zones_in(country: str) -> tuple[str, ...]:
    """Name the time zones of a country (ISO 3166 alpha-2), from the zone data. Raises Misfit for an unknown one."""
    try:
        return _zones_by_country()[country]
    except KeyError as error:
        raise Misfit(f"unknown country '{country}'; write two capital letters, such as CN") from error


@lru_cache(maxsize=1)
def _zones_by_country() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    table = files("tzdata").joinpath("zoneinfo", "zone.tab").read_text(encoding="utf-8")
    for line in table.splitlines():
        if not line.startswith("#"):
            country, _, name, *_ = line.split("\t")
            found[country] = (*found.get(country, ()), name)
    return found | _ZONES
