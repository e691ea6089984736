"""Plays a log through a set of rules from first line to last, and once more where the log turns out to need sorting."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, takewhile
from typing import TYPE_CHECKING, Protocol

from triggers.core.decisions import Armed, Ended, LateCancel, Send
from triggers.replay.log import Unsorted
from triggers.replay.replay import Replay
from triggers.replay.summary import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from triggers.core.decisions import Decision
    from triggers.core.events import Event
    from triggers.core.rulebook import Rulebook
    from triggers.replay.log import Log


@dataclass(frozen=True, slots=True)
class Stretch:
    """What to play, epoch ms: events up to ``until`` and timers before it (None: up to the last event).

    What falls before ``since`` is neither counted nor written: it only brings customers to where they are then.
    """

    since: int = 0
    until: int | None = None

    def holds(self, event: Event) -> bool:
        """Tell whether an event is still played."""
        return self.until is None or event.received_at <= self.until  # type: ignore[operator]


@dataclass(frozen=True, slots=True)
class Played:
    """What came of it; ``span`` is the first and the last instant played, None if there was no event."""

    tally: Tally
    span: tuple[int, int] | None


class Taker(Protocol):
    """Who is given what is decided, in order."""

    def restart(self) -> None:
        """Forget everything given so far: it is decided once more from the start."""

    def send(self, send: Send) -> None:
        """Take a send."""

    def end(self, ended: Ended) -> None:
        """Take an end of a wait."""


class Both:
    """Two takers as one."""

    def __init__(self, one: Taker, other: Taker) -> None:
        self._takers = (one, other)

    def restart(self) -> None:
        """Let both forget."""
        for taker in self._takers:
            taker.restart()

    def send(self, send: Send) -> None:
        """Give a send to both."""
        for taker in self._takers:
            taker.send(send)

    def end(self, ended: Ended) -> None:
        """Give an end to both."""
        for taker in self._takers:
            taker.end(ended)


def play(log: Log, book: Rulebook, stretch: Stretch, taker: Taker) -> Played:
    """Play a log; one out of order shows only while it is played, then it is sorted and played again."""
    while True:
        taker.restart()
        try:
            return _play(log, book, stretch, taker)
        except Unsorted:
            continue


def _play(log: Log, book: Rulebook, stretch: Stretch, taker: Taker) -> Played:
    tally = Tally(book.rules)
    events = log.read()
    first = next(events, None)
    if first is None or not stretch.holds(first):
        return Played(tally, None)
    begin: int = first.received_at  # type: ignore[assignment]
    events = chain((first,), events)
    if stretch.until is not None:
        events = takewhile(stretch.holds, events)
    replay = Replay(book, _take(tally, stretch.since, taker), clock=begin - 1)
    with _no_collections():
        replay.play(events)
        if stretch.until is not None:
            replay.run_until(stretch.until)
    tally.finish(replay.customers)
    return Played(tally, (begin, replay.clock))


def _take(tally: Tally, since: int, taker: Taker) -> Callable[[Decision], None]:
    """Make the function that takes every decision: called for each, so it does little."""
    armed, ended = tally.armed, tally.ended
    send, end = taker.send, taker.end

    def take(decision: Decision) -> None:
        if decision.at < since:
            return
        kind = decision.__class__
        if kind is Armed:
            armed[decision.wait.rule] += 1  # type: ignore[union-attr]
        elif kind is Ended:
            ended[decision.wait.rule][decision.reason] += 1  # type: ignore[union-attr]
            end(decision)  # type: ignore[arg-type]
        elif kind is Send:
            if not (decision.withheld or decision.shadow):  # type: ignore[union-attr]
                tally.sent(decision)  # type: ignore[arg-type]
            send(decision)  # type: ignore[arg-type]
        elif kind is LateCancel:
            tally.late_cancels += 1

    return take


@contextmanager
def _no_collections() -> Iterator[None]:
    """Keep the garbage collector from walking over the customers again and again.

    A replay makes millions of things that stay, none of them in cycles; looking for cycles takes much of the time.
    """
    enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()
