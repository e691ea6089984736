"""Wall clocks and durations in whole milliseconds: what "1 month later" and "inside the window" mean in a shop's zone."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

EARLIEST = 915_148_800_000
"""1999-01-01T00:00:00Z: no event, and nothing a year before an event, is earlier."""

NEVER = 1 << 62
"""An instant after every other one."""

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_DAYS_TO_EPOCH = 719_468  # from 0000-03-01 to 1970-01-01
_DAYS_IN_ERA = 146_097  # 400 years
_MONTHS = 12
_FEBRUARY = 2
SHORTEST_MONTH = 28


@dataclass(frozen=True, slots=True)
class Duration:
    """A span of time: calendar months and days, which keep the wall clock, and exact milliseconds."""

    months: int = 0
    days: int = 0
    ms: int = 0
    text: str = ""

    def at_most(self) -> int:
        """Bound the span from above, in milliseconds; longer than any real span of it by at most an hour or three days."""
        return self.months * 31 * DAY + self.days * DAY + self.ms + (HOUR if self.days or self.months else 0)


NO_TIME = Duration()


class Zone:
    """A time zone as a table of UTC offsets.

    ``starts`` are ascending instants (epoch ms) at which ``offsets`` (ms east of UTC) begin to hold; ``offsets`` has one
    entry more than ``starts``: the first holds before all of them.
    """

    __slots__ = ("fixed", "name", "offsets", "starts")

    def __init__(self, name: str, starts: Sequence[int] = (), offsets: Sequence[int] = (0,)) -> None:
        first = bisect_right(starts, EARLIEST)  # events before it are refused, so most zones are fixed ones
        self.name = name
        self.starts = list(starts[first:])
        self.offsets = list(offsets[first:])
        self.fixed = not self.starts

    def offset(self, at: int) -> int:
        """Tell the offset from UTC at an instant, in milliseconds."""
        return self.offsets[0] if self.fixed else self.offsets[bisect_right(self.starts, at)]

    def next_change(self, at: int) -> int:
        """Find the first instant after ``at`` at which the offset changes; NEVER if it does not any more."""
        change = bisect_right(self.starts, at)
        return self.starts[change] if change < len(self.starts) else NEVER

    def wall(self, at: int) -> int:
        """Turn an instant into what the wall clock shows, as milliseconds since 1970-01-01 00:00 on that wall."""
        return at + self.offset(at)

    def instant(self, wall: int) -> int:
        """Find the instant of a wall time: a skipped one moves forward by the gap, a repeated one is the first."""
        if self.fixed:
            return wall - self.offsets[0]
        before, after = self.offset(wall - DAY), self.offset(wall + DAY)
        first = wall - max(before, after)
        if self.offset(first) == max(before, after):
            return first
        return (
            wall - min(before, after) if self.offset(wall - min(before, after)) == min(before, after) else wall - before
        )

    def reach(self, at: int, wall: int) -> int:
        """Find the first instant at or after ``at`` at which the wall clock shows ``wall`` or later."""
        shown = self.wall(at)
        if shown >= wall:
            return at
        found = self.instant(wall)
        if found < at:  # shown twice, and the first time is over
            return at + wall - shown
        if not self.fixed and self.wall(found) != wall:  # skipped: the clock is past it as soon as it jumps
            return max(at, self.starts[bisect_right(self.starts, found) - 1])
        return found

    def add(self, at: int, span: Duration) -> int:
        """Go forward by a span: months and days on the wall clock, then exact milliseconds."""
        return self._shift(at, span, 1)

    def subtract(self, at: int, span: Duration) -> int:
        """Go back by a span: months and days on the wall clock, then exact milliseconds."""
        return self._shift(at, span, -1)

    def _shift(self, at: int, span: Duration, sign: int) -> int:
        if span.months:
            wall = add_months(self.wall(at), sign * span.months) + sign * span.days * DAY
            return self.instant(wall) + sign * span.ms
        if not span.days:
            return at + sign * span.ms
        if self.fixed:
            return at + sign * (span.days * DAY + span.ms)
        return self.instant(self.wall(at) + sign * span.days * DAY) + sign * span.ms

    def at_least(self, span: Duration) -> int:
        """Bound a span from below, in milliseconds: no month is shorter than 28 days, and clocks go forward at times."""
        calendar = (span.months * SHORTEST_MONTH + span.days) * DAY
        return max(0, calendar - max(self.offsets) + min(self.offsets)) + span.ms

    def midnight(self, at: int, days: int = 0) -> int:
        """Find the start of the local day of an instant, or of a day that many days later."""
        wall = self.wall(at)
        return self.instant(wall - wall % DAY + days * DAY)


def civil(days: int) -> tuple[int, int, int]:
    """Turn days since 1970-01-01 into year, month and day of the Gregorian calendar."""
    days += _DAYS_TO_EPOCH
    era, of_era = divmod(days, _DAYS_IN_ERA)
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9  # noqa: PLR2004  March is month 0 of the computation
    return year + era * 400 + (month <= _FEBRUARY), month, day


def month_text(wall: int) -> str:
    """Name the month of a wall time: "2026-09"."""
    year, month, _ = civil(wall // DAY)
    return f"{year:04}-{month:02}"


def days_of(year: int, month: int, day: int) -> int:
    """Turn a Gregorian date into days since 1970-01-01."""
    year -= month <= _FEBRUARY
    era, of_era = divmod(year, 400)
    of_year = (153 * (month - 3 if month > _FEBRUARY else month + 9) + 2) // 5 + day - 1
    return era * _DAYS_IN_ERA + of_era * 365 + of_era // 4 - of_era // 100 + of_year - _DAYS_TO_EPOCH


def month_length(year: int, month: int) -> int:
    """Count the days of a month."""
    return days_of(year + month // _MONTHS, month % _MONTHS + 1, 1) - days_of(year, month, 1)


def add_months(wall: int, months: int) -> int:
    """Move a wall time by calendar months, the day clamped to the month's length."""
    days, of_day = divmod(wall, DAY)
    year, month, day = civil(days)
    year, month = divmod(year * _MONTHS + month - 1 + months, _MONTHS)
    return days_of(year, month + 1, min(day, month_length(year, month + 1))) * DAY + of_day


def weekday(wall: int) -> int:
    """Tell the day of the week of a wall time, Monday being 0."""
    return (wall // DAY + 3) % 7


@dataclass(frozen=True, slots=True)
class Window:
    """When a message may leave: [start, end) spans in ms of the local day, ascending and apart, and days of the week."""

    spans: tuple[tuple[int, int], ...] = ((0, DAY),)
    days: frozenset[int] = frozenset(range(7))

    @property
    def always(self) -> bool:
        """Whether every instant is inside."""
        return self.spans == ((0, DAY),) and len(self.days) == len(WEEKDAYS)

    def opening(self, zone: Zone, at: int) -> int:
        """Find the first instant at or after ``at`` that is inside; NEVER if there is none within eight days."""
        if self.always:
            return at
        wall = zone.wall(at)
        start_of_day = wall - wall % DAY
        for _ in range(len(WEEKDAYS) + 1):
            if weekday(start_of_day) in self.days:
                for start, end in self.spans:
                    if wall < start_of_day + end:
                        opens = zone.reach(at, start_of_day + start)
                        if zone.wall(opens) < start_of_day + end:
                            return opens
            start_of_day += DAY
            wall = start_of_day
        return NEVER

    def closing(self, zone: Zone, at: int) -> int:
        """Find the first instant after ``at``, which is inside, that is outside; NEVER if none within eight days."""
        if self.always:
            return NEVER
        latest = at + (len(WEEKDAYS) + 1) * DAY
        while at < latest:
            wall = zone.wall(at)
            start_of_day = wall - wall % DAY
            ends = start_of_day + next(end for start, end in self.spans if start <= wall - start_of_day < end)
            at = min(zone.reach(at, ends), zone.next_change(at))  # a clock that goes back may leave the span
            if self.opening(zone, at) != at:
                return at
        return NEVER


@dataclass(frozen=True, slots=True)
class Period:
    """A named stretch of time, [start, end) in epoch ms; open ends are 0 and NEVER."""

    name: str
    start: int = 0
    end: int = NEVER


def iso(at: int) -> str:
    """Write an instant as RFC 3339 in UTC with milliseconds."""
    days, of_day = divmod(at, DAY)
    year, month, day = civil(days)
    seconds, ms = divmod(of_day, SECOND)
    minutes, second = divmod(seconds, 60)
    return f"{year:04d}-{month:02d}-{day:02d}T{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}.{ms:03d}Z"


def wall_text(zone: Zone, at: int) -> str:
    """Write an instant as people of the shop read it: local date and time to the minute."""
    days, of_day = divmod(zone.wall(at), DAY)
    year, month, day = civil(days)
    return f"{year:04d}-{month:02d}-{day:02d} {of_day // HOUR:02d}:{of_day // MINUTE % 60:02d}"
