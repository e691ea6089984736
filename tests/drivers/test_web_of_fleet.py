"""The web process of a fleet: what it answers for is in the log, under its customer; what is none is told and kept."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from kafka_broker import Cluster, needed, read_all, unique_prefix
from played_workers import Fleet, send, until
from running import Running, query
from stub_gateway import Fault, StubGateway, stub_settings

from triggers.drivers.kafka.records import DEAD_LETTERS, EVENTS

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "a-token-of-the-shop"  # noqa: S105  made up


def event(name: str, customer: str = "c1", **changes: Any) -> dict[str, Any]:
    return {"id": name, "type": "store.visited", "customer": customer, "at": "2026-01-02T03:04:05Z"} | changes


async def ready(running: Running) -> None:
    """Wait until it takes events."""
    await asyncio.to_thread(running.address)
    async with asyncio.timeout(30):
        while (await asyncio.to_thread(running.get, "/healthz"))[0] != 200:  # noqa: ASYNC110  another process
            await asyncio.sleep(0.05)


async def post(running: Running, *events: Any) -> tuple[int, dict[str, Any]]:
    return await asyncio.to_thread(running.post, json.dumps(events).encode())


async def values(fleet: Fleet, topic: str) -> list[tuple[bytes | None, bytes | None]]:
    records = await read_all(fleet.settings.bootstrap, fleet.settings.topic(topic))
    return [(record.key, record.value) for record in records]


async def test_what_is_accepted_is_in_the_log_under_its_customer(fleet: Fleet) -> None:
    running = fleet.process("web")
    await ready(running)
    events = [event(f"e{number}", f"客户{number % 3}") for number in range(20)]
    envelope = {"specversion": "1.0", "source": "shop", "subject": "c9", "time": "2026-01-02T03:04:05Z"}
    status, answer = await post(running, *events, envelope | {"id": "ce", "type": "store.visited"})
    assert (status, answer["accepted"], answer["rejected"]) == (200, 21, 0)
    records = await read_all(fleet.settings.bootstrap, fleet.settings.topic(EVENTS))
    found = {json.loads(record.value or b"")["id"]: record for record in records}
    assert {name: record.key for name, record in found.items()} == {
        **{each["id"]: each["customer"].encode() for each in events},
        "ce": b"c9",
    }
    assert {record.partition for record in records if record.key == b"c9"} == {fleet.part("c9")}
    assert json.loads(found["ce"].value or b"")["customer"] == "c9"  # flat, as the engine reads it fast
    assert abs(found["e1"].timestamp - time.time() * 1_000) < 60_000
    status, answer = await post(running, events[0])
    assert (status, answer["accepted"]) == (200, 1)  # that it is there already only the engine knows
    numbers = (await asyncio.to_thread(running.get, "/metrics"))[1]
    assert 'triggers_events_total{result="accepted"} 22.0' in numbers
    assert await asyncio.to_thread(running.signal, signal.SIGTERM) == 0


async def test_what_is_no_event_is_told_and_kept_among_the_dead_letters(fleet: Fleet) -> None:
    running = fleet.process("web")
    await ready(running)
    status, answer = await post(running, event("good"), event("bad", type="no.such"), {"x": 1})
    assert status == 200
    assert [each["result"] for each in answer["results"]] == ["accepted", "rejected", "rejected"]
    assert answer["results"][1]["reason"] == "unknown type"
    status, answer = await asyncio.to_thread(running.post, b"{no json")
    assert (status, answer["rejected"]) == (422, 1)
    records = await read_all(fleet.settings.bootstrap, fleet.settings.topic(DEAD_LETTERS))
    headers = {record.value: dict(record.headers) for record in records}
    kept = {value: said["reason"] for value, said in headers.items()}
    assert kept[b"{no json"] == b"not JSON"
    assert kept[json.dumps(event("bad", type="no.such")).encode()] == b"unknown type"
    assert len(kept) == 3
    said = headers[b"{no json"]
    assert said["origin"] == b"http 127.0.0.1"
    assert said["message"]
    assert abs(int(said["at"]) - time.time() * 1_000) < 60_000
    assert [json.loads(value or b"")["id"] for _, value in await values(fleet, EVENTS)] == ["good"]


async def test_without_its_token_nothing_is_taken(fleet: Fleet) -> None:
    running = fleet.process("web", api_token=TOKEN)
    await ready(running)
    body = json.dumps(event("e1")).encode()
    assert (await asyncio.to_thread(running.ask, "POST", "/v1/events", body))[0] == 401
    token = {"Authorization": f"Bearer {TOKEN}"}
    assert (await asyncio.to_thread(lambda: running.ask("POST", "/v1/events", body, **token)))[0] == 200
    assert len(await values(fleet, EVENTS)) == 1
    assert (await asyncio.to_thread(running.ask, "POST", "/v1/messages", body))[0] == 404


async def test_an_opt_out_is_answered_once_the_dispatcher_heeds_it(fleet: Fleet) -> None:
    web = fleet.process("web", fresh_s=60)
    await ready(web)
    out = event("out", type="customer.unsubscribed")
    status, _ = await asyncio.wait_for(post(web, out | {"id": "none"}), 10)  # there is no dispatcher
    assert status == 200
    dispatcher = fleet.running()
    await asyncio.to_thread(dispatcher.address)
    await fleet.tick()
    began = time.monotonic()
    status, answer = await post(web, out)
    assert (status, answer["accepted"]) == (200, 1)
    assert time.monotonic() - began < 10
    await fleet.come(9)
    await fleet.commands(send(1), send(2, "c2"))
    await until(lambda: len(fleet.sent()) == 1)
    assert [each["command"] for each in fleet.sent()] == ["c2-2"]


async def test_while_kafka_is_away_nothing_is_accepted_and_senders_are_told_to_come_back(tmp_path: Path) -> None:
    with Cluster(needed(), tmp_path) as broker, closing(Fleet(broker.bootstrap, unique_prefix(), tmp_path)) as fleet:
        await fleet.topics()
        running = fleet.process("web")
        await ready(running)
        assert (await post(running, event("before")))[0] == 200
        broker.kill(0)
        status, answer = await post(running, event("meanwhile"))
        assert (status, "again" in answer["error"]) == (503, True)
        assert (await asyncio.to_thread(running.get, "/healthz"))[0] == 503
        status, text = await asyncio.to_thread(running.ask, "POST", "/v1/events", b"{}")
        assert status == 503, text
        await broker.restart(0)
        await ready(running)
        status, _ = await post(running, event("after"))
        assert status == 200
        found = {json.loads(value or b"")["id"] for _, value in await values(fleet, EVENTS)}
        assert {"before", "after"} <= found
        assert await asyncio.to_thread(running.signal, signal.SIGTERM) == 0


async def test_an_opt_out_is_not_answered_while_a_message_is_still_leaving(fleet: Fleet) -> None:
    async with StubGateway(slow_s=3) as stub:
        stub.script([Fault.SLOW])
        fleet.deliver({"main": stub_settings(stub.url, rate=1_000, timeout_s=10)})
        web, dispatcher = fleet.process("web", fresh_s=60), fleet.running()
        try:
            await ready(web)
            await fleet.tick()
            await fleet.commands(send(1))
            await until(lambda: len(stub.truth) == 1)
            began = time.monotonic()
            assert (await post(web, event("out", type="customer.unsubscribed")))[0] == 200
            assert 1.5 < time.monotonic() - began < 20
            assert query(dispatcher.db, "SELECT state FROM outbox") == [("accepted",)]
        finally:
            dispatcher.kill()
