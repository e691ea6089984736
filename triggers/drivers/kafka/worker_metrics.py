"""The numbers of a worker that ``GET /metrics`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from triggers.clock import wall_ms

if TYPE_CHECKING:
    from triggers.drivers.kafka.intake import Taken
    from triggers.drivers.kafka.turns import Turn

_TURN_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class WorkerMetrics:
    """One registry and what is counted in it. Labels come from fixed lists, and rule ids and partitions."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.events = Counter("triggers_events", "Events by what became of them", ["result"], registry=registry)
        self.decisions = Counter(
            "triggers_decisions", "Ends and postponements of waits", ["rule", "reason"], registry=registry
        )
        self.letters = Counter(
            "triggers_dead_letters", "Records put aside as dead letters", ["reason"], registry=registry
        )
        self.lag = Gauge(
            "triggers_partition_lag_seconds",
            "Age of the time that a partition has come to",
            ["partition"],
            registry=registry,
        )
        self.clock = Gauge(
            "triggers_partition_clock_seconds",
            "The time that a partition has come to",
            ["partition"],
            registry=registry,
        )
        self.position = Gauge(
            "triggers_partition_position", "Last record of the log decided on", ["partition"], registry=registry
        )
        self.owned = Gauge("triggers_partitions_owned", "Partitions taken over", registry=registry)
        self.customers = Gauge("triggers_customers", "Customers known", ["partition"], registry=registry)
        self.asks = Gauge(
            "triggers_asks_open", "Customers who wait for the limits' owner", ["partition"], registry=registry
        )
        self.turns = Histogram(
            "triggers_turn_seconds", "Time to write a turn", registry=registry, buckets=_TURN_BUCKETS_S
        )
        self.revision = Gauge("triggers_rules_revision_info", "The rules at hand", ["revision"], registry=registry)
        self._clocks: dict[int, int] = {}

    def came_to(self, partition: int, position: int, clock: int, customers: int, asking: int) -> None:
        """Note how far a partition has come; ``clock`` in epoch ms."""
        self._clocks[partition] = clock
        self.position.labels(partition).set(position)
        self.clock.labels(partition).set(clock / 1_000)
        self.customers.labels(partition).set(customers)
        self.asks.labels(partition).set(asking)

    def lost(self, partition: int) -> None:
        """Forget a partition that another worker has now."""
        if self._clocks.pop(partition, None) is not None:
            for gauge in (self.position, self.clock, self.customers, self.asks, self.lag):
                gauge.remove(partition)

    def look(self) -> None:
        """Bring up to date what goes by the wall's clock."""
        now = wall_ms()
        for partition, clock in self._clocks.items():
            self.lag.labels(partition).set(max(0, now - clock) / 1_000)

    def took(self, turn: Turn) -> None:
        """Count what a turn brought."""
        for (rule, reason), count in turn.counts.items():
            self.decisions.labels(rule, str(reason)).inc(count)
        for _, letter in turn.letters:
            self.letters.labels(letter.reason).inc()

    def took_in(self, taken: Taken) -> None:
        """Count what intake took."""
        self.events.labels("accepted").inc(taken.forwarded)
        for reason, count in taken.letters.items():
            self.events.labels("rejected").inc(count)
            self.letters.labels(reason).inc(count)
        for count in taken.skipped.values():
            self.events.labels("skipped").inc(count)
