"""Numbers as people write them become E.164 of a handset; everything else is refused."""

# ruff: noqa: RUF001  digits that only look like digits are the point

from __future__ import annotations

import subprocess
import sys
import unicodedata

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from triggers.dispatch.phones import Phone, country_of, read_phone

CHINESE = Phone("+8613800138000", "CN")


@pytest.mark.parametrize(
    "text",
    [
        "13800138000",
        "138 0013 8000",
        "138-0013-8000",
        "138.0013.8000",
        "(138) 0013-8000",
        " 13800138000 ",
        "+8613800138000",
        "+86 138 0013 8000",
        "+86 (138) 0013 8000",
        "+ 86 13800138000",
        "(+86) 138 - 0013 - 8000",
        "8613800138000",
        "86 138 0013 8000",
        "008613800138000",
        "00 86 138 0013 8000",
        "00-86-138-0013-8000",
    ],
)
def test_a_number_may_be_written_the_ways_people_write_it(text: str) -> None:
    assert read_phone(text, "CN") == CHINESE


@pytest.mark.parametrize(
    ("text", "country", "e164", "of"),
    [
        ("06 12 34 56 78", "FR", "+33612345678", "FR"),
        ("06.12.34.56.78", "FR", "+33612345678", "FR"),
        ("+33 (0)6 12 34 56 78", "CN", "+33612345678", "FR"),
        ("0033612345678", "CN", "+33612345678", "FR"),
        ("(415) 200-2671", "US", "+14152002671", "US"),
        ("1-415-200-2671", "US", "+14152002671", "US"),
        ("011 86 138 0013 8000", "US", "+8613800138000", "CN"),
        ("00 86 138 0013 8000", "US", "+8613800138000", "CN"),  # not how it is dialled there
        ("0011 86 138 0013 8000", "AU", "+8613800138000", "CN"),
        ("001 65 9123 4567", "TH", "+6591234567", "SG"),  # 001 is dialled there; +1 659 123 4567 would be nonsense
        ("+1 242 357 1234", "CN", "+12423571234", "BS"),
        ("+852 9123 4567", "CN", "+85291234567", "HK"),
        ("+886 912 345 678", "CN", "+886912345678", "TW"),
        ("347 123 4567", "IT", "+393471234567", "IT"),
        ("8 912 345-67-89", "RU", "+79123456789", "RU"),
        ("+7 701 234 5678", "RU", "+77012345678", "KZ"),
        ("011 15-2345-6789", "AR", "+5491123456789", "AR"),
    ],
)
def test_numbers_of_other_countries_are_read_and_told_apart(text: str, country: str, e164: str, of: str) -> None:
    assert read_phone(text, country) == Phone(e164, of)
    assert country_of(e164) == of


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "+",
        "=13800138000",
        "=138+0",
        "@13800138000",
        "-13800138000",
        "\t13800138000",
        "13800138000\n",
        "\n13800138000",
        "13800138000\r\n",
        "138\n00138000",
        "+8613800138000\n{}",
        "13800138000\x00",
        "１３８００１３８０００",
        "＋8613800138000",
        "١٣٨٠٠١٣٨٠٠٠",
        "138\u200b00138000",
        "138\u202e00138000",
        "++8613800138000",
        "+86+13800138000",
        "tel:+8613800138000",
        "+8613800138000;ext=3",
        "13800138000 ext 5",
        "13800138000x5",
        "13800138000#5",
        "13800138000*5",
        "13800138000,13900139000",
        "13800138000;13900139000",
        "13800138000/13900139000",
        "13800138000 13900139000",
        "13800138000-13900139000",
        "138    00138000",
        "1380013800O",
        "1380013800",
        "138001380001",
        "+86138001380001",
        "1" * 200,
        "1 " * 10_000,
        "10086",
        "95588",
        "110",
        "customer",
        "1.38E+10",
        "+0013800138000",
        "+999123456789",
    ],
)
def test_what_is_not_one_plain_number_is_refused(text: str) -> None:
    assert read_phone(text, "CN") is None


@pytest.mark.parametrize(
    ("text", "country"),
    [
        ("0899 123 456", "FR"),  # premium rate
        ("+1 900 555 1234", "CN"),
        ("+979 123 456 789", "CN"),
        ("400 800 1234", "CN"),  # shared cost
        ("0844 123 4567", "GB"),
        ("800 830 1234", "CN"),  # toll free
        ("+1 800 356 9377", "CN"),
        ("1 800 FLOWERS", "US"),
        ("010 8555 1234", "CN"),  # a fixed line where that can be told
        ("01 40 20 50 50", "FR"),
        ("+870 301 234 567", "CN"),  # a satellite's
        ("+881 612 345 678", "CN"),
        ("+883 510 012 345", "CN"),
        ("+44 70 1234 5678", "CN"),  # a personal number, dear to call
    ],
)
def test_what_is_dear_or_no_handset_is_refused(text: str, country: str) -> None:
    assert read_phone(text, country) is None


def test_a_number_without_a_country_code_needs_a_country() -> None:
    assert read_phone("13800138000", "") is None
    assert read_phone("13800138000", "XX") is None
    assert read_phone("+8613800138000", "XX") == CHINESE


def test_fixed_lines_pass_where_numbers_do_not_tell() -> None:
    number = phonenumbers.parse("+14152002671")
    assert phonenumbers.number_type(number) == PhoneNumberType.FIXED_LINE_OR_MOBILE
    assert read_phone("+14152002671", "CN") == Phone("+14152002671", "US")


@pytest.mark.parametrize(
    ("region", "counted_as"),
    [
        (region, {"BL": "GP", "MF": "GP"}.get(region, region))
        for region in sorted(phonenumbers.SUPPORTED_REGIONS - {"AX", "CC", "CX", "EH", "IM", "SJ", "VA", "TA"})
    ],
)
def test_every_country_has_handsets(region: str, counted_as: str) -> None:
    example = phonenumbers.example_number_for_type(region, PhoneNumberType.MOBILE)
    assert example is not None
    e164 = phonenumbers.format_number(example, PhoneNumberFormat.E164)
    for style in (PhoneNumberFormat.NATIONAL, PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.E164):
        assert read_phone(phonenumbers.format_number(example, style), region) == Phone(e164, counted_as)
    assert country_of(e164) == counted_as


@pytest.mark.parametrize(
    "text", ["", "+", "13800138000", "+8613800138000\n", "+999123456789", "+881612345678", "+86１"]
)
def test_what_is_no_number_is_of_no_country(text: str) -> None:
    assert country_of(text) is None


@given(st.text(alphabet="0123456789+ ().-=\n１,x", max_size=24), st.sampled_from(["CN", "US", "FR", "JP", "XX"]))
@settings(max_examples=500, deadline=None)
def test_whatever_is_written_the_result_is_strict(text: str, country: str) -> None:
    found = read_phone(text, country)
    if found is not None:
        assert unicodedata.normalize("NFKC", text) == text
        assert found.e164[0] == "+"
        assert found.e164[1:].isascii()
        assert found.e164[1:].isdecimal()
        assert 8 <= len(found.e164) <= 16
        assert found.e164[-6:] == "".join(filter(str.isdecimal, text))[-6:]
        assert read_phone(found.e164, "CN") == found  # it is stored, and read again


def test_numbers_are_remembered_within_a_bound() -> None:
    size = read_phone.cache_info().maxsize
    assert size is not None
    assert size <= 20_000
    assert country_of.cache_info().maxsize == size


def test_the_library_is_loaded_only_when_a_number_is_read() -> None:
    program = "import sys, triggers.dispatch.phones; sys.exit('phonenumbers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
