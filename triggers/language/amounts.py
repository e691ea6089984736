"""Reads amounts as people write them: percentages, yuan, and ``n / D``."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

from triggers.language.findings import Misfit
from triggers.language.times import duration

if TYPE_CHECKING:
    from triggers.core.times import Duration

FEN_1000 = 100_000
"""1/1000 fen in a yuan."""

MAX_YUAN = Decimal(10) ** 9

_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*%\Z", re.ASCII)
_PER = re.compile(r"([0-9]{1,6})\s*/\s*(\S.*)\Z", re.ASCII)


def percent(text: object) -> float:
    """Read ``10%`` as a fraction. Raises Misfit."""
    found = _PERCENT.match(text.strip()) if isinstance(text, str) else None
    if not found:
        number = str(text).strip("% ") if isinstance(text, (str, int, Decimal)) else ""
        mend = f"{number}%" if re.fullmatch(r"[0-9.]+", number) else "10%"
        raise Misfit(f"write a percentage: '{mend}'")
    share = Decimal(found[1])
    if share > 100:  # noqa: PLR2004  per cent
        raise Misfit(f"{share}% is more than 100%")
    return float(share / 100)


def yuan(value: object) -> Decimal:
    """Read an amount of yuan, to the hundredth of a fen at most. Raises Misfit."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise Misfit("write a number of yuan, without quotes or unit")
    amount = Decimal(value)
    if not 0 <= amount <= MAX_YUAN:
        raise Misfit(f"{value}: an amount is between 0 and {MAX_YUAN} yuan")
    return amount


def in_thousandths_of_fen(amount: Decimal) -> int:
    """Turn yuan into 1/1000 fen, as costs are counted."""
    return int(amount * FEN_1000)


def in_yuan(amount: Decimal) -> str:
    """Write an amount of yuan as people read it, without needless zeros."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def per(text: object) -> tuple[int, Duration]:
    """Read ``2 / 7d``: so many in a duration. Raises Misfit."""
    found = _PER.match(text.strip()) if isinstance(text, str) else None
    if not found:
        raise Misfit(f"write how many in how long: '1 / 7d', not '{text}'")
    within = duration(found[2])
    if not within.at_most():
        raise Misfit(f"'{text}': a duration longer than nothing is needed")
    return int(found[1]), within
