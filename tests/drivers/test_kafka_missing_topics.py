"""Topics that nobody has made: each process of a fleet says so in a line, with what makes them."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from fleet_process import FleetProcess
from kafka_fleet import FleetProcesses
from played_workers import RULE, SHOP

from triggers.drivers.kafka.settings import KafkaSettings

if TYPE_CHECKING:
    from pathlib import Path

WITHIN_S = 20.0


def settings_of(kafka: str, prefix: str, folder: Path) -> KafkaSettings:
    (folder / "_shop.yaml").write_text(SHOP, encoding="utf-8")
    (folder / "wish.yaml").write_text(RULE, encoding="utf-8")
    return KafkaSettings(
        bootstrap=kafka, app=prefix, prefix=prefix, sources=(f"{prefix}shop",), partitions=1, rules=folder
    )


async def says(process: FleetProcess, words: str) -> None:
    end = time.monotonic() + WITHIN_S
    while words not in process.said:
        assert process.status is None, process.said
        assert time.monotonic() < end, process.said[-3_000:]
        await asyncio.sleep(0.05)


def _takes_events(process: FleetProcess) -> bool:
    try:
        with urlopen(f"{process.address}/healthz", timeout=5) as answer:  # noqa: S310  an address of this test
            return answer.status == HTTPStatus.OK
    except HTTPError:
        return False


@pytest.mark.parametrize("command", ["worker", "dispatcher"])
async def test_who_cannot_work_without_them_ends_at_once(
    kafka: str, prefix: str, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIGGERS_KAFKA_DB", str(tmp_path / "dispatcher.db"))
    process = FleetProcess(command, settings_of(kafka, prefix, tmp_path), tmp_path / "log")
    try:
        assert await process.ended(WITHIN_S) == 2
    finally:
        process.close()
    last = process.said.splitlines()[-1]
    assert last.startswith(f"triggers: there is no topic {prefix}events")
    assert "`triggers topics` makes" in last
    assert "not found in cluster metadata" not in process.said


async def test_a_web_process_says_so_until_they_are_made_and_then_works(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    settings = settings_of(kafka, prefix, tmp_path)
    process = FleetProcess("web", settings, tmp_path / "log")
    try:
        await says(process, f"there is no topic {prefix}events")
        async with FleetProcesses(settings, tmp_path):
            end = time.monotonic() + WITHIN_S
            while not await asyncio.to_thread(_takes_events, process):
                assert process.status is None, process.said
                assert time.monotonic() < end, process.said[-3_000:]
                await asyncio.sleep(0.1)
        assert "not found in cluster metadata" not in process.said
    finally:
        process.close()


async def test_a_topic_of_the_shop_that_is_missing_is_told_and_stops_nothing(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    settings = settings_of(kafka, prefix, tmp_path)
    there = settings.model_copy(update={"sources": ()})
    async with FleetProcesses(there, tmp_path) as fleet:
        fleet.settings = settings
        worker = fleet.start()
        await says(worker, '"event": "working"')
        assert f'"topic": "{prefix}shop", "event": "a topic of the shop is not there' in worker.said
        await fleet.stop()


async def test_a_log_that_somebody_gave_more_partitions_is_not_decided_on(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    settings = settings_of(kafka, prefix, tmp_path)
    async with FleetProcesses(settings, tmp_path) as fleet:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        try:
            await admin.create_partitions({f"{prefix}events": NewPartitions(3)})
        finally:
            await admin.close()
        worker = fleet.start()
        assert await worker.ended(WITHIN_S) == 2
        assert f"of partitions {prefix}commands has 1, and {prefix}events has 3" in worker.said
