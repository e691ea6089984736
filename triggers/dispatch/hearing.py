"""What comes back: receipts and replies, stored with the moves and the events they cause, in one transaction.

A delivery becomes ``message.delivered`` or ``.undelivered`` in the log; an opt-out suppresses the number and becomes
``customer.unsubscribed`` for each customer who has it, before whoever told it is answered.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from triggers.dispatch.tidings import Tidings
from triggers.store.gateway_log import Change, note_change
from triggers.store.receipts import catch_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from triggers.dispatch.gateway import Answer, Heard
    from triggers.dispatch.inflight import InFlight
    from triggers.dispatch.settings import Delivery
    from triggers.store.database import Connection
    from triggers.store.event_log import Entry, Log
    from triggers.store.states import Leaving
    from triggers.store.writer import Writer

MOST_WHY: Final = 120
TAKEN_AT_ONCE: Final = 200
"""Receipts and replies of a call that are stored in one transaction."""

_log = structlog.get_logger("dispatch")


class Followed(NamedTuple):
    """What followed from something that was heard: moves between states, and events that entered the log."""

    moves: list[tuple[str, str]]
    entries: list[Entry]


class Hearing:
    """Takes what gateways tell. ``now`` is the wall's time, ``engine_now`` the log's; both epoch ms.

    ``moved`` is told of moves between states, ``entered`` of events that entered the log; both from any thread.
    """

    def __init__(
        self,
        writer: Writer,
        log: Log,
        inflight: InFlight,
        delivery: Delivery,
        *,
        now: Callable[[], int],
        engine_now: Callable[[], int],
        moved: Callable[[str, str, int], None],
        entered: Callable[[list[Entry]], None],
    ) -> None:
        self._writer = writer
        self._log = log
        self._inflight = inflight
        self._delivery = delivery
        self._now = now
        self._engine_now = engine_now
        self._moved = moved
        self._entered = entered

    async def hear(self, gateway: str, heard: Heard) -> None:
        """Store what a gateway told; returns when it is on the disk and every opt-out in it holds."""
        stopped: set[str] = set()
        for part in _parts(heard):
            work = self._tidings(gateway)
            await self._done(work, partial(work.take, heard=part))
            stopped |= work.stopped
        await self._inflight.over(stopped)

    async def stop(self, phone: str, reason: str, author: str) -> None:
        """Suppress a number (E.164); returns when nothing commercial leaves to it any more."""
        work = self._tidings("")
        await self._done(work, lambda connection: work.opt_out(connection, phone, reason, author))
        await self._inflight.over(work.stopped)

    async def gateway_changed(self, gateway: str, klass: str, old: str, new: str, *, why: str) -> None:
        """Write a change of a gateway's standing down, and tell it."""
        change = Change(self._now(), gateway, klass, old, new, why[:MOST_WHY])
        await asyncio.wrap_future(self._writer.submit(lambda connection: note_change(connection, change)))
        _log.warning("a gateway changed", gateway=gateway, klass=klass or "all", old=old, new=new, why=why[:MOST_WHY])

    async def _done(self, work: Tidings, begin: Callable[[Connection], None]) -> None:
        def transaction(connection: Connection) -> Followed:
            begin(connection)
            return Followed(work.moves, work.enter(connection))

        self.tell(await asyncio.wrap_future(self._writer.submit(transaction)))

    def _tidings(self, gateway: str) -> Tidings:
        return Tidings(gateway, self._delivery, self._log, now=self._now(), at=self._engine_now())

    def tell(self, followed: Followed) -> None:
        """Tell what followed, once that is on the disk."""
        for old, new in followed.moves:
            self._moved(old, new, 1)
        if followed.entries:
            self._entered(followed.entries)

    # Inside the dispatcher's own transactions, on the writer's thread

    def answered(self, connection: Connection, leaving: Leaving, answer: Answer, now: int) -> Followed:
        """Take in what an answer says beside its state, and the receipts that were faster than it."""
        work = self._tidings(leaving.go.gateway)
        if getattr(answer, "blacklisted", False):
            work.opt_out(connection, leaving.go.phone, "blacklisted", f"gateway {leaving.go.gateway}")
        work.credit(connection, catch_up(connection, leaving.queued.seq, now))
        return Followed(work.moves, work.enter(connection))

    def early(self, connection: Connection, leaving: Leaving, now: int) -> None:
        """Take in the receipts for a message whose answer was lost when the service was killed."""
        work = self._tidings(leaving.go.gateway)
        work.credit(connection, catch_up(connection, leaving.queued.seq, now))
        work.enter(connection)


def _parts(heard: Heard) -> Iterator[Heard]:
    """Take a long call apart, so that no claim waits for all of it; a call that is told again changes nothing."""
    for begin in range(0, max(len(heard.receipts), len(heard.replies)), TAKEN_AT_ONCE):
        end = begin + TAKEN_AT_ONCE
        yield heard._replace(receipts=heard.receipts[begin:end], replies=heard.replies[begin:end])
