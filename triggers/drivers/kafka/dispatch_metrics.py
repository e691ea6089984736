"""The numbers of a fleet's dispatcher: those of any service that sends, and how far it has read what it is told."""

from __future__ import annotations

from prometheus_client import Gauge

from triggers.metrics import Metrics


class DispatchMetrics(Metrics):
    """The numbers of a dispatcher. Labels come from fixed lists, as those of any service."""

    def __init__(self) -> None:
        super().__init__()
        self.unread = Gauge(
            "triggers_unread", "Records of a topic that are not stored yet", ["topic"], registry=self.registry
        )
        self.heard = Gauge(
            "triggers_log_heard_age_seconds", "Since the log was last read to its end", registry=self.registry
        )
        self.leaving = Gauge(
            "triggers_message_events_waiting", "Own events that the log does not have yet", registry=self.registry
        )
        self.alone = Gauge(
            "triggers_dispatcher_confirmed", "Whether this is known to be the only dispatcher", registry=self.registry
        )
