"""The HTTP gateway at work: settings from YAML, and a stub that does what real gateways cannot be made to do."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import stub_gateway
from aiohttp import web
from stub_gateway import FAULTS, Fault, StubGateway, stub_settings

from triggers.dispatch.callbacks import call_url, callback_url, receipt_mac
from triggers.dispatch.gateway import (
    Accepted,
    Answer,
    Barred,
    Call,
    Fate,
    Gateway,
    Heard,
    Hears,
    Outgoing,
    Receipt,
    Refused,
    Rejected,
    Reply,
    TryLater,
    Unknown,
)
from triggers.dispatch.gateways.http import HttpGateway, HttpSettings
from triggers.dispatch.settings import load_delivery

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SECRET = "a-secret-of-the-shop"  # noqa: S105  made up
PHONE = "+8613800001234"
HOUR = 3_600_000

GATEWAYS = """
delivery: v1
public_url: https://shop.example
routes: {default: [acme, kannel]}
gateways:
  acme:
    type: http
    price: 0.05
    secret: env:ACME_CALLBACKS
    rate: 50
    timeout_s: 7.5
    request:
      url: https://sms.acme.example/v2/messages
      headers: {Authorization: env:ACME_KEY}
      id_header: Idempotency-Key
      json:
        to: "{phone}"
        body: {text: "{text}", sign: "{signature}", unicode: true}
        ttl: "{validity_min}"
        weight: 0.5
      with_callback: {status_url: "{callback}"}
    answer:
      status: [200, 202]
      code: result.code
      accepted: [0]
      id: result.id
      parts: result.parts
      throttled: [1005]
      invalid_number: [1101]
      blacklisted: [1102]
      barred: [1900, NO_BALANCE]
    receipts:
      each: reports
      status: state
      delivered: [DELIVRD]
      undelivered: [UNDELIV, EXPIRED, REJECTD]
      id: id
      phone: mobile
      code: err
      invalid_number: ["001"]
    replies: {phone: mobile, text: content, id: id, answer: '{"ok":true}'}
  kannel:
    type: kannel
    url: http://127.0.0.1:13013/cgi-bin/sendsms
    username: shop
    password: env:KANNEL_PASSWORD
    from: "10690"
    secret: env:ACME_CALLBACKS
"""


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACME_CALLBACKS", "ACME_KEY", "KANNEL_PASSWORD"):
        monkeypatch.setenv(name, f"hush-{name}")


@pytest.mark.usefixtures("environment")
async def test_gateways_are_described_in_yaml(tmp_path: Path) -> None:
    (tmp_path / "gateways.yaml").write_text(GATEWAYS)
    found = load_delivery(tmp_path / "gateways.yaml").gateways
    assert {name: settings.type for name, settings in found.items()} == {"acme": "http", "kannel": "kannel"}
    for name, settings in found.items():
        gateway: Gateway = settings.open(name)
        assert isinstance(gateway, HttpGateway)
        assert isinstance(gateway, Hears)
        assert (gateway.name, gateway.receipts) == (name, True)
        await gateway.close()
        assert "hush" not in f"{settings!r} {settings} {settings.model_dump()}"


def settings(url: str, **more: Any) -> HttpSettings:
    return HttpSettings.model_validate(stub_settings(url, secret=SECRET) | more)


@asynccontextmanager
async def gateway(url: str, **more: Any) -> AsyncIterator[HttpGateway]:
    opened = settings(url, **more).open("stub")
    try:
        yield opened
    finally:
        await opened.close()


def message(
    command: str = "c1", *, callback: str | None = None, text: str = '你好 & "x"', left_ms: int = HOUR
) -> Outgoing:
    return Outgoing(command, 1, PHONE, text, "notice", time.time_ns() // 1_000_000 + left_ms, callback)


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        (Fault.NONE, Accepted("m-c1-1", 1, "ok")),
        (Fault.SLOW, Accepted("m-c1-1", 1, "ok")),
        (Fault.THROTTLED, TryLater("http 429", after_s=1.0)),
        (Fault.REFUSED, Rejected("http 400")),
        (Fault.FAILED_LOST, Unknown("http 500")),
        (Fault.FAILED_TAKEN, Unknown("http 500")),
        (Fault.HUNG, Unknown("timed out")),
        (Fault.RESET, Unknown("no readable answer")),
        (Fault.GARBAGE, Unknown("unreadable answer")),
        ((200, {"status": "busy"}), TryLater("busy")),
        ((400, {"status": "no such number"}), Rejected("no such number", invalid_number=True)),
        ((200, {"status": "blacklisted"}), Rejected("blacklisted", blacklisted=True)),
        ((200, {"status": "no balance"}), Barred("no balance")),
        ((403, {}), Barred("http 403")),
        ((302, {"status": "ok", "id": "m"}), Unknown("http 302")),
    ],
)
async def test_each_thing_that_can_happen_to_a_message_is_told_from_the_others(
    fault: Fault | tuple[int, Any], answer: Answer
) -> None:
    async with StubGateway(slow_s=0.1) as stub, gateway(stub.url, timeout_s=0.5) as sender:
        stub.script([fault])
        found = await sender.send(message())
        assert (type(found), found) == (type(answer), answer)
        assert len(stub.truth) == (isinstance(fault, Fault) and fault.takes)
        assert stub.asked == 1
        assert stub.keys == ["c1"]


async def test_what_the_gateway_was_given_is_what_was_meant() -> None:
    async with StubGateway() as stub, gateway(stub.url) as sender:
        await sender.send(message())
        (taken,) = stub.truth
    assert (taken.command, taken.phone, taken.text, taken.klass) == ("c1", PHONE, '你好 & "x"', "notice")
    assert abs(taken.at - time.time_ns() // 1_000_000) < 10_000


async def test_a_connection_that_is_closed_before_it_is_read_is_not_certain_and_not_tried_again() -> None:
    async with StubGateway() as stub, gateway(stub.url) as sender:
        stub.close_connections = 1
        assert await sender.send(message()) == Unknown("no readable answer")
        assert stub.truth == []
        assert await sender.send(message()) == Accepted("m-c1-1", 1, "ok")


async def test_a_gateway_that_is_down_took_nothing() -> None:
    async with StubGateway() as stub:
        url = stub.url
    async with gateway(url) as sender:
        assert await sender.send(message()) == TryLater("no connection", refused_connection=True)


async def test_a_message_whose_last_minute_has_begun_is_not_sent() -> None:
    async with StubGateway() as stub, gateway(stub.url) as sender:
        assert await sender.send(message(left_ms=59_000)) == TryLater("validity over")
        assert await sender.send(message(left_ms=-HOUR)) == TryLater("validity over")
        assert stub.asked == 0


class Service:
    """What the stub calls: it hands calls to a gateway and keeps what that hears, and whether an answer was there."""

    def __init__(self) -> None:
        self.gateway: HttpGateway
        self.url = ""
        self.heard: list[Receipt | Reply] = []
        self.statuses: list[int] = []
        self.failing = 0

    async def serve(self, request: web.Request) -> web.Response:
        if self.failing:
            self.failing -= 1
            return web.Response(status=503)
        kind = request.match_info["kind"]
        call = Call(kind, request.method, str(request.url), request.query, {}, await request.read())
        heard = self.gateway.hear(call)
        self.statuses.append(heard.status if isinstance(heard, Refused) else 200)
        if isinstance(heard, Heard):
            self.heard += [*heard.receipts, *heard.replies]
        return web.Response(status=self.statuses[-1])

    def callback(self, command: str) -> str:
        return callback_url(self.url, "stub", SECRET, command)


@asynccontextmanager
async def service() -> AsyncIterator[Service]:
    serving = Service()
    application = web.Application()
    application.router.add_post("/v1/callbacks/stub/{kind}", serving.serve)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    serving.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield serving
    finally:
        await runner.cleanup()


async def test_receipts_come_to_the_address_of_their_message() -> None:
    async with StubGateway() as stub, service() as serving, gateway(stub.url) as serving.gateway:
        stub.arrival = 1.0
        await serving.gateway.send(message("c1", callback=serving.callback("c1")))
        stub.arrival = 0.0
        serving.failing = 2
        await serving.gateway.send(message("c2", callback=serving.callback("c2")))
        await stub.all_told()
    found = {receipt.command: receipt for receipt in serving.heard if isinstance(receipt, Receipt)}
    assert {command: receipt.fate for command, receipt in found.items()} == {
        "c1": Fate.DELIVERED,
        "c2": Fate.UNDELIVERED,
    }
    assert {receipt.provider_id for receipt in found.values()} == {"m-c1-1", "m-c2-1"}
    assert {receipt.phone for receipt in found.values()} == {PHONE}
    assert sorted(stub.told) == [("c1", "delivered"), ("c2", "failed")]


async def test_the_stub_tells_in_every_odd_way_and_each_is_heard() -> None:
    odd = StubGateway(faults=1.0, seed=3, slow_s=0.01, hang_s=0.01)
    async with odd as stub, service() as serving, gateway(stub.url) as serving.gateway:
        for number in range(150):
            command = f"c{number}"
            await serving.gateway.send(message(command, callback=serving.callback(command)))
        await stub.all_told()
    told = [(receipt.command, receipt.fate, receipt.phone) for receipt in serving.heard if isinstance(receipt, Receipt)]
    assert set(serving.statuses) == {200}
    assert any(told.count(each) == 2 for each in told)
    assert any((command, Fate.UNDELIVERED, phone) in told for command, fate, phone in told if fate is Fate.DELIVERED)
    assert any(phone != PHONE for _, _, phone in told)
    assert {command for command, _, _ in told} < {taken.command for taken in stub.truth}
    assert {taken.fault for taken in stub.truth} == {str(fault) for fault in FAULTS if fault.takes}


async def test_a_receipt_may_come_before_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stub_gateway, "ODD", [stub_gateway.Telling.EARLY])
    async with StubGateway(faults=1.0) as stub, service() as serving, gateway(stub.url) as serving.gateway:
        stub.script([Fault.NONE])
        sending = asyncio.create_task(serving.gateway.send(message(callback=serving.callback("c1"))))
        while not serving.heard:
            assert not sending.done()
            await asyncio.sleep(0)
        assert await sending == Accepted("m-c1-1", 1, "ok")


async def test_replies_come_to_the_gateways_secret_address() -> None:
    async with StubGateway() as stub, service() as serving, gateway(stub.url) as serving.gateway:
        address = call_url(serving.url, "stub", SECRET, "replies")
        assert await stub.reply(address, PHONE, "退订", "r1") == 200
        assert await stub.reply(address[:-1], PHONE, "退订", "r2") == 403
        assert await stub.reply(call_url(serving.url, "stub", SECRET, "receipts"), PHONE, "退订", "r3") == 400
    (reply,) = serving.heard
    assert isinstance(reply, Reply)
    assert (reply.phone, reply.text, reply.id, reply.to) == (PHONE, "退订", "r1", "10690")


MAC = receipt_mac(SECRET, "stub", "c1")
BODY = b'{"status":"delivered","id":"m1"}'


@pytest.mark.parametrize(
    ("kind", "query", "status"),
    [
        ("receipts", {"command": "c1", "mac": MAC}, 200),
        ("receipts", {"command": "c2", "mac": MAC}, 403),
        ("receipts", {"command": "c1", "mac": MAC[:-1]}, 403),
        ("receipts", {"command": "c1"}, 403),
        ("receipts", {"mac": MAC}, 403),
        ("receipts", {}, 403),
        ("replies", {"command": "c1", "mac": MAC}, 403),
        ("status", {"command": "c1", "mac": MAC}, 400),
    ],
)
def test_a_call_is_believed_only_at_its_own_address(kind: str, query: dict[str, str], status: int) -> None:
    hears = settings("http://127.0.0.1:9/").open("stub")
    heard = hears.hear(Call(kind, "POST", "", query, {}, BODY))
    assert (heard.status if isinstance(heard, Refused) else 200) == status
    if isinstance(heard, Heard):
        assert heard.receipts == (Receipt(Fate.DELIVERED, "m1", "c1", None, "delivered"),)
    elif status == 403:
        assert "c1" not in heard.why


def test_receipts_that_name_no_command_come_to_one_address_of_the_gateways() -> None:
    hears = settings("http://127.0.0.1:9/").open("stub")
    mac = call_url("", "stub", SECRET, "receipts").rpartition("=")[2]
    heard = hears.hear(Call("receipts", "POST", "", {"mac": mac}, {}, BODY))
    assert heard == Heard(receipts=(Receipt(Fate.DELIVERED, "m1", None, None, "delivered"),))


def test_without_a_secret_or_a_mapping_nothing_is_heard() -> None:
    deaf = settings("http://127.0.0.1:9/", secret=None).open("stub")
    assert not deaf.receipts
    heard = deaf.hear(Call("receipts", "POST", "", {"command": "c1", "mac": MAC}, {}, BODY))
    assert isinstance(heard, Refused)
    assert heard.status == 403
    silent = settings("http://127.0.0.1:9/", receipts=None).open("stub")
    assert not silent.receipts
    heard = silent.hear(Call("receipts", "POST", "", {"command": "c1", "mac": MAC}, {}, BODY))
    assert isinstance(heard, Refused)
    assert heard.status == 400


async def test_faults_follow_from_the_seed_and_the_command_and_not_from_the_order() -> None:
    async def faults(seed: int, commands: list[str]) -> dict[str, str]:
        async with StubGateway(faults=0.5, seed=seed, slow_s=0, hang_s=0.01) as stub, gateway(stub.url) as sender:
            for command in commands:
                await sender.send(message(command))
            return {taken.command: taken.fault for taken in stub.truth}

    commands = [f"c{number}" for number in range(40)]
    first = await faults(1, commands)
    again = await faults(1, commands[::-1])
    # A closed connection depends on the order, and takes no message.
    assert all(first[command] == again[command] for command in first.keys() & again.keys())
    assert len(first.keys() & again.keys()) > 15
    assert await faults(2, commands) != first


async def test_the_stub_runs_as_a_process_and_writes_the_truth_before_it_answers(tmp_path: Path) -> None:
    port, truth = tmp_path / "port", tmp_path / "truth.jsonl"
    options: list[str | Path] = ["--port-file", port, "--truth", truth, "--faults", "0", "--seed", "7", "--hang-s", "1"]
    program = await asyncio.create_subprocess_exec(sys.executable, stub_gateway.__file__, *options)
    try:
        async with asyncio.timeout(20):
            while not port.exists():  # noqa: ASYNC110  another process makes it
                await asyncio.sleep(0.02)
        async with gateway(f"http://127.0.0.1:{port.read_text()}/send") as sender:
            for number in range(3):
                assert isinstance(await sender.send(message(f"c{number}")), Accepted)
                lines = [json.loads(line) for line in truth.read_text().splitlines()]
                assert [line["command"] for line in lines] == [f"c{n}" for n in range(number + 1)]
    finally:
        program.terminate()
        assert await asyncio.wait_for(program.wait(), 10) == 0
    assert lines[0] | {"at": 0} == {
        "command": "c0",
        "phone": PHONE,
        "text": '你好 & "x"',
        "klass": "notice",
        "at": 0,
        "id": "m-c0-1",
        "fault": "taken, answered",
    }


async def test_the_stub_speaks_plain_http_to_anybody() -> None:
    async with StubGateway() as stub, aiohttp.ClientSession() as session:
        told = {"to": PHONE, "text": "x", "class": "notice", "reference": "c1"}
        async with session.post(stub.url, json=told) as answer:
            assert await answer.json() == {"status": "ok", "id": "m-c1-1", "parts": 1}
