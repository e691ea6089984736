"""Hearing over SMPP: receipts and replies are confirmed when they are stored, and not before."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from smpp_scenes import PHONE, answering, listening, message, opened, until
from smsc import DELIVER_SM, DELIVER_SM_RESP, Line, Smsc, Unit, smpp34, smsc

from triggers.dispatch.gateway import Accepted, Fate, Heard, Receipt, Reply
from triggers.dispatch.smpp import inbox, pieces

DONE = "id:{} sub:001 dlvrd:001 submit date:2611221200 done date:2611221203 stat:{} err:{} text:hello"
TRY_AGAIN, NEVER_AGAIN = 0x64, 0x65


def receipts(heard: list[Heard]) -> list[Receipt]:
    return [receipt for what in heard for receipt in what.receipts]


def replies(heard: list[Heard]) -> list[Reply]:
    return [reply for what in heard for reply in what.replies]


async def bound(one: Smsc, times: int = 1) -> None:
    await one.until(lambda: len(one.esmes) == times)


# Stored, then confirmed


async def test_a_receipt_is_confirmed_when_it_is_stored_and_not_before() -> None:
    stored, began = asyncio.Event(), asyncio.Event()

    async def hear(_what: Heard) -> None:
        began.set()
        await stored.wait()

    async with smsc() as one, opened(one.port) as gateway:
        listen = asyncio.create_task(gateway.listen(hear))
        await bound(one)
        deliver = asyncio.create_task(one.receipt(DONE.format("abc", "DELIVRD", "000")))
        await began.wait()
        await asyncio.sleep(0.1)
        assert DELIVER_SM_RESP not in one.commands()
        stored.set()
        assert await deliver == 0
        listen.cancel()
        await asyncio.gather(listen, return_exceptions=True)


async def test_what_could_not_be_stored_is_sent_again_by_the_smsc() -> None:
    heard: list[Heard] = []

    async def hear(what: Heard) -> None:
        heard.append(what)
        if len(heard) == 1:
            raise OSError("disk full")

    async with smsc() as one, opened(one.port) as gateway:
        listen = asyncio.create_task(gateway.listen(hear))
        await bound(one)
        receipt = DONE.format("abc", "DELIVRD", "000")
        assert [await one.receipt(receipt), await one.receipt(receipt)] == [TRY_AGAIN, 0]
        assert heard[0] == heard[1]
        listen.cancel()
        await asyncio.gather(listen, return_exceptions=True)


async def test_one_that_cannot_be_stored_holds_up_no_other() -> None:
    heard: list[Heard] = []

    async def hear(what: Heard) -> None:
        if what.replies:
            await asyncio.Event().wait()
        heard.append(what)

    async with smsc() as one, opened(one.port) as gateway:
        listen = asyncio.create_task(gateway.listen(hear))
        await bound(one)
        stuck = asyncio.create_task(one.deliver(b"R"))
        await one.until(lambda: any(unit.command == DELIVER_SM for unit in one.told))
        assert await one.receipt(DONE.format("abc", "DELIVRD", "000")) == 0
        assert await gateway.send(message()) == Accepted("id-1")
        listen.cancel()
        assert await stuck == TRY_AGAIN  # listening ended before it was stored
        await asyncio.gather(listen, return_exceptions=True)


async def test_while_nobody_listens_the_smsc_keeps_what_it_has() -> None:
    async with smsc() as one, opened(one.port) as gateway:
        await gateway.send(message())
        assert await one.deliver(b"R") == TRY_AGAIN
        async with listening(gateway) as heard:
            assert await one.deliver(b"R") == 0
        assert await one.deliver(b"R") == TRY_AGAIN
    assert replies(heard) == [Reply(PHONE, "R", to="10690")]


async def test_what_waits_when_listening_ends_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "AT_ONCE", 1)

    async def hear(_what: Heard) -> None:
        await asyncio.Event().wait()

    async with smsc() as one, opened(one.port) as gateway:
        listen = asyncio.create_task(gateway.listen(hear))
        await bound(one)
        delivers = [asyncio.create_task(one.deliver(text)) for text in (b"R", b"T")]
        await one.until(lambda: [unit.command for unit in one.told].count(DELIVER_SM) == 2)
        await asyncio.sleep(0.05)
        listen.cancel()
        assert await asyncio.gather(*delivers) == [TRY_AGAIN, TRY_AGAIN]
        await asyncio.gather(listen, return_exceptions=True)


async def test_more_than_can_wait_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "AT_ONCE", 1)
    monkeypatch.setattr(inbox, "MAX_WAITING", 1)
    go = asyncio.Event()

    async def hear(_what: Heard) -> None:
        await go.wait()

    async with smsc() as one, opened(one.port) as gateway:
        listen = asyncio.create_task(gateway.listen(hear))
        await bound(one)
        delivers = [asyncio.create_task(one.deliver(b"R"))]
        await one.until(lambda: any(unit.command == DELIVER_SM for unit in one.told))
        await asyncio.sleep(0.05)
        delivers += [asyncio.create_task(one.deliver(b"R")) for _ in range(2)]
        await one.until(lambda: any(unit.command == DELIVER_SM_RESP for unit in one.sent))
        go.set()
        assert sorted(await asyncio.gather(*delivers)) == [0, 0, TRY_AGAIN]
        listen.cancel()
        await asyncio.gather(listen, return_exceptions=True)


async def test_a_delivery_that_cannot_be_read_is_refused_for_good_and_stops_nothing() -> None:
    async with smsc() as one, opened(one.port) as gateway, listening(gateway) as heard:
        await bound(one)
        one.lines[0].tell(Unit(DELIVER_SM, 0, 99, b"\xff" * 40))
        await one.until(lambda: Unit(DELIVER_SM_RESP, NEVER_AGAIN, 99, b"\0") in one.sent)
        assert await one.deliver(b"R") == 0
    assert len(heard) == 1


async def test_a_broken_connection_is_made_again_and_receipts_go_on() -> None:
    async with smsc() as one, opened(one.port, soon=True) as gateway, listening(gateway) as heard:
        await bound(one)
        assert await one.receipt(DONE.format("a", "DELIVRD", "000")) == 0
        one.lines[0].cut()
        await bound(one, 2)
        assert await one.receipt(DONE.format("b", "DELIVRD", "000")) == 0
    assert [receipt.provider_id for receipt in receipts(heard)] == ["a", "b"]
    assert one.submits == []


async def test_a_confirmation_over_a_lost_connection_is_not_written_to_the_next() -> None:
    stored = asyncio.Event()

    async def hear(_what: Heard) -> None:
        await stored.wait()

    async with smsc() as one, opened(one.port, soon=True) as gateway:
        listen = asyncio.create_task(gateway.listen(hear))
        await bound(one)
        deliver = asyncio.create_task(one.deliver(b"R"))
        await one.until(lambda: any(unit.command == DELIVER_SM for unit in one.told))
        one.lines[0].cut()
        await bound(one, 2)
        stored.set()
        await asyncio.sleep(0.1)
        assert DELIVER_SM_RESP not in one.commands()
        with pytest.raises(smpp34.SmppError):
            await deliver
        listen.cancel()
        await asyncio.gather(listen, return_exceptions=True)


# Receipts


async def test_a_receipt_before_the_answer_names_the_id_that_the_answer_brings() -> None:
    async def receipt_first(_count: int, _octets: bytes) -> str:
        assert await one.receipt(DONE.format("abc", "DELIVRD", "000")) == 0
        return "abc"

    async with smsc() as one, opened(one.port) as gateway, listening(gateway) as heard:
        one.answer = receipt_first
        assert await gateway.send(message()) == Accepted("abc")
        assert receipts(heard) == [Receipt(Fate.DELIVERED, "abc", phone=PHONE, code="DELIVRD 000")]


async def test_late_and_double_receipts_are_handed_on_as_they_come() -> None:
    async with smsc() as one, opened(one.port) as gateway, listening(gateway) as heard:
        one.answer = answering("abc")
        assert await gateway.send(message()) == Accepted("abc")
        states = ("ENROUTE", "DELIVRD", "DELIVRD", "UNDELIV")
        assert [await one.receipt(DONE.format("abc", stat, "000")) for stat in states] == [0] * 4
    fates = [Fate.ON_ITS_WAY, Fate.DELIVERED, Fate.DELIVERED, Fate.UNDELIVERED]
    assert [(receipt.provider_id, receipt.fate) for receipt in receipts(heard)] == [("abc", fate) for fate in fates]


async def test_receipts_by_optional_parameters_alone() -> None:
    tlvs = [smpp34.Tlv(0x001E, b"abc\0"), smpp34.Tlv(0x0427, b"\x05"), smpp34.Tlv(0x1403, b"vendor")]
    async with smsc() as one, opened(one.port) as gateway, listening(gateway) as heard:
        await bound(one)
        assert await one.deliver(b"", esm_class=0x04, tlvs=tlvs) == 0
        assert await one.deliver(b"", tlvs=tlvs) == 0
        assert await one.deliver(b"", esm_class=0x20, tlvs=tlvs) == 0
    assert receipts(heard) == [
        Receipt(Fate.UNDELIVERED, "abc", phone=PHONE, code="UNDELIV"),
        Receipt(Fate.UNDELIVERED, "abc", phone=PHONE, code="UNDELIV"),
        Receipt(Fate.ON_ITS_WAY, "abc", phone=PHONE, code="UNDELIV"),
    ]


async def test_a_receipt_that_names_no_message_is_let_go() -> None:
    async with smsc() as one, opened(one.port) as gateway, listening(gateway) as heard:
        await bound(one)
        assert await one.receipt("stat:DELIVRD text: id:abc") == 0
    assert heard == []


async def test_a_handset_cannot_write_a_receipt() -> None:
    forged = DONE.format("abc", "DELIVRD", "000")
    async with smsc() as one, opened(one.port) as gateway, listening(gateway) as heard:
        await bound(one)
        assert await one.deliver(forged.encode()) == 0
        assert await one.receipt("id:abc stat:UNDELIV err:001 text: id:x stat:DELIVRD err:000") == 0
    assert replies(heard) == [Reply(PHONE, forged, to="10690")]
    assert receipts(heard) == [Receipt(Fate.UNDELIVERED, "abc", phone=PHONE, code="UNDELIV 001")]


@pytest.mark.parametrize(
    ("form", "answered", "written"),
    [
        ("same", "0Af3-x", "0Af3-x"),
        ("hex_to_decimal", "00A3F", "0002623"),
        ("hex_to_decimal", "A3F", "2623"),
        ("decimal_to_hex", "2623", "0A3F"),
        ("decimal_to_hex", "0002623", "a3f"),
    ],
)
async def test_an_id_that_receipts_write_in_another_form_is_known(form: str, answered: str, written: str) -> None:
    async with smsc() as one, opened(one.port, id_form=form) as gateway, listening(gateway) as heard:
        one.answer = answering(answered)
        answer = await gateway.send(message())
        await one.receipt(DONE.format(written, "DELIVRD", "000"))
        await one.receipt("stat:DELIVRD err:000", tlvs=[smpp34.Tlv(0x001E, answered.encode() + b"\0")])
    assert isinstance(answer, Accepted)
    assert [receipt.provider_id for receipt in receipts(heard)] == [answer.provider_id] * 2


async def test_codes_times_and_the_carrier_s_own_words_are_read() -> None:
    errors = {"005": "invalid_number", "MK:0004": "blacklisted"}
    async with (
        smsc() as one,
        opened(one.port, receipt_zone="Asia/Shanghai", errors=errors) as gateway,
        listening(gateway) as heard,
    ):
        await bound(one)
        for stat, err in (
            ("undeliv", "005"),
            ("MK:0004", "000"),
            ("DB:0141", "141"),
            ("WONDER", "7"),
            ("DELIVRD", "0"),
        ):
            await one.receipt(DONE.format("abc", stat, err))
        await one.receipt("ID:abc Done Date:261122120359 STAT:DELIVRD")
        await one.receipt("id:abc done date:2613221203 stat:DELIVRD")
    at = int(datetime(2026, 11, 22, 12, 3, tzinfo=ZoneInfo("Asia/Shanghai")).timestamp() * 1_000)
    usual = Receipt(Fate.UNDELIVERED, "abc", phone=PHONE, at=at)
    assert receipts(heard) == [
        usual._replace(code="UNDELIV 005", invalid_number=True),
        usual._replace(code="MK:0004 000", blacklisted=True),
        usual._replace(code="DB:0141 141"),
        usual._replace(fate=Fate.ON_ITS_WAY, code="WONDER 7"),
        usual._replace(fate=Fate.DELIVERED, code="DELIVRD 0"),
        usual._replace(fate=Fate.DELIVERED, code="DELIVRD", at=at + 59_000),
        usual._replace(fate=Fate.DELIVERED, code="DELIVRD", at=None),
    ]


async def test_a_time_of_an_unknown_zone_is_not_used() -> None:
    async with smsc() as one, opened(one.port) as gateway, listening(gateway) as heard:
        await bound(one)
        await one.receipt(DONE.format("abc", "DELIVRD", "000"))
    assert receipts(heard)[0].at is None


# Replies


async def test_a_reply_in_chinese_is_heard() -> None:
    async with smsc() as one, opened(one.port) as gateway, listening(gateway) as heard:
        await bound(one)
        assert await one.deliver("退订".encode("utf-16-be"), data_coding=8) == 0
    assert replies(heard) == [Reply(PHONE, "退订", to="10690")]


@pytest.mark.parametrize(
    ("coding", "octets", "text"),
    [
        (0, b"T\x00D \x1b\x65\x1b\x28\x1b", "T@D €{"),
        (1, b"STOP", "STOP"),
        (3, b"arr\xeat", "arrêt"),
        (4, b"R", "R"),
        (8, b"\xfe\xff" + "退订T😀".encode("utf-16-be"), "退订T😀"),
        (8, "退".encode("utf-16-be") + b"\x8b", "退�"),
        (15, "退订".encode("gbk"), "退订"),
        (6, "СТОП".encode("iso8859_5"), "СТОП"),
        (14, "수신거부".encode("euc_kr"), "수신거부"),
        (0x19, "退订".encode("utf-16-be"), "退订"),
        (0xF1, b"R\x00", "R@"),
        (0xF5, b"R", "R"),
        (0xE3, "退".encode("utf-16-be"), "退"),
        (200, b"R\x00", "R@"),
        (1, b"ST\xffP", "ST�P"),
        (0, b"a\xff", "a�"),
        (8, b"", ""),
    ],
)
async def test_a_reply_is_read_in_any_coding(coding: int, octets: bytes, text: str) -> None:
    async with smsc() as one, opened(one.port) as gateway, listening(gateway) as heard:
        await bound(one)
        assert await one.deliver(octets, data_coding=coding) == 0
    assert [reply.text for reply in replies(heard)] == [text]


async def test_a_reply_may_be_in_a_payload() -> None:
    async with smsc() as one, opened(one.port) as gateway, listening(gateway) as heard:
        await bound(one)
        await one.deliver(b"", data_coding=8, tlvs=[smpp34.Tlv(0x0424, "退订".encode("utf-16-be"))])
    assert [reply.text for reply in replies(heard)] == ["退订"]


@pytest.mark.parametrize(
    ("address", "ton", "phone"),
    [
        ("8613800138000", 1, PHONE),
        ("+8613800138000", 1, PHONE),
        ("008613800138000", 1, PHONE),
        ("+8613800138000", 0, PHONE),
        ("8613800138000", 0, "8613800138000"),
        ("13800138000", 2, "13800138000"),
        ("INFO", 5, "INFO"),
    ],
)
async def test_a_number_has_a_plus_where_it_is_said_to_be_international(address: str, ton: int, phone: str) -> None:
    async with smsc() as one, opened(one.port) as gateway, listening(gateway) as heard:
        await bound(one)
        await one.deliver(b"R", source=address, source_addr_ton=ton)
        await one.receipt(DONE.format("abc", "DELIVRD", "000"), source=address, source_addr_ton=ton)
    assert [reply.phone for reply in replies(heard)] == [phone]
    assert [receipt.phone for receipt in receipts(heard)] == [phone]


# Replies in parts


def part(how: str, reference: int, total: int, number: int, octets: bytes) -> dict[str, Any]:
    if how == "sar":
        tags = ((0x020C, reference.to_bytes(2, "big")), (0x020E, bytes([total])), (0x020F, bytes([number])))
        return {"text": octets, "tlvs": [smpp34.Tlv(tag, value) for tag, value in tags]}
    if how == "long":
        head = bytes([6, 8, 4]) + reference.to_bytes(2, "big") + bytes([total, number])
    elif how == "more":  # a port comes first
        head = bytes([11, 5, 4, 0, 80, 0, 80, 0, 3, reference, total, number])
    else:
        head = bytes([5, 0, 3, reference, total, number])
    return {"text": head + octets, "esm_class": 0x40}


@pytest.mark.parametrize("how", ["udh", "long", "more", "sar"])
async def test_a_reply_in_parts_is_put_together_whatever_comes_first(how: str) -> None:
    text = "请不要再给我发短信了😀退订"
    octets = text.encode("utf-16-be")
    cuts = [octets[:8], octets[8:22], octets[22:]]  # the second ends inside a pair
    async with smsc() as one, opened(one.port) as gateway, listening(gateway) as heard:
        await bound(one)
        for number in (3, 1, 2):
            assert await one.deliver(**part(how, 7, 3, number, cuts[number - 1]), data_coding=8) == 0
    assert replies(heard) == [Reply(PHONE, text, to="10690")]


async def test_parts_of_different_people_and_messages_are_kept_apart() -> None:
    async with smsc() as one, opened(one.port) as gateway, listening(gateway) as heard:
        await bound(one)
        for number, octets in ((1, b"ST"), (2, b"OP")):
            await one.deliver(**part("udh", 1, 2, number, octets), data_coding=1)
            await one.deliver(**part("udh", 1, 2, number, octets.lower()), data_coding=1, source="8613800138001")
            await one.deliver(**part("udh", 2, 2, number, octets * 2), data_coding=1)
        await one.deliver(**part("udh", 1, 2, 1, b"a"), data_coding=1)
        await one.deliver(**part("udh", 1, 2, 2, b"b"), data_coding=1)
    assert [(reply.phone[-1], reply.text) for reply in replies(heard)] == [
        ("0", "STOP"), ("1", "stop"), ("0", "STSTOPOP"), ("0", "ab"),
    ]  # fmt: skip


async def test_parts_that_could_not_be_stored_are_whole_again_with_the_repeat_of_one() -> None:
    heard: list[Heard] = []

    async def hear(what: Heard) -> None:
        heard.append(what)
        if len(heard) == 1:
            raise OSError("disk full")

    async with smsc() as one, opened(one.port) as gateway:
        listen = asyncio.create_task(gateway.listen(hear))
        await bound(one)
        assert await one.deliver(**part("udh", 1, 2, 1, b"ST"), data_coding=1) == 0
        last = part("udh", 1, 2, 2, b"OP")
        assert [await one.deliver(**last, data_coding=1) for _ in range(2)] == [TRY_AGAIN, 0]
        listen.cancel()
        await asyncio.gather(listen, return_exceptions=True)
    assert [reply.text for reply in replies(heard)] == ["STOP", "STOP"]


async def test_a_part_that_waits_in_vain_is_handed_on_with_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "WAIT_S", 0.2)
    monkeypatch.setattr(inbox, "SWEEP_S", 0.05)
    async with smsc() as one, opened(one.port) as gateway, listening(gateway) as heard:
        await bound(one)
        await one.deliver(**part("udh", 1, 3, 1, b"a"), data_coding=1)
        await one.deliver(**part("udh", 1, 3, 3, "退".encode("utf-16-be")), data_coding=8)
        await asyncio.sleep(0.05)
        assert heard == []
        await until(lambda: heard)
    assert replies(heard) == [Reply(PHONE, "a…退", to="10690")]


async def test_parts_are_not_lost_when_listening_ends() -> None:
    async with smsc() as one, opened(one.port) as gateway:
        async with listening(gateway) as heard:
            await bound(one)
            assert await one.deliver(**part("udh", 1, 2, 1, b"STOP"), data_coding=1) == 0
            assert heard == []
        assert replies(heard) == [Reply(PHONE, "STOP…", to="10690")]


async def test_parts_beyond_the_bounds_wait_at_the_smsc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "MAX_UNDER_WAY", 1)
    async with smsc() as one, opened(one.port) as gateway, listening(gateway) as heard:
        await bound(one)
        first, other = part("udh", 1, 2, 1, b"ST"), part("udh", 2, 2, 1, b"a")
        assert [await one.deliver(**one_part, data_coding=1) for one_part in (first, other)] == [0, TRY_AGAIN]
        assert await one.deliver(**part("udh", 1, 2, 2, b"OP"), data_coding=1) == 0
        assert await one.deliver(**other, data_coding=1) == 0
    assert [reply.text for reply in replies(heard)] == ["STOP", "a…"]


@pytest.mark.parametrize(
    "head", [[5, 0, 3, 1, 33, 1], [5, 0, 3, 1, 2, 3], [5, 0, 3, 1, 2, 0], [5, 0, 3, 1, 1, 1], [2, 0, 9]]
)
async def test_a_part_of_an_impossible_message_is_taken_as_it_comes(head: list[int]) -> None:
    async with smsc() as one, opened(one.port) as gateway, listening(gateway) as heard:
        await bound(one)
        assert await one.deliver(bytes(head) + b"R", esm_class=0x40, data_coding=1) == 0
        assert [reply.text for reply in replies(heard)] == ["R"]


# Nothing of it in the log


async def test_no_number_text_or_password_is_in_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    async def hear(_what: Heard) -> None:
        raise ValueError(f"{PHONE} 退订")

    def cut(line: Line, unit: Unit) -> bool:
        if unit.command == DELIVER_SM:
            line.tell(Unit(DELIVER_SM, 0, 1, PHONE.encode() * 3))
            line.tell(b"\xff" * 20)
        return False

    async with smsc() as one, opened(one.port) as gateway:
        listen = asyncio.create_task(gateway.listen(hear))
        await bound(one)
        assert await one.deliver("退订".encode("utf-16-be"), data_coding=8) == TRY_AGAIN
        await gateway.send(message("hello 退订"))
        one.meddle = cut
        with pytest.raises(smpp34.SmppError):
            await one.deliver(b"R")
        await until(one.lines[0].esme.is_closing)
        listen.cancel()
        await asyncio.gather(listen, return_exceptions=True)
    log = "".join(capfd.readouterr())
    assert "could not be stored" in log
    assert "cannot be read" in log
    assert not any(word in log for word in (PHONE, PHONE[1:], "退订", "hello", "s3cret"))
