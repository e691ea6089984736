from __future__ import annotations

import asyncio
import hashlib
import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from engines import NOW, PHONE, Mouth

from triggers.core.times import iso
from triggers.dispatch.gateway import TryLater, Unknown
from triggers.store.messages import send_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Client
    from engines import Engine

CODE = {"class": "verification", "to": PHONE, "text": "Your code is 1234"}
TOKEN = "correct-horse-battery"  # noqa: S105  of this test alone


FULL_WIDTH = "13800001234".translate({48 + digit: 0xFF10 + digit for digit in range(10)})


class Office:
    """A face with one gateway behind it."""

    def __init__(self, engine: Engine, client: Client, gateway: Mouth) -> None:
        self.engine, self.client, self.gateway = engine, client, gateway

    async def post(self, content: Any = CODE, key: str | None = "k1", **headers: str) -> tuple[int, dict[str, Any]]:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        if key is not None:
            headers["Idempotency-Key"] = key
        answer = await self.client.post("/v1/messages", data=io.BytesIO(body), headers=headers)
        assert answer.content_type == "application/json"
        return answer.status, await answer.json()

    async def get(self, name: str, **headers: str) -> tuple[int, dict[str, Any]]:
        answer = await self.client.get(f"/v1/messages/{name}", headers=headers)
        return answer.status, await answer.json()

    def queued(self) -> list[tuple[Any, ...]]:
        return self.engine.rows("SELECT command, class, phone, customer, rule, state FROM outbox ORDER BY seq")


@pytest.fixture
async def office(serve: Callable[..., Any]) -> Office:
    gateway = Mouth()
    return Office(*await serve(gateways={"main": gateway}), gateway)


def name_of(key: str) -> str:
    return hashlib.sha256(f"api|{key}".encode()).hexdigest()


async def test_a_message_is_answered_when_it_is_on_the_disk_under_the_id_of_its_key(office: Office) -> None:
    assert await office.post() == (202, {"id": name_of("k1"), "state": "queued"})
    assert office.queued() == [(name_of("k1"), "verification", PHONE, "", "", "queued")]
    send = send_of(office.engine.reader, name_of("k1"))
    assert send is not None
    assert (send.text, send.segments, send.cost) == ("[Test] Your code is 1234", 1, 5_000)
    assert (send.at, send.expires, send.withheld, send.shadow) == (NOW, NOW + 300_000, False, False)
    assert office.engine.rows("SELECT rule, month, reserved FROM spending") == [("", "2026-09", 5_000)]


async def test_the_lane_of_its_class_is_told_at_once(office: Office) -> None:
    dispatcher = office.engine.dispatch.dispatcher
    running = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(0.05)  # the lanes sleep now, for seconds
    async with asyncio.timeout(2):
        await office.post()
        await office.gateway.came.wait()
        dispatcher.stop()
        await running
    assert (office.gateway.got[0].phone, office.gateway.got[0].text) == (PHONE, "[Test] Your code is 1234")
    assert office.gateway.got[0].valid_until == NOW + 300_000


async def test_the_same_again_is_the_same_message_whatever_became_of_it(office: Office) -> None:
    first = await office.post()
    await office.engine.dispatch.dispatcher.drain()
    office.engine.at += 1_000
    assert await office.post() == (200, first[1])
    assert await office.post(CODE | {"to": "138 0000 1234"}) == (200, first[1])  # the same number
    assert len(office.queued()) == len(office.engine.counted) == 1
    assert len(office.gateway.got) == 1
    assert (await office.post(key="k2"))[0] == 202
    assert len(office.engine.counted) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"text": "Your code is 1235"}, {"to": "+8613800001235"}, {"class": "notice"}, {"customer": "c1"},
        {"expires_in_s": 299}, {"params": {"code": "1"}}, {"template": "login"},
    ],
)  # fmt: skip
async def test_the_same_key_with_other_content_is_refused(office: Office, other: dict[str, Any]) -> None:
    await office.post()
    status, answer = await office.post(CODE | other)
    assert (status, "other content" in answer["error"]) == (409, True)
    assert len(office.queued()) == 1


async def test_two_at_once_with_one_key_are_one_message(office: Office) -> None:
    answers = await asyncio.gather(*(office.post() for _ in range(20)))
    assert sorted(status for status, _ in answers) == [200] * 19 + [202]
    assert len({answer["id"] for _, answer in answers}) == 1
    assert len(office.queued()) == 1


async def test_a_message_that_was_taken_stays_so_when_the_shop_would_not_take_it_any_more(office: Office) -> None:
    first = await office.post()
    office.engine.shop = replace(office.engine.shop, signature="[Other] " + "x" * 400)
    assert await office.post() == (200, first[1])
    assert (await office.post(key="k2"))[0] == 422


@pytest.mark.parametrize("key", [None, "", "k" * 201])
async def test_without_a_good_key_nothing_is_taken(office: Office, key: str | None) -> None:
    status, answer = await office.post(key=key)
    assert (status, "Idempotency-Key" in answer["error"]) == (400, True)
    assert office.queued() == []


@pytest.mark.parametrize(
    "headers",
    [b"Idempotency-Key: a\tb\r\n", b"Idempotency-Key: a\xff\r\n", b"Idempotency-Key: a\r\nIdempotency-Key: a\r\n"],
)
async def test_a_key_that_cannot_be_read_or_comes_twice_is_none(office: Office, headers: bytes) -> None:
    status, answer = await raw(office, headers)
    assert (status, "Idempotency-Key" in answer["error"]) == (400, True)
    assert office.queued() == []


async def raw(office: Office, headers: bytes) -> tuple[int, dict[str, Any]]:
    """Post a code with headers that no client library writes."""
    reader, writer = await asyncio.open_connection(office.client.host, office.client.port)
    body = json.dumps(CODE).encode()
    head = b"POST /v1/messages HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n" % len(body)
    try:
        writer.write(head + headers + b"\r\n" + body)
        answer = await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()
        await writer.wait_closed()
    first, _, content = answer.partition(b"\r\n\r\n")
    return int(first.split()[1]), json.loads(content)


@pytest.mark.parametrize(
    "to",
    [
        "+8613800001234,+8613800001235", "+8613800001234 +8613800001235", "+8613800001234\n", "\n+8613800001234",
        "=13800001234", FULL_WIDTH, "+8610012345678", "+862112345678", "hello", "+86138", "", "1" * 41,
        "+8613800001234;ext=1", "\u202e+8613800001234", ["+8613800001234"], {"n": "+8613800001234"}, 8613800001234,
        None, True,
    ],
)  # fmt: skip
async def test_what_is_no_number_of_one_handset_is_refused_and_not_repeated(office: Office, to: object) -> None:
    status, answer = await office.post(CODE | {"to": to})
    assert (status, "'to'" in answer["error"]) == (422, True)
    assert "1380000" not in answer["error"]
    assert office.queued() == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"text": "  "}, "'text' is empty"),
        ({"text": ""}, "'text'"),
        ({"text": "x" * 2_001}, "'text'"),
        ({"text": "好" * 140}, "'text' is too long: with the signature it takes 3 parts, 2 may be"),
        ({"text": "a \x1b[2J"}, "'text' cannot be sent: control character"),
        ({"text": "a \u202e b"}, "'text' cannot be sent: control character"),
        ({"text": "dear {customer.name}"}, "'text' cannot be sent: unresolved variable"),
        ({"text": "a mi racle"}, "'text' cannot be sent: banned word"),
        ({"class": "marketing"}, "'class'"),
        ({"class": None}, "'class'"),
        ({"colour": "red"}, "'colour'"),
        ({"expires_in_s": 9}, "'expires_in_s' is from 10 to 3600"),
        ({"expires_in_s": 3_601}, "'expires_in_s' is from 10 to 3600"),
        ({"class": "notice", "expires_in_s": 604_801}, "'expires_in_s' is from 10 to 604800"),
        ({"expires_in_s": 10**30}, "'expires_in_s'"),
        ({"expires_in_s": 60.5}, "'expires_in_s'"),
        ({"expires_in_s": "60"}, "'expires_in_s'"),
        ({"params": {"code": 1234}}, "'params.code'"),
        ({"params": {"code": "\n\u202e"}}, "'params.code' cannot be sent: control character"),
        ({"params": {"code": "{customer.name}"}}, "'params.code' cannot be sent: unresolved variable"),
        ({"params": {"co de": "1"}}, "'params"),
        ({"params": {str(number): "" for number in range(51)}}, "'params'"),
        ({"customer": "c" * 201}, "'customer'"),
        ({"template": "a/b"}, "'template'"),
        ({"x" * 3_000: 1}, f"'{'x' * 60}'"),
    ],
)
async def test_what_cannot_leave_as_it_is_is_refused_with_the_reason(
    office: Office, fields: dict[str, Any], words: str
) -> None:
    status, answer = await office.post({**CODE, **fields})
    assert status == 422
    assert answer["error"].startswith(words)
    assert len(answer["error"]) < 300
    assert office.queued() == []


@pytest.mark.parametrize("expires_in_s", [10, 3_600])
async def test_bounds_are_inside(office: Office, expires_in_s: int) -> None:
    assert (await office.post(CODE | {"expires_in_s": expires_in_s}))[0] == 202
    (message,) = office.engine.rows("SELECT command FROM outbox")
    send = send_of(office.engine.reader, message[0])
    assert send is not None
    assert send.expires == NOW + expires_in_s * 1_000


async def test_many_findings_are_cut_off(office: Office) -> None:
    status, answer = await office.post({f"x{number}": 1 for number in range(100)})
    assert (status, "; and 93 more" in answer["error"]) == (422, True)  # with the three fields that are missing


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"nonsense", 400), (b'{"to": NaN', 400), (b"[" * 30_000, 400), (b"\xff\xfe{}", 400),
        (b'{"class":"notice","to":"+8613800001234","text":"\\ud800"}', 400),
        (b'{"class":"notice","to":NaN,"text":"hello"}', 422), (b"[]", 422), (b"1", 422), (b"null", 422),
        (b" " * 64_001, 413), (b" " * 10_000_000, 413),
    ],
)  # fmt: skip
async def test_what_is_no_message_is_refused(office: Office, body: bytes, status: int) -> None:
    answer = await office.post(body)
    assert answer[0] == status
    assert answer[1]["error"]
    assert office.queued() == []
    assert (await office.post())[0] == 202


async def test_a_signature_that_is_there_is_not_put_there_twice(office: Office) -> None:
    await office.post(CODE | {"text": "[Test] hello"})
    await office.post({"class": "notice", "to": "13800001234", "text": "hello"}, key="k2")
    await office.engine.dispatch.dispatcher.drain()
    assert [each.text for each in office.gateway.got] == ["[Test] hello", "[Test] hello"]
    assert [each.phone for each in office.gateway.got] == [PHONE, PHONE]


async def test_a_template_is_found_by_the_class_and_its_name(serve: Callable[..., Any]) -> None:
    gateway = Mouth()
    templates = {"verification/login": "T1", "verification": "T0", "notice/paid": "T2"}
    office = Office(*await serve(gateways={"main": gateway}, main={"templates": templates}), gateway)
    status, answer = await office.post(CODE | {"template": "logn"}, key="k0")
    assert (status, "did you mean 'login'?" in answer["error"]) == (422, True)
    assert (await office.post(CODE | {"template": "paid"}, key="k0"))[0] == 422  # of another class
    params = {"b": "2", "a": "1"}
    assert (await office.post(CODE | {"template": "login", "params": params}))[0] == 202
    assert (await office.post(key="k2"))[0] == 202
    await office.engine.dispatch.dispatcher.drain()
    first, second = (each.template for each in gateway.got)
    assert first is not None
    assert second is not None
    assert (first.code, list(first.params.items())) == ("T1", [("b", "2"), ("a", "1")])
    assert (second.code, second.params) == ("T0", {})


async def test_where_no_gateway_has_templates_the_text_itself_is_sent(office: Office) -> None:
    assert (await office.post(CODE | {"template": "login"}))[0] == 202
    await office.engine.dispatch.dispatcher.drain()
    assert office.gateway.got[0].template is None


async def test_the_way_of_a_message_is_told_without_number_or_text(office: Office) -> None:
    office.gateway.answer = TryLater("busy")
    _, posted = await office.post(CODE | {"customer": "c1"})
    dispatcher = office.engine.dispatch.dispatcher
    await dispatcher.drain()
    status, told = await office.get(posted["id"])
    assert (status, told["state"], told["reason"]) == (200, "queued", "busy")
    office.gateway.answer = Unknown("time-out")
    office.engine.at += 200_000
    await dispatcher.drain()
    status, told = await office.get(posted["id"])
    left, at = iso(NOW), iso(NOW + 200_000)
    assert told == {
        "id": posted["id"], "class": "verification", "state": "unknown", "reason": "time-out", "parts": 1,
        "queued_at": left, "expires_at": iso(NOW + 300_000),
        "history": [
            {"at": left, "from": "queued", "to": "sending", "gateway": "main", "attempt": 1},
            {"at": left, "from": "sending", "to": "queued", "reason": "busy", "gateway": "main", "attempt": 1},
            {"at": at, "from": "queued", "to": "sending", "gateway": "main", "attempt": 2},
            {"at": at, "from": "sending", "to": "unknown", "reason": "time-out", "gateway": "main", "attempt": 2},
        ],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["0" * 64, "x", "0" * 63, "%27%20OR%201=1", "A" * 64])
async def test_an_id_that_nobody_has_is_not_found(office: Office, name: str) -> None:
    assert (await office.get(name))[0] == 404


async def test_without_the_token_nothing_is_taken_or_told(serve: Callable[..., Any]) -> None:
    gateway = Mouth()
    office = Office(*await serve(gateways={"main": gateway}, token=TOKEN), gateway)
    for wrong in ({}, {"Authorization": "Bearer"}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN},
                  {"Authorization": f"Digest {TOKEN}"}, {"Authorization": f"Bearer {TOKEN}x"},
                  {"Authorization": f"Bearer {TOKEN[:-1]}"}, {"Authorization": "Bearer \udcff"}):  # fmt: skip
        assert (await office.post(**wrong))[0] == 401
        assert (await office.get(name_of("k1"), **wrong))[0] == 401
        answer = await office.client.post("/v1/events", json={}, headers=wrong)
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert office.queued() == []
    right = {"Authorization": f"bearer  {TOKEN}"}
    assert (await office.post(**right))[0] == 202
    assert (await office.get(name_of("k1"), **right))[0] == 200
    event = {"id": "a", "type": "store.visited", "customer": "c1", "at": NOW}
    assert (await office.client.post("/v1/events", json=event, headers=right)).status == 200
    assert (await office.client.get("/healthz")).status == 200


async def test_when_too_much_waits_nothing_is_taken(office: Office) -> None:
    office.engine.busy = True
    assert (await office.post())[0] == 503
    assert office.queued() == []
