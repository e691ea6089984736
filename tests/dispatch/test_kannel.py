"""The Kannel preset against a real Kannel: bearerbox, smsbox and fakesmsc."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from kannel import NAME, PASSWORD, SECRET, SHORT_CODE, USERNAME, Got, Kannel, kannel, needed

from triggers.core.texts import segments
from triggers.dispatch.callbacks import callback_url
from triggers.dispatch.gateway import (
    Accepted,
    Barred,
    Call,
    Fate,
    Heard,
    Outgoing,
    Receipt,
    Refused,
    Rejected,
    Reply,
    TryLater,
)
from triggers.dispatch.gateways.http import HttpGateway, KannelSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

__all__ = ["kannel"]

HOUR = 3_600_000
ACCEPTED = Accepted(None, code="0: Accepted")
_phones = iter(range(13_800_000_000, 13_900_000_000))


def new_phone() -> str:
    return f"+86{next(_phones)}"


@pytest.fixture
def own_kannel(tmp_path: Path) -> Iterator[type[Kannel]]:
    """Start Kannels for one test, which it may break."""
    running: list[Kannel] = []

    class Own(Kannel):
        def __init__(self, **more: Any) -> None:
            folder = tmp_path / f"kannel-{len(running)}"
            folder.mkdir()
            super().__init__(needed(), folder, **more)
            running.append(self)
            self.start()

    yield Own
    for each in running:
        each.stop()


@asynccontextmanager
async def gateway(at: Kannel, **more: Any) -> AsyncIterator[HttpGateway]:
    settings = {"type": "kannel", "url": at.url, "username": USERNAME, "password": PASSWORD, "secret": SECRET, **more}
    opened = KannelSettings.model_validate(settings).open(NAME)
    try:
        yield opened
    finally:
        await opened.close()


class Service:
    """What Kannel calls: it hands each call to the gateway, and keeps what that heard."""

    def __init__(self, hears: HttpGateway) -> None:
        self.gateway = hears
        self.receipts: list[Receipt] = []
        self.replies: list[Reply] = []
        self.refused: list[Refused] = []
        self.failing = 0

    async def serve(self, request: web.Request) -> web.Response:
        if self.failing:
            self.failing -= 1
            return web.Response(status=503)
        headers = {name.lower(): value for name, value in request.headers.items()}
        kind = request.match_info["kind"]
        call = Call(kind, request.method, str(request.url), request.query, headers, await request.read())
        heard = self.gateway.hear(call)
        if isinstance(heard, Refused):
            self.refused.append(heard)
            return web.Response(status=heard.status)
        self.receipts += heard.receipts
        self.replies += heard.replies
        return web.Response(body=heard.answer, content_type=heard.content_type)

    async def until(self, *, receipts: int = 0, replies: int = 0, ends: int = 0) -> None:
        within = time.monotonic() + 15
        while (
            len(self.receipts) < receipts or len(self.replies) < replies or len(self.ends()) < ends
        ) and not self.refused:
            assert time.monotonic() < within, "Kannel did not call"
            await asyncio.sleep(0.02)

    def ends(self) -> list[Receipt]:
        return [receipt for receipt in self.receipts if receipt.fate is not Fate.ON_ITS_WAY]


@asynccontextmanager
async def service(at: Kannel, hears: HttpGateway) -> AsyncIterator[Service]:
    serving = Service(hears)
    application = web.Application()
    application.router.add_route("*", f"/v1/callbacks/{NAME}/{{kind}}", serving.serve)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", at.public_port, reuse_address=True).start()
    try:
        yield serving
    finally:
        await runner.cleanup()


def message(phone: str, text: str, *, at: Kannel | None = None, command: str = "c1", left_ms: int = HOUR) -> Outgoing:
    callback = callback_url(at.public_url, NAME, SECRET, command) if at is not None else None
    valid_until = time.time_ns() // 1_000_000 + left_ms
    return Outgoing(command, 1, phone, text, "marketing", valid_until, callback)


TEXTS = {
    "hello": 1,
    "【三只松鼠】您好😀“坚果”满减 5% & more + 100%41 {x} 拒收请回复R": 1,
    "GSM: @£$¥èéùìòÇØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ ¡ÄÖÑÜ§¿äöñüà ^{}\\[~]|€": 1,
    "x=1&y=2#top?;,/:@%25%d": 1,
    "松" * 70: 1,
    "松" * 71: 2,
    "松鼠" * 75 + "😀😀😀": 3,
    "0123456789" * 40: 3,
    "[€]" * 120: 5,
}
"""Texts, and in how many parts they go."""


async def test_a_text_reaches_the_handset_as_it_is_and_in_the_parts_that_we_count(kannel: Kannel) -> None:
    phones = {new_phone(): text for text in TEXTS}
    async with gateway(kannel) as sender:
        for phone, text in phones.items():
            assert await sender.send(message(phone, text)) == ACCEPTED
        for phone, text in phones.items():
            assert await kannel.wait_for(1, phone) == [Got(SHORT_CODE, phone, text, TEXTS[text])]
    assert {text: segments(text) for text in TEXTS} == TEXTS


async def test_a_receipt_says_that_the_message_of_its_command_was_delivered(kannel: Kannel) -> None:
    phones = {f"command-{number}": new_phone() for number in range(5)}
    async with gateway(kannel) as sender, service(kannel, sender) as listening:
        assert sender.receipts
        for command, phone in phones.items():
            assert await sender.send(message(phone, "你好" * 60, at=kannel, command=command)) == ACCEPTED
        await listening.until(ends=5, receipts=10)
    assert listening.refused == []
    assert {receipt.command: receipt.phone for receipt in listening.ends()} == phones
    assert {receipt.fate for receipt in listening.ends()} == {Fate.DELIVERED}
    assert len({receipt.provider_id for receipt in listening.ends()}) == 5
    assert {receipt.command for receipt in listening.receipts if receipt.fate is Fate.ON_ITS_WAY} == set(phones)
    now = time.time_ns() // 1_000_000
    assert all(receipt.at is not None and now - 60_000 < receipt.at <= now for receipt in listening.receipts)


async def test_what_a_commands_name_has_to_be_escaped_for_is_no_gap_to_kannel(kannel: Kannel) -> None:
    command = "c%d/1 %é:%41&status=2"
    async with gateway(kannel) as sender, service(kannel, sender) as listening:
        await sender.send(message(new_phone(), "hi", at=kannel, command=command))
        await listening.until(ends=1, receipts=2)
    assert listening.refused == []
    assert [(receipt.command, receipt.fate) for receipt in listening.ends()] == [(command, Fate.DELIVERED)]


async def test_a_receipt_for_a_service_that_is_down_comes_when_it_is_up_again(kannel: Kannel) -> None:
    phone = new_phone()
    async with gateway(kannel) as sender:
        await sender.send(message(phone, "hi", at=kannel, command="late"))
        await kannel.wait_for(1, phone)
        async with service(kannel, sender) as listening:
            await listening.until(ends=1, receipts=2)
    assert (listening.ends()[0].command, listening.ends()[0].fate) == ("late", Fate.DELIVERED)


async def test_a_receipt_that_the_service_could_not_store_comes_again(own_kannel: type[Kannel]) -> None:
    at = own_kannel()  # type: ignore[call-arg]
    async with gateway(at) as sender, service(at, sender) as listening:
        listening.failing = 2
        await sender.send(message(new_phone(), "hi", at=at))
        await listening.until(ends=1, receipts=2)
    assert [receipt.fate for receipt in listening.ends()] == [Fate.DELIVERED]


async def test_a_receipt_of_another_gateways_secret_is_refused(own_kannel: type[Kannel]) -> None:
    at, other = own_kannel(), {"secret": "another"}  # type: ignore[call-arg]
    async with gateway(at) as sender, gateway(at, **other) as hears, service(at, hears) as listening:
        await sender.send(message(new_phone(), "hi", at=at))
        await listening.until(receipts=1)
    assert {refused.status for refused in listening.refused} == {403}
    assert listening.receipts == []


REPLIES = [
    ("ucs2", "退订"),
    ("ucs2", "R"),
    ("text", "R"),
    ("text", "STOP"),
    ("text", "stop  it, please"),
    ("text", "退订"),
    ("data", "退订"),
    ("ucs2", "好的😀 R&a=b%41+%d"),
    ("text", "é€@_$"),
]


@pytest.mark.parametrize("recode", [True, False])
async def test_a_reply_arrives_as_it_was_written(own_kannel: type[Kannel], recode: bool) -> None:  # noqa: FBT001
    at = own_kannel(recode=recode)  # type: ignore[call-arg]
    phones = {new_phone(): reply for reply in REPLIES}
    async with gateway(at) as hears, service(at, hears) as listening:
        for phone, (kind, text) in phones.items():
            at.reply(phone, text, kind=kind)
        await listening.until(replies=len(REPLIES))
    assert listening.refused == []
    assert {reply.phone: reply.text for reply in listening.replies} == {
        phone: text for phone, (_, text) in phones.items()
    }
    assert {reply.to for reply in listening.replies} == {SHORT_CODE}
    assert len({reply.id for reply in listening.replies}) == len(REPLIES)
    assert at.received() == []  # our answer is not sent to the customer


async def test_wrong_credentials_bar_the_gateway_and_not_the_message(kannel: Kannel) -> None:
    async with gateway(kannel, password="no") as sender:  # noqa: S106  made up
        assert await sender.send(message(new_phone(), "hi")) == Barred("Authorization failed")
    async with gateway(kannel, url=kannel.url + "x") as sender:
        assert await sender.send(message(new_phone(), "hi")) == Barred("Unknown request")


async def test_what_is_no_number_is_rejected_and_nobody_is_unsubscribed(kannel: Kannel) -> None:
    async with gateway(kannel) as sender:
        assert await sender.send(message("nobody", "hi")) == Rejected("Number(s) has/have been denied")


async def test_the_sender_is_what_the_settings_say(kannel: Kannel) -> None:
    phone = new_phone()
    async with gateway(kannel, **{"from": "三只{松鼠}"}) as sender:
        assert await sender.send(message(phone, "hi")) == ACCEPTED
        (got,) = await kannel.wait_for(1, phone)
    assert got.sender == "三只{松鼠}"


async def test_a_message_whose_time_is_over_is_not_given_to_kannel(kannel: Kannel) -> None:
    phone = new_phone()
    async with gateway(kannel) as sender:
        assert await sender.send(message(phone, "late", left_ms=59_000)) == TryLater("validity over")
        assert await sender.send(message(phone, "in time", left_ms=65_000)) == ACCEPTED
        assert [got.text for got in await kannel.wait_for(1, phone)] == ["in time"]


async def test_accepted_is_not_sent(own_kannel: type[Kannel]) -> None:
    at = own_kannel(throughput=4)  # type: ignore[call-arg]
    phone = new_phone()
    async with gateway(at) as sender:
        for number in range(6):
            assert await sender.send(message(phone, f"message {number}")) == ACCEPTED
        assert len(at.received(phone)) < 6
        assert [got.text for got in await at.wait_for(6, phone)] == [f"message {number}" for number in range(6)]


async def test_what_kannel_cannot_hand_on_it_queues_and_hands_on_later_once(own_kannel: type[Kannel]) -> None:
    at = own_kannel()  # type: ignore[call-arg]
    phone = new_phone()
    async with gateway(at) as sender, service(at, sender) as listening:
        at.unplug()
        assert await sender.send(message(phone, "later", at=at)) == Accepted(None, code="3: Queued")
        assert listening.ends() == []
        at.plug_in()
        await listening.until(ends=1)
        await sender.send(message(phone, "last", at=at, command="c2"))
        await at.wait_for(2, phone)
    assert [got.text for got in at.received(phone)] == ["later", "last"]


async def test_a_kannel_that_is_down_takes_nothing_and_takes_the_message_when_it_is_back(
    own_kannel: type[Kannel],
) -> None:
    at = own_kannel()  # type: ignore[call-arg]
    phone = new_phone()
    async with gateway(at) as sender:
        at.stop()
        assert await sender.send(message(phone, "hi")) == TryLater("no connection", refused_connection=True)
        at.start()
        assert await sender.send(message(phone, "hi")) == ACCEPTED
        assert [got.text for got in await at.wait_for(1, phone)] == ["hi"]


async def test_without_a_secret_nothing_is_asked_for_and_nothing_is_heard(kannel: Kannel) -> None:
    async with gateway(kannel, secret=None) as sender:
        assert not sender.receipts
        url = callback_url(kannel.public_url, NAME, SECRET, "c1")
        query = dict(part.split("=") for part in urlsplit(url).query.split("&"))
        heard = sender.hear(Call("receipts", "GET", url, query | {"status": "1"}, {}, b""))
        assert isinstance(heard, Refused)
        assert heard.status == 403
    async with gateway(kannel) as hears:
        assert isinstance(hears.hear(Call("receipts", "GET", url, query | {"status": "1"}, {}, b"")), Heard)
