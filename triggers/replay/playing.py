"""Plays a log through a set of rules, from the first event to the last."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import compress
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from triggers.core.decisions import Ended, LateCancel, Send
from triggers.core.history import qualified, same
from triggers.core.times import NEVER
from triggers.replay.groups import GROUP_BYTES, MOST, Groups
from triggers.replay.replay import Replay
from triggers.replay.summary import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from triggers.core.decisions import Decision
    from triggers.core.events import AnyEvent
    from triggers.core.rulebook import Rulebook
    from triggers.replay.log import Batch, Log

    Report: TypeAlias = Callable[[float, int], None]

DEALING: Final = 0.4
"""The part of the work that is done when the log has been read, roughly."""

_at: Any = attrgetter("at")
_received: Any = attrgetter("received_at")


@dataclass(frozen=True, slots=True)
class Stretch:
    """What to play, epoch ms: events up to ``until`` and timers before it (None: up to the last event).

    What falls before ``since`` is neither counted nor written: it only brings customers to where they are then.
    """

    since: int = 0
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Played:
    """What came of it; ``span`` is the first and the last instant played, None if there was no event."""

    tally: Tally
    span: tuple[int, int] | None


class Taker(Protocol):
    """Who is given what is decided: each customer's in order of time, but the customers one after the other."""

    wants_ends: bool
    """Whether ends of waits are to be given, too."""

    def send(self, send: Send) -> None:
        """Take a send."""

    def end(self, ended: Ended) -> None:
        """Take an end of a wait."""


class Both:
    """Two takers as one."""

    def __init__(self, one: Taker, other: Taker) -> None:
        self._takers = (one, other)
        self.wants_ends = one.wants_ends or other.wants_ends

    def send(self, send: Send) -> None:
        """Give a send to both."""
        for taker in self._takers:
            taker.send(send)

    def end(self, ended: Ended) -> None:
        """Give an end to both."""
        for taker in self._takers:
            taker.end(ended)


KNOWN: Final = 200_000
"""Among how many events of a group a double is looked for; the core knows those that matter for longer."""


def play(log: Log, book: Rulebook, stretch: Stretch, taker: Taker, report: Report | None = None) -> Played:
    """Play a log; ``report`` is told how far that has come, from 0 to 1, and how many events were read.

    Groups of customers are played one after the other; where rules share limits, all customers are one group, since
    then it matters who comes first.
    """
    number = 1 if book.shares else max(1, min(MOST, log.size // GROUP_BYTES))
    tally = Tally(book.rules)
    with Groups(number) as groups, _no_collections():
        span = _deal(log, book, stretch, groups, report)
        if span is None:
            return Played(tally, None)
        take = _take(tally, stretch.since, taker)
        for events in groups if log.sorted else groups.sorted():
            replay = Replay(book, take, clock=span[0] - 1, in_order=False)
            replay.play(_each_once(events, log))
            replay.run_until(span[1])
            tally.finish(replay.customers)
            if report is not None:
                report(DEALING + (1 - DEALING) * groups.share, log.events)
    return Played(tally, span)


def _each_once(events: Iterator[AnyEvent], log: Log) -> Iterator[AnyEvent]:
    """Let every event through once (S2), and have the log turn away who says something else under a known id."""
    known: dict[str, AnyEvent] = {}
    find = known.setdefault
    for event in events:
        name = event.id if not event.source else qualified(event)
        first = find(name, event)
        if first is event:
            yield event
        elif not same(first, event):
            log.contradicted(event, first)
        if len(known) > KNOWN:
            known.clear()


def _deal(log: Log, book: Rulebook, stretch: Stretch, groups: Groups, report: Report | None) -> tuple[int, int] | None:
    """Deal the log's events out to groups of customers; tells the first and the last instant to play."""
    idle = {cls for cls, plan in book.plans.items() if plan.idle and not book.has_slots}
    begin, end, until = NEVER, -1, stretch.until
    for events, bodies in log.read_with_bodies():
        when = _received if bodies is None else _at
        if until is not None:
            events, bodies = _those(events, bodies, [when(event) <= until for event in events])  # noqa: PLW2901
        if events:
            edges = (events[0], events[-1]) if log.sorted else events
            begin, end = min(begin, *map(when, edges)), max(end, *map(when, edges))
        if idle:
            events, bodies = _those(events, bodies, [event.__class__ not in idle for event in events])  # noqa: PLW2901
        groups.deal(events, bodies)
        if report is not None:
            report(DEALING * log.share, log.events)
    if end < 0:
        return None
    return begin, end if until is None else until


def _those(events: list[AnyEvent], bodies: list[bytes] | None, wanted: list[bool]) -> Batch:
    """Leave out what is not wanted."""
    return list(compress(events, wanted)), None if bodies is None else list(compress(bodies, wanted))


def _take(tally: Tally, since: int, taker: Taker) -> Callable[[Decision], None]:
    """Make the function that takes every decision: called for each, so it does little."""
    ended, sent, send = tally.ended, tally.sent, taker.send
    end = taker.end if taker.wants_ends else None

    def take(decision: Decision) -> None:
        kind = decision.__class__
        if kind is Ended:
            ended[decision.wait.rule][decision.reason] += 1  # type: ignore[union-attr]
            if end is not None:
                end(decision)  # type: ignore[arg-type]
        elif kind is Send:
            if not (decision.withheld or decision.shadow):  # type: ignore[union-attr]
                sent(decision)  # type: ignore[arg-type]
            send(decision)  # type: ignore[arg-type]
        elif kind is LateCancel:
            tally.late_cancels += 1

    def take_since(decision: Decision) -> None:
        if decision.at >= since:
            take(decision)

    return take_since if since else take


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
