"""From the syntax tree to the checked form: every name exists, every operator and function fits its types."""

from __future__ import annotations

import ast
from decimal import Decimal
from typing import TYPE_CHECKING

from triggers.core.events import EVENT_TYPES
from triggers.language.expressions import functions, operators, tree
from triggers.language.expressions.findings import Finding
from triggers.language.expressions.types import (
    BOOL,
    NULL,
    NUMBER,
    ROOTS,
    STRING,
    UNKNOWN,
    WHOLE,
    Type,
    event_fields,
    event_object,
    list_of,
)
from triggers.language.findings import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triggers.language.expressions.source import Source


class Check:
    """One expression being checked. A part with a finding has the type unknown, which silences what follows from it."""

    __slots__ = ("_event_types", "_roots", "_source", "element", "findings", "names")

    def __init__(self, source: Source, event_types: Sequence[str]) -> None:
        self._source = source
        self._event_types = tuple(event_types)
        self._roots = {"event": event_object(event_types), **ROOTS} if event_types else ROOTS
        self.element: tuple[str, Type] | None = None
        self.findings: list[Finding] = []
        self.names: set[str] = set()

    # -- what the functions share with the operators

    def find(self, node: tree.Node, message: str) -> tree.Unknown:
        """Note a finding at a node and return what stands for it from then on."""
        self.findings.append(Finding(node.start, node.end, message))
        return tree.Unknown(UNKNOWN, node.start, node.end)

    def find_in(self, syntax: ast.expr, message: str) -> tree.Unknown:
        """Note a finding at a piece of syntax."""
        return self.find(tree.Unknown(UNKNOWN, *self._source.span(syntax)), message)

    def find_word(self, syntax: ast.expr, message: str) -> None:
        """Note a finding at the last word of a piece of syntax."""
        _, start, end = self._source.last_word(syntax)
        self.findings.append(Finding(start, end, message))

    def word(self, syntax: ast.expr) -> str:
        """Return the last word of a piece of syntax, as it is written."""
        return self._source.last_word(syntax)[0]

    def span(self, syntax: ast.expr) -> tuple[int, int]:
        """Return the columns of a piece of syntax."""
        return self._source.span(syntax)

    def is_root(self, name: str) -> bool:
        """Whether the name means something everywhere, so that a list condition cannot take it."""
        return name in ROOTS or name == "event"

    # -- positions

    def condition(self, syntax: ast.expr) -> tree.Node:
        """Check what must be true or false."""
        node = self.value(syntax)
        if node.type.kind not in ("bool", "unknown"):
            return self.find(node, f"a condition must be bool, not {node.type.noun}")
        return node

    def value(self, syntax: ast.expr) -> tree.Node:
        """Check what must be a value, so anything but ``null``."""
        node = self.operand(syntax)
        if node.type.kind == "null":
            return self.find(node, "null can only be compared, with '==' or '!='")
        return node

    def operand(self, syntax: ast.expr) -> tree.Node:  # noqa: PLR0911  one return for each kind of syntax
        """Check what may stand in a comparison: a value or ``null``."""
        match syntax:
            case ast.Constant(value=int(number)):
                return self._literal(syntax, self._source.literals[number])
            case ast.Name():
                return self._name(syntax)
            case ast.Attribute():
                return self._field(syntax)
            case ast.Subscript():
                return self._place(syntax)
            case ast.BoolOp(op=op, values=values):
                word = "and" if isinstance(op, ast.And) else "or"
                return tree.Logic(BOOL, *self.span(syntax), word, tuple(self.condition(v) for v in values))
            case ast.UnaryOp():
                return operators.check_unary(self, syntax)
            case ast.BinOp():
                return operators.check_arithmetic(self, syntax)
            case ast.Compare():
                return operators.check_comparison(self, syntax)
            case ast.Call():
                return functions.check_call(self, syntax)
            case ast.List():
                return self._list(syntax)
        message = "write a list with [ ]" if isinstance(syntax, ast.Tuple) else "this cannot stand in an expression"
        return self.find_in(syntax, message)

    # -- names

    def _literal(self, syntax: ast.expr, value: tree.Constant | Decimal) -> tree.Node:
        if value is None:
            type_ = NULL
        elif isinstance(value, bool):
            type_ = BOOL
        elif isinstance(value, str):
            type_ = STRING
        else:
            type_ = NUMBER if isinstance(value, Decimal) else WHOLE
        return tree.Literal(type_, *self.span(syntax), value)

    def _name(self, syntax: ast.Name) -> tree.Node:
        name, start, end = self._source.last_word(syntax)
        if self.element is not None and name == self.element[0]:
            return tree.Element(self.element[1], start, end)
        if name in self._roots:
            if name == "now":
                self.names.add(name)
            return tree.Root(self._roots[name], start, end, name)
        if name[0].isdecimal():  # the reading has found that it is no number
            return tree.Unknown(UNKNOWN, start, end)
        return self.find_in(syntax, self._unknown_name(name))

    def _unknown_name(self, name: str) -> str:
        if name == "event":
            return "there is no 'event' here; conditions on an event have one, and the audience of a rule with 'when'"
        if functions.is_function(name):
            return f"'{name}' is a function; write {name}(…)"
        for root, type_ in self._roots.items():
            if name in type_.fields:
                return f"unknown name '{name}'; did you mean '{root}.{name}'?"
        known = [*self._roots, *([self.element[0]] if self.element else [])]
        hint = did_you_mean(name, known) or "; text goes in quotes"
        return f"unknown name '{name}'{hint}"

    def _field(self, syntax: ast.Attribute) -> tree.Node:
        of = self.value(syntax.value)
        name = self.word(syntax)
        found = of.type.fields.get(name)
        if found is not None:
            if isinstance(of, tree.Root):
                self.names.add(f"{of.name}.{name}")
            return tree.Field(found.or_missing(of.type.optional), *self.span(syntax), of, name)
        if of.type.kind != "unknown":
            self.find_word(syntax, self._unknown_field(of, name))
        return tree.Unknown(UNKNOWN, *self.span(syntax))

    def _unknown_field(self, of: tree.Node, name: str) -> str:
        if functions.has_method(of.type, name):
            return f"'{name}' is a function; write .{name}(…)"
        hint = did_you_mean(name, of.type.fields)
        if isinstance(of, tree.Root) and of.name == "event" and not hint:
            return self._event_lacks(name)
        if of.type.element is not None and name in of.type.element.fields:
            hint = f"; ask its elements, as in .exists(i, i.{name} …)"
        verb = "have" if isinstance(of, tree.Root) and " and " in of.type.name else "has"
        return f"{of.type.noun} {verb} no field '{name}'{hint}"

    def _event_lacks(self, name: str) -> str:
        """Say which of several events lack a field, or that they have it as different types."""
        models = {EVENT_TYPES[t].__name__: event_fields(t).get(name) for t in self._event_types}
        lacking = [model for model, type_ in models.items() if type_ is None]
        if not lacking:
            kinds = ", ".join(f"{type_.noun} in {model}" for model, type_ in models.items() if type_ is not None)
            return f"'{name}' is not the same in all these events: {kinds}"
        return f"{' and '.join(lacking)} {'has' if len(lacking) == 1 else 'have'} no field '{name}'"

    def _place(self, syntax: ast.Subscript) -> tree.Node:
        of, place = self.value(syntax.value), self.operand(syntax.slice)
        if of.type.kind == "unknown" or place.type.kind == "unknown":
            return tree.Unknown(UNKNOWN, *self.span(syntax))
        if of.type.element is None:
            return self.find(of, f"{of.type.noun} has no places; [ ] works on a list")
        if not (isinstance(place, tree.Literal) and place.type == WHOLE and isinstance(place.value, int)):
            return self.find(place, "a place in a list is a whole number, like [0] or [-1]")
        return tree.Place(of.type.element.or_missing(), *self.span(syntax), of, place.value)

    def _list(self, syntax: ast.List) -> tree.Node:
        parts = tuple(self.value(part) for part in syntax.elts)
        element: Type | None = None
        for part in parts:
            if part.type.kind == "unknown":
                continue
            element = element or part.type
            merged = element.merged(part.type)
            if merged is None:
                return self.find(part, f"a list holds one type: {element.noun} before, {part.type.noun} here")
            element = merged
        if not parts:
            return self.find_in(syntax, "the list is empty")
        return tree.ListOf(list_of(element or UNKNOWN), *self.span(syntax), parts)
