"""What a fleet's dispatcher does for those who ask over HTTP: messages that no rule sends, gateways that call, health."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from triggers.clock import wall_ms
from triggers.core.times import iso
from triggers.dispatch.desk import Desk
from triggers.dispatch.promises import COMMERCIAL
from triggers.drivers.kafka.keys import partition_of
from triggers.store.database import saying
from triggers.store.event_log import oldest_after
from triggers.store.progress import load_progress
from triggers.store.states import QUEUED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from triggers.core.decisions import Send
    from triggers.dispatch.assembly import Dispatch
    from triggers.drivers.kafka.dispatch_lease import Lease
    from triggers.drivers.kafka.dispatch_metrics import DispatchMetrics
    from triggers.drivers.kafka.dispatch_reading import Reader
    from triggers.drivers.kafka.dispatch_rules import RulesInUse
    from triggers.drivers.kafka.dispatch_settings import DispatchSettings
    from triggers.store.database import Connection
    from triggers.store.writer import Writer

NOT_CONFIRMED: Final = "not known to be the only dispatcher"
LOG_BEHIND: Final = "log behind"


class Doubts:
    """Says why it is not sure what is known of a message.

    One that the fleet decided on must not be another dispatcher's by now. Of its customer the log must have been read to
    the end since the start, since what cancels it may be in it; for something commercial just now, since an opt-out may.
    """

    def __init__(self, settings: DispatchSettings, lease: Lease, log: Reader) -> None:
        self._virtual = settings.virtual
        self._fresh_ms = int(settings.fresh_s * 1_000)
        self._lease = lease
        self._log = log

    def __call__(self, send: Send, now: int) -> str:
        """Tell, on the writer's thread, what speaks against sending a message at an instant, epoch ms."""
        if not send.rule:
            return ""
        if not self._lease.holds():
            return NOT_CONFIRMED
        if self._virtual:
            return ""
        heard_at = self._log.heard_at.get(partition_of(send.customer.encode(), len(self._log.read)))
        if heard_at is None or (send.klass in COMMERCIAL and now - heard_at > self._fresh_ms):
            return LOG_BEHIND
        return ""


class FleetDesk(Desk):
    """The dispatcher as its routes see it. ``reader`` is a connection of its own; ``well`` tells whether all goes on."""

    def __init__(
        self,
        settings: DispatchSettings,
        dispatch: Dispatch,
        writer: Writer,
        reader: Connection,
        metrics: DispatchMetrics,
        *,
        readers: Sequence[Reader],
        lease: Lease,
        rules: RulesInUse,
        well: Callable[[], bool],
    ) -> None:
        super().__init__(dispatch, reader, settings.db, queued=lambda: metrics.outbox.labels(QUEUED).inc())
        self._settings = settings
        self._writer = writer
        self._metrics = metrics
        self._readers = readers
        self._lease = lease
        self._rules = rules
        self._well = well

    @property
    def busy(self) -> bool:
        """Whether more is waiting to be written than should be."""
        return self._writer.waiting >= self._settings.max_bodies_waiting

    def health(self) -> dict[str, Any]:
        """Tell how far the dispatcher has read, and the engine has come, and bring the gauges up to date."""
        metrics, now = self._metrics, wall_ms()
        with saying(self._db):
            progress = load_progress(self._reader)
            oldest = oldest_after(self._reader, progress.position)
            metrics.look(self._reader, now)
        metrics.watch(self._dispatch.traffic, self._readers, now)
        lag_s = 0.0 if oldest is None else max(0, now - oldest) / 1_000
        heard_s = self._heard_s(now)
        metrics.lag.set(lag_s)
        metrics.position.set(progress.position)
        metrics.clock.set((progress.clock or 0) / 1_000)
        metrics.heard.set(now / 1_000 if heard_s is None else heard_s)
        metrics.alone.set(self._lease.holds())
        return {
            "status": "ok" if self._well() else "stopping",
            "confirmed": self._lease.holds(),
            "position": progress.position,
            "lag_s": lag_s,
            "clock": None if progress.clock is None else iso(progress.clock),
            "log_heard_s": heard_s,
            "unread": {each.topic: each.unread for each in self._readers},
            "rules": {"revision": self._rules.revision, "count": self._rules.count},
        }

    def _heard_s(self, now: int) -> float | None:
        """Tell how long ago the log was last read to its end, in seconds; None: not yet."""
        log = self._readers[0]
        if len(log.heard_at) < len(log.read):
            return None
        return max(0, now - min(log.heard_at.values())) / 1_000
