"""The types of the expression language, and the names that expressions may use with their types."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Literal

import msgspec

from triggers.core.events import EVENT_TYPES, Event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Kind = Literal["number", "string", "bool", "time", "duration", "list", "object", "null", "unknown"]


@dataclass(frozen=True, slots=True)
class Type:
    """The type of a value in an expression.

    ``optional``: the value may be missing (None). ``whole``: it is an ``int`` at run time, as times always are; other
    numbers are Decimals. ``values``: the allowed values of an enum. ``element``: what a list holds. ``name`` and
    ``fields``: of an object.
    """

    kind: Kind
    optional: bool = False
    whole: bool = False
    values: tuple[str, ...] = ()
    element: Type | None = None
    name: str = ""
    fields: Mapping[str, Type] = field(default_factory=dict, hash=False, compare=False, repr=False)

    @property
    def noun(self) -> str:
        """Name the type in a message, leaving aside whether the value may be missing."""
        if self.element is not None:
            return f"list of {self.element.noun}"
        return self.name if self.kind == "object" else self.kind

    def or_missing(self, optional: bool = True) -> Type:  # noqa: FBT001, FBT002  a property of the type, not a mode
        """Return this type, also optional if ``optional``."""
        return replace(self, optional=True) if optional and not self.optional else self

    def merged(self, other: Type) -> Type | None:
        """Return the type of a value that is of this type or of ``other``; None if they differ."""
        if self.noun != other.noun:
            return None
        return replace(
            self,
            optional=self.optional or other.optional,
            whole=self.whole and other.whole,
            values=tuple(dict.fromkeys(self.values + other.values)) if self.values and other.values else (),
        )


NUMBER = Type("number")
WHOLE = Type("number", whole=True)
STRING = Type("string")
BOOL = Type("bool")
TIME = Type("time", whole=True)
NULL = Type("null", optional=True)
UNKNOWN = Type("unknown", optional=True)
"""The type of what has a finding already: everything may be done with it, so that one mistake is reported once."""


def list_of(element: Type) -> Type:
    """Return the type of a list of ``element``."""
    return Type("list", element=element)


def enum_of(*values: str) -> Type:
    """Return the type of a string that is one of ``values``."""
    return Type("string", values=values)


_CUSTOMER = {
    "name": STRING.or_missing(),
    "phone": STRING.or_missing(),
    "city": STRING.or_missing(),
    "is_member": BOOL.or_missing(),
    "level": STRING.or_missing(),
    "registered_at": TIME.or_missing(),
    "orders_paid": WHOLE,
    "total_paid": NUMBER,
    "avg_order_value": NUMBER.or_missing(),
    "last_paid_at": TIME.or_missing(),
    "unsubscribed": BOOL,
}
_SHOP = {"repurchase": enum_of("low", "high"), "name": STRING, "timezone": STRING}

ROOTS = {
    "customer": Type("object", name="customer", fields=_CUSTOMER),
    "shop": Type("object", name="shop", fields=_SHOP),
    "now": TIME,
}
"""The names that exist in every expression; ``event`` exists where a rule has one."""


def customer_fields() -> dict[str, Type]:
    """Return what expressions and texts may use of a customer: field name -> type."""
    return dict(_CUSTOMER)


def shop_fields() -> dict[str, Type]:
    """Return what expressions may use of the shop: field name -> type."""
    return dict(_SHOP)


def event_fields(event_type: str) -> dict[str, Type]:
    """Return what expressions and texts may use of an event: field name -> type.

    Raises KeyError when there is no such type of event.
    """
    return dict(_fields_of(EVENT_TYPES[event_type]))


def event_object(event_types: Sequence[str]) -> Type:
    """Return the type of ``event`` when it is one of ``event_types``: the fields that all of them have alike.

    Raises KeyError when there is no such type of event.
    """
    models = [EVENT_TYPES[event_type] for event_type in event_types]
    shared: dict[str, Type] = {}
    for name, first in _fields_of(models[0]).items():
        merged: Type | None = first
        for model in models[1:]:
            other = _fields_of(model).get(name)
            merged = merged.merged(other) if merged is not None and other is not None else None
        if merged is not None:
            shared[name] = merged
    return Type("object", name=" and ".join(dict.fromkeys(m.__name__ for m in models)), fields=shared)


def render_type(type_: Type) -> str:
    """Describe a type for documentation: ``one of 'low', 'high'`` or ``number, may be empty``."""
    text = "one of " + quoted(type_.values) if type_.values else type_.noun
    return f"{text}, may be empty" if type_.optional else text


def quoted(values: Sequence[str]) -> str:
    """List values in quotes, as findings show them."""
    return ", ".join(f"'{value}'" for value in values)


@cache
def _fields_of(model: type[Event]) -> dict[str, Type]:
    hints = typing.get_type_hints(model)
    own = [name for name in model.__struct_fields__ if name not in Event.__struct_fields__]
    fields = {name: _from_annotation(hints[name]) for name in ("id", *own)}
    return {"id": fields.pop("id"), "at": TIME, **fields}


def _from_annotation(annotation: object) -> Type:
    """Translate the annotation of a struct's field. An annotation it does not know is a mistake in the model."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (UnionType, typing.Union):
        (rest,) = (arg for arg in args if arg is not NoneType)
        return _from_annotation(rest).or_missing()
    if origin is Literal:
        return enum_of(*args)
    if origin in (tuple, list):
        return list_of(_from_annotation(args[0]))
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        hints = typing.get_type_hints(annotation)
        fields = {name: _from_annotation(hints[name]) for name in annotation.__struct_fields__}
        return Type("object", name=annotation.__name__, fields=fields)
    simple = {str: STRING, Decimal: NUMBER, int: WHOLE, bool: BOOL}
    return simple[typing.cast("type", annotation)]
