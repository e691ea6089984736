"""Turns the name of a time zone into the core's table of offsets, from the zone data that Python has."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from triggers.core.times import DAY, MINUTE, SECOND, Zone, days_of
from triggers.language.findings import Misfit, did_you_mean

FIRST_YEAR, LAST_YEAR = 1990, 2060
"""Offsets are known in between; before and after, the nearest one holds."""


@lru_cache(maxsize=64)
def zone(name: str) -> Zone:
    """Build the zone of a name such as ``Asia/Shanghai``. Raises Misfit for an unknown one."""
    try:
        info = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Misfit(f"unknown time zone '{name}'{did_you_mean(name, available_timezones())}") from error

    def offset(at: int) -> int:
        moment = datetime.fromtimestamp(at // SECOND, UTC).astimezone(info).utcoffset()
        assert moment is not None  # noqa: S101  an aware time has an offset
        return round(moment.total_seconds()) * SECOND

    at, end = days_of(FIRST_YEAR, 1, 1) * DAY, days_of(LAST_YEAR, 1, 1) * DAY
    starts, offsets = [], [offset(at)]
    while at < end:
        # No zone changes its clock twice within a week.
        until = at + 7 * DAY
        if (there := offset(until)) != offsets[-1]:
            low, high = at, until
            while high - low > MINUTE:
                middle = (low + high) // 2 // MINUTE * MINUTE
                low, high = (middle, high) if offset(middle) == offsets[-1] else (low, middle)
            starts.append(high)
            offsets.append(there)
        at = until
    return Zone(name, starts, offsets)
