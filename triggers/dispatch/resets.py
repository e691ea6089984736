"""Lets gateways go on that somebody mended: a person says so in the database, and this finds it there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from triggers.dispatch.breaker import State
from triggers.store.gateway_log import RESET, last_changes, last_number, resets_after

if TYPE_CHECKING:
    from collections.abc import Callable

    from triggers.dispatch.hearing import Hearing
    from triggers.dispatch.traffic import Traffic
    from triggers.store.writer import Writer


class Resets:
    """Looks for resets. ``now`` is the wall's time in epoch ms."""

    def __init__(self, writer: Writer, traffic: Traffic, hearing: Hearing, now: Callable[[], int]) -> None:
        self._writer = writer
        self._traffic = traffic
        self._hearing = hearing
        self._now = now
        self._last = 0

    async def begin(self) -> None:
        """Write down that all gateways are open to messages: a service that starts knows nothing against them."""
        self._last, changes = await asyncio.wrap_future(
            self._writer.submit(lambda connection: (last_number(connection), last_changes(connection)))
        )
        for (name, klass), change in changes.items():
            if not klass and change.new != State.CLOSED and name in self._traffic.roads:
                await self._hearing.gateway_changed(name, "", change.new, State.CLOSED, why="the service was started")

    async def turn(self) -> None:
        """Do what was asked for since the last turn."""
        last = self._last
        asked = await asyncio.wrap_future(self._writer.submit(lambda connection: resets_after(connection, last)))
        for number, name in asked:
            self._last = number
            road = self._traffic.roads.get(name)
            if road is not None:
                road.breaker.reset(self._now())
                await self._hearing.gateway_changed(name, "", RESET, State.CLOSED, why="reset by a person")
