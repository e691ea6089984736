"""What nothing of a fleet wrote stands in its own topics: it is told with its place, and no worker dies of it for ever."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import TYPE_CHECKING

from kafka_broker import Write, write
from kafka_fleet import FleetProcesses
from played_workers import RULE, SHOP, now

from triggers.drivers.kafka.keys import partition_of
from triggers.drivers.kafka.records import Passed, encode_question
from triggers.drivers.kafka.settings import KafkaSettings

if TYPE_CHECKING:
    from pathlib import Path

WITHIN_S = 40.0
POISON = b"\x00poison"


def rule_of_a_fleet(kafka: str, prefix: str, folder: Path) -> KafkaSettings:
    """One rule, that is called as the workers' notes are."""
    (folder / "_shop.yaml").write_text(SHOP, encoding="utf-8")
    (folder / "note.yaml").write_text(RULE.replace("id: wish", "id: note"), encoding="utf-8")
    return KafkaSettings(
        bootstrap=kafka, app=prefix, prefix=prefix, sources=(f"{prefix}orders",), partitions=2, rules=folder, settle_s=0
    )


async def decides(fleet: FleetProcesses, *products: str) -> None:
    """Write a wish for the last of some products, and wait until all of them are decided on."""
    product, prefix = products[-1], fleet.settings.prefix
    wish = {"id": product, "type": "favorite.added", "customer": "c1", "at": now(), "product_id": product}
    body = [Write(json.dumps(wish).encode(), b"c1", partition=partition_of(b"c1", 2))]
    await write(fleet.settings.bootstrap, f"{prefix}events", body)
    end = time.monotonic() + WITHIN_S
    while sorted(str(send.identity) for send in await fleet.sends()) != sorted(products):
        running = [worker for worker in fleet.workers if worker.status is None]
        assert running, fleet.workers[-1].said[-3_000:]
        assert time.monotonic() < end, f"{product} is not decided on"
        await asyncio.sleep(0.2)


def left_out(said: str) -> set[str]:
    """Find the partitions that a worker told a record of."""
    told = [json.loads(line) for line in said.splitlines() if "not understood" in line]
    return {each["place"].rpartition("/")[0] for each in told}


async def test_what_nothing_of_the_fleet_wrote_is_told_and_stops_no_worker(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    settings = rule_of_a_fleet(kafka, prefix, tmp_path)
    elsewhere = next(key for key in (b"k%d" % i for i in range(99)) if partition_of(key, 2) == 0)
    async with FleetProcesses(settings, tmp_path) as fleet:
        first = fleet.start()
        await decides(fleet, "p1")
        for topic in ("asks", "verdicts", "rules", "limits"):
            bad = [Write(POISON, b"k", partition=0), Write(POISON, b"note", partition=0), Write(b"", b"k", partition=0)]
            await write(kafka, f"{prefix}{topic}", bad)
        forged = [encode_question(each) for each in (Passed(99, 1, 0), Passed(-1, 1, 0), Passed(0, 1, 10**9))]
        await write(kafka, f"{prefix}asks", [Write(each, partition=0) for each in forged])
        await write(kafka, f"{prefix}customers", [Write(POISON, elsewhere, partition=1)])
        await decides(fleet, "p1", "p2")
        await fleet.stop()
        assert left_out(first.said) == {f"{prefix}{topic}/0" for topic in ("asks", "verdicts")}

        second = fleet.start()
        await decides(fleet, "p1", "p2", "p3")
        await fleet.stop()
        assert left_out(second.said) >= {f"{prefix}rules/0", f"{prefix}customers/1"}


async def test_what_stands_where_a_customer_did_stops_the_partition_until_it_is_taken_away(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    settings = rule_of_a_fleet(kafka, prefix, tmp_path)
    part = partition_of(b"c1", 2)
    async with FleetProcesses(settings, tmp_path) as fleet:
        [(_, offset)] = await write(kafka, f"{prefix}customers", [Write(POISON, b"c1", partition=part)])
        stopped = fleet.start()
        assert await stopped.ended() == 2
        assert f"{prefix}customers/{part}/{offset} is no state of a customer" in stopped.said
        await write(kafka, f"{prefix}customers", [Write(None, b"c1", partition=part)])
        working = fleet.start()
        await decides(fleet, "p1")
        await fleet.stop()
        assert left_out(working.said) == set()


async def test_what_stands_where_the_partitions_own_record_did_stops_it(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    settings = rule_of_a_fleet(kafka, prefix, tmp_path)
    async with FleetProcesses(settings, tmp_path) as fleet:
        [(_, offset)] = await write(kafka, f"{prefix}customers", [Write(POISON, b"", partition=1)])
        stopped = fleet.start()
        assert await stopped.ended() == 2
        assert f"{prefix}customers/1/{offset} is no state of a customer" in stopped.said


async def test_what_stands_where_a_limit_did_is_told_with_its_key(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = rule_of_a_fleet(kafka, prefix, tmp_path)
    async with FleetProcesses(settings, tmp_path) as fleet:
        await write(kafka, f"{prefix}limits", [Write(POISON, b"account/note", partition=0)])
        stopped = fleet.start()
        assert await stopped.ended() == 2
        assert re.search(rf"a record of {prefix}limits is no state of .*key b'account/note'", stopped.said)
