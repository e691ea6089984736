"""The schedules of rules: when their slots open, on the wall clock of the shop."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from triggers.core.times import DAY, SECOND, civil, month_length, weekday
from triggers.language.findings import Misfit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triggers.core.times import Zone


class Dates:
    """Slots at given instants: ``at:``, and the dates of holidays."""

    __slots__ = ("instants",)

    def __init__(self, instants: Sequence[int]) -> None:
        self.instants = sorted(set(instants))

    def next_after(self, at: int) -> int | None:
        """Find the first slot after an instant."""
        place = bisect_right(self.instants, at)
        return self.instants[place] if place < len(self.instants) else None


@dataclass(frozen=True, slots=True)
class Every:
    """A slot at ``of_day`` (ms) of every day, of some days of the week, or of some days of the month.

    A day of the month that a month does not have is its last one.
    """

    zone: Zone
    unit: str
    of_day: int
    days: tuple[int, ...] = ()

    def next_after(self, at: int) -> int | None:
        """Find the first slot after an instant."""
        day = self.zone.wall(at) // DAY - 1
        while True:
            if self._has(day) and (slot := self.zone.instant(day * DAY + self.of_day)) > at:
                return slot
            day += 1

    def _has(self, day: int) -> bool:
        if self.unit == "week":
            return weekday(day * DAY) in self.days
        if self.unit == "month":
            year, month, of_month = civil(day)
            last = month_length(year, month)
            return any(min(wanted, last) == of_month for wanted in self.days)
        return True


@dataclass(frozen=True, slots=True)
class Cron:
    """Slots by a cron line: over a change of clocks, a daily slot comes once, and a skipped one after the gap."""

    info: ZoneInfo
    line: str

    def next_after(self, at: int) -> int | None:
        """Find the first slot after an instant, None if there is none within 50 years."""
        start = datetime.fromtimestamp(at // SECOND, UTC).astimezone(self.info)
        for slot in CronSim(self.line, start):
            instant = int(slot.timestamp()) * SECOND
            if instant > at:
                return instant
        return None


def cron(line: str, zone: Zone) -> Cron:
    """Read a cron line of five fields. Raises Misfit."""
    check_cron(line)
    return Cron(ZoneInfo(zone.name), line)


def check_cron(line: str) -> str:
    """See that a cron line can be read. Raises Misfit."""
    if len(line.split()) != 5:  # noqa: PLR2004  minute, hour, day, month, weekday
        raise Misfit(f"'{line}': a cron line has five fields: minute hour day month weekday")
    try:
        CronSim(line, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise Misfit(f"'{line}' is not a cron line: {error}") from error
    return line
