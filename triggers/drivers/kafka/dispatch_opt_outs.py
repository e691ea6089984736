"""The opt-outs of the log that do not hold yet, since something is still leaving to the customer.

How far the log is taken over is told without them, and whoever brought one waits for that.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from triggers.dispatch.inflight import InFlight


class OptOuts:
    """Runs on the event loop. ``soon`` is told when some hold."""

    def __init__(self, inflight: InFlight, soon: Callable[[], None]) -> None:
        self._inflight = inflight
        self._soon = soon
        self._open: dict[asyncio.Task[None], Mapping[int, int]] = {}

    def begin(self, customers: Collection[str], places: Mapping[int, int]) -> None:
        """Take opt-outs that are on the disk; ``places`` is the first of each partition of the log."""
        task = asyncio.create_task(self._inflight.over(customers))
        self._open[task] = places
        task.add_done_callback(self._over)

    def up_to(self, part: int, at: int) -> int:
        """Tell how far a partition is taken over that is read up to a place."""
        return min([at, *(places[part] for places in self._open.values() if part in places)])

    async def close(self) -> None:
        """Wait for none of them any more."""
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._open.pop(task, None)
        self._soon()
