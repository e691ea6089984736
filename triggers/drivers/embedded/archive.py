"""The database while a service runs on it: locked, with one writer, readers, the event log, and the clock it goes by."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import structlog

from triggers.clock import FastClock, WallClock
from triggers.core.times import DAY, MINUTE, iso
from triggers.drivers.embedded.feed import first_moment
from triggers.errors import ServiceUnusable
from triggers.store.database import Lock, connect_reader, open_database
from triggers.store.event_log import EventLog
from triggers.store.fleet import is_of_a_fleet
from triggers.store.progress import load_progress
from triggers.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from triggers.metrics import Metrics
    from triggers.settings import Settings
    from triggers.store.contacts import Contacts
    from triggers.store.database import Connection
    from triggers.store.progress import Progress

MAX_BEHIND = DAY
"""How far the clock may be behind the log at start, in ms."""

_log = structlog.get_logger("service")


class Archive:
    """What a service keeps, opened. Raises ServiceUnusable where it is not to be used; then it is closed again.

    ``reader`` is for the event loop, and ``progress`` how far the engine had come. ``known`` brings the contacts up to date
    and keeps them so; ``failed`` is told, on any thread, when nothing more can be written.
    """

    def __init__(
        self, settings: Settings, known: Contacts, metrics: Metrics, *, failed: Callable[[BaseException], None]
    ) -> None:
        self._path = settings.db
        self._opened = ExitStack()
        with ExitStack() as half_open:
            half_open.callback(self.close)
            self._open(metrics, failed)
            self.progress = load_progress(self.reader)
            self.clock = _clock(settings, self.progress)
            self.writer.submit(known.catch_up).result()
            self.log = EventLog(self.writer, self.clock.now, floor=self.progress.clock or 0, heed=known.heed)
            if isinstance(self.clock, FastClock):
                self.clock.start(max(self.log.last_stamp, self.clock.now()))
            else:
                self._compare_clocks()
            half_open.pop_all()

    def _open(self, metrics: Metrics, failed: Callable[[BaseException], None]) -> None:
        self._opened.callback(Lock(self._path).release)
        open_database(self._path)
        self.writer = Writer(self._path, committed=metrics.commits.observe, failed=failed)
        self._opened.callback(self.writer.close)
        self.reader = self.another_reader()
        if is_of_a_fleet(self.reader):
            raise ServiceUnusable(f"{self._path} belongs to the dispatcher of a fleet; give --db another file")

    def close(self) -> None:
        """Write what waits to be written, and let go of the database."""
        self._opened.close()

    def another_reader(self) -> Connection:
        """Open a connection that reads, for another thread or a part that wants one of its own."""
        made = connect_reader(self._path)
        self._opened.callback(made.close)
        return made

    def _compare_clocks(self) -> None:
        """See to it that the clock is not far behind the log: until it has caught up, no timer acts."""
        ahead = self.log.last_stamp - self.clock.now()
        if ahead > MAX_BEHIND:
            raise ServiceUnusable(
                f"the database {self._path} has come to {iso(self.log.last_stamp)}, {ahead // DAY} days ahead of"
                " the clock; if it was made with --speed, go on with that, or give --db another file"
            )
        if ahead > MINUTE:
            _log.warning(
                "the clock is behind the log; until it has caught up no message leaves", seconds=ahead // 1_000
            )


def _clock(settings: Settings, progress: Progress) -> FastClock | WallClock:
    if settings.speed is None:
        return WallClock()
    assert settings.input is not None, "the service has looked at this"  # noqa: S101  a broken invariant
    return FastClock(first_moment(settings.input) if progress.clock is None else progress.clock, settings.speed)
