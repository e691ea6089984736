"""The kinds of values that keys hold: each reads what people write, and describes itself to editors."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainValidator, StringConstraints, WithJsonSchema

from triggers.core.events import EVENT_TYPES
from triggers.core.times import Duration
from triggers.language import amounts, times
from triggers.language.findings import Misfit, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MAX_LIST = 200
MAX_TEXT = 2_000


class Part(BaseModel):
    """A mapping of a rule file: exactly these keys, nothing converted."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


def _text(read: Callable[[str], T]) -> Callable[[object], T]:
    def from_text(value: object) -> T:
        if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
            value = str(value)  # "3" gets the message about its missing unit
        if not isinstance(value, str):
            raise Misfit("write one value here, not a list, a mapping or true")
        return read(value)

    return from_text


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _one_or_many(schema: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [schema, {"type": "array", "items": schema, "minItems": 1}]})


def _event(value: object) -> str:
    if not isinstance(value, str):
        raise Misfit("write the name of an event, such as order.paid")
    if value not in EVENT_TYPES:
        raise Misfit(f"unknown event '{value}'{did_you_mean(value, EVENT_TYPES)}")
    return value


def _identifier(value: object) -> str:
    if not isinstance(value, str):
        raise Misfit(f"'{value}' is not a word here; put it in quotes")
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", value) or len(value) > 64:  # noqa: PLR2004  a name, not a text
        raise Misfit(f"'{value}': write small letters, digits and single '-' between them, 64 at most")
    return value


def _recency(value: object) -> Duration | None:
    return None if value == "off" else _text(times.duration)(value)


def _often(value: object) -> tuple[int, Duration | None]:
    if value == "once":
        return 1, None
    try:
        number, within = amounts.per(value)
    except Misfit as error:
        raise Misfit(error.message + ", or 'once'" if "how many" in error.message else error.message) from error
    if not number:
        raise Misfit("0: nobody would ever get it; set 'status: paused' instead")
    return number, within


def _offset(value: object) -> int:
    text = str(value).strip()
    span = times.duration(text.lstrip("+-"))
    if span.months or span.ms or not isinstance(value, str):
        raise Misfit(f"'{text}': write whole days, such as '-1d'")
    return -span.days if text.startswith("-") else span.days


def _case_time(text: str) -> str:
    times.case_time(text)
    return text


def _case_start(text: str) -> str:
    times.wall_time(text)
    return text


_DURATION_SCHEMA = {
    "type": "string",
    "description": f"{times.FORMS}; or ISO 8601: P3D",
    "pattern": r"^(\s*[0-9]+\s*(s|min|h|d|w|months?|years?))+\s*$|^P",
    "examples": ["3d", "12h", "1 month"],
}
_EVENT_SCHEMA = {"type": "string", "enum": sorted(EVENT_TYPES)}
_SPAN_SCHEMA = {"type": "string", "pattern": r"^\s*[0-9]{1,2}:[0-9]{2}\s*-\s*[0-9]{1,2}:[0-9]{2}\s*$"}
_WALL_SCHEMA = {"type": "string", "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2})?)?$"}
_PER_SCHEMA = {"type": "string", "pattern": r"^\s*[0-9]+\s*/\s*\S", "examples": ["1 / 7d"]}
_CASE_TIME_SCHEMA = {"type": "string", "examples": ["+3d", "+3d @10:00", "2026-09-01 10:00"]}
_WORD_SCHEMA = {"type": "string"}

Line = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Words = Annotated[list[Word], BeforeValidator(_listed), _one_or_many(_WORD_SCHEMA)]
Identifier = Annotated[
    str, PlainValidator(_identifier), WithJsonSchema({"type": "string", "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$"})
]
EventName = Annotated[str, PlainValidator(_event), WithJsonSchema(_EVENT_SCHEMA)]
EventNames = Annotated[list[EventName], BeforeValidator(_listed), _one_or_many(_EVENT_SCHEMA)]
Span = Annotated[Duration, PlainValidator(_text(times.duration)), WithJsonSchema(_DURATION_SCHEMA)]
"""A duration."""
ExactSpan = Annotated[int, PlainValidator(_text(times.exact)), WithJsonSchema(_DURATION_SCHEMA)]
"""A duration that does not depend on the calendar, in ms."""
WallTime = Annotated[times.WallTime, PlainValidator(_text(times.wall_time)), WithJsonSchema(_WALL_SCHEMA)]
Moment = Annotated[times.WallTime, PlainValidator(_text(times.moment)), WithJsonSchema(_WALL_SCHEMA)]
Clock = Annotated[int, PlainValidator(_text(times.clock)), WithJsonSchema({"type": "string", "examples": ["10:00"]})]
WindowSpan = Annotated[tuple[int, int], PlainValidator(_text(times.span)), WithJsonSchema(_SPAN_SCHEMA)]
WindowSpans = Annotated[list[WindowSpan], BeforeValidator(_listed), _one_or_many(_SPAN_SCHEMA)]
CaseTime = Annotated[str, PlainValidator(_text(_case_time)), WithJsonSchema(_CASE_TIME_SCHEMA)]
"""A time in a test, kept as it is written."""
CaseStart = Annotated[str, PlainValidator(_text(_case_start)), WithJsonSchema(_WALL_SCHEMA)]
Percent = Annotated[
    float, PlainValidator(amounts.percent), WithJsonSchema({"type": "string", "pattern": r"^[0-9.]+\s*%$"})
]
Yuan = Annotated[Decimal, PlainValidator(amounts.yuan), WithJsonSchema({"type": "number", "minimum": 0})]
Cap = Annotated[tuple[int, Duration], PlainValidator(amounts.per), WithJsonSchema(_PER_SCHEMA)]
Often = Annotated[
    tuple[int, Duration | None],
    PlainValidator(_often),
    WithJsonSchema({"anyOf": [{"const": "once"}, _PER_SCHEMA]}),
]
RecencySpan = Annotated[
    Duration | None, PlainValidator(_recency), WithJsonSchema({"anyOf": [{"const": "off"}, _DURATION_SCHEMA]})
]
"""A duration, or None for ``off``."""
DayOffset = Annotated[
    int,
    PlainValidator(_offset),
    WithJsonSchema({"type": "string", "pattern": "^[+-]?[0-9]+[dw]$", "examples": ["-1d"]}),
]
Days = Annotated[list[Any], BeforeValidator(_listed), _one_or_many({"type": ["string", "integer"]})]
