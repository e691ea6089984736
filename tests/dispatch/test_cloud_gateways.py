from __future__ import annotations

from typing import Any

import pytest
from cloud_server import call
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from triggers.dispatch.callbacks import call_mac
from triggers.dispatch.gateway import Heard, Refused
from triggers.dispatch.gateways.aliyun import AliyunSettings
from triggers.dispatch.gateways.cloud import (
    KINDS,
    beijing_day,
    beijing_ms,
    check,
    code_of,
    e164_of,
    each,
    host_of,
    instant_ms,
    parts_of,
    plain_number,
)
from triggers.dispatch.gateways.tencent import TencentSettings
from triggers.dispatch.phones import read_phone

SHOP = {"sign_name": "三只松鼠", "secret": "hush"}
ALIYUN = {"type": "aliyun", "access_key_id": "id", "access_key_secret": "key"} | SHOP
TENCENT = {"type": "tencent", "secret_id": "id", "secret_key": "key", "app_id": "1"} | SHOP
GATEWAYS = (AliyunSettings.model_validate(ALIYUN).open("ali"), TencentSettings.model_validate(TENCENT).open("ten"))

AT = 1_788_105_600_000  # 2026-08-30T16:00Z: midnight in China


@pytest.mark.parametrize(
    ("number", "e164"),
    [
        ("13800000001", "+8613800000001"),
        (13800000001, "+8613800000001"),
        (" 13800000001\n", "+8613800000001"),
        ("8613800000001", "+8613800000001"),
        ("+8613800000001", "+8613800000001"),
        ("008613800000001", "+8613800000001"),
        ("+14155550101", "+14155550101"),
        ("0014155550101", "+14155550101"),
        ("85251234567", "+85251234567"),
        ("12000000001", "+12000000001"),
        ("", None),
        ("0", None),
        ("+", None),
        ("123456", None),
        ("1" * 16, None),
        ("１３８０００００００１", None),  # noqa: RUF001  full-width digits
        ("=13800000001", None),
        ("13800000001,13900000002", None),
        ("+86138 0000 0001", None),
    ],
)
def test_a_number_is_read_as_the_clouds_write_it(number: str | int, e164: str | None) -> None:
    assert e164_of(number) == e164


@pytest.mark.parametrize(("e164", "plain"), [("+8613800000001", "13800000001"), ("+85251234567", "85251234567")])
def test_a_number_is_written_as_the_clouds_want_it(e164: str, plain: str) -> None:
    assert plain_number(e164) == plain
    assert e164_of(plain) == e164


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-08-31 00:00:00", AT),
        ("20260831000000", AT),
        ("1986-07-01 00:00:00", 520_531_200_000),  # China had summer time then; its clouds did not exist
        ("2026-08-31", None),
        ("2026-13-01 00:00:00", None),
        ("", None),
        (None, None),
    ],
)
def test_times_are_chinas(text: str | None, at: int | None) -> None:
    assert beijing_ms(text) == at


@pytest.mark.parametrize(
    ("seconds", "at"),
    [(1, 1_000), (AT // 1_000, AT), (4_102_444_799, 4_102_444_799_000), (4_102_444_800, None), (10**30, None), (0, None),
     (-1, None), (None, None)],
)  # fmt: skip
def test_an_instant_is_one_of_our_times(seconds: int | None, at: int | None) -> None:
    assert instant_ms(seconds) == at


@pytest.mark.parametrize(("number", "parts"), [(1, 1), (100, 100), (101, None), (0, None), (-1, None), (None, None)])
def test_a_message_has_a_few_parts(number: int | None, parts: int | None) -> None:
    assert parts_of(number) == parts


# What an engine or a database could choke on, in every place of a call.
VALUES = st.one_of(
    st.sampled_from(
        ["13800000001", "86", "2026-08-30 12:00:05", "0001-01-01 00:00:00", "SUCCESS", "FAIL", "", "\0", "9^0"]
    ),
    st.sampled_from([10**30, -(10**30), 1e308, 0, True, None, [], {}]),
    st.text(max_size=20),
)
KEYS = (
    *("phone_number", "success", "biz_id", "out_id", "err_code", "report_time", "content", "send_time", "dest_code"),
    *("sequence_id", "mobile", "nationcode", "report_status", "sid", "errmsg", "user_receive_time", "text", "time"),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=18), max_size=4), st.sampled_from(sorted(KINDS))
)
def test_whatever_is_called_is_heard_or_left_out(said: list[dict[str, Any]], kind: str) -> None:
    for gateway in GATEWAYS:
        heard = gateway.hear(call(kind, said, call_mac("hush", gateway.name, kind)))
        assert isinstance(heard, Heard)
        for one in (*heard.receipts, *heard.replies):
            assert one.at is None or 0 < one.at < 1 << 43
            assert one.phone is None or read_phone(one.phone, "CN") or one.phone[1:].isdigit()


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(sorted(KINDS)))
def test_bytes_without_a_meaning_are_refused_or_say_nothing(body: bytes, kind: str) -> None:
    for gateway in GATEWAYS:
        assert isinstance(gateway.hear(call(kind, body, call_mac("hush", gateway.name, kind))), Heard | Refused)


def test_a_day_is_chinas() -> None:
    assert [beijing_day(AT - 1), beijing_day(AT)] == ["20260830", "20260831"]


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("isv.OUT_OF_SERVICE", "isv.OUT_OF_SERVICE"),
        ("MK:0001", "MK:0001"),
        ("-106", "-106"),
        (21610, "21610"),
        ("x" * 64, "x" * 64),
        ("x" * 65, "?"),
        ("13800000001", "?"),
        ("E.13800000001", "?"),
        ("1234567", "?"),
        ("no good", "?"),
        ("空号", "?"),
        ("a\n", "?"),
        ("", "?"),
        (None, "?"),
    ],
)
def test_a_code_holds_no_text_and_no_number(word: str | int | None, code: str) -> None:
    assert code_of(word, "?") == code


def test_the_right_address_is_let_in() -> None:
    secret = SecretStr("hush")
    assert check(secret, "g", call("replies", [], call_mac("hush", "g", "replies"))) is None


def test_an_empty_body_says_nothing_and_a_single_object_is_one() -> None:
    assert each("g", call("replies", b" "), bytes) == ()
    assert each("g", call("replies", b'\n{"a": 1}'), bytes) == (b'{"a": 1}',)
    assert each("g", call("replies", b"[[1], 2]"), bytes) == (b"[1]", b"2")
    assert isinstance(each("g", call("replies", b"[1] [2]"), bytes), Refused)


def test_a_host_is_named_with_a_port_that_is_not_the_usual_one() -> None:
    assert host_of("https://sms.example") == "sms.example"
    assert host_of("http://127.0.0.1:8080") == "127.0.0.1:8080"
