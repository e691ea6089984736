"""The operators of the expression language: what they join and what they give."""

from __future__ import annotations

import ast
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from triggers.language.expressions import tree
from triggers.language.expressions.types import BOOL, UNKNOWN, Kind, Type, quoted

if TYPE_CHECKING:
    from triggers.language.expressions.check import Check

_COMPARISONS: Final[dict[type[ast.cmpop], str]] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.In: "in",
    ast.NotIn: "not in",
}
_ARITHMETIC: Final[dict[type[ast.operator], str]] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Mod: "%",
    ast.FloorDiv: "//",
    ast.Pow: "**",
    ast.LShift: "<<",
    ast.RShift: ">>",
}
_RESULTS: Final[dict[tuple[Kind, str, Kind], Kind]] = {
    ("number", "+", "number"): "number",
    ("number", "-", "number"): "number",
    ("number", "*", "number"): "number",
    ("number", "/", "number"): "number",
    ("number", "%", "number"): "number",
    ("string", "+", "string"): "string",
    ("time", "-", "time"): "duration",
    ("time", "+", "duration"): "time",
    ("time", "-", "duration"): "time",
    ("duration", "+", "time"): "time",
    ("duration", "+", "duration"): "duration",
    ("duration", "-", "duration"): "duration",
    ("duration", "*", "number"): "duration",
    ("number", "*", "duration"): "duration",
}
"""The type of a result; what is not here does not exist."""


def check_unary(check: Check, syntax: ast.UnaryOp) -> tree.Node:
    """Check ``not`` and minus."""
    if isinstance(syntax.op, ast.Not):
        return tree.Not(BOOL, *check.span(syntax), check.condition(syntax.operand))
    of = check.value(syntax.operand)
    if of.type.kind == "unknown":
        return of
    if not isinstance(syntax.op, ast.USub):
        return check.find_in(syntax, "leave out the '+'")
    if of.type.kind not in ("number", "duration"):
        return check.find_in(syntax, f"'-' does not work on {of.type.noun}")
    if isinstance(of, tree.Literal) and isinstance(of.value, int | Decimal):
        return tree.Literal(of.type, *check.span(syntax), -of.value)
    return tree.Negative(of.type.or_missing(not of.type.whole), *check.span(syntax), of)


def check_arithmetic(check: Check, syntax: ast.BinOp) -> tree.Node:
    """Check ``+ - * / %``."""
    left, right = check.value(syntax.left), check.value(syntax.right)
    sign = _ARITHMETIC[type(syntax.op)]
    if sign in ("//", "**", "<<", ">>"):
        return check.find_in(syntax, f"there is no '{sign}'; there are + - * / %")
    if "unknown" in (left.type.kind, right.type.kind):
        return tree.Unknown(UNKNOWN, *check.span(syntax))
    kind = _RESULTS.get((left.type.kind, sign, right.type.kind))
    if kind is None:
        return check.find_in(syntax, f"'{sign}' does not work on {left.type.noun} and {right.type.noun}")
    whole = sign in "+-" and left.type.whole and right.type.whole
    # Whole numbers are added exactly; all else may be beyond the digits kept, too long, or a division by zero.
    optional = left.type.optional or right.type.optional or not whole
    return tree.Arithmetic(Type(kind, optional, whole), *check.span(syntax), sign, left, right)


def check_comparison(check: Check, syntax: ast.Compare) -> tree.Node:
    """Check a comparison or a chain of them, ``in``, and the tests for ``null``."""
    parts = [check.operand(part) for part in (syntax.left, *syntax.comparators)]
    signs = tuple(_COMPARISONS[type(op)] for op in syntax.ops)
    start, end = check.span(syntax)
    nulls = [part for part in parts if part.type.kind == "null"]
    if nulls:
        return _null_test(check, parts, signs, nulls, (start, end))
    for left, sign, right in zip(parts, signs, parts[1:], strict=False):
        if "unknown" not in (left.type.kind, right.type.kind):
            both = (start, end) if len(signs) == 1 else (left.start, right.end)
            _compare(check, left, sign, right, both)
    return tree.Comparison(BOOL, start, end, signs, tuple(parts))


def _null_test(
    check: Check, parts: list[tree.Node], signs: tuple[str, ...], nulls: list[tree.Node], span: tuple[int, int]
) -> tree.Node:
    tested = [part for part in parts if part.type.kind != "null"]
    if len(parts) > 2 or signs[0] not in ("==", "!=") or not tested:  # noqa: PLR2004  two sides
        return check.find(nulls[0], "null can only be compared, with '==' or '!='")
    if not tested[0].type.optional:
        check.find(tested[0], "this is never null")
    return tree.NullTest(BOOL, *span, tested[0], signs[0] == "==")


def _compare(check: Check, left: tree.Node, sign: str, right: tree.Node, span: tuple[int, int]) -> None:
    """Check two neighbours in a comparison, and note it when no such comparison exists."""
    both = tree.Unknown(UNKNOWN, *span)
    one, other = left.type, right.type
    if sign in ("in", "not in"):
        if other.element is None:
            hint = "; for text write .contains(…)" if other.kind == "string" else ""
            check.find(right, f"'{sign}' looks in a list, not in {other.noun}{hint}")
            return
        other = other.element
    if "unknown" in (one.kind, other.kind):
        return
    if one.noun != other.noun:
        verb = "compare" if sign not in ("in", "not in") else "find"
        check.find(both, f"cannot {verb} {one.noun} {'with' if verb == 'compare' else 'in list of'} {other.noun}")
    elif one.kind in ("list", "object") or (one.kind == "bool" and sign[0] in "<>"):
        check.find(both, f"cannot compare {one.noun} with {other.noun} by '{sign}'")
    elif sign[0] not in "<>":
        _within_values(check, left, right)
        _within_values(check, right, left)


def _within_values(check: Check, side: tree.Node, against: tree.Node) -> None:
    """Note the texts on one side that the enum on the other side never is."""
    values = (against.type.element or against.type).values
    for literal in side.parts if isinstance(side, tree.ListOf) else (side,):
        if values and isinstance(literal, tree.Literal) and literal.value not in values:
            check.find(literal, f"this is never '{literal.value}'; it is one of {quoted(values)}")
