"""What the records of the three topics that a dispatcher reads do: the log, the commands, and the engine's reports."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from triggers.clock import wall_ms
from triggers.core.events import Event
from triggers.core.intake import decode_many
from triggers.drivers.kafka.foreign import decoded
from triggers.drivers.kafka.records import Come, Sending, decode_command, decode_reported
from triggers.store.decisions import DecisionRow, append_decisions
from triggers.store.fleet import Reached, decided_up_to, engine_reached, partitions
from triggers.store.log_copy import LogCopy, Logged, opts_out
from triggers.store.outbox import cancel, queue
from triggers.store.progress import Progress, save_progress
from triggers.store.states import Command

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from triggers.drivers.kafka.dispatch_reading import Found, Record
    from triggers.drivers.kafka.records import Cancel
    from triggers.store.database import Connection
    from triggers.store.event_log import Entry

R = TypeVar("R")


class Copied(NamedTuple):
    """What became of the events of a piece of the log, and the customers among them who opted out.

    ``opt_outs`` is the place of the first opt-out in each partition that has one.
    """

    entries: list[Entry]
    opted_out: frozenset[str]
    opt_outs: dict[int, int]


class LogTaker:
    """Copies the log. ``clocks`` is the time of each partition so far, epoch ms; it never goes back."""

    def __init__(self, copy: LogCopy, clocks: Mapping[int, int], done: Callable[[Copied], None]) -> None:
        self._copy = copy
        self._clocks = dict(clocks)
        self.done = done

    async def ready(self, found: Found) -> None:
        """Wait for nothing."""

    def clock(self, part: int) -> int:
        """Tell the time of a partition, epoch ms."""
        return self._clocks.get(part, -1)

    def now(self) -> int:
        """Tell the latest time of all partitions, epoch ms."""
        return max(self._clocks.values(), default=-1)

    def work(self, found: Found) -> Callable[[Connection], Copied]:
        """Read events; what is none of its key's customer is left to the engine, which puts it aside."""
        events = [event for part, records in found.items() for event in self._events(part, records)]
        found_out = [each for each in events if opts_out(each.event)]
        opted_out = frozenset(each.event.customer for each in found_out)
        first = {each.part: each.offset for each in reversed(found_out)}
        return lambda connection: Copied(self._copy.take(connection, events), opted_out, first)

    def _events(self, part: int, records: Collection[Record]) -> list[Logged]:
        told = [record for record in records if record.key is not None and record.value]  # else a tick, or nothing
        meanings = iter(decode_many([record.value or b"" for record in told], far_future_ok=True))
        clock, events = self.clock(part), []
        for record in records:
            clock = max(clock, record.timestamp)
            if record.key is None or not record.value:
                continue
            meaning = next(meanings)
            if isinstance(meaning, Event) and record.key == meaning.customer.encode():
                events.append(Logged(part, record.offset, clock, record.value, meaning))
        self._clocks[part] = clock
        return events


class Ordered(NamedTuple):
    """How many commands are new in the outbox, and how many were taken back."""

    new: int
    cancelled: int


class CommandTaker:
    """Puts commands into the outbox, and takes back what has not left. ``month`` gives the shop's month of a time."""

    def __init__(self, month: Callable[[int], str], done: Callable[[Ordered], None]) -> None:
        self._month = month
        self.done = done

    async def ready(self, found: Found) -> None:
        """Wait for nothing."""

    def clock(self, part: int) -> int:  # noqa: ARG002  as its kind
        """Keep no time."""
        return -1

    def work(self, found: Found) -> Callable[[Connection], Ordered]:
        """Read commands; of a customer each stands behind those that were given before."""
        orders = _read(found, decode_command)

        def do(connection: Connection) -> Ordered:
            now, new, cancelled = wall_ms(), 0, 0
            for sends, each in groupby(orders, lambda order: isinstance(order, Sending)):
                if sends:
                    new += queue(connection, _commands(each), now, lambda send: self._month(send.at))  # type: ignore[arg-type]  # all are Sending
                else:
                    cancelled += sum(_cancel(connection, order, now) for order in each)  # type: ignore[arg-type]  # all are Cancel
            return Ordered(new, cancelled)

        return do


class DecisionTaker:
    """Keeps what was decided, and how far the engine has come.

    ``ahead`` returns once the commands are stored that were given before some partitions came as far: of two topics none
    knows the other's place, and a message must not leave between the word that an event is decided on and its recall.
    """

    def __init__(self, ahead: Callable[[Collection[int]], Awaitable[None]], seq: int) -> None:
        self._ahead = ahead
        self._seq = seq

    async def ready(self, found: Found) -> None:
        """Wait for the commands."""
        await self._ahead(found.keys())

    def clock(self, part: int) -> int:  # noqa: ARG002  as its kind
        """Keep no time."""
        return -1

    def work(self, found: Found) -> Callable[[Connection], int]:
        """Read reports; of those on how far a partition has come the last one counts."""
        reports, now = _read(found, decode_reported), wall_ms()
        rows = [each for each in reports if isinstance(each, DecisionRow)]
        reached = {each.partition: _reached(each, now) for each in reports if isinstance(each, Come)}

        def do(connection: Connection) -> int:
            append_decisions(connection, rows)
            for each in reached.values():
                engine_reached(connection, each)
            return self._progress(connection) if reached else self._seq

        return do

    def _progress(self, connection: Connection) -> int:
        known = partitions(connection)
        revisions = {each.revision for each in known}
        seq = decided_up_to(connection, self._seq)
        clock = min(each.clock for each in known)
        save_progress(connection, Progress(seq, clock, None, revisions.pop() if len(revisions) == 1 else ""))
        return seq

    def done(self, outcome: int) -> None:
        """Look for what is not decided on behind there from now on."""
        self._seq = outcome


def _read(found: Found, decode: Callable[[bytes], R]) -> list[R]:
    """Read the records of all partitions in their order; what none of ours wrote is told and left out."""
    read = (decoded(record, decode) for records in found.values() for record in records)
    return [value for value in read if value is not None]


def _commands(orders: Collection[Sending]) -> list[Command]:
    return [Command(order.send, order.phone) for order in orders if not order.send.withheld and not order.send.shadow]


def _cancel(connection: Connection, order: Cancel, now: int) -> bool:
    return cancel(connection, order.customer, (order.rule, order.identity, order.anchor), f"by {order.by}", now)


def _reached(come: Come, now: int) -> Reached:
    return Reached(come.partition, come.position, come.clock, come.revision, come.worker, now, come.waiting)
