"""The numbers of a fleet's dispatcher: those of any service that sends, its gateways, and how far it has read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

from triggers.dispatch.breaker import State
from triggers.dispatch.promises import CLASSES
from triggers.drivers.kafka.revisions import Report, Revisions
from triggers.metrics import Metrics
from triggers.store.claims import pauses
from triggers.store.fleet import partitions
from triggers.store.message_events import count_leaving
from triggers.store.overdue import waiting_since
from triggers.store.receipts import unmatched
from triggers.store.replies import complaints

if TYPE_CHECKING:
    from collections.abc import Iterable

    from triggers.dispatch.traffic import Traffic
    from triggers.drivers.kafka.dispatch_reading import Reader
    from triggers.store.database import Connection

DEMOTED = "demoted"


class DispatchMetrics(Metrics):
    """The numbers of a dispatcher. Labels come from fixed lists, as those of any service."""

    def __init__(self) -> None:
        super().__init__()
        self.unread = self._gauge("triggers_unread", "Records of a topic that are not stored yet", "topic")
        self.heard = self._gauge("triggers_log_heard_age_seconds", "Since the log was last read to its end")
        self.leaving = self._gauge("triggers_message_events_waiting", "Own events that the log does not have yet")
        self.alone = self._gauge("triggers_dispatcher_confirmed", "Whether this is known to be the only dispatcher")
        self.oldest = self._gauge("triggers_outbox_oldest_seconds", "Since when a message waits that may leave")
        self.gateways = self._gauge(
            "triggers_gateway_state",
            "1 for the state that a gateway is in; of a class: demoted",
            "gateway",
            "class",
            "state",
        )
        self.paused = self._gauge("triggers_rules_paused", "1 for a rule that was paused for its numbers", "rule")
        self.complaints = Counter(
            "triggers_complaints", "Replies that threaten with a complaint", registry=self.registry
        )
        self.answers = Counter("triggers_http_answers", "HTTP answers by status", ["status"], registry=self.registry)
        self.differ = self._gauge(
            "triggers_rules_revisions_differ", "1 while the fleet decides by different rules for over a minute"
        )
        self._revisions = Revisions()
        self._complaints = 0

    def _gauge(self, name: str, words: str, *labels: str) -> Gauge:
        return Gauge(name, words, labels, registry=self.registry)

    def look(self, connection: Connection, now: int) -> None:
        """Bring up to date what the database tells; ``now`` epoch ms."""
        self.unmatched.set(unmatched(connection))
        self.leaving.set(count_leaving(connection))
        since = waiting_since(connection, CLASSES, now)
        self.oldest.set(0.0 if since is None else max(0, now - since) / 1_000)
        reports = [Report(each.part, each.revision, each.heard_at) for each in partitions(connection)]
        self.differ.set(self._revisions.differ(reports, now))
        for each in pauses(connection):
            self.paused.labels(each.rule).set(each.resumed_at is None)
        count = complaints(connection)
        self.complaints.inc(max(0, count - self._complaints))
        self._complaints = count

    def watch(self, traffic: Traffic, readers: Iterable[Reader], now: int) -> None:
        """Bring up to date how gateways stand, and how much is not read yet; ``now`` epoch ms."""
        for name, road in traffic.roads.items():
            current = road.breaker.state(now)
            for state in State:
                self.gateways.labels(name, "", str(state)).set(state is current)
            for klass in CLASSES:
                self.gateways.labels(name, klass, DEMOTED).set((name, klass) in traffic.demoted)
        for each in readers:
            self.unread.labels(each.topic).set(each.unread)
