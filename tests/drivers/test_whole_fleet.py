"""A whole fleet: what comes in over HTTP is decided by workers, sent by the dispatcher, and known to the workers after."""

from __future__ import annotations

import asyncio
import json
import signal

from kafka_broker import read_all
from played_workers import PHONE, Fleet, now, until
from running import query
from stub_gateway import StubGateway, stub_settings
from test_dispatcher_tells import free_port

from triggers.drivers.kafka.records import EVENTS


async def test_a_wish_becomes_a_message_and_its_receipt_an_event(fleet: Fleet) -> None:
    port, given = free_port(), {"partitions": 2, "settle_s": 0, "sources": ""}
    async with StubGateway() as stub:
        settings = stub_settings(stub.url, secret="what-they-know", rate=1_000)  # noqa: S106  made up
        fleet.deliver({"main": settings}, public_url=f"http://127.0.0.1:{port}")
        dispatcher = fleet.running("--port", str(port))
        running = [fleet.process("worker", **given), fleet.process("worker", **given), fleet.process("web", **given)]
        web = running[-1]
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
    records = await read_all(fleet.settings.bootstrap, fleet.settings.topic(EVENTS))
    told = [json.loads(record.value)["type"] for record in records if record.key and record.value]
    assert told.count("message.delivered") == 10
