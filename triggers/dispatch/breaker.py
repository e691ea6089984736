"""Stops sending to a gateway that fails, tries it again with a few messages, and waits for a person where it must.

closed ──failures──▶ open ──time──▶ half-open ──three good probes──▶ closed
                      ▲───────one bad probe──────│
any ──barred──▶ barred ──reset──▶ closed
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from triggers.core.times import MINUTE, NEVER, SECOND
from triggers.dispatch.gateway import Accepted, Barred, Rejected, TryLater, Unknown

if TYPE_CHECKING:
    from triggers.dispatch.gateway import Answer

UNLIMITED: Final = 1 << 30
"""As many messages under way as anybody may want."""

WATCHED: Final = MINUTE
ENOUGH: Final = 20
"""Messages in the last minute of which a share says something."""
FAILING_FROM: Final = 0.5
REFUSALS: Final = 5
"""Connections refused in a row that say enough by themselves."""
FIRST_OPEN, LONGEST_OPEN = 30 * SECOND, 10 * MINUTE
PROBES: Final = 3


class State(StrEnum):
    """Whether a gateway is given messages: all, none for a time, a few to try it, or none until somebody acts."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"
    BARRED = "barred"


class Breaker:
    """Follows the answers of one gateway. Times in epoch ms; a clock may go back.

    A failure is a refused connection or an ambiguous answer. A message that was accepted or rejected shows that the
    gateway works; throttling shows neither.
    """

    __slots__ = ("_barred", "_good_probes", "_minute", "_open_for", "_refusals", "_since", "retry_at")

    def __init__(self) -> None:
        self.retry_at = 0
        """When it may be tried again: 0 while it is closed, NEVER while it is barred."""
        self._barred = False
        self._open_for = 0  # 0: it is closed
        self._since = 0  # when it was closed
        self._good_probes = 0
        self._refusals = 0
        self._minute = _Minute()

    def state(self, now: int) -> State:
        """Tell the state at an instant; time alone turns open into half-open."""
        if self._barred:
            return State.BARRED
        if not self._open_for:
            return State.CLOSED
        self.retry_at = min(self.retry_at, now + self._open_for)  # where the clock went back
        return State.OPEN if now < self.retry_at else State.HALF_OPEN

    def allows(self, now: int) -> int:
        """Tell how many messages may be under way at an instant."""
        match self.state(now):
            case State.CLOSED:
                return UNLIMITED
            case State.HALF_OPEN:
                return PROBES - self._good_probes
            case State.OPEN | State.BARRED:
                return 0

    def note(self, answer: Answer, now: int, sent_at: int | None = None) -> tuple[State, State] | None:
        """Note what became of a message that was sent at ``sent_at`` (None: now); gives a change, old and new state.

        What was sent before the present state began says nothing of it: an old message that is accepted closes nothing.
        """
        old = self.state(now)
        self._since = min(self._since, now)
        begun = now if sent_at is None else sent_at
        if old is State.BARRED or begun < self._since:
            return None
        if isinstance(answer, Barred):
            self._barred, self.retry_at = True, NEVER
        elif old is State.CLOSED:
            self._count(answer, now)
        elif old is State.HALF_OPEN and begun >= self.retry_at:
            self._note_probe(answer, now)
        new = self.state(now)
        return (old, new) if new is not old else None

    def reset(self, now: int) -> tuple[State, State] | None:
        """Begin as if nothing had been, since a person acted; gives a change, old and new state."""
        old = self.state(now)
        self._close(now)
        return (old, State.CLOSED) if old is not State.CLOSED else None

    def _count(self, answer: Answer, now: int) -> None:
        failed = _failed(answer)
        self._refusals = self._refusals + 1 if failed and isinstance(answer, TryLater) else 0
        if failed or isinstance(answer, Accepted | Rejected):
            self._minute.add(now, failed=failed)
        if self._refusals >= REFUSALS or self._minute.fails():
            self._open(now, FIRST_OPEN)

    def _note_probe(self, answer: Answer, now: int) -> None:
        if _failed(answer):
            self._open(now, min(2 * self._open_for, LONGEST_OPEN))
        elif isinstance(answer, Accepted | Rejected):
            self._good_probes += 1
            if self._good_probes >= PROBES:
                self._close(now)

    def _open(self, now: int, time: int) -> None:
        self._open_for = time
        self.retry_at = now + time
        self._good_probes = 0

    def _close(self, now: int) -> None:
        self._barred = False
        self._open_for = self.retry_at = 0
        self._since = now
        self._refusals = 0
        self._minute = _Minute()


class _Minute:
    """The answers of the last minute, counted by the second."""

    __slots__ = ("_bad", "_seconds", "_total")

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque()  # each: second, answers, failures
        self._total = self._bad = 0

    def add(self, now: int, *, failed: bool) -> None:
        second = now // SECOND
        while self._seconds and self._seconds[0][0] <= second - WATCHED // SECOND:
            self._forget(self._seconds.popleft())
        while self._seconds and self._seconds[-1][0] > second:  # the clock went back
            self._forget(self._seconds.pop())
        if not self._seconds or self._seconds[-1][0] < second:
            self._seconds.append([second, 0, 0])
        self._seconds[-1][1] += 1
        self._seconds[-1][2] += failed
        self._total += 1
        self._bad += failed

    def fails(self) -> bool:
        return self._total >= ENOUGH and self._bad >= FAILING_FROM * self._total

    def _forget(self, counted: list[int]) -> None:
        _, total, bad = counted
        self._total -= total
        self._bad -= bad


def _failed(answer: Answer) -> bool:
    return isinstance(answer, Unknown) or (isinstance(answer, TryLater) and answer.refused_connection)
