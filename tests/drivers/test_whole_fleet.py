"""A whole fleet: what comes in over HTTP is decided by workers, sent by the dispatcher, and known to the workers after."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING

from kafka_broker import read_all
from played_workers import PHONE, Fleet, now, until
from running import Running, query
from stub_gateway import StubGateway, stub_settings
from test_dispatcher_tells import free_port

from triggers.drivers.kafka.records import EVENTS

if TYPE_CHECKING:
    from pathlib import Path


def process(fleet: Fleet, service: str) -> Running:
    where = {"kafka_bootstrap": fleet.settings.bootstrap, "kafka_app": fleet.settings.app}
    where |= {"kafka_prefix": fleet.settings.prefix, "kafka_partitions": "2", "kafka_settle_s": "0"}
    where["kafka_sources"] = ""
    return Running(fleet.folder, service=service, rules=fleet.rules, **where)


async def test_a_wish_becomes_a_message_and_its_receipt_an_event(kafka: str, prefix: str, tmp_path: Path) -> None:
    fleet, port = Fleet(kafka, prefix, tmp_path), free_port()
    await fleet.topics()
    async with StubGateway() as stub:
        settings = stub_settings(stub.url, secret="what-they-know", rate=1_000)  # noqa: S106  made up
        fleet.deliver({"main": settings}, public_url=f"http://127.0.0.1:{port}")
        dispatcher = fleet.running("--port", str(port))
        running = [process(fleet, "worker"), process(fleet, "worker"), process(fleet, "web")]
        web = running[-1]
        try:
            for each in (dispatcher, *running):
                await asyncio.to_thread(each.address)
            async with asyncio.timeout(60):
                for each in running:
                    while (await asyncio.to_thread(each.get, "/healthz"))[0] != 200:  # noqa: ASYNC110  another process
                        await asyncio.sleep(0.1)
            at = now()
            events = [
                {"id": f"{kind}{number}", "type": kind, "customer": f"c{number}", "at": at, **more}
                for number in range(10)
                for kind, more in (
                    ("customer.updated", {"phone": PHONE[:-2] + f"{number:02}"}),
                    ("favorite.added", {"product_id": f"p{number}"}),
                )
            ]
            status, _ = await asyncio.to_thread(web.post, json.dumps(events).encode())
            assert status == 200
            await until(lambda: len(stub.truth) == 10, within_s=60)
            assert {each.phone for each in stub.truth} == {PHONE[:-2] + f"{number:02}" for number in range(10)}
            count = "SELECT count(DISTINCT customer) FROM events WHERE type = 'message.delivered'"
            await until(lambda: query(dispatcher.db, count) == [(10,)], within_s=60)
            await until(lambda: query(dispatcher.db, "SELECT count(*) FROM decisions WHERE kind = 'ended'") == [(10,)])
            for each in (dispatcher, *running):
                assert await asyncio.to_thread(each.signal, signal.SIGTERM) == 0
        finally:
            for each in (dispatcher, *running):
                if each.alive:
                    each.kill()
    records = await read_all(fleet.settings.bootstrap, fleet.settings.topic(EVENTS))
    told = [json.loads(record.value)["type"] for record in records if record.key and record.value]
    assert told.count("message.delivered") == 10
