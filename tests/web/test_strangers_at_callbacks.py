"""Calls that are not a gateway's own, sent without ever sending their bodies."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from engines import NOW

from triggers.dispatch.callbacks import call_url, callback_url
from triggers.dispatch.gateways.aliyun import AliyunSettings
from triggers.dispatch.gateways.http import HttpSettings
from triggers.dispatch.gateways.tencent import TencentSettings
from triggers.dispatch.gateways.twilio import TwilioSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Client
    from engines import Engine

SECRET = "hush"  # noqa: S105  nobody's
SIGNED = "X-Twilio-Signature: bm90aGluZw==\r\n"
MAPPED = HttpSettings.model_validate(
    {
        "type": "http",
        "secret": SECRET,
        "request": {"method": "POST", "url": "http://127.0.0.1:9/", "json": {"to": "{phone}", "text": "{text}"}},
        "answer": {"id": "id"},
        "receipts": {"status": "status", "delivered": ["ok"], "id": "id"},
        "replies": {"phone": "from", "text": "text"},
    }
)
ALIYUN = AliyunSettings.model_validate(
    {"type": "aliyun", "access_key_id": "i", "access_key_secret": "s", "sign_name": "n", "secret": SECRET}
)
TENCENT = TencentSettings.model_validate(
    {"type": "tencent", "secret_id": "i", "secret_key": "k", "app_id": "1", "sign_name": "n", "secret": SECRET}
)
TWILIO = TwilioSettings.model_validate(
    {"type": "twilio", "account_sid": "AC" + "0" * 32, "auth_token": "t", "from": "+15005550006", "secret": SECRET}
)
GATEWAYS = {"mapped": MAPPED, "ali": ALIYUN, "ten": TENCENT, "twi": TWILIO}
KINDS = ("receipts", "replies")
OWN = [
    *((call_url("", name, SECRET, kind), "") for name in ("mapped", "ali", "ten") for kind in KINDS),
    (callback_url("", "mapped", SECRET, "c1"), ""),
    *((f"/v1/callbacks/twi/{kind}", SIGNED) for kind in KINDS),
]


@pytest.fixture
async def client(serve: Callable[..., Any]) -> Client:
    engine: Engine
    client: Client
    engine, client = await serve(gateways={name: each.open(name) for name, each in GATEWAYS.items()})
    assert engine.at == NOW
    return client


async def answered(client: Client, path: str, headers: str = "") -> int:
    """Send the head of a call and nothing of its body; tell the status. A body that is waited for is a 408."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    try:
        writer.write(f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n{headers}\r\n".encode())
        line = await asyncio.wait_for(reader.readline(), 5)
    finally:
        writer.close()
        await writer.wait_closed()
    return int(line.split()[1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", GATEWAYS)
async def test_a_stranger_is_refused_before_the_body_is_read(client: Client, name: str, kind: str) -> None:
    path = f"/v1/callbacks/{name}/{kind}"
    wrong = call_url("", name, "a guess", kind)
    assert [await answered(client, each) for each in (path, wrong, f"{path}?mac=&command=c1")] == [403] * 3
    assert await answered(client, f"/v1/callbacks/{name}/nonsense") == 400


async def test_another_messages_mac_is_refused_before_the_body_is_read(client: Client) -> None:
    own = callback_url("", "mapped", SECRET, "c1")
    assert await answered(client, own.replace("command=c1", "command=c2")) == 403


@pytest.mark.parametrize(("path", "headers"), OWN)
async def test_the_body_of_a_call_that_may_be_authentic_is_waited_for(client: Client, path: str, headers: str) -> None:
    assert await answered(client, path, headers) == 408


async def test_strangers_take_no_room_of_gateways(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triggers.web.callbacks.MOST_AT_ONCE", 1)
    own = call_url("", "ali", SECRET, "replies")
    waiting = asyncio.create_task(answered(client, own))
    await asyncio.sleep(0.05)
    assert await answered(client, call_url("", "ali", "a guess", "replies")) == 403
    assert await answered(client, own) == 503
    assert await waiting == 408


async def test_a_call_with_a_signature_that_only_looks_like_one_is_refused_after_its_body(client: Client) -> None:
    headers = {"X-Twilio-Signature": "bm90aGluZw==", "Content-Type": "application/x-www-form-urlencoded"}
    async with client.session.post(
        f"http://{client.host}:{client.port}/v1/callbacks/twi/replies", data=b"From=1&Body=STOP", headers=headers
    ) as answer:
        assert answer.status == 403
