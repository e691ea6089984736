"""Zones agree with Python's own zone data at every instant that was asked."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triggers.core.times import EARLIEST, MINUTE
from triggers.language.findings import Misfit
from triggers.language.zones import zone

ZONES = [
    "Asia/Shanghai",
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Asia/Tehran",
]
FIRST = EARLIEST // MINUTE + 1
LAST = int(datetime(2059, 12, 30, tzinfo=UTC).timestamp()) // 60


@given(st.sampled_from(ZONES), st.integers(FIRST, LAST))
def test_the_offset_is_that_of_the_zone_data(name: str, minute: int) -> None:
    expected = datetime.fromtimestamp(minute * 60, UTC).astimezone(ZoneInfo(name)).utcoffset()
    assert expected is not None
    assert zone(name).offset(minute * MINUTE) == int(expected.total_seconds()) * 1000


def test_a_change_of_clocks_is_found_to_the_minute() -> None:
    berlin = zone("Europe/Berlin")
    change = int(datetime(2026, 3, 29, 1, tzinfo=UTC).timestamp()) * 1000
    assert change in berlin.starts
    assert berlin.offset(change - 1) + 3_600_000 == berlin.offset(change)


def test_a_zone_is_built_once() -> None:
    assert zone("Europe/Paris") is zone("Europe/Paris")


@pytest.mark.parametrize("name", ["Asia/Shanghay", "../etc/passwd", "", "/etc/localtime", "a\0b"])
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(Misfit, match="unknown time zone"):
        zone(name)


def test_a_near_zone_is_proposed() -> None:
    with pytest.raises(Misfit, match="did you mean 'Asia/Shanghai'"):
        zone("Asia/Shanghay")
