"""Reads times as people write them: durations, wall clock times, dates, windows, and the times of rule tests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from triggers.core.times import DAY, HOUR, MINUTE, NO_TIME, SECOND, WEEKDAYS, Duration, days_of, month_length
from triggers.language.findings import Misfit, did_you_mean

if TYPE_CHECKING:
    from triggers.core.times import Zone

MAX_YEARS = 100
FORMS = "30min, 12h, 3d, 2w, 1 month, 1 year, or joined: 1d 12h"

_UNITS = {
    "s": Duration(ms=SECOND),
    "min": Duration(ms=MINUTE),
    "h": Duration(ms=HOUR),
    "d": Duration(days=1),
    "w": Duration(days=7),
    "month": Duration(months=1),
    "year": Duration(months=12),
}
_PLURALS = {"months": "month", "years": "year"}
_OTHER_NAMES = {
    "s": "sec secs second seconds",
    "min": "mins minute minutes",
    "h": "hr hrs hour hours",
    "d": "day days",
    "w": "wk week weeks",
    "month": "mon mo mos",
    "year": "y yr yrs",
}
_MEANT = {other: unit for unit, others in _OTHER_NAMES.items() for other in others.split()}

_PART = re.compile(r"([0-9]{1,6})\s*([A-Za-z]+)\s*", re.ASCII)
_ISO = re.compile(
    r"P(?=[0-9T])(?:([0-9]{1,6})Y)?(?:([0-9]{1,6})M)?(?:([0-9]{1,6})W)?(?:([0-9]{1,6})D)?"
    r"(?:T(?=[0-9])(?:([0-9]{1,6})H)?(?:([0-9]{1,6})M)?(?:([0-9]{1,6})S)?)?\Z",
    re.ASCII,
)
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})\Z", re.ASCII)
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[ T]([0-9]{2}:[0-9]{2})(?::([0-9]{2}))?)?\Z", re.ASCII)
_SHIFT = re.compile(r"([+-])\s*([^@]*?)\s*(?:@\s*([0-9:]+))?\Z", re.ASCII)


@lru_cache(maxsize=4096)
def duration(text: str) -> Duration:
    """Read a duration. Raises Misfit."""
    whole = text.strip()
    span = _iso(whole) if whole.startswith("P") else _joined(whole)
    if span.at_most() > MAX_YEARS * 366 * DAY:
        raise Misfit(f"'{text}': longer than {MAX_YEARS} years")
    return Duration(span.months, span.days, span.ms, whole)


def _joined(text: str) -> Duration:
    months = days = ms = place = 0
    while place < len(text) or not place:
        part = _PART.match(text, place)
        if not part:
            raise Misfit(_refusal(text))
        unit = _PLURALS.get(part[2], part[2])
        if unit not in _UNITS:
            raise Misfit(_unit_refusal(text, part[2]))
        step, count = _UNITS[unit], int(part[1])
        months, days, ms = months + count * step.months, days + count * step.days, ms + count * step.ms
        place = part.end()
    return Duration(months, days, ms)


def _unit_refusal(text: str, unit: str) -> str:
    if unit in ("m", "M"):
        return f"'{text}': is 'm' minutes or months? write 'min' or 'month'"
    meant = _MEANT.get(unit.lower()) or (unit.lower() if unit.lower() in _UNITS else None)
    return f"'{text}': write '{meant}' for '{unit}'" if meant else f"'{text}': unknown unit '{unit}'; write {FORMS}"


def _refusal(text: str) -> str:
    if re.search(r"[0-9][.,][0-9]", text):
        return f"'{text}': no fractions; write it in a smaller unit, such as '36h' for a day and a half"
    if re.fullmatch(r"[0-9]+", text, re.ASCII):
        return f"'{text}': of what? write '{text}min', '{text}h' or '{text}d'"
    return f"'{text}' is not a duration; write {FORMS}"


def _iso(text: str) -> Duration:
    parts = _ISO.match(text)
    if not parts:
        raise Misfit(f"'{text}' is not an ISO 8601 duration of whole numbers, such as P3D, PT2H or P1M")
    years, months, weeks, days, hours, minutes, seconds = (int(part or 0) for part in parts.groups())
    return Duration(12 * years + months, 7 * weeks + days, hours * HOUR + minutes * MINUTE + seconds * SECOND)


def exact(text: str) -> int:
    """Read a duration that must not depend on the calendar, in milliseconds; a day is 24 h. Raises Misfit."""
    span = duration(text)
    if span.months:
        raise Misfit(f"'{text}': not in months or years here; write days, hours or minutes")
    return span.days * DAY + span.ms


def clock(text: str) -> int:
    """Read a time of day, ``10:00``, in milliseconds of the day; 24:00 is its end. Raises Misfit."""
    parts = _CLOCK.match(text.strip())
    if not parts:
        raise Misfit(f"'{text}' is not a time of day; write 10:00")
    hours, minutes = int(parts[1]), int(parts[2])
    if hours * HOUR + minutes * MINUTE > DAY or minutes > 59:  # noqa: PLR2004  minutes of an hour
        raise Misfit(f"'{text}' is not a time of day; it ends at 24:00")
    return hours * HOUR + minutes * MINUTE


def span(text: str) -> tuple[int, int]:
    """Read a window, ``10:00-12:00``: [start, end) in milliseconds of the day. Raises Misfit."""
    start_text, dash, end_text = text.partition("-")
    if not dash:
        raise Misfit(f"'{text}' is not a window; write 10:00-12:00")
    start, end = clock(start_text), clock(end_text)
    if start == end:
        raise Misfit(f"'{text}': the window is empty; the whole day is 00:00-24:00")
    if start > end:
        early, late = start_text.strip(), end_text.strip()
        raise Misfit(f"'{text}': a window may not cross midnight; write [{early}-24:00, 00:00-{late}]")
    return start, end


@dataclass(frozen=True, slots=True)
class WallTime:
    """A date, or a date and time, on the shop's wall clock: ``wall`` in ms since 1970-01-01 00:00 on that wall."""

    wall: int
    whole_day: bool = False

    def start(self, zone: Zone) -> int:
        """Find its instant, in epoch ms; of a whole day the first."""
        return zone.instant(self.wall)

    def end(self, zone: Zone) -> int:
        """Find the first instant that is later: a whole day ends with its midnight."""
        return zone.instant(self.wall + DAY if self.whole_day else self.wall)


@lru_cache(maxsize=4096)
def wall_time(text: str) -> WallTime:
    """Read ``2026-11-10`` or ``2026-11-10 19:00``. Raises Misfit."""
    parts = _DATE.match(text.strip())
    if not parts:
        raise Misfit(f"'{text}' is not a date; write 2026-11-10 or 2026-11-10 19:00")
    year, month, day = int(parts[1]), int(parts[2]), int(parts[3])
    if not (1970 <= year <= 2200 and 1 <= month <= 12 and 1 <= day <= month_length(year, month)):  # noqa: PLR2004
        raise Misfit(f"'{text}': there is no such day")
    of_day = (clock(parts[4]) if parts[4] else 0) + int(parts[5] or 0) * SECOND
    if of_day >= DAY or int(parts[5] or 0) > 59:  # noqa: PLR2004  seconds of a minute
        raise Misfit(f"'{text}': there is no such time of day")
    return WallTime(days_of(year, month, day) * DAY + of_day, whole_day=not parts[4])


def moment(text: str) -> WallTime:
    """Read a date with its time of day. Raises Misfit."""
    found = wall_time(text)
    if found.whole_day:
        raise Misfit(f"'{text}': at what time of that day? write {text.strip()} 10:00")
    return found


@dataclass(frozen=True, slots=True)
class CaseTime:
    """A time in a rule test: absolute, or a shift from the test's start, perhaps to a time of that day."""

    wall: WallTime | None = None
    shift: Duration = NO_TIME
    sign: int = 1
    of_day: int | None = None

    def instant(self, zone: Zone, start: int) -> int:
        """Find its instant, in epoch ms, for a test that starts at ``start``."""
        if self.wall is not None:
            return self.wall.start(zone)
        at = zone.add(start, self.shift) if self.sign > 0 else zone.subtract(start, self.shift)
        if self.of_day is None:
            return at
        wall = zone.wall(at)
        return zone.instant(wall - wall % DAY + self.of_day)


def case_time(text: str) -> CaseTime:
    """Read ``+3d``, ``-100d``, ``+2h 30min``, ``+3d @10:00`` or an absolute time. Raises Misfit."""
    shift = _SHIFT.match(text.strip())
    if not shift:
        try:
            return CaseTime(wall=wall_time(text))
        except Misfit as error:
            if re.match(r"[0-9]{4}-", text):
                raise
            raise Misfit(f"'{text}' is not a time; write +3d, +2h 30min, +3d @10:00 or 2026-09-01 10:00") from error
    return CaseTime(
        shift=duration(shift[2]), sign=1 if shift[1] == "+" else -1, of_day=clock(shift[3]) if shift[3] else None
    )


def weekday(text: str) -> int:
    """Read a day of the week, Monday being 0. Raises Misfit."""
    word = text.strip().lower()
    if word not in WEEKDAYS:
        short = f"; did you mean '{word[:3]}'?" if word[:3] in WEEKDAYS else did_you_mean(word, WEEKDAYS)
        raise Misfit(f"unknown day '{text}'; it is one of {', '.join(WEEKDAYS)}{short}")
    return WEEKDAYS.index(word)
