"""What gateways tell a fleet's dispatcher: it becomes events of the log, and what it forbids holds at once."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from kafka_broker import create_topics
from played_workers import PHONE, Fleet, send, until
from running import query
from stub_gateway import StubGateway, stub_settings

from triggers.core.intake import decode
from triggers.dispatch.callbacks import REPLIES, call_url
from triggers.drivers.kafka.dispatch_relay import Relay
from triggers.drivers.kafka.dispatch_settings import DispatchSettings
from triggers.drivers.kafka.records import MESSAGE_EVENTS
from triggers.store.event_log import Arrival
from triggers.store.message_events import MessageEvents, count_leaving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from triggers.store.database import Connection
    from triggers.store.writer import Writer

SECRET = "what-they-know"  # noqa: S105  made up


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


@pytest.fixture
async def stub() -> AsyncIterator[StubGateway]:
    async with StubGateway() as stub:
        yield stub


async def test_receipts_and_replies_become_events_and_an_opt_out_holds_before_they_come_back(
    fleet: Fleet, stub: StubGateway
) -> None:
    port = free_port()
    settings = stub_settings(stub.url, secret=SECRET, rate=1_000)
    fleet.deliver({"main": settings}, public_url=f"http://127.0.0.1:{port}")
    running = fleet.running("--port", str(port))
    address = await asyncio.to_thread(running.address)
    replies = call_url(address, "main", SECRET, REPLIES)
    known = await fleet.event("customer.updated", phone=PHONE)
    await fleet.come(known)
    await fleet.commands(send(1))
    await until(lambda: query(running.db, "SELECT state FROM outbox") == [("delivered",)])
    assert await stub.reply(replies, PHONE, "STOP", "r1") == 200
    await fleet.commands(send(2))
    await until(lambda: len(query(running.db, "SELECT 1 FROM outbox WHERE state = 'suppressed'")) == 1)
    events: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        while len(events) < 2:
            events = await fleet.message_events()
    told = [(each["type"], each["customer"], each["source"]) for each in events]
    assert told == [
        ("message.delivered", "c1", "triggers.dispatch"),
        ("customer.unsubscribed", "c1", "triggers.dispatch"),
    ]
    assert events[0]["id"] == "delivered:c1-1"
    assert events[0]["rule_id"] == "wish"
    await until(lambda: query(running.db, "SELECT count(*) FROM message_events") == [(0,)])
    # The workers take them into the log, from where they come back.
    for each in events:
        await fleet.record(json.dumps(each).encode(), "c1")
    count = "SELECT count(*) FROM events WHERE source = 'triggers.dispatch'"
    await until(lambda: query(running.db, count) == [(2,)])
    assert query(running.db, "SELECT count(DISTINCT customer) FROM opt_outs WHERE rule = 'wish'") == [(1,)]
    assert [(each.command, each.phone) for each in stub.truth] == [("c1-1", PHONE)]


async def test_a_code_posted_to_the_dispatcher_leaves_though_the_log_is_silent(fleet: Fleet) -> None:
    running = fleet.running(fresh_s=0.01)
    body = json.dumps({"class": "verification", "to": PHONE, "text": "Your code is 1234"}).encode()
    answer = await asyncio.to_thread(lambda: running.ask("POST", "/v1/messages", body, Idempotency_Key="k1"))
    assert answer[0] == 202
    await until(lambda: query(running.db, "SELECT state FROM outbox") == [("accepted",)])
    assert len(fleet.sent()) == 1
    shown = await asyncio.to_thread(running.get, f"/v1/messages/{json.loads(answer[1])['id']}")
    assert json.loads(shown[1])["state"] == "accepted"
    assert (await asyncio.to_thread(running.ask, "POST", "/v1/events", b"{}"))[0] == 404


def heard(number: int, customer: str = "c1") -> Arrival:
    event = {"id": f"m{number}", "type": "message.delivered", "customer": customer, "at": 1_788_321_600_000}
    body = json.dumps(event | {"rule_id": "wish", "source": "triggers.dispatch"}).encode()
    return Arrival(body, decode(body), "test")


async def test_own_events_wait_until_the_log_has_them(
    kafka: str, prefix: str, writer: Writer, reader: Connection, tmp_path: Path
) -> None:
    log = MessageEvents(lambda _connection, _event: None, lambda: 5)
    arrivals = [heard(number, f"c{number % 3}") for number in range(1_200)]
    writer.submit(lambda connection: log.enter(connection, arrivals)).result(10)
    away = asyncio.create_task(Relay(DispatchSettings(bootstrap=f"127.0.0.1:{free_port()}"), writer).run())
    await asyncio.sleep(1.5)
    assert not away.done()
    away.cancel()
    await asyncio.gather(away, return_exceptions=True)
    assert count_leaving(reader) == 1_200
    relay = Relay(DispatchSettings(bootstrap=kafka, prefix=prefix), writer)
    running = asyncio.create_task(relay.run())
    await asyncio.sleep(1.5)
    assert count_leaving(reader) == 1_200  # there is no such topic
    await create_topics(kafka, {f"{prefix}{MESSAGE_EVENTS}": 2})
    await until(lambda: count_leaving(reader) == 0)
    writer.submit(lambda connection: log.enter(connection, [heard(1_200)])).result(10)
    relay.more()
    await until(lambda: count_leaving(reader) == 0, within_s=2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    events = await Fleet(kafka, prefix, tmp_path).message_events()
    by_customer: dict[str, list[int]] = {}
    for each in events:
        by_customer.setdefault(each["customer"], []).append(int(each["id"][1:]))
    assert sum(map(len, by_customer.values())) == 1_201
    assert all(numbers == sorted(numbers) for numbers in by_customer.values())  # of a customer in their order
