"""Half of an emoji, or bytes that are no text, in one of the reports of a call."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from cloud_server import call
from hypothesis import example, given
from hypothesis import strategies as st

from triggers.dispatch.callbacks import call_mac
from triggers.dispatch.gateway import Call, Heard, Refused
from triggers.dispatch.gateways.aliyun import AliyunSettings
from triggers.dispatch.gateways.broken_text import mended
from triggers.dispatch.gateways.http_calls import RepliesModel, read_replies
from triggers.dispatch.gateways.tencent import TencentSettings

SHOP = {"sign_name": "三只松鼠", "secret": "hush"}
ALIYUN = {"type": "aliyun", "access_key_id": "id", "access_key_secret": "key"} | SHOP
TENCENT = {"type": "tencent", "secret_id": "id", "secret_key": "key", "app_id": "1"} | SHOP
MAPPED = RepliesModel.model_validate({"each": ".", "phone": "from", "text": "text"})

CUT = {
    "the first half of a pair": rb"ok \ud83d",
    "the second half of a pair": rb"\uDE00 ok",
    "two first halves": rb"\ud83d\uD83D",
    "a pair the wrong way round": rb"\ude00\ud83d",
    "a half after a backslash": rb"\\\ud83d",
    "bytes of a half": b"\xed\xa0\xbd",
    "bytes that end too early": b"\xf0\x9f\x98",
}


def heard(name: str, broken: bytes) -> Heard | Refused:
    """Have a gateway hear two replies: one with a broken text, and STOP."""
    if name == "http":
        body = b'[{"from": "+8613800000001", "text": "%b"}, {"from": "+8613900000002", "text": "STOP"}]' % broken
        return read_replies(MAPPED, Call("replies", "POST", "", {}, {}, body))
    if name == "aliyun":
        body = b'[{"phone_number": "13800000001", "content": "%b"}, {"phone_number": "13900000002", "content": "STOP"}]'
        return AliyunSettings.model_validate(ALIYUN).open("ali").hear(replied("ali", body % broken))
    body = (
        b'[{"nationcode": "86", "mobile": "13800000001", "text": "%b", "time": 1},'
        b' {"nationcode": "86", "mobile": "13900000002", "text": "STOP", "time": 2}]'
    )
    return TencentSettings.model_validate(TENCENT).open("ten").hear(replied("ten", body % broken))


def replied(name: str, body: bytes) -> Call:
    return call("replies", body, call_mac("hush", name, "replies"))


@pytest.mark.parametrize("name", ["http", "aliyun", "tencent"])
@pytest.mark.parametrize("broken", CUT.values(), ids=CUT.keys())
def test_a_stop_beside_a_broken_text_is_heard(name: str, broken: bytes) -> None:
    said = heard(name, broken)
    assert isinstance(said, Heard)
    assert [reply.phone for reply in said.replies] == ["+8613800000001", "+8613900000002"]
    assert "\ufffd" in said.replies[0].text
    assert said.replies[1].text == "STOP"


@pytest.mark.parametrize("name", ["http", "aliyun", "tencent"])
@pytest.mark.parametrize(
    ("written", "text"),
    [(rb"\ud83d\ude00", "😀"), ("😀".encode(), "😀"), (rb"\\ud83d", r"\ud83d"), (rb"\\\\uDE00\u9000", r"\\uDE00退")],
)
def test_a_whole_text_stays_as_it_is(name: str, written: bytes, text: str) -> None:
    said = heard(name, written)
    assert isinstance(said, Heard)
    assert said.replies[0].text == text


@given(st.text(st.characters() | st.sampled_from('\\u\ud83d\ude00d8"\n'), max_size=12))
@example("\ud83d\ude00")
def test_whatever_is_written_only_halves_are_replaced(text: str) -> None:
    whole: Any = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert msgspec.json.decode(mended(json.dumps(text).encode())) == whole


@pytest.mark.parametrize("body", [b"[" * 100_000, b'["\\ud83d', b"{\xff}", b"[\\ud83d]"])
def test_what_is_no_json_with_or_without_broken_text_is_refused(body: bytes) -> None:
    assert isinstance(read_replies(MAPPED, Call("replies", "POST", "", {}, {}, body)), Refused)
    assert isinstance(AliyunSettings.model_validate(ALIYUN).open("ali").hear(replied("ali", body)), Refused)
