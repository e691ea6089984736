"""Texts in octets: against a codec of others' making, and against the parts that are charged."""

from __future__ import annotations

import pytest
import smsutil
from hypothesis import given, settings
from hypothesis import strategies as st

from triggers.core.texts import GSM_BASIC, GSM_EXTENDED, segments
from triggers.dispatch.smpp.alphabet import DEFAULT_ALPHABET, SEPTETS, UCS2, Piece, coded, header, read, split_header

GSM_ENDS = st.text(alphabet=sorted(GSM_BASIC) + sorted(GSM_EXTENDED) * 8, max_size=60)
WIDE_ENDS = st.text(alphabet="a中é€^ё文😀", max_size=60)
GSM_TEXTS = st.builds(lambda head, length, tail: head + "a" * length + tail, GSM_ENDS, st.integers(0, 400), GSM_ENDS)
WIDE_TEXTS = st.builds(
    lambda head, length, tail: head + "中" * length + tail, WIDE_ENDS, st.integers(1, 200), WIDE_ENDS
)


def test_the_alphabet_is_the_one_that_texts_are_counted_by() -> None:
    assert set(SEPTETS) == GSM_BASIC | GSM_EXTENDED
    assert {char for char, octets in SEPTETS.items() if len(octets) == 2} == GSM_EXTENDED


@pytest.mark.parametrize("char", sorted(SEPTETS.keys() - {"\f"}))
def test_each_character_has_the_septets_that_smsutil_gives_it(char: str) -> None:
    assert SEPTETS[char] == smsutil.encode(char)


@given(GSM_TEXTS)
@settings(deadline=None)
def test_a_gsm_text_has_the_parts_that_are_charged_and_is_the_same_when_they_are_joined(text: str) -> None:
    data_coding, parts = coded(text)
    assert data_coding == DEFAULT_ALPHABET
    assert len(parts) == segments(text)
    assert all(len(part) <= (160 if len(parts) == 1 else 153) for part in parts)
    assert "".join(read(part, data_coding) for part in parts) == text  # so that no escaped character is cut


@given(WIDE_TEXTS)
@settings(deadline=None)
def test_a_wide_text_has_the_parts_that_are_charged_and_is_the_same_when_they_are_joined(text: str) -> None:
    data_coding, parts = coded(text)
    assert data_coding == UCS2
    assert len(parts) == segments(text)
    assert all(len(part) <= (140 if len(parts) == 1 else 134) for part in parts)
    assert read(b"".join(parts), data_coding) == text


@given(GSM_TEXTS | WIDE_TEXTS)
@settings(deadline=None)
def test_where_china_counts_the_parts_are_those_that_are_charged(text: str) -> None:
    data_coding, parts = coded(text, wide=True)
    assert data_coding == UCS2
    assert len(parts) == segments(text, "china")
    assert read(b"".join(parts), data_coding) == text


@given(GSM_TEXTS | WIDE_TEXTS)
@settings(deadline=None)
def test_a_long_header_leaves_room_for_itself(text: str) -> None:
    data_coding, parts = coded(text, long_header=True)
    assert all(len(part) <= {DEFAULT_ALPHABET: 152, UCS2: 132}[data_coding] for part in parts[1:] and parts)
    assert "".join(read(part, data_coding) for part in parts) == text


def test_a_pair_is_never_cut() -> None:
    assert [len(part) // 2 for part in coded("中" * 66 + "😀中" + "中" * 3).parts] == [66, 6]
    assert [len(part) // 2 for part in coded("中" * 66 + "😀" + "中" * 66).parts] == [66, 67, 1]


def test_a_lone_surrogate_is_no_reason_to_fail() -> None:
    assert read(coded("\ud800中").parts[0], UCS2).endswith("中")


@pytest.mark.parametrize("long", [False, True])
def test_a_header_says_which_part_follows(long: bool) -> None:  # noqa: FBT001
    octets = header(Piece(0x1234, 3, 2), long=long) + b"text"
    assert split_header(octets) == (Piece(0x1234 if long else 0x34, 3, 2), b"text")


@given(st.binary(max_size=40))
def test_no_header_is_a_reason_to_fail(octets: bytes) -> None:
    piece, rest = split_header(octets)
    assert octets.endswith(rest)
    assert piece is None or all(number <= 0xFFFF for number in piece)


@given(st.binary(max_size=160), st.integers(0, 255))
def test_whatever_comes_can_be_read(octets: bytes, data_coding: int) -> None:
    assert isinstance(read(octets, data_coding), str)
