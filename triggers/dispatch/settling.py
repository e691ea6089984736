"""Puts what gateways answered on the disk: answers that come while the disk is busy go into one transaction together.

Each answer by itself would cost a piece of work and a wake-up of the event loop, which together cost as much as its rows.
"""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from triggers.store.outbox import settle
from triggers.store.states import CANCELLED, QUEUED

if TYPE_CHECKING:
    from triggers.dispatch.gateway import Answer
    from triggers.dispatch.hearing import Followed, Hearing
    from triggers.store.database import Connection
    from triggers.store.states import Leaving, Settled
    from triggers.store.writer import Writer


class Answered(NamedTuple):
    """What a gateway answered to a message, where that moves it, and when it came; epoch ms."""

    leaving: Leaving
    answer: Answer
    move: Settled
    at: int


class _Batch:
    """Answers that are settled together. ``followed`` has what followed from each, in order, once it is on the disk."""

    __slots__ = ("answers", "followed")

    def __init__(self) -> None:
        self.answers: list[Answered] = []
        self.followed: asyncio.Future[list[Followed]]


class Settling:
    """Lives on the event loop; a batch takes answers until the writer begins with it."""

    def __init__(self, writer: Writer, hearing: Hearing) -> None:
        self._writer = writer
        self._hearing = hearing
        self._lock = threading.Lock()
        self._open: _Batch | None = None

    async def settle(self, answered: Answered) -> Followed:
        """Move a message to where its answer puts it; gives what followed, once that is on the disk."""
        with self._lock:
            batch = self._open
            is_new = batch is None
            if batch is None:
                batch = self._open = _Batch()
            batch.answers.append(answered)
            place = len(batch.answers) - 1
        if is_new:
            batch.followed = asyncio.wrap_future(self._writer.submit(partial(self._work, batch)))
        return (await asyncio.shield(batch.followed))[place]

    def _work(self, batch: _Batch, connection: Connection) -> list[Followed]:
        """Settle a batch, on the writer's thread."""
        with self._lock:
            self._open = None
        return [self._one(connection, each) for each in batch.answers]

    def _one(self, connection: Connection, each: Answered) -> Followed:
        cancelled = settle(connection, each.leaving, each.move, each.at)
        followed = self._hearing.answered(connection, each.leaving, each.answer, each.at)
        return followed._replace(moves=[(QUEUED, CANCELLED), *followed.moves]) if cancelled else followed
