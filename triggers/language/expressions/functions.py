"""The functions of the expression language: their names, what they take and what they give."""

from __future__ import annotations

import ast
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from triggers.language.expressions import tree
from triggers.language.expressions.types import BOOL, STRING, UNKNOWN, WHOLE, Type, list_of
from triggers.language.findings import did_you_mean

if TYPE_CHECKING:
    from triggers.language.expressions.check import Check

_UNITS_MS: Final = {"days": 86_400_000, "hours": 3_600_000, "minutes": 60_000}
"""The lasting of a unit. A day in an expression has 24 hours, also when the clocks change."""

_FUNCTIONS: Final = ("size", "has", *_UNITS_MS)
_TEXT_TESTS: Final = ("contains", "startsWith", "endsWith")
_METHODS: Final = {"string": (*_TEXT_TESTS, "lower"), "list": ("exists", "all", "filter", "map")}


def is_function(name: str) -> bool:
    """Whether there is a function ``name(…)``."""
    return name in _FUNCTIONS


def has_method(type_: Type, name: str) -> bool:
    """Whether values of the type have a function ``value.name(…)``."""
    return name in _METHODS.get(type_.kind, ())


def check_call(check: Check, call: ast.Call) -> tree.Node:
    """Check a call, of a function or of a value's function."""
    if call.keywords or any(isinstance(arg, ast.Starred) for arg in call.args):
        return check.find_in(call, "a function takes plain values: no names and no '*'")
    if isinstance(call.func, ast.Attribute):
        return _check_method(check, call, call.func)
    if isinstance(call.func, ast.Name):
        return _check_function(check, call, call.func)
    return check.find_in(call.func, "this is not a function")


def _check_function(check: Check, call: ast.Call, func: ast.Name) -> tree.Node:  # noqa: PLR0911  one for each finding
    name, span = check.word(func), check.span(call)
    if name not in _FUNCTIONS:
        _check_all(check, call.args)
        return check.find_in(func, f"unknown function '{name}'{_function_hint(name)}")
    if len(call.args) != 1:
        return check.find_in(call, f"{name} takes one value: {name}(…)")
    of = check.value(call.args[0])
    if of.type.kind == "unknown":
        return tree.Unknown(UNKNOWN, *span)
    if name == "has":
        if not of.type.optional:
            check.find(of, "this is never missing")
        return tree.NullTest(BOOL, *span, of, missing=False)
    if name == "size":
        if of.type.kind not in ("string", "list"):
            return check.find(of, f"size counts a list or a string, not {of.type.noun}")
        return tree.Call(WHOLE.or_missing(of.type.optional), *span, name, (of,))
    return _check_duration(check, name, of, span)


def _check_all(check: Check, args: list[ast.expr]) -> None:
    """Check values that are of no use any more, for their own findings."""
    for arg in args:
        check.value(arg)


def _function_hint(name: str) -> str:
    for kind, methods in _METHODS.items():
        if name in methods:
            return f"; it belongs to a {kind}: write value.{name}(…)"
    return did_you_mean(name, _FUNCTIONS)


def _check_duration(check: Check, name: str, of: tree.Node, span: tuple[int, int]) -> tree.Node:
    unit_ms = _UNITS_MS[name]
    if of.type.kind != "number":
        return check.find(of, f"{name} takes a number, not {of.type.noun}")
    if isinstance(of, tree.Literal) and isinstance(of.value, int | Decimal):
        value = of.value * unit_ms  # at most 18 digits and a unit: exact
        whole = value == int(value)
        return tree.Literal(Type("duration", whole=whole), *span, int(value) if whole else value)
    unit = tree.Literal(Type("duration", whole=True), *span, unit_ms)
    return tree.Arithmetic(Type("duration", optional=True), *span, "*", of, unit)


def _check_method(check: Check, call: ast.Call, func: ast.Attribute) -> tree.Node:
    of, name = check.value(func.value), check.word(func)
    if of.type.element is not None and has_method(of.type, name):
        return _check_list_call(check, call, func, (of, of.type.element))
    if of.type.kind == "string" and has_method(of.type, name):
        return _check_text_call(check, call, of, name)
    if of.type.kind == "unknown" and name in _METHODS["list"]:
        _check_body(check, call, func, UNKNOWN)
    elif of.type.kind != "list":  # what is asked of a list may speak of an element that has no name yet
        _check_all(check, call.args)
    if of.type.kind != "unknown":
        check.find_word(func, _unknown_method(of.type, name))
    return tree.Unknown(UNKNOWN, *check.span(call))


def _check_text_call(check: Check, call: ast.Call, of: tree.Node, name: str) -> tree.Node:
    if name == "lower":
        if call.args:
            return check.find_in(call.args[0], "lower takes nothing: .lower()")
        return tree.Call(STRING.or_missing(of.type.optional), *check.span(call), name, (of,))
    if len(call.args) != 1:
        return check.find_in(call, f'{name} takes one string: .{name}("…")')
    part = check.value(call.args[0])
    if part.type.kind not in ("string", "unknown"):
        return check.find(part, f"{name} takes a string, not {part.type.noun}")
    return tree.Call(BOOL, *check.span(call), name, (of, part))


def _unknown_method(type_: Type, name: str) -> str:
    if name in _FUNCTIONS:
        return f"write {name}(…) with the value inside"
    if name in type_.fields:
        return f"'{name}' is a field; leave out the brackets"
    if type_.kind == "list" and name == "contains":
        return f"{type_.noun} has no function 'contains'; write 'value in list'"
    return f"{type_.noun} has no function '{name}'{did_you_mean(name, _METHODS.get(type_.kind, ()))}"


def _check_list_call(check: Check, call: ast.Call, func: ast.Attribute, list_: tuple[tree.Node, Type]) -> tree.Node:
    of, element = list_
    body, name, span = _check_body(check, call, func, element), check.word(func), check.span(call)
    if isinstance(body, tree.Unknown):
        return tree.Unknown(UNKNOWN, *span)
    result = {"exists": BOOL, "all": BOOL, "filter": of.type, "map": list_of(body.type).or_missing(of.type.optional)}
    return tree.ListCall(result[name], *span, name, of, body)


def _check_body(check: Check, call: ast.Call, func: ast.Attribute, element: Type) -> tree.Node:
    """Check what is asked of each element; its name exists in there only."""
    name = check.word(func)
    wanted = "a name and a value" if name == "map" else "a name and a condition"
    if len(call.args) != 2 or not isinstance(call.args[0], ast.Name):  # noqa: PLR2004  the name and the rest
        return check.find_in(call, f"{name} takes {wanted}: .{name}(i, …)")
    variable = check.word(call.args[0])
    if check.is_root(variable) or is_function(variable):
        return check.find_in(call.args[0], f"'{variable}' is taken; choose another name, as in .{name}(i, …)")
    if check.element is not None:
        check.find_word(func, "a list condition cannot stand inside a list condition")
        return tree.Unknown(UNKNOWN, *check.span(call))
    check.element = (variable, element)
    try:
        return check.value(call.args[1]) if name == "map" else check.condition(call.args[1])
    finally:
        check.element = None
