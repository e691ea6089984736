from __future__ import annotations

import asyncio
import gzip
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry, Gauge

from triggers.core.events import Event
from triggers.store.database import connect_reader, open_database
from triggers.store.event_log import EventLog
from triggers.store.writer import Writer
from triggers.web.service import Face

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from aiohttp import web

    from triggers.store.event_log import Arrival, Entry

    Client = TestClient[web.Request, web.Application]

NOW = 1_788_000_000_000


class Engine:
    """The part of a service that the face sees, on a real log."""

    def __init__(self, writer: Writer) -> None:
        self.busy = False
        self.status = "ok"
        self.leaving = asyncio.Event()
        self.leaving.set()
        self.heeding: list[str] = []
        self.begun = asyncio.Event()
        self._log = EventLog(writer, lambda: NOW)

    def ingest(self, arrivals: Sequence[Arrival]) -> Future[list[Entry]]:
        return self._log.append(arrivals)

    async def heeded(self, arrivals: Sequence[Arrival]) -> None:
        self.heeding += [arrival.meaning.id for arrival in arrivals if isinstance(arrival.meaning, Event)]
        self.begun.set()
        await self.leaving.wait()

    def health(self) -> dict[str, Any]:
        return {"status": self.status, "position": 3}


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    open_database(tmp_path / "t.db")
    writer = Writer(tmp_path / "t.db")
    yield Engine(writer)
    writer.close()


@pytest.fixture
async def client(engine: Engine) -> AsyncIterator[Client]:
    registry = CollectorRegistry()
    Gauge("answers", "for the test", registry=registry).set(42)
    face = Face(engine, registry, max_body=300_000, max_events=100, read_timeout_s=0.2)
    async with TestClient(TestServer(face.application())) as client:
        yield client


def event(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "type": "store.visited", "customer": "c1", "at": NOW} | fields


async def post(client: Client, content: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    answer = await client.post("/v1/events", data=body, headers={"Content-Type": "application/json", **headers})
    assert answer.content_type == "application/json"
    return answer.status, await answer.json()


async def test_one_event_is_answered_when_it_is_on_the_disk(client: Client, tmp_path: Path) -> None:
    status, answer = await post(client, event("a"))
    assert status == 200
    assert answer == {
        "accepted": 1, "duplicate": 0, "conflict": 0, "rejected": 0, "results": [{"result": "accepted", "id": "a"}],
    }  # fmt: skip
    with closing(connect_reader(tmp_path / "t.db")) as reader:
        assert reader.execute("SELECT id, received_at FROM events").fetchall() == [("a", NOW)]


async def test_every_event_of_a_batch_has_its_own_result(client: Client) -> None:
    await post(client, event("a"))
    unknown = event("x", type="order.payed")
    status, answer = await post(client, [event("a"), event("a", page="/"), unknown, event("b"), event("c", at=NOW * 2)])
    assert status == 200
    assert [each["result"] for each in answer["results"]] == [
        "duplicate", "conflict", "rejected", "accepted", "accepted",
    ]  # fmt: skip
    assert answer["results"][2]["reason"] == "unknown type"
    assert "did you mean 'order.paid'?" in answer["results"][2]["message"]
    assert "other content" in answer["results"][1]["message"]
    assert "taken as happening now" in answer["results"][4]["note"]
    assert (answer["accepted"], answer["duplicate"], answer["conflict"], answer["rejected"]) == (2, 1, 1, 1)


async def test_the_answer_waits_until_what_came_in_is_heeded(client: Client, engine: Engine, tmp_path: Path) -> None:
    engine.leaving.clear()
    answering = asyncio.create_task(post(client, [event("a", type="customer.unsubscribed"), event("b")]))
    await asyncio.wait_for(engine.begun.wait(), 5)
    with closing(connect_reader(tmp_path / "t.db")) as reader:  # what is waited for comes after the disk
        assert reader.execute("SELECT count(*) FROM events").fetchone() == (2,)
    await asyncio.sleep(0.05)
    assert not answering.done()
    engine.leaving.set()
    assert (await answering)[0] == 200
    assert engine.heeding == ["a", "b"]


async def test_lines_and_cloud_events_are_understood(client: Client) -> None:
    envelope = {
        "specversion": "1.0", "id": "e", "source": "/till", "type": "store.visited", "subject": "c1",
        "time": "2026-09-01T00:00:00Z", "data": {"page": "/"},
    }  # fmt: skip
    lines = json.dumps(event("a")) + "\n" + json.dumps(envelope) + "\n"
    assert (await post(client, lines.encode(), **{"Content-Type": "application/x-ndjson"}))[1]["accepted"] == 2
    structured = await post(client, envelope | {"id": "f"}, **{"Content-Type": "application/cloudevents+json"})
    assert structured[1]["accepted"] == 1
    batch = [envelope | {"id": "g"}, envelope | {"id": "h"}]
    assert (await post(client, batch, **{"Content-Type": "application/cloudevents-batch+json"}))[1]["accepted"] == 2


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"nonsense", "not JSON"),
        (b'{"id":"a","type":"store.visited","customer":"c1"}', "missing field"),
        (b'{"id":"a","type":"order.paid","customer":"c","at":1788000000000,"order_id":"o","amount":NaN}', "not JSON"),
        (b"[" * 10_000, "nested too deeply"),
        (b'{"id":"a","type":"store.visited","customer":"c1","at":"1970-01-01T00:00:00Z"}', "time out of range"),
        (b'{"id":"' + b"x" * 290_000 + b'"}', "too large"),
    ],
)
async def test_what_is_no_event_is_turned_away_with_a_reason_and_kept(
    client: Client, tmp_path: Path, body: bytes, reason: str
) -> None:
    status, answer = await post(client, body)
    assert status == 422
    assert [each["reason"] for each in answer["results"]] == [reason]
    with closing(connect_reader(tmp_path / "t.db")) as reader:
        assert reader.execute("SELECT reason, body FROM dead_letters").fetchall() == [(reason, body)]
        assert reader.execute("SELECT count(*) FROM events").fetchone() == (0,)


async def test_a_body_that_is_too_large_or_holds_too_much_is_refused(client: Client) -> None:
    status, answer = await post(client, b"[" + b" " * 400_000 + b"]")
    assert (status, "too large" in answer["error"]) == (413, True)
    status, answer = await post(client, [event(str(number)) for number in range(101)])
    assert (status, answer["error"]) == (413, "a body holds at most 100 events; send several")


async def test_nothing_to_take_is_said(client: Client) -> None:
    assert (await post(client, b" "))[0] == 400
    status, answer = await post(client, event("a"), **{"ce-specversion": "1.0"})
    assert (status, "structured" in answer["error"]) == (415, True)


async def test_when_too_much_waits_the_sender_is_asked_to_come_back(client: Client, engine: Engine) -> None:
    engine.busy = True
    answer = await client.post("/v1/events", json=event("a"))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    engine.busy = False
    assert (await post(client, event("a")))[1]["accepted"] == 1


async def test_health_and_metrics_are_shown(client: Client, engine: Engine) -> None:
    answer = await client.get("/healthz")
    assert (answer.status, await answer.json()) == (200, {"status": "ok", "position": 3})
    engine.status = "stopping"
    assert (await client.get("/healthz")).status == 503
    answer = await client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "answers 42.0" in await answer.text()


async def test_what_is_not_there_is_said_in_json(client: Client) -> None:
    answer = await client.get("/nowhere")
    assert (answer.status, await answer.json()) == (404, {"error": "Not Found"})
    answer = await client.get("/v1/events")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_a_fault_inside_is_an_answer_too(client: Client, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_arrivals: object) -> None:
        raise ValueError("secret of +8613800001234")

    monkeypatch.setattr(engine, "ingest", broken)
    status, answer = await post(client, event("a"))
    assert (status, answer) == (500, {"error": "this failed inside; the log says why"})


async def test_a_body_that_is_not_what_its_encoding_says_is_the_senders_fault(client: Client) -> None:
    status, answer = await post(client, b"these are no bytes of gzip", **{"Content-Encoding": "gzip"})
    assert status == 400
    assert "Content-Encoding" in answer["error"]


async def test_a_gzipped_body_is_understood_and_may_not_unpack_to_more_than_a_body(client: Client) -> None:
    packed = gzip.compress(json.dumps([event("a"), event("b")]).encode())
    status, answer = await post(client, packed, **{"Content-Encoding": "gzip"})
    assert (status, answer["accepted"]) == (200, 2)
    status, answer = await post(client, gzip.compress(b" " * 50_000_000), **{"Content-Encoding": "gzip"})
    assert status == 413


async def test_a_sender_who_stops_in_the_middle_of_a_body_is_not_waited_for(client: Client) -> None:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    try:
        writer.write(b"POST /v1/events HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{")
        answer = await asyncio.wait_for(reader.readline(), 5)
    finally:
        writer.close()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert (await post(client, event("a")))[0] == 200


async def test_what_is_read_while_too_much_comes_to_wait_is_turned_away(client: Client, engine: Engine) -> None:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    body = json.dumps(event("a")).encode()
    try:
        head = f"POST /v1/events HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body[:5])
        await asyncio.sleep(0.05)
        engine.busy = True
        writer.write(body[5:])
        answer = await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()
    assert answer.startswith(b"HTTP/1.1 503 ")
