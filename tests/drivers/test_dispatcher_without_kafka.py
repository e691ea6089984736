"""A dispatcher whose Kafka goes away: nothing of the fleet's leaves that is not sure, codes do, and it goes on after."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from kafka_broker import Cluster, needed, unique_prefix
from played_workers import PHONE, Fleet, now, send, until
from running import query

from triggers.drivers.kafka.dispatch_desk import NOT_CONFIRMED
from triggers.store.outbox import queue
from triggers.store.states import Command
from triggers.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from running import Running


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(needed(), tmp_path) as running:
        yield running


@pytest.fixture
async def fleet(broker: Cluster, tmp_path: Path) -> AsyncIterator[Fleet]:
    with closing(Fleet(broker.bootstrap, unique_prefix(), tmp_path)) as made:
        await made.topics()
        yield made


async def health(running: Running) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((await asyncio.to_thread(running.get, "/healthz"))[1])
    return answer


async def test_while_kafka_is_away_only_codes_leave_and_after_it_all_that_waited(broker: Cluster, fleet: Fleet) -> None:
    running = fleet.running(lease_s=2, patience_s=60)
    await fleet.commands(send(1))
    await until(lambda: len(fleet.sent()) == 1)
    broker.kill(0)
    async with asyncio.timeout(20):
        while (await health(running))["confirmed"]:  # noqa: ASYNC110  another process
            await asyncio.sleep(0.1)
    other = Writer(running.db)  # as if it had been queued, and held, before
    waiting = Command(send(2, "c2", klass="notice"), PHONE)
    other.submit(lambda connection: queue(connection, [waiting], now())).result(10)
    other.close()
    body = json.dumps({"class": "verification", "to": PHONE, "text": "Your code is 1234"}).encode()
    answer = await asyncio.to_thread(lambda: running.ask("POST", "/v1/messages", body, Idempotency_Key="k1"))
    assert answer[0] == 202
    await until(lambda: len(fleet.sent()) == 2)
    await until(lambda: (NOT_CONFIRMED,) in query(running.db, "SELECT reason FROM outbox"))
    assert [each["class"] for each in fleet.sent()] == ["marketing", "verification"]
    await broker.restart(0)
    await fleet.commands(send(3, "c3"))
    await until(lambda: len(fleet.sent()) == 4, within_s=60)
    assert (await health(running))["confirmed"]
    assert await asyncio.to_thread(running.signal, signal.SIGTERM) == 0


async def test_when_kafka_stays_away_it_ends_and_says_why(broker: Cluster, fleet: Fleet) -> None:
    running = fleet.running(lease_s=1, patience_s=2)
    await asyncio.to_thread(running.address)
    broker.kill(0)
    assert await asyncio.to_thread(running.wait) == 2
    assert "Kafka has not confirmed for 2 s" in running.err[-1]


async def test_a_dispatcher_that_stood_still_sends_nothing_until_it_is_confirmed_again(fleet: Fleet) -> None:
    running = fleet.running(lease_s=2)
    await fleet.commands(send(0))
    await until(lambda: len(fleet.sent()) == 1)
    fleet.sent_file.rename(fleet.folder / "before")
    fleet.deliver({"main": {"type": "file", "path": str(fleet.folder / "of-the-second")}})
    os.kill(running.pid, signal.SIGSTOP)
    await fleet.commands(*(send(number) for number in range(1, 50)))
    other = fleet.running("--go-on-at", "committed", name="b", lease_s=2)
    await asyncio.to_thread(other.address)
    await until(lambda: query(other.db, "SELECT count(*) FROM outbox WHERE state = 'accepted'") == [(49,)], 60)
    os.kill(running.pid, signal.SIGCONT)
    assert await asyncio.to_thread(running.wait) == 2
    assert "another dispatcher" in running.err[-1]
    assert fleet.sent() == []
