"""Tells whether the partitions of a fleet have been decided on by different rules for too long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable

TOO_LONG_MS: Final = 60_000
"""For longer than this no switch takes; and a partition that was not heard of for so long says nothing of now."""

_log = structlog.get_logger("rules")


class Report(NamedTuple):
    """By which rules a partition was decided on when it was heard of last, at ``heard_at`` (epoch ms)."""

    partition: int
    revision: str
    heard_at: int


class Revisions:
    """Watches the rules of a fleet."""

    def __init__(self) -> None:
        self._since: int | None = None
        self._told = False

    def differ(self, reports: Iterable[Report], now: int) -> bool:
        """Tell whether different rules have been in use for over a minute, as seen from look to look; ``now`` epoch ms."""
        lately = [report for report in reports if report.heard_at >= now - TOO_LONG_MS]
        revisions = {report.revision for report in lately}
        if len(revisions) < 2:  # noqa: PLR2004  one, or none
            self._since, self._told = None, False
            return False
        if self._since is None:
            self._since = now
        long = now - self._since > TOO_LONG_MS
        if long and not self._told:
            self._told = True
            found = {
                each: sorted(report.partition for report in lately if report.revision == each) for each in revisions
            }
            _log.error(
                "the fleet decides by different rules; see that all workers have the same files", partitions=found
            )
        return long
