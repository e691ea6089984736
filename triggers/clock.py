"""What time it is: the wall's time for a service, a fast one for demonstrations and tests; the core reads neither."""

from __future__ import annotations

import threading
import time
from typing import Protocol

FOREVER = 1 << 62
"""An instant after every other one, as the core has it."""


def wall_ms() -> int:
    """Read the wall clock, in epoch milliseconds."""
    return time.time_ns() // 1_000_000


class Clock(Protocol):
    """Tells the instant up to which time has passed."""

    virtual: bool

    def now(self) -> int:
        """Tell the time in epoch milliseconds."""
        ...

    def seconds_until(self, at: int) -> float:
        """Tell how many real seconds pass until the clock shows ``at``; infinite if it will not without an event."""
        ...


class WallClock:
    """Real time."""

    virtual = False

    def now(self) -> int:
        """Read the wall clock, in epoch milliseconds."""
        return wall_ms()

    def seconds_until(self, at: int) -> float:
        """Tell how many seconds are left; 0 if ``at`` has passed."""
        return max(0.0, (at - wall_ms()) / 1_000)


class FastClock:
    """Time that runs ``speed`` times as fast as the wall's, from ``start``; at 0 as fast as the input can be read.

    ``hold`` is an instant that it does not pass: the recorded time of the next event that has not entered the log.
    So no timer acts before an event that the log has yet to take in.
    """

    virtual = True

    def __init__(self, start: int, speed: float) -> None:
        self._start = start
        self._speed = speed
        self._began = time.monotonic()
        self._hold = start
        self._lock = threading.Lock()

    def free(self) -> int:
        """Tell the time without regard to the hold, in epoch milliseconds."""
        if not self._speed:
            return FOREVER
        return self._start + int((time.monotonic() - self._began) * 1_000 * self._speed)

    @property
    def free_runs(self) -> bool:
        """Whether time goes on by itself."""
        return self._speed > 0

    def now(self) -> int:
        """Tell the time in epoch milliseconds: never past the hold."""
        with self._lock:
            return min(self.free(), self._hold)

    def hold(self, at: int) -> None:
        """Let time run to ``at`` and no further. A hold is only ever moved forward."""
        with self._lock:
            self._hold = max(self._hold, at)

    def start(self, at: int) -> None:
        """Begin again at ``at``: nothing before it may be shown any more."""
        with self._lock:
            self._start, self._began = at, time.monotonic()
            self._hold = max(self._hold, at)

    def let_go(self) -> None:
        """Let time run on without end: no recorded event is waiting."""
        self.hold(FOREVER)

    def seconds_until(self, at: int) -> float:
        """Tell how many real seconds are left; infinite if the hold comes first."""
        with self._lock:
            if at > self._hold:
                return float("inf")
        return max(0.0, (at - self.free()) / 1_000 / self._speed) if self._speed else 0.0
