"""The numbers that ``GET /metrics`` shows."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_COMMIT_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Metrics:
    """One registry and what is counted in it. Labels come from fixed lists: results, reasons, states, and rule ids."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.events = Counter("triggers_events", "Events by what became of them", ["result"], registry=self.registry)
        self.early = Counter(
            "triggers_events_from_the_future", "Events stamped more than 5 min ahead", registry=self.registry
        )
        self.decisions = Counter(
            "triggers_decisions", "Ends and postponements of waits", ["rule", "reason"], registry=self.registry
        )
        self.not_sent = Counter(
            "triggers_not_sent", "Commands that will not leave", ["rule", "reason"], registry=self.registry
        )
        self.outbox = Gauge("triggers_outbox", "Commands by state", ["state"], registry=self.registry)
        self.lag = Gauge("triggers_lag_seconds", "Age of the oldest event not decided on", registry=self.registry)
        self.position = Gauge("triggers_position", "Last event decided on", registry=self.registry)
        self.clock = Gauge("triggers_clock_seconds", "The engine's time, epoch seconds", registry=self.registry)
        self.unmatched = Gauge(
            "triggers_receipts_unmatched", "Receipts that name no message, 10 000 at most", registry=self.registry
        )
        self.commits = Histogram(
            "triggers_commit_seconds", "Time of a commit", registry=self.registry, buckets=_COMMIT_BUCKETS_S
        )
