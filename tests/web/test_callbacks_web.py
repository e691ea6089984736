from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from engines import NOW, PHONE, Ear, Mouth
from structlog.testing import capture_logs
from yarl import URL

from triggers.dispatch.callbacks import callback_url, is_receipt
from triggers.dispatch.gateway import Call, Fate, Heard, Receipt, Refused, Reply
from triggers.dispatch.postbox import Wanted
from triggers.web.callbacks import Callbacks
from triggers.web.entrance import Entrance

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Client
    from engines import Engine

SECRET = "a secret of this test"  # noqa: S105  as it says
PUBLIC = "https://shop.example/sms"
SUPPRESSED = "SELECT phone, reason FROM suppressions"


def read(call: Call) -> Heard | Refused:
    """Read calls as a gateway with signed addresses does."""
    if call.kind == "replies":
        told = json.loads(call.body)
        return Heard(replies=(Reply(told["from"], told["text"], told.get("id")),), answer=b'{"ok":1}',
                     content_type="application/json; charset=utf-8")  # fmt: skip
    if not is_receipt(SECRET, "main", call.query):
        return Refused(403, "the mac is wrong")
    return Heard(receipts=(Receipt(Fate(call.query["fate"]), None, call.query["command"]),), answer=b"ACK")


class Scene:
    """A face with a gateway that calls back, and one that never does."""

    def __init__(self, engine: Engine, client: Client, ear: Ear) -> None:
        self.engine, self.client, self.ear = engine, client, ear

    async def call(self, path: str, method: str = "POST", body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        url = URL(f"http://{self.client.host}:{self.client.port}{path}", encoded=True)
        data = io.BytesIO(body) if body else None
        async with self.client.session.request(method, url, data=data, headers=headers) as answer:
            return answer.status, await answer.read()

    async def sent(self) -> str:
        """Send a code through the gateway, and give its id."""
        posted = await self.engine.post("k", Wanted("verification", PHONE, "Your code is 1234", customer="c1"))
        await self.engine.dispatch.dispatcher.drain()
        return posted.id  # type: ignore[union-attr]

    def state(self) -> str:
        return str(self.engine.rows("SELECT state FROM outbox")[0][0])


@pytest.fixture
async def scene(serve: Callable[..., Any]) -> Scene:
    ear = Ear(read)
    engine, client = await serve(gateways={"main": ear, "mute": Mouth()}, public_url=PUBLIC, token="t" * 16)
    return Scene(engine, client, ear)


def receipt_path(command: str, fate: str = "delivered") -> str:
    path = callback_url("", "main", SECRET, command)
    return f"{path}&fate={fate}"


async def test_a_gateway_is_given_the_call_as_it_came(scene: Scene) -> None:
    scene.ear.read = lambda _call: Heard()
    path = "/v1/callbacks/main/receipts?a=%20b%2Bc&x=1&x=2&e=&%E5%A5%BD=%7e"
    status, _ = await scene.call(path, body=b"<raw \xff>", **{"X-Signature": "AbC", "Content-Type": "text/xml"})
    assert status == 200
    (call,) = scene.ear.calls
    assert (call.kind, call.method, call.body) == ("receipts", "POST", b"<raw \xff>")
    assert call.url == PUBLIC + path
    assert call.query == {"a": " b+c", "x": "1", "e": "", "好": "~"}
    assert (call.headers["x-signature"], call.headers["content-type"]) == ("AbC", "text/xml")
    assert not any(name != name.lower() for name in call.headers)


async def test_without_a_public_address_the_one_that_was_called_counts(serve: Callable[..., Any]) -> None:
    ear = Ear()
    scene = Scene(*await serve(gateways={"main": ear}), ear)
    await scene.call("/v1/callbacks/main/receipts?a=1", Host="sms.example:8080")
    assert ear.calls[0].url == "http://sms.example:8080/v1/callbacks/main/receipts?a=1"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "HEAD"])
async def test_whatever_the_method_the_answer_comes_when_it_is_on_the_disk(scene: Scene, method: str) -> None:
    command = await scene.sent()
    status, answer = await scene.call(receipt_path(command), method)
    assert (status, answer) == (200, b"" if method == "HEAD" else b"ACK")
    assert scene.state() == "delivered"


async def test_a_call_that_comes_again_and_again_changes_nothing_more(scene: Scene) -> None:
    command = await scene.sent()
    answers = await asyncio.gather(*(scene.call(receipt_path(command)) for _ in range(10)))
    answers.append(await scene.call(receipt_path(command, "undelivered")))
    assert set(answers) == {(200, b"ACK")}
    assert scene.state() == "delivered"
    moves = scene.engine.rows("SELECT new FROM transitions ORDER BY seq")
    assert moves == [("sending",), ("accepted",), ("delivered",)]


async def test_an_opt_out_holds_before_the_gateway_is_answered(scene: Scene) -> None:
    inflight = scene.engine.dispatch.inflight
    inflight.begin(1, [PHONE])
    said = json.dumps({"from": "8613800001234", "text": "退订", "id": "r1"}).encode()
    answering = asyncio.create_task(scene.call("/v1/callbacks/main/replies", body=said))
    async with asyncio.timeout(5):
        while not scene.engine.rows(SUPPRESSED):  # noqa: ASYNC110  a database tells nobody
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    assert not answering.done()
    inflight.finish(1, [PHONE])
    assert await answering == (200, b'{"ok":1}')
    assert scene.engine.rows(SUPPRESSED) == [(PHONE, "reply")]
    again = await asyncio.gather(*(scene.call("/v1/callbacks/main/replies", body=said) for _ in range(5)))
    assert set(again) == {(200, b'{"ok":1}')}
    assert scene.engine.rows("SELECT count(*) FROM replies") == [(1,)]


async def test_a_call_that_is_not_authentic_changes_nothing_and_is_told_without_its_content(scene: Scene) -> None:
    command = await scene.sent()
    path = receipt_path(command)
    with capture_logs() as lines:
        for wrong in (path.replace("mac=", "mac=0"), path.replace(command, "0" * 64), "/v1/callbacks/main/receipts",
                      path.replace("&mac", "&command=x&mac").replace(f"command={command}&", "")):  # fmt: skip
            status, answer = await scene.call(wrong, body=b"+8613800001234")
            assert (status, b"mac" in answer) == (403, False)
    assert scene.state() == "accepted"
    (line,) = lines  # one a minute
    assert (line["gateway"], line["status"], line["why"]) == ("main", 403, "the mac is wrong")
    assert not any(secret in str(lines) for secret in (command, "138", "mac=", "?"))


async def test_refused_calls_are_counted_while_they_are_not_told(scene: Scene) -> None:
    now = [0.0]
    callbacks = Callbacks(scene.engine, Entrance(scene.engine, None, 1), clock=lambda: now[0])
    with capture_logs() as lines:
        for second in (0, 1, 59.9, 60, 61, 200):
            now[0] = float(second)
            callbacks._tell("main", Refused(400, "nonsense"))  # noqa: SLF001  time goes by faster here
        callbacks._tell("other", Refused(400, "nonsense"))  # noqa: SLF001
    assert [(line["gateway"], line["untold_before"]) for line in lines] == [
        ("main", 0), ("main", 2), ("main", 1), ("other", 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [
        "/v1/callbacks/mute/receipts", "/v1/callbacks/nobody/receipts", "/v1/callbacks/main", "/v1/callbacks/main/a/b",
        "/v1/callbacks/%2e%2e/receipts", "/v1/callbacks/main%00/receipts", "/v1/callbacks//receipts",
    ],
)  # fmt: skip
async def test_where_nobody_listens_nothing_is_found(scene: Scene, path: str) -> None:
    assert (await scene.call(path))[0] == 404
    assert scene.ear.calls == []


@pytest.mark.parametrize("size", [1_000_001, 10_000_000])
async def test_a_body_that_is_too_large_is_not_read(scene: Scene, size: int) -> None:
    assert (await scene.call("/v1/callbacks/main/receipts", body=b"x" * size))[0] == 413
    assert scene.ear.calls == []
    scene.ear.read = lambda _call: Heard()
    assert (await scene.call("/v1/callbacks/main/receipts", body=b"x" * 1_000_000))[0] == 200


async def test_a_gateway_that_stumbles_over_a_call_stops_nothing_else(scene: Scene) -> None:
    command = await scene.sent()
    with capture_logs() as lines:
        status, answer = await scene.call("/v1/callbacks/main/replies?mac=secret", body=b'{"from":"+8613800001234"')
        assert (status, json.loads(answer)) == (500, {"error": "this failed inside; the log says why"})
    assert [line["path"] for line in lines] == ["/v1/callbacks/main/replies"]
    assert (await scene.call(receipt_path(command)))[0] == 200
    assert scene.state() == "delivered"


async def test_a_call_is_taken_while_events_are_turned_away(scene: Scene) -> None:
    command = await scene.sent()
    scene.engine.busy = True
    assert (await scene.call(receipt_path(command)))[0] == 200
    assert scene.state() == "delivered"


async def test_too_many_calls_at_once_are_asked_to_come_back(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triggers.web.callbacks.MOST_AT_ONCE", 2)
    inflight = scene.engine.dispatch.inflight
    inflight.begin(1, [PHONE])
    said = [json.dumps({"from": PHONE, "text": "TD", "id": str(number)}).encode() for number in range(3)]
    waiting = [asyncio.create_task(scene.call("/v1/callbacks/main/replies", body=body)) for body in said[:2]]
    async with asyncio.timeout(5):
        while len(scene.ear.calls) < 2:  # noqa: ASYNC110  a call that waits tells nobody
            await asyncio.sleep(0.005)
        assert (await scene.call("/v1/callbacks/main/replies", body=said[2]))[0] == 503
        inflight.finish(1, [PHONE])
        assert [status for status, _ in await asyncio.gather(*waiting)] == [200, 200]
        assert (await scene.call("/v1/callbacks/main/replies", body=said[2]))[0] == 200


async def test_a_caller_who_stops_in_the_middle_of_a_body_is_not_waited_for(scene: Scene) -> None:
    reader, writer = await asyncio.open_connection(scene.client.host, scene.client.port)
    try:
        writer.write(b"POST /v1/callbacks/main/receipts HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{")
        answer = await asyncio.wait_for(reader.readline(), 5)
    finally:
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_reply_from_what_is_no_number_is_told_without_it(scene: Scene) -> None:
    said = json.dumps({"from": "+8613800001234\n", "text": "STOP"}).encode()
    with capture_logs() as lines:
        assert (await scene.call("/v1/callbacks/main/replies", body=said))[0] == 200
    assert scene.engine.rows(SUPPRESSED) == []
    assert "1380000" not in str(lines)
    assert scene.engine.at == NOW
