"""Numbers for Prometheus that take a while to count: how much of what gateways took arrived, and what the disk has left."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from triggers.core.times import DAY
from triggers.reports.gateways import gateways

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from prometheus_client import Metric

    from triggers.reports.gateways import Gateway
    from triggers.store.database import Connection

SEEN: Final = DAY
"""Gateways are judged by what left so long ago at most, in ms."""
QUANTILES: Final = ("0.5", "0.95")


class Numbers(Collector):
    """Counts now and then, and shows what it counted last. ``reader`` is its own; ``now`` is the wall's time, epoch ms.

    ``old_enough`` is for how long a message without a receipt is not judged, in ms.
    """

    def __init__(self, reader: Connection, db: Path, *, old_enough: int, now: Callable[[], int]) -> None:
        self._reader = reader
        self._db = db
        self._old_enough = old_enough
        self._now = now
        self._counted: tuple[list[Gateway], int] | None = None

    async def run(self, every_s: float) -> None:
        """Count again and again, beside everything else, until cancelled."""
        while True:
            counting = asyncio.create_task(asyncio.to_thread(self.count))
            try:
                await asyncio.shield(counting)
            finally:
                await asyncio.wait([counting])  # the reader is closed next
            await asyncio.sleep(every_s)

    def count(self) -> None:
        """Count once; on one thread at a time."""
        now = self._now()
        rows = gateways(self._reader, since=now - SEEN, old_enough=now - self._old_enough)
        self._counted = rows, shutil.disk_usage(self._db.absolute().parent).free

    def collect(self) -> Iterator[Metric]:
        """Give what was counted last; nothing before that."""
        if self._counted is None:
            return
        rows, free = self._counted
        yield GaugeMetricFamily("triggers_disk_free_bytes", "What is free where the database is", free)
        yield from _of_gateways(rows)


def _of_gateways(rows: list[Gateway]) -> Iterator[Metric]:
    sent = GaugeMetricFamily("triggers_gateway_sent", "What it took in 24 h", labels=["gateway", "class"])
    arrival = GaugeMetricFamily(
        "triggers_gateway_arrival_ratio", "What arrived of that to numbers that exist", labels=["gateway", "class"]
    )
    took = GaugeMetricFamily(
        "triggers_gateway_arrival_seconds", "How long that took", labels=["gateway", "class", "quantile"]
    )
    for row in rows:
        pair = [row.name, row.klass]
        sent.add_metric(pair, row.sent)
        if row.of_valid is not None:
            arrival.add_metric(pair, row.of_valid)
        for quantile, ms in zip(QUANTILES, (row.p50, row.p95), strict=True):
            if ms is not None:
                took.add_metric([*pair, quantile], ms / 1_000)
    yield from (sent, arrival, took)
