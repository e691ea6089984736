"""The checked form of an expression: every node knows its type and its place in the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

    from triggers.language.expressions.types import Type

Constant = str | int | bool | None
"""What a literal may be, beside Decimal."""


@dataclass(frozen=True, slots=True)
class Node:
    """A part of an expression. ``start`` and ``end`` are columns of the text, from 1, both inside."""

    type: Type
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Unknown(Node):
    """A part that has a finding, or that stands on one."""


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """A value that is written in the text; None is ``null``. Durations are in ms."""

    value: Constant | Decimal


@dataclass(frozen=True, slots=True)
class Root(Node):
    """``event``, ``customer``, ``shop`` or ``now``."""

    name: str


@dataclass(frozen=True, slots=True)
class Element(Node):
    """The name that a list condition gives to the element in hand."""


@dataclass(frozen=True, slots=True)
class Field(Node):
    """A field of an object."""

    of: Node
    name: str


@dataclass(frozen=True, slots=True)
class Place(Node):
    """An element of a list by its place; missing when the list is too short. Negative places count from the end."""

    of: Node
    place: int


@dataclass(frozen=True, slots=True)
class Logic(Node):
    """``and`` or ``or`` over conditions."""

    word: str
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not(Node):
    """The opposite of a condition."""

    of: Node


@dataclass(frozen=True, slots=True)
class Comparison(Node):
    """A comparison or a chain of them: ``parts`` with ``signs`` between; false when a part is missing."""

    signs: tuple[str, ...]
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class NullTest(Node):
    """``of == null``, or with ``missing`` false ``of != null`` and ``has(of)``."""

    of: Node
    missing: bool


@dataclass(frozen=True, slots=True)
class Arithmetic(Node):
    """``left sign right`` over numbers, strings, times or durations; missing when a part is."""

    sign: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Negative(Node):
    """Minus a number or a duration."""

    of: Node


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A function over values: ``size``, ``contains``, ``startsWith``, ``endsWith``, ``lower``."""

    function: str
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class ListOf(Node):
    """A list that is written in the text; its elements may be missing without the list being so."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class ListCall(Node):
    """``exists``, ``all``, ``filter`` or ``map``: ``body`` over each element of ``of``."""

    function: str
    of: Node
    body: Node
