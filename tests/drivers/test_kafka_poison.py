"""A worker meets every kind of bad record, in the shop's topics and in the log: each is put aside, nothing is stopped."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

from kafka_broker import Write, read_all, write
from kafka_fleet import FleetProcesses
from played_workers import RULE, SHOP, now

from triggers.drivers.kafka.dead_letters import Sent, Wanted, requeue
from triggers.drivers.kafka.keys import partition_of
from triggers.drivers.kafka.settings import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

TWO_MB = 2 * 1024 * 1024
WITHIN_S = 40.0


def wish(number: int, customer: str = "c1", **more: object) -> bytes:
    fields = {"id": f"e{number}", "type": "favorite.added", "customer": customer, "at": now()}
    return json.dumps(fields | {"product_id": f"p{number}"} | more).encode()


BAD: list[tuple[bytes | None, str]] = [
    (b"\x00poison", "not JSON"),
    (wish(1, type="order.eaten"), "unknown type"),
    (b'{"id":"' + b"x" * TWO_MB + b'"}', "too large"),
    (None, "tombstone"),
    (wish(2) + wish(3), "not JSON"),
    (b"", "not JSON"),
]


async def until(what: str, holds: Callable[[], Awaitable[object]]) -> None:
    end = time.monotonic() + WITHIN_S
    while not await holds():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.2)


async def test_nothing_that_comes_in_stops_a_worker_or_takes_good_events_with_it(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    (tmp_path / "_shop.yaml").write_text(SHOP, encoding="utf-8")
    (tmp_path / "wish.yaml").write_text(RULE, encoding="utf-8")
    orders, log, letters = f"{prefix}orders", f"{prefix}events", f"{prefix}dead-letters"
    settings = KafkaSettings(
        bootstrap=kafka, app=prefix, prefix=prefix, sources=(orders,), partitions=2, rules=tmp_path, settle_s=0
    )
    place = partition_of(b"c1", 2)

    async def reasons() -> list[str]:
        said = [dict(record.headers).get("reason") for record in await read_all(kafka, letters)]
        return sorted(reason.decode() for reason in said if reason is not None)

    async def products() -> list[str | None]:
        return sorted(send.identity for send in await fleet.sends())  # type: ignore[type-var]

    async with FleetProcesses(settings, tmp_path) as fleet:
        fleet.start()
        await write(kafka, orders, [Write(value, b"k", partition=0) for value, _ in BAD])
        await write(kafka, orders, [Write(wish(10, "c1"), b"k", partition=0)])
        bad = [Write(value, b"c1", partition=place) for value, _ in BAD]
        bad += [Write(wish(4, "c2"), b"c1", partition=place), Write(wish(5), None, partition=place)]
        await write(kafka, log, [*bad, Write(wish(11), b"c1", partition=place)])

        async def sent() -> bool:
            fleet.see_to_it_that_they_run()
            return await products() == ["p10", "p11"] and len(await reasons()) >= 13

        await until("the good events are not decided", sent)
        of_source = [reason for _, reason in BAD if reason != "tombstone"]
        of_log = [reason for _, reason in BAD] + ["wrong key"] * 2
        assert await reasons() == sorted(of_source + of_log)

        # The poison is sent again while it still is: it is put aside once more, and nothing else happens.
        again = await requeue(settings, Wanted(reasons=("unknown type",)), again=False)
        assert again == Sent(requeued=2)

        async def aside() -> bool:
            return (await reasons()).count("unknown type") == 4

        await until("what was sent again is not put aside again", aside)
        assert await products() == ["p10", "p11"]
        await fleet.stop()
