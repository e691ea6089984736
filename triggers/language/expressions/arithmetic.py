"""Arithmetic that never raises: 34 significant digits, and None where there is no answer."""

from __future__ import annotations

from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_JOINED: Final = 10_000
"""Characters that joining strings may give; a longer one is missing, so that no chain of joins eats the memory."""

# A context of our own: the thread's may be set by anybody. Its flags are never read, so threads may share it.
_CONTEXT: Final = Context(
    prec=34, Emax=999_999, Emin=-999_999, traps=[DivisionByZero, InvalidOperation, Overflow], clamp=0
)


def _total(operation: Callable[[Decimal | int, Decimal | int], Decimal]) -> Callable[..., Decimal | None]:
    def compute(left: Decimal | int, right: Decimal | int) -> Decimal | None:
        try:
            return operation(left, right)
        except ArithmeticError:
            return None

    return compute


def join(left: str, right: str) -> str | None:
    """Join two strings; None when they are too long together."""
    return left + right if len(left) + len(right) <= MAX_JOINED else None


def negative(of: Decimal | int) -> Decimal | None:
    """Return minus a number; None when it is beyond the range."""
    try:
        return _CONTEXT.minus(of)
    except ArithmeticError:
        return None


FUNCTIONS: Final = {
    "add": _total(_CONTEXT.add),
    "subtract": _total(_CONTEXT.subtract),
    "multiply": _total(_CONTEXT.multiply),
    "divide": _total(_CONTEXT.divide),
    "remainder": _total(_CONTEXT.remainder),
    "negative": negative,
    "join": join,
}
"""By the names that compiled expressions call them. A remainder has the sign of the number that is divided."""
