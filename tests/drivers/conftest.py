"""Services and logs for the tests of the drivers."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from kafka_broker import EXISTING, Cluster, needed, unique_prefix
from played_workers import Fleet
from running import Running, write_shop_log

from triggers.store.database import Connection, connect_reader, open_database
from triggers.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    Start = Callable[..., Running]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Start]:
    """Start services; what still runs at the end is killed."""
    started: list[Running] = []

    def start(*options: str, folder: Path = tmp_path, **more: Any) -> Running:
        started.append(Running(folder, *options, **more))
        return started[-1]

    yield start
    for running in started:
        if running.alive:
            running.kill()


@pytest.fixture(scope="session")
def shop_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up shop's log of 20,000 events."""
    return write_shop_log(tmp_path_factory.mktemp("shop"), customers=1_100, events=20_000)


@pytest.fixture(scope="session")
def small_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up shop's log of 3,000 events."""
    return write_shop_log(tmp_path_factory.mktemp("shop"), customers=200, events=3_000)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    open_database(tmp_path / "t.db")
    writer = Writer(tmp_path / "t.db")
    yield writer
    writer.close()


@pytest.fixture
def reader(tmp_path: Path, writer: Writer) -> Iterator[Connection]:
    assert writer.waiting == 0
    reader = connect_reader(tmp_path / "t.db")
    yield reader
    reader.close()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One broker for all tests, started when the first one needs it: its address, host:port.

    TRIGGERS_TEST_KAFKA=host:port takes one that runs already.
    """
    if EXISTING:
        yield EXISTING
        return
    with Cluster(needed(), tmp_path_factory.mktemp("kafka")) as running:
        yield running.bootstrap


@pytest.fixture
def prefix() -> str:
    """What the names of a test's topics, groups and transactions begin with."""
    return unique_prefix()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three brokers of which a test may kill one; it starts it again."""
    with Cluster(needed(), tmp_path_factory.mktemp("cluster"), brokers=3) as running:
        yield running


@pytest.fixture
async def fleet(kafka: str, prefix: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """A fleet whose workers the test plays; what it started is killed at the end."""
    with closing(Fleet(kafka, prefix, tmp_path)) as made:
        await made.topics()
        yield made
