"""Brings what comes over HTTP into a fleet's log: an answer means that the log has it, in all replicas.

Nothing is kept here. Whether an event was there before, only the engine knows: one that is sent again is accepted again,
and counts once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web
from aiokafka.errors import KafkaError

from triggers.clock import wall_ms
from triggers.core.intake import MAX_AHEAD, Malformed
from triggers.drivers.kafka.closing import let_go
from triggers.drivers.kafka.intake import Forward, Intake, events_in, understood
from triggers.drivers.kafka.letters import Letter, buried
from triggers.errors import AccessRefused, ServiceUnusable
from triggers.store.event_log import Entry
from triggers.store.log_copy import opts_out
from triggers.web.entrance import RETRY_AFTER_S

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from concurrent.futures import Future
    from typing import Any

    from prometheus_client import Counter

    from triggers.core.events import Event
    from triggers.drivers.kafka.batches import Row
    from triggers.drivers.kafka.dispatch_settings import FaceSettings
    from triggers.drivers.kafka.web_heeding import Heeding
    from triggers.store.event_log import Arrival

ACKED_WITHIN_S: Final = 10.0
"""How long an answer waits for the log."""
AGAIN_S: Final = 1.0
NOTE: Final = "more than 5 min from now; taken as happening now"

_log = structlog.get_logger("web")


class LogIntake:
    """Takes events, on the event loop; ``run`` keeps it connected. ``events`` counts by what became of them."""

    def __init__(self, settings: FaceSettings, heeding: Heeding, events: Counter) -> None:
        self._settings = settings
        self._heeding = heeding
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._intake: Intake | None = None
        self._broken = asyncio.Event()
        self._beside: set[asyncio.Task[None]] = set()
        self.waiting = 0

    @property
    def connected(self) -> bool:
        """Whether the log can be written, as far as is known."""
        return self._intake is not None

    @property
    def busy(self) -> bool:
        """Whether nothing more should come in: too much is under way, or the log cannot be written."""
        return self._intake is None or self.waiting >= self._settings.max_events_waiting

    async def run(self) -> None:
        """Keep connected until cancelled; a producer that failed is replaced. Raises AccessRefused if it never was."""
        entered = False
        while True:
            intake = Intake(self._settings)
            try:
                await intake.start()
            except (ServiceUnusable, KafkaError, TimeoutError) as error:
                await let_go(intake.stop())
                if isinstance(error, AccessRefused) and not entered:
                    raise
                _log.warning("the log cannot be written", error=str(error))
                await asyncio.sleep(AGAIN_S)
                continue
            self._intake, entered = intake, True
            self._broken.clear()
            try:
                await self._broken.wait()
            finally:
                self._intake = None
                self._start(let_go(intake.stop()))

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._beside:
            await asyncio.wait(self._beside, timeout=ACKED_WITHIN_S)

    def ingest(self, arrivals: Sequence[Arrival]) -> Future[list[Entry]]:
        """Bring events into the log, and what is none among the dead letters; the answer comes when all is acked."""
        return asyncio.run_coroutine_threadsafe(self._take(arrivals), self._loop)

    async def heeded(self, arrivals: Sequence[Arrival]) -> None:
        """Wait until the dispatcher knows of the opt-outs, or would not send to these customers for not knowing."""
        names = [arrival.meaning.customer for arrival in arrivals if opts_out(arrival.meaning)]  # type: ignore[union-attr]  # events
        if names:
            await self._heeding.wait(names)

    async def _take(self, arrivals: Sequence[Arrival]) -> list[Entry]:
        intake, now = self._intake, wall_ms()
        if intake is None:
            raise _away()
        forwards, letters, entries = _sorted(arrivals, now)
        self.waiting += len(arrivals)
        sending = self._start(self._send(intake, forwards, letters))
        sending.add_done_callback(lambda _: self._sent(len(arrivals)))
        done, _ = await asyncio.wait({sending}, timeout=ACKED_WITHIN_S)
        if not done or sending.exception() is not None:
            self._broken.set()
            error = "no answer" if not done else type(sending.exception()).__name__
            _log.warning("the log did not take events", error=error)
            raise _away()
        for entry in entries:
            self._events.labels(entry.result).inc()
        return entries

    async def _send(self, intake: Intake, forwards: Sequence[Forward], letters: Sequence[Row]) -> None:
        await intake.bury(letters)
        await intake.forward(forwards)

    def _sent(self, count: int) -> None:
        self.waiting -= count

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._over)
        return task

    def _over(self, task: asyncio.Task[None]) -> None:
        self._beside.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._broken.set()


def _sorted(arrivals: Sequence[Arrival], now: int) -> tuple[list[Forward], list[Row], list[Entry]]:
    """Tell events from what is none; each of either has its entry, in order."""
    forwards, letters, entries = [], [], []
    whole = events_in([arrival.body for arrival in arrivals]) is not None
    for body, meaning, origin in arrivals:
        found = (meaning, body) if whole and not isinstance(meaning, Malformed) else understood(body)
        if isinstance(found, Letter):
            letters.append(buried(found, origin, now, None, body))
            entries.append(Entry("rejected", None, found.reason, found.message))
            continue
        event, value = found
        forwards.append(Forward(event.customer.encode(), value, now))
        entries.append(Entry("accepted", event.id, note=NOTE if _is_early(event, now) else ""))
    return forwards, letters, entries


def _is_early(event: Event, now: int) -> bool:
    return isinstance(event.at, int) and event.at > now + MAX_AHEAD


def _away() -> web.HTTPServiceUnavailable:
    return web.HTTPServiceUnavailable(
        reason="the log cannot be written now; send this again", headers={"Retry-After": str(RETRY_AFTER_S)}
    )
