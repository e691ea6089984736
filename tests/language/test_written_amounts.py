"""Amounts are read exactly: no float comes between what is written and what is counted."""

from __future__ import annotations

from decimal import Decimal

import pytest

from triggers.core.times import Duration
from triggers.language import amounts
from triggers.language.findings import Misfit


@pytest.mark.parametrize(("text", "share"), [("10%", 0.1), ("0%", 0.0), ("0.5%", 0.005), ("100 %", 1.0)])
def test_a_percentage_is_a_fraction(text: str, share: float) -> None:
    assert amounts.percent(text) == share


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (10, "write a percentage: '10%'"),
        (Decimal("0.1"), "write a percentage: '0.1%'"),
        ("half", "write a percentage: '10%'"),
        (True, "write a percentage: '10%'"),
        ("101%", "101% is more than 100%"),
    ],
)
def test_a_share_without_its_sign_is_refused(value: object, message: str) -> None:
    with pytest.raises(Misfit) as caught:
        amounts.percent(value)
    assert caught.value.message == message


def test_yuan_become_whole_thousandths_of_a_fen() -> None:
    assert amounts.in_thousandths_of_fen(Decimal("0.05")) == 5_000
    assert amounts.in_thousandths_of_fen(amounts.yuan(2000)) == 200_000_000
    assert amounts.in_thousandths_of_fen(amounts.yuan(Decimal("0.07"))) == 7_000


@pytest.mark.parametrize("value", ["5", True, -1, Decimal("-0.01"), 10**10, None])
def test_an_amount_is_a_number_of_yuan(value: object) -> None:
    with pytest.raises(Misfit):
        amounts.yuan(value)


@pytest.mark.parametrize(
    ("value", "text"), [("150", "150"), ("20.00", "20"), ("9.90", "9.9"), ("1000", "1000"), ("0", "0")]
)
def test_yuan_are_written_without_needless_zeros(value: str, text: str) -> None:
    assert amounts.in_yuan(Decimal(value)) == text


@pytest.mark.parametrize("text", ["2 / 7d", "2/7d", " 2  /  7d"])
def test_so_many_in_a_time(text: str) -> None:
    assert amounts.per(text) == (2, Duration(days=7, text="7d"))


@pytest.mark.parametrize("value", ["2 per week", "2 / 0d", "/ 7d", 2, "-1 / 7d", "2 / 7"])
def test_how_many_in_how_long_must_be_clear(value: object) -> None:
    with pytest.raises(Misfit):
        amounts.per(value)
