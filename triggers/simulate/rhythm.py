"""When people come to the made-up shop: evenings, weekends, and the weeks around Double Eleven."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

ZONE = timezone(timedelta(hours=8), "Asia/Shanghai")
"""The shop's zone. It has kept one offset since 1991, so a fixed one says the same and is quicker."""

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
OFFSET_MS = 8 * HOUR_MS
MONDAY = 3
"""1970-01-01 was a Thursday, three days after a Monday."""

BEFORE_NOON = (0.18, 0.08, 0.04, 0.03, 0.03, 0.05, 0.12, 0.25, 0.35, 0.45, 0.52, 0.55)
AFTER_NOON = (0.62, 0.58, 0.48, 0.46, 0.48, 0.55, 0.66, 0.80, 0.95, 1.00, 0.78, 0.42)
BY_HOUR = (*BEFORE_NOON, *AFTER_NOON)
BY_WEEKDAY = (0.74, 0.72, 0.72, 0.75, 0.84, 1.00, 0.98)
ORDINARY = 0.45
FESTIVAL_DAYS = (((10, 31), (11, 12)), ((6, 14), (6, 19)))
"""(first day, day after the last) of the weeks in which the shop is full."""


def epoch_ms(year: int, month: int, day: int) -> int:
    """Name the instant at which a day begins in the shop, in epoch ms."""
    return round(datetime(year, month, day, tzinfo=ZONE).timestamp() * 1000)


def text_of(instant: int) -> str:
    """Write epoch ms as RFC 3339 in the shop's zone, with milliseconds only where there are any."""
    whole, ms = divmod(instant, 1000)
    moment = datetime.fromtimestamp(whole, ZONE).replace(microsecond=ms * 1000)
    return moment.isoformat(timespec="milliseconds" if ms else "seconds")


class Rhythm:
    """How full the shop is at any instant between two, as a share of its fullest hour."""

    def __init__(self, first: int, last: int) -> None:
        years = range(_year(first), _year(last) + 1)
        self._festivals = tuple(
            (epoch_ms(year, *begins), epoch_ms(year, *ends)) for year in years for begins, ends in FESTIVAL_DAYS
        )

    def festive(self, instant: int) -> bool:
        """Say whether the instant lies in a festival week."""
        return any(begins <= instant < ends for begins, ends in self._festivals)

    def fullness(self, instant: int) -> float:
        """Say how full the shop is, above 0 and up to 1."""
        local = instant + OFFSET_MS
        by_clock = BY_HOUR[local // HOUR_MS % 24] * BY_WEEKDAY[(local // DAY_MS + MONDAY) % 7]
        return by_clock if self.festive(instant) else by_clock * ORDINARY

    def next_visit(self, after: int, pace_ms: float, until: int, rng: random.Random) -> int:
        """Draw the next instant at which somebody with this pace comes; ``until`` or later means: not any more.

        Candidates come at the pace of the fullest hour, and each is kept with the chance of how full its hour is.
        """
        instant = after
        while instant < until:
            instant += 1 + int(rng.expovariate(1.0) * pace_ms)
            if rng.random() < self.fullness(instant):
                break
        return instant

    def within(self, begins: int, ends: int, rng: random.Random) -> int:
        """Draw one instant of [begins, ends), by how full the shop is."""
        while True:
            instant = rng.randrange(begins, ends)
            if rng.random() < self.fullness(instant):
                return instant


def _year(instant: int) -> int:
    return datetime.fromtimestamp(instant / 1000, UTC).astimezone(ZONE).year
