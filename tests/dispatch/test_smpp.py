"""Sending over SMPP to an SMSC that runs here: what it answers, what it does not, and what breaks."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError
from smpp_scenes import HOUR_MS, PHONE, USUAL, answering, instead_of_submit, message, opened, told
from smsc import (
    BIND,
    NACK,
    SUBMIT_SM_RESP,
    Unit,
    smsc,
)

from triggers.clock import wall_ms
from triggers.core.texts import segments
from triggers.dispatch.gateway import Accepted, Barred, Rejected, TryLater, Unknown
from triggers.dispatch.gateways import smpp
from triggers.dispatch.gateways.smpp import SmppSettings
from triggers.errors import ServiceUnusable

LONG = "亲爱的顾客们" * 20
REFUSED = TryLater("no connection", refused_connection=True)


# What goes out


async def test_a_message_is_submitted_once_with_all_that_the_smsc_must_know() -> None:
    before = wall_ms()
    async with smsc() as one, opened(one.port, source_ton=5, system_type="SHOP", service_type="CMT") as gateway:
        assert await gateway.send(message("hi {there}")) == Accepted("id-1")
        (submit,) = one.submits
        bind = next(unit for unit in one.sent if unit.command == BIND)
    assert bind.body == b"shop\0s3cret\0SHOP\0\x34\x05\0\0"
    assert (submit.source_addr, submit.source_addr_ton) == ("10690", 5)
    assert (submit.destination_addr, submit.dest_addr_ton, submit.dest_addr_npi) == (PHONE[1:], 1, 1)
    assert (submit.data_coding, submit.esm_class, submit.registered_delivery) == (0, 0, 1)
    assert submit.short_message == b"hi \x1b\x28there\x1b\x29"
    assert submit.service_type == "CMT"
    until_at = datetime.strptime(submit.validity_period, "%y%m%d%H%M%S000+").replace(tzinfo=UTC).timestamp() * 1_000
    assert before + HOUR_MS - 1_000 <= until_at <= wall_ms() + HOUR_MS


async def test_a_validity_may_be_relative() -> None:
    async with smsc() as one, opened(one.port, validity="relative") as gateway:
        await gateway.send(message(valid_ms=86_400_000 + 2 * HOUR_MS + 3 * 60_000 + 4_900))
        assert one.submits[0].validity_period == "000001020304000R"


@pytest.mark.parametrize("validity", ["absolute", "relative"])
async def test_a_validity_is_thirty_days_at_most(validity: str) -> None:
    async with smsc() as one, opened(one.port, validity=validity) as gateway:
        await gateway.send(message(valid_ms=1 << 60))
        (submit,) = one.submits
    limit = f"{datetime.fromtimestamp(wall_ms() / 1_000 + 30 * 86_400, UTC):%y%m%d}"
    assert submit.validity_period.startswith("000030000000" if validity == "relative" else limit)


async def test_a_message_is_not_sent_past_its_validity() -> None:
    async with smsc() as one, opened(one.port) as gateway:
        assert await gateway.send(message(valid_ms=500)) == TryLater("past its validity")
        assert one.submits == []


async def test_without_receipts_none_are_asked_for() -> None:
    async with smsc() as one, opened(one.port, registered_delivery=False) as gateway:
        assert not gateway.receipts
        await gateway.send(message())
        assert one.submits[0].registered_delivery == 0


async def test_a_chinese_text_leaves_in_ucs2() -> None:
    async with smsc() as one, opened(one.port) as gateway:
        await gateway.send(message("退订回T😀"))
        (submit,) = one.submits
    assert (submit.data_coding, submit.short_message) == (8, "退订回T😀".encode("utf-16-be"))


async def test_where_china_counts_every_text_leaves_in_ucs2() -> None:
    async with smsc() as one, opened(one.port, text_coding="ucs2") as gateway:
        assert await gateway.send(message("a" * 71)) == Accepted("id-2", parts=2)
        assert [submit.data_coding for submit in one.submits] == [8, 8]


@pytest.mark.parametrize(("bits", "header"), [(8, 6), (16, 7)])
async def test_a_long_chinese_text_is_put_together_right_by_the_smsc(bits: int, header: int) -> None:
    async with smsc() as one, opened(one.port, reference_bits=bits) as gateway:
        answer = await gateway.send(message(LONG))
        again = await gateway.send(message(LONG))
        submits = one.submits
    parts = len(submits) // 2
    assert parts == segments(LONG) == 2
    assert (answer, again) == (Accepted("id-2", parts=parts), Accepted("id-4", parts=parts))
    assert {(submit.esm_class, submit.data_coding) for submit in submits} == {(0x40, 8)}
    assert all(len(submit.short_message) <= 140 for submit in submits)
    assert "".join(submit.short_message[header:].decode("utf-16-be") for submit in submits[:parts]) == LONG
    heads = [submit.short_message[:header] for submit in submits]
    assert [head[-2:] for head in heads] == [b"\2\1", b"\2\2"] * 2
    assert heads[0][:-1] == heads[1][:-1] != heads[2][:-1]  # of one reference, and the next message of another
    assert heads[0][:3] == (b"\5\0\3" if bits == 8 else b"\6\x08\4")


async def test_only_the_last_part_has_a_receipt_and_its_id_is_the_message_s() -> None:
    async with smsc() as one, opened(one.port) as gateway:
        assert await gateway.send(message("a" * 161)) == Accepted("id-2", parts=2)
        assert [submit.registered_delivery for submit in one.submits] == [0, 1]


async def test_a_long_text_may_go_whole_as_a_payload() -> None:
    async with smsc() as one, opened(one.port, long_texts="payload") as gateway:
        assert await gateway.send(message(LONG)) == Accepted("id-1")
        assert await gateway.send(message("short")) == Accepted("id-2")
        long, short = one.submits
    assert (long.short_message, long.esm_class, long.data_coding) == (b"", 0, 8)
    assert [(tlv.tag, bytes(tlv.value).decode("utf-16-be")) for tlv in long.tlvs] == [(0x0424, LONG)]
    assert (short.short_message, short.tlvs) == (b"short", [])


async def test_a_text_of_more_parts_than_can_be_counted_is_refused() -> None:
    async with smsc() as one, opened(one.port) as gateway:
        assert await gateway.send(message("a" * 153 * 256)) == Rejected("too long")
        assert one.submits == []


# What is answered


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (0x58, TryLater("ESME_RTHROTTLED")),
        (0x14, TryLater("ESME_RMSGQFUL")),
        (0x0B, Rejected("ESME_RINVDSTADR", invalid_number=True)),
        (0x01, Rejected("ESME_RINVMSGLEN")),
        (0x45, Rejected("ESME_RSUBMITFAIL")),
        (0xC2, Rejected("ESME_RINVPARLEN")),
        (0x0A, Barred("ESME_RINVSRCADR")),
        (0x51, Barred("ESME_RINVDSTNPI")),
        (0x08, Unknown("status 0x00000008")),
        (0xFF, Unknown("status 0x000000FF")),
        (0x64, Unknown("status 0x00000064")),
    ],
)
async def test_a_status_is_a_refusal_only_where_smpp_says_so(status: int, answer: Any) -> None:
    async with smsc() as one, opened(one.port) as gateway:
        one.answer = answering(status)
        assert await gateway.send(message()) == answer
        assert len(one.submits) == 1


async def test_statuses_of_an_smsc_s_own_mean_what_the_settings_say() -> None:
    own = {"0x400": "barred", "0x0000040b": "blacklisted", "0x8": "try_later"}
    async with smsc() as one, opened(one.port, statuses=own) as gateway:
        statuses = iter((0x400, 0x40B, 0x08, 0x401))
        one.meddle = instead_of_submit(lambda unit: Unit(SUBMIT_SM_RESP, next(statuses), unit.number))
        answers = [await gateway.send(message()) for _ in range(4)]
    assert answers[0] == Barred("status 0x00000400")
    assert answers[1] == Rejected("status 0x0000040B", blacklisted=True)
    assert answers[2] == TryLater("status 0x00000008")
    assert answers[3] == Unknown("status 0x00000401")


async def test_after_throttling_the_next_message_is_accepted() -> None:
    async with smsc() as one, opened(one.port) as gateway:
        one.answer = answering(0x58, "second")
        assert await gateway.send(message()) == TryLater("ESME_RTHROTTLED")
        assert await gateway.send(message()) == Accepted("second")
        assert len(one.submits) == 2


async def test_each_message_gets_its_own_answer_though_they_come_out_of_order() -> None:
    async def backwards(_count: int, octets: bytes) -> str:
        await asyncio.sleep((8 - int(octets)) * 0.02)
        return f"for {int(octets)}"

    async with smsc() as one, opened(one.port) as gateway:
        one.answer = backwards
        answers = await asyncio.gather(*(gateway.send(message(str(number))) for number in range(8)))
    assert answers == [Accepted(f"for {number}") for number in range(8)]
    assert one.commands().count(BIND) == 1


async def test_an_accepted_first_part_and_a_refused_second_are_unknown() -> None:
    async with smsc() as one, opened(one.port) as gateway:
        one.answer = answering("first", 0x58)
        assert await gateway.send(message("a" * 400)) == Unknown("part 2 of 3: ESME_RTHROTTLED")
        assert len(one.submits) == 2


async def test_after_a_refused_first_part_no_other_leaves() -> None:
    async with smsc() as one, opened(one.port) as gateway:
        one.answer = answering(0x0B)
        assert await gateway.send(message("a" * 400)) == Rejected("ESME_RINVDSTADR", invalid_number=True)
        assert len(one.submits) == 1


async def test_an_answer_without_an_id_is_accepted_without_one() -> None:
    async with smsc() as one, opened(one.port) as gateway:
        one.meddle = instead_of_submit(lambda unit: Unit(SUBMIT_SM_RESP, 0, unit.number))
        assert await gateway.send(message()) == Accepted(None)


async def test_a_refusal_of_the_unit_itself_is_an_answer_too() -> None:
    async with smsc() as one, opened(one.port) as gateway:
        one.meddle = instead_of_submit(lambda unit: Unit(NACK, 0x02, unit.number))
        assert await gateway.send(message()) == Rejected("ESME_RINVCMDLEN")


async def test_a_status_of_not_being_bound_makes_a_new_connection() -> None:
    async with smsc() as one, opened(one.port, soon=True) as gateway:
        one.answer = answering(0x04, "bound")
        assert await gateway.send(message()) == TryLater("ESME_RINVBNDSTS")
        answer: Any = None
        async with asyncio.timeout(3):
            while not isinstance(answer, Accepted):
                answer = await gateway.send(message())
                await asyncio.sleep(0.02)
        assert one.commands().count(BIND) == 2
        assert len(one.submits) == 2


# Settings


def test_without_the_extra_it_says_which_one_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smpp, "find_spec", lambda _name: None)
    with pytest.raises(ServiceUnusable, match=r"gateway main: .*triggers\[smpp\]"):
        told(2775).open("main")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("host", "smsc.example/x"),
        ("host", "a\nb"),
        ("port", 0),
        ("system_id", ""),
        ("system_id", "x" * 16),
        ("system_id", "a\0b"),
        ("password", "密码"),
        ("password", "a\0b"),
        ("password", "x" * 65),
        ("source", "x" * 21),
        ("receipt_zone", "Asia/Nowhere"),
        ("receipt_zone", "../etc/passwd"),
        ("statuses", {"400": "barred"}),
        ("statuses", {"0x400": "perhaps"}),
        ("errors", {"001": "dead"}),
        ("reference_bits", 7),
        ("id_form", "octal"),
        ("bind", "receiver"),
    ],
)
def test_settings_that_no_smsc_could_take_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        SmppSettings.model_validate({**USUAL, key: value})
    assert "s3cret" not in str(refused.value)
    assert all(error["loc"][0] == key for error in refused.value.errors())


def test_the_password_is_not_shown() -> None:
    assert "s3cret" not in repr(told(2775))
