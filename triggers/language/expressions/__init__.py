"""The typed expressions of rules: read, checked against the event models, and compiled to one Python function.

Semantics (RULES.md section 3) in short: an evaluation never raises. A value is missing when an optional field is empty,
a place is beyond its list, a number is divided by zero or grows out of range, a joined string is too long, or a part of
it is missing. A missing value makes the smallest comparison or test around it false, so ``not (event.category == "A")``
is true without a category; ``== null``, ``!= null`` and ``has(x)`` test for it. A missing bool counts as false in a
condition. Elements of a list may be missing: they equal nothing. ``.all`` of an empty list is true. Numbers have 34
significant digits, the remainder the sign of what is divided; a day has 24 hours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from triggers.language.expressions.check import Check
from triggers.language.expressions.compile import compile_condition
from triggers.language.expressions.findings import ExpressionError, Finding
from triggers.language.expressions.parse import read
from triggers.language.expressions.types import Type, customer_fields, event_fields, render_type, shop_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "Expression",
    "ExpressionError",
    "Finding",
    "Type",
    "compile_expression",
    "customer_fields",
    "event_fields",
    "render_type",
    "shop_fields",
]


class Expression:
    """A condition that is ready to be asked.

    ``fn(event, customer, shop, now)`` tells whether it holds, ``now`` in epoch ms; it never raises for an event of the
    types that it was compiled for. ``names``: the fields that it uses, such as ``customer.orders_paid``, and ``now``.
    """

    __slots__ = ("fn", "names", "text")

    def __init__(self, text: str, fn: Callable[[Any, Any, Any, int], bool], names: frozenset[str]) -> None:
        self.text = text
        self.fn = fn
        self.names = names

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"


def compile_expression(text: str, event_types: Sequence[str], *, with_event: bool = True) -> Expression:
    """Compile a condition over events of any of ``event_types``.

    Without event types, or with ``with_event`` false, there is no ``event`` in it. Raises ExpressionError with all
    findings, and KeyError for an event type that does not exist.
    """
    source = read(text)
    if source.body is None:
        raise ExpressionError(source.findings)
    check = Check(source, event_types if with_event else ())
    node = check.condition(source.body)
    if source.findings or check.findings:
        raise ExpressionError(source.findings + check.findings)
    return Expression(text, compile_condition(node), frozenset(check.names))
