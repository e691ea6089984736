"""The embedded service as its routes see it: events come in, messages are posted, gateways call; and how it is."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from triggers.core.events import CustomerUnsubscribed, CustomerUpdated
from triggers.core.times import iso
from triggers.dispatch.desk import Desk
from triggers.store.database import saying
from triggers.store.event_log import oldest_after
from triggers.store.receipts import unmatched

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from triggers.dispatch.assembly import Dispatch
    from triggers.drivers.embedded.archive import Archive
    from triggers.drivers.embedded.driver import Driver
    from triggers.metrics import Metrics
    from triggers.settings import Settings
    from triggers.store.event_log import Arrival, Entry


class Reception(Desk):
    """Where everything from outside comes in.

    ``queued`` is called for each message that is new in the outbox, ``arrived`` on any thread with what became of events,
    and ``well`` tells whether all goes on.
    """

    def __init__(
        self,
        settings: Settings,
        dispatch: Dispatch,
        archive: Archive,
        driver: Driver,
        metrics: Metrics,
        *,
        queued: Callable[[], None],
        arrived: Callable[[list[Entry]], None],
        well: Callable[[], bool],
    ) -> None:
        super().__init__(dispatch, archive.reader, settings.db, queued=queued)
        self._settings = settings
        self._archive = archive
        self._driver = driver
        self._metrics = metrics
        self._arrived = arrived
        self._well = well
        self._counting = threading.Lock()
        self._events_waiting = 0

    @property
    def busy(self) -> bool:
        """Whether more is waiting to be written than should be."""
        settings = self._settings
        return (
            self._archive.writer.waiting >= settings.max_bodies_waiting
            or self._events_waiting >= settings.max_events_waiting
        )

    def ingest(self, arrivals: Sequence[Arrival]) -> Future[list[Entry]]:
        """Log what came in; the answer comes when it is on the disk. From any thread."""

        def entered(done: Future[list[Entry]]) -> None:
            self._count_waiting(-len(arrivals))
            if not done.cancelled() and not done.exception():
                self._arrived(done.result())

        self._count_waiting(len(arrivals))
        future = self._archive.log.append(arrivals)
        future.add_done_callback(entered)
        return future

    def _count_waiting(self, more: int) -> None:
        with self._counting:
            self._events_waiting += more

    async def heeded(self, arrivals: Sequence[Arrival]) -> None:
        """Wait until nothing commercial leaves any more to the customers who opted out in what came in."""
        names = {
            event.customer
            for arrival in arrivals
            if isinstance(event := arrival.meaning, CustomerUnsubscribed)
            or (isinstance(event, CustomerUpdated) and event.consent is False)
        }
        if names:
            await self._dispatch.inflight.over(names)

    def health(self) -> dict[str, Any]:
        """Tell how far the service has come, and bring the gauges up to date."""
        driver, metrics, now = self._driver, self._metrics, self._archive.clock.now()
        with saying(self._db):
            oldest = oldest_after(self._reader, driver.position)
            metrics.unmatched.set(unmatched(self._reader))
        lag_s = 0.0 if oldest is None else max(0, now - oldest) / 1_000
        clock = now if driver.idle and oldest is None else driver.clock
        metrics.lag.set(lag_s)
        metrics.position.set(driver.position)
        metrics.clock.set(clock / 1_000)
        return {
            "status": "ok" if self._well() else "stopping",
            "position": driver.position,
            "events": self._archive.log.last_seq,
            "lag_s": lag_s,
            "clock": iso(clock),
            "rules": {"revision": driver.rulebook.revision, "count": len(driver.rulebook.rules)},
        }
