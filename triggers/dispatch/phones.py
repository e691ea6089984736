"""Reads phone numbers as people and files have them: strict E.164 of a handset, or nothing."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

REMEMBERED = 20_000
"""Numbers kept with what was read, as one customer gets several messages; a reading takes about 20 µs."""

# The library takes letters, full-width digits, extensions, lists and what stands around a number, too. A customer's
# number is digits as people group them, and nothing else: at most 3 marks together, 20 digits with a 00 or 011 prefix.
_WRITTEN = re.compile(r"[ (]{0,3}\+?[ (]{0,2}[0-9](?:[ ().-]{0,3}[0-9]){3,19}[ )]{0,3}")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_NO_COUNTRY = "001"  # satellites and international services: no hours, and prices of their own

_LONGEST_CODE = 3


class Phone(NamedTuple):
    """A number that messages may go to: E.164, and the country it is of (ISO 3166 alpha-2)."""

    e164: str
    country: str


@lru_cache(maxsize=REMEMBERED)
def read_phone(text: str, country: str) -> Phone | None:
    """Read a number; one without a country code is of ``country``. None: it is no handset's number (SMS.md section 6).

    Where a country's numbers do not tell handsets from fixed lines, both are taken.
    """
    if not _WRITTEN.fullmatch(text):
        return None
    digits = text.strip(" (")
    # Countries dial abroad by different prefixes, so their own comes first; 00 is what most people write.
    return _handset(text, country) or (_handset("+" + digits[2:], country) if digits.startswith("00") else None)


@lru_cache(maxsize=REMEMBERED)
def country_of(e164: str) -> str | None:
    """Tell the country of a number in E.164 (ISO 3166 alpha-2); None where the number does not tell."""
    from phonenumbers import (  # noqa: PLC0415  see _handset
        COUNTRY_CODE_TO_REGION_CODE,
        NumberParseException,
        parse,
        region_code_for_number,
    )

    if not _E164.fullmatch(e164):
        return None
    for digits in range(1, _LONGEST_CODE + 1):  # no code begins another, and most have one country: no need to parse
        regions = COUNTRY_CODE_TO_REGION_CODE.get(int(e164[1 : 1 + digits]), ())
        if len(regions) == 1 and regions[0] != _NO_COUNTRY:
            return str(regions[0])
    try:
        region = region_code_for_number(parse(e164))
    except NumberParseException:
        return None
    return region if region != _NO_COUNTRY else None


def _handset(text: str, country: str) -> Phone | None:
    from phonenumbers import (  # noqa: PLC0415  only a process that sends needs its tables
        NumberParseException,
        PhoneNumberFormat,
        PhoneNumberType,
        format_number,
        is_valid_number,
        number_type,
        parse,
        region_code_for_number,
    )

    try:
        number = parse(text, country)
    except NumberParseException:
        return None
    if not is_valid_number(number):
        return None
    if number_type(number) not in (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE):
        return None
    e164, region = format_number(number, PhoneNumberFormat.E164), region_code_for_number(number)
    if region is None or region == _NO_COUNTRY or not _E164.fullmatch(e164):
        return None
    return Phone(e164, region)
