"""Replies are understood however they are typed, and nothing else is taken for an opt-out."""

# ruff: noqa: RUF001  letters that only look alike are the point

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triggers.dispatch.replies import LONGEST, Meaning, Read, read_reply

STOP = Read(Meaning.STOP, alarm=False)
COMPLAINT = Read(Meaning.STOP, alarm=True)
OTHER = Read(Meaning.OTHER, alarm=False)

# fmt: off
WHOLE = [
    "R", "T", "TD", "N", "TDD", "0000", "退订", "退订T", "退", "拒收", "取消", "取消订阅", "停止", "不要发了", "别发了",
    "勿发", "屏蔽", "STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT", "REMOVE", "ARRET",
]
# fmt: on
BEGINNINGS = ["STOP", "UNSUBSCRIBE", "TD", "退订"]
ANYWHERE = ["退订", "拒收", "别再发", "不要再发", "取消订阅", "骚扰"]
ALARMS = ["投诉", "12321", "举报"]


def wide(text: str) -> str:
    """Write ASCII in full width."""
    return "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text)


def variants(word: str) -> list[str]:
    """Write a word as people and telephones do."""
    return [
        word,
        word.lower(),
        word.title(),
        wide(word),
        wide(word.lower()),
        " ".join(word),
        "\u3000".join(word),
        "-".join(word),
        "\u200d".join(word),
        "\u200b".join(word) + "\ufeff",
        f"\u202e{word}\u202c",
        f"  {word}\r\n",
        f"{word}。",
        f"{word}!!!",
        f"“{word}”",
        f"【{word}】",
        f"<{word}>",
        f"{word}~",
        f"{word}\ufe0f",
        f"{word} 🙏",
        f"\x00{word}",
        f"\u3164{word}\u2800",
        f"{word}\ud800",
    ]


@pytest.mark.parametrize("country", ["CN", "US", "FR"])
@pytest.mark.parametrize("word", WHOLE)
def test_a_word_that_is_the_whole_message_stops_in_any_writing(word: str, country: str) -> None:
    for text in variants(word):
        assert read_reply(text, country) == STOP, ascii(text)


@pytest.mark.parametrize("word", BEGINNINGS)
def test_a_word_at_the_beginning_stops(word: str) -> None:
    for text in variants(word):
        assert read_reply(text + " please leave me alone", "US") == STOP, ascii(text)
        assert read_reply(text + "谢谢", "CN") == STOP, ascii(text)


@pytest.mark.parametrize("word", ANYWHERE)
def test_a_word_anywhere_stops(word: str) -> None:
    for text in variants(word):
        assert read_reply("请" + text + "谢谢", "CN") == STOP, ascii(text)


@pytest.mark.parametrize("word", ALARMS)
def test_a_complaint_stops_and_raises_an_alarm(word: str) -> None:
    for text in variants(word):
        assert read_reply(text, "CN") == COMPLAINT, ascii(text)
        assert read_reply("我要去" + text + "你们", "CN") == COMPLAINT, ascii(text)
        assert read_reply("R " + text, "CN") == COMPLAINT, ascii(text)
        assert read_reply("START " + text, "US") == COMPLAINT, ascii(text)


@pytest.mark.parametrize("word", ["HELP", "INFO", "帮助"])
def test_help_is_asked_for_by_the_whole_message(word: str) -> None:
    for text in variants(word):
        assert read_reply(text, "CN") == Read(Meaning.HELP, alarm=False), ascii(text)
    assert read_reply(word + " my order did not arrive", "US") == OTHER


@pytest.mark.parametrize("word", ["START", "UNSTOP"])
def test_one_may_subscribe_again_but_not_in_china(word: str) -> None:
    for text in variants(word):
        assert read_reply(text, "US") == Read(Meaning.START, alarm=False), ascii(text)
        assert read_reply(text, "HK") == Read(Meaning.START, alarm=False), ascii(text)
        assert read_reply(text, "CN") == OTHER, ascii(text)
    assert read_reply(word + " my order", "US") == OTHER


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "?",
        "…",
        "👍",
        "return please",
        "R2D2",
        "RR",
        "Thanks",
        "Thank you, T",
        "No",
        "N95",
        "Next week",
        "T恤有货吗",
        "退货",
        "退款",
        "请退一下",
        "我想取消订单",
        "取消 订单 123",
        "怎么停止使用优惠券",
        "000",
        "00000",
        "order 0000",
        "the end",
        "ending soon?",
        "please don't stop",
        "can I cancel my order?",
        "cancel order 5",
        "how do I remove an item",
        "quite nice",
        "I revoked it",
        "not arrete",
        "restart",
        "发了吗",
        "什么时候发",
        "好的",
        "info@shop",
        "Да",
    ],
)
def test_other_replies_are_left_alone(text: str) -> None:
    assert read_reply(text, "CN") == OTHER
    assert read_reply(text, "US") == OTHER


@pytest.mark.parametrize("text", ["TDK", "t. d. k.", "Stopover?", "stopp", "退订单", "Stop it", "Unsubscribed?"])
def test_what_begins_like_an_opt_out_counts_as_one(text: str) -> None:
    assert read_reply(text, "US") == STOP


@pytest.mark.parametrize(
    "text", ["Arrêt", "ARRE\u0302T", "退訂", "取消訂閱", "別發了", "不要再發", "騷擾", "ｓｔｏｐ", "ⓈⓉⓄⓅ", "𝐒𝐓𝐎𝐏"]
)
def test_accents_and_traditional_characters_make_no_difference(text: str) -> None:
    assert read_reply(text, "HK") == STOP


def test_complaints_in_traditional_characters_raise_an_alarm() -> None:
    assert read_reply("我要投訴", "HK") == COMPLAINT
    assert read_reply("舉報", "TW") == COMPLAINT


def test_only_the_beginning_of_an_endless_text_is_read() -> None:
    assert read_reply("a" * (LONGEST - 2) + "退订", "CN") == STOP
    assert read_reply("a" * LONGEST + "退订", "CN") == OTHER
    assert read_reply("STOP" + "a" * 10_000, "CN") == STOP


@given(st.text(max_size=60))
def test_any_text_is_read_and_only_complaints_alarm(text: str) -> None:
    read = read_reply(text, "CN")
    assert read.meaning in set(Meaning)
    assert not read.alarm or read.meaning is Meaning.STOP
