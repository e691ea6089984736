"""What leaves is signed, says how to stop, has no gap left, hides nothing and keeps its length (invariant 14)."""

# ruff: noqa: RUF001  characters that only look alike are the point

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triggers.core.texts import clean
from triggers.dispatch.copytext import Copy, Flaw, refusal

SHOP = Copy(
    signature="[Qinggua] ", opt_out=" Reply R to stop", banned=("最低价", "free", "ab cd", "100%", "é"), max_segments=1
)
CHINESE = Copy("【三只松鼠】", "拒收请回复R", ("免费领",), None, "china")


def marketing(body: str, copy: Copy = SHOP) -> str | None:
    return refusal(f"{copy.signature}{body}{copy.opt_out}", "marketing", copy)


def test_a_proper_text_may_leave() -> None:
    assert marketing("Hello Mei, 20 off until Sunday: s.example/abcdefgh") is None
    assert refusal("【三只松鼠】您好，满150减20拒收请回复R", "marketing", CHINESE) is None
    assert refusal("[Qinggua] Your order has left.", "notice", SHOP) is None
    assert refusal("[Qinggua] Your code is 123456.", "verification", SHOP) is None
    assert marketing("one line\nand more, {as is} 👍 ❤\ufe0f 50% {off}") is None


@pytest.mark.parametrize("klass", ["marketing", "member", "greeting", "notice", "verification"])
def test_every_class_is_signed_where_the_shop_has_a_signature(klass: str) -> None:
    for text in ("Hello Reply R to stop", "Hello [Qinggua]  Reply R to stop", " [Qinggua] Hello Reply R to stop", ""):
        assert refusal(text, klass, SHOP) is Flaw.NO_SIGNATURE
        assert refusal(text, klass, SHOP._replace(signature="")) is not Flaw.NO_SIGNATURE


@pytest.mark.parametrize("klass", ["marketing", "member", "greeting", "something new"])
def test_commercial_texts_end_with_the_opt_out(klass: str) -> None:
    for text in ("[Qinggua] Hello", "[Qinggua] Reply R to stop it", "[Qinggua] Reply R to sto"):
        assert refusal(text, klass, SHOP) is Flaw.NO_OPT_OUT
    assert refusal("[Qinggua] Hello Reply R to stop \n", klass, SHOP) is None


@pytest.mark.parametrize("opt_out", ["", " "])
def test_a_shop_without_an_opt_out_text_sends_nothing_commercial(opt_out: str) -> None:
    shop = SHOP._replace(opt_out=opt_out)
    assert marketing("Hello", shop) is Flaw.NO_OPT_OUT
    assert refusal("[Qinggua] Hello", "notice", shop) is None


@pytest.mark.parametrize(
    "gap",
    [
        "{customer.name}",
        "{customer.name|dear}",
        "{ customer.name }",
        "{Customer.Name}",
        "{{customer.name}}",
        "{coupon.amount}",
        "{event.order_id}",
        "{shop.name}",
        "{link}",
        "{link|x}",
        "{customer}",
        "{customer.name",
        "｛customer.name｝",
    ],
)
def test_no_gap_of_ours_is_left_open(gap: str) -> None:
    assert marketing(f"Hello {gap}!") is Flaw.UNRESOLVED_VARIABLE
    assert refusal(f"[Qinggua] {gap}", "notice", SHOP) is Flaw.UNRESOLVED_VARIABLE


@pytest.mark.parametrize("harmless", ["{name}", "{}", "{customers only}", "{linked}", "customer.name", "{ shopping }"])
def test_other_braces_are_only_braces(harmless: str) -> None:
    assert marketing(f"Hello {harmless}!") is None


@pytest.mark.parametrize(
    "char",
    [
        *("\x00", "\x1b", "\t", "\r", "\x7f", "\x85"),
        *("\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u180e", "\u034f", "\u3164", "\u115f"),
        *("\u202a", "\u202e", "\u2066", "\u2069", "\u200e", "\u061c"),
        *("\u2028", "\u2029", "\ud800", "\udfff", "\U000e0041"),
    ],
)
def test_nothing_hides_in_a_text(char: str) -> None:
    for text in (f"Hel{char}lo", char, f"Hello{char}"):
        assert marketing(text) is Flaw.CONTROL_CHARACTER
        assert refusal(f"[Qinggua] {text}", "notice", SHOP) is Flaw.CONTROL_CHARACTER
    assert refusal(f"[Qinggua] Hello Reply R to stop{char}", "notice", SHOP) is Flaw.CONTROL_CHARACTER


@pytest.mark.parametrize(
    "words",
    [
        "free",
        "FREE gift",
        "It is Free.",
        "f r e e",
        "F  R\nE E",
        "ｆｒｅｅ",
        "Ⓕree",
        "免free领",
        "最低价",
        "全网最低价格",
        "最 低 价",
        "最\u3000低\u00a0价",
        "ab cd",
        "abcd",
        "a b c d",
        "100%",
        "100 %",
        "１００％",
        "café",
        "cafe\u0301",
        "CAFÉ",
    ],
)
def test_banned_words_are_found_in_any_writing(words: str) -> None:
    assert marketing(words) is Flaw.BANNED_WORD
    assert refusal(f"[Qinggua] {words}", "verification", SHOP) is Flaw.BANNED_WORD


@pytest.mark.parametrize(
    "words", ["freedom", "carefree", "free5", "of reentry", "最低", "低价最", "1100%", "ab-cd", "cafe"]
)
def test_banned_words_are_not_found_in_others(words: str) -> None:
    assert marketing(words) is None


def test_a_list_of_nothing_bans_nothing() -> None:
    assert marketing("free", SHOP._replace(banned=("", " "))) is None
    assert marketing("free", SHOP._replace(banned=("", "free"))) is Flaw.BANNED_WORD


def test_a_text_takes_as_many_parts_as_the_shop_allows() -> None:
    room = 158 - len(SHOP.signature + SHOP.opt_out)  # brackets count twice
    assert marketing("a" * room) is None
    assert marketing("a" * (room + 1)) is Flaw.TOO_LONG
    assert marketing("中" + "a" * (70 - 1 - len(SHOP.signature + SHOP.opt_out))) is None
    assert marketing("中" + "a" * (70 - len(SHOP.signature + SHOP.opt_out))) is Flaw.TOO_LONG
    assert marketing("a" * (room + 1), SHOP._replace(max_segments=2)) is None
    assert marketing("a" * 60, SHOP._replace(counting="china")) is Flaw.TOO_LONG


def test_a_text_has_a_limit_where_the_shop_sets_none() -> None:
    free = SHOP._replace(max_segments=None, signature="", opt_out="R")
    assert refusal("a" * 1_530, "notice", free) is None
    assert refusal("a" * 1_531, "notice", free) is Flaw.TOO_LONG
    assert refusal("中" * 670, "notice", free) is None
    assert refusal("中" * 671, "notice", free) is Flaw.TOO_LONG
    chinese = CHINESE._replace(signature="")
    assert refusal("中" * 500, "notice", chinese) is None
    assert refusal("中" * 501, "notice", chinese) is Flaw.TOO_LONG


@given(st.text(max_size=60))
def test_a_cleaned_value_hides_nothing(name: str) -> None:
    shown = re.sub("[\u034f\u115f\u1160\u3164\uffa0]", "", clean(name))  # letters and marks, as far as Unicode goes
    assert refusal(f"[Qinggua] {shown}", "notice", SHOP) is not Flaw.CONTROL_CHARACTER


@given(st.text(max_size=200), st.sampled_from(["marketing", "notice"]))
def test_what_may_leave_keeps_every_promise(body: str, klass: str) -> None:
    for text in (body, SHOP.signature + body, SHOP.signature + body + SHOP.opt_out):
        if refusal(text, klass, SHOP) is None:
            assert text.startswith("[Qinggua]")
            assert klass == "notice" or text.rstrip().endswith("Reply R to stop")
            assert text.replace("\n", "").isprintable() or not text.isascii()
            assert len(text) <= 160
            text.encode()  # no half characters
