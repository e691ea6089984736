from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from test_gateways_table import NOW, Shop

from triggers.core.times import HOUR, MINUTE
from triggers.reports.numbers import Numbers
from triggers.store.database import connect_reader, open_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Watched:
    def __init__(self, path: Path) -> None:
        open_database(path)
        self.shop = Shop(path)
        self.path = path
        self.reader = connect_reader(path)
        self.numbers = Numbers(self.reader, path, old_enough=30 * MINUTE, now=lambda: NOW)
        self.registry = CollectorRegistry()
        self.registry.register(self.numbers)

    def value(self, name: str, **labels: str) -> float | None:
        self.numbers.count()
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    here = Watched(tmp_path / "t.db")
    yield here
    here.reader.close()


def test_nothing_is_shown_that_was_not_counted(watched: Watched) -> None:
    assert generate_latest(watched.registry) == b""


def test_a_gateway_is_told_of_by_class(watched: Watched) -> None:
    for number in range(4):
        watched.shop.left("kannel", HOUR, "delivered" if number else "undelivered", after=2_000)
    pair = {"gateway": "kannel", "class": "marketing"}
    assert watched.value("triggers_gateway_sent", **pair) == 4
    assert watched.value("triggers_gateway_arrival_ratio", **pair) == 0.75
    assert watched.value("triggers_gateway_arrival_seconds", **pair, quantile="0.95") == 2.0


def test_what_is_free_on_the_disk_is_told(watched: Watched) -> None:
    free = watched.value("triggers_disk_free_bytes")
    assert free is not None
    assert free > 0


async def test_it_counts_again_and_again(watched: Watched) -> None:
    pair = {"gateway": "kannel", "class": "marketing"}
    counting = asyncio.create_task(watched.numbers.run(0.01))
    for count in range(1, 3):
        await asyncio.to_thread(watched.shop.left, "kannel", HOUR)
        async with asyncio.timeout(10):
            while watched.registry.get_sample_value("triggers_gateway_sent", pair) != count:  # noqa: ASYNC110  on a thread
                await asyncio.sleep(0.01)
    counting.cancel()
    await asyncio.gather(counting, return_exceptions=True)
