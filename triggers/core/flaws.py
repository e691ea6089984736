"""What is wrong with a line that should have been an event, in words for the person who can mend its sender."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Any, Final

import msgspec

from triggers.core.events import EVENT_TYPES, AnyEvent, Event

MAX_EVENT_BYTES: Final = 256 * 1024
"""The longest line."""
MAX_ITEMS: Final = 1_000
MAX_KEY: Final = 200
"""The longest id, customer, order_id or product_id, in characters."""
MAX_DECIMALS: Final = 6
MAX_AMOUNT: Final = Decimal(10) ** 12
"""Amounts, prices and quantities are smaller than this, either way of zero."""

_KEYS = ("id", "customer", "order_id", "product_id")
_SHOWN = 40  # characters of a wrong value that a message repeats
_FIRST_PRINTABLE, _DELETE, _LAST_CONTROL = 0x20, 0x7F, 0x9F
_EXPECTED = {
    "str": "a text",
    "str | null": "a text",
    "decimal": "a number",
    "decimal | null": "a number",
    "bool | null": "true or false",
    "array": "a list",
    "object": "an object",
    "int | str": "an RFC 3339 time or epoch milliseconds",
    "int | str | null": "an RFC 3339 time or epoch milliseconds",
}
_EXACT = msgspec.json.Decoder(float_hook=Decimal)
_PLACE = re.compile(r"^(?:Expected `(?P<expected>[^`]*)`.*|.*) - at `\$\.?(?P<path>[^`]*)`$", re.DOTALL)
_STEP = re.compile(r"[^.\[\]]+")


class Malformed(msgspec.Struct, frozen=True):
    """A line that is no event: ``reason`` to count by (one of a few), ``message`` to mend it by."""

    reason: str
    message: str


def explain(line: bytes) -> AnyEvent | Malformed:
    """Read a line the slow way: unwrap a CloudEvents envelope, or say what keeps the line from being an event."""
    try:
        found = _EXACT.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidOperation) as error:
        return _unreadable(line, error)
    if not isinstance(found, dict):
        return Malformed("not an object", f"one JSON object a line is expected, found {_called(found)}")
    if "specversion" in found:
        found = _unwrapped(found)
        if isinstance(found, Malformed):
            return found
    return _from_fields(found)


def _unreadable(line: bytes, error: Exception) -> Malformed:
    if isinstance(error, UnicodeDecodeError):
        return Malformed("not UTF-8", f"byte {error.object[error.start]:#04x} is not UTF-8")
    try:
        line.decode()
    except UnicodeDecodeError as undecodable:
        return _unreadable(line, undecodable)
    if isinstance(error, RecursionError):
        return Malformed("nested too deeply", "nested too deeply to be read")
    if isinstance(error, InvalidOperation):
        return Malformed("bad amount", "a number is too large to be read")
    return Malformed("not JSON", _not_json(line, str(error)))


def _from_fields(fields: dict[str, Any]) -> AnyEvent | Malformed:
    name = fields.get("type")
    if name is None:
        return Malformed("missing field", "an event needs 'type'")
    if not isinstance(name, str) or name not in EVENT_TYPES:
        return Malformed("unknown type", _unknown_type(name))
    kind = EVENT_TYPES[name]
    missing = [f"'{f.name}'" for f in msgspec.structs.fields(kind) if f.required and fields.get(f.name) is None]
    if missing:
        return Malformed("missing field", f"{name} needs {' and '.join(missing)}")
    try:
        event: AnyEvent = msgspec.convert(fields, AnyEvent)
    except msgspec.ValidationError as error:
        return Malformed("wrong field", _wrong_field(fields, str(error)))
    return event


def _unwrapped(envelope: dict[str, Any]) -> dict[str, Any] | Malformed:
    """Turn a CloudEvents 1.0 envelope into flat fields; attributes of the envelope win over fields of the same name."""
    if envelope["specversion"] != "1.0":
        found = _called(envelope["specversion"])
        return Malformed("wrong field", f"specversion: CloudEvents '1.0' is expected, found {found}")
    missing = [f"'{key}'" for key in ("id", "source", "type", "subject", "time") if envelope.get(key) is None]
    if missing:
        return Malformed("missing field", f"a CloudEvents envelope needs {' and '.join(missing)}")
    data = envelope.get("data", {})
    if not isinstance(data, dict):
        return Malformed("wrong field", f"data: an object with the event's fields is expected, found {_called(data)}")
    return data | {
        "id": envelope["id"],
        "source": envelope["source"],
        "type": envelope["type"],
        "customer": envelope["subject"],
        "at": envelope["time"],
    }


def wrong_value(event: Event) -> Malformed | None:
    """Find a key, an amount or a list that is of the right type but of no use; None if all are good."""
    for name in _KEYS:
        key = getattr(event, name, None)
        if key is not None and (wrong := wrong_key(key)):
            return Malformed("bad text", f"{name} {wrong}")
    if wrong := wrong_key(event.source or "-"):
        return Malformed("bad text", f"source {wrong}")
    items = getattr(event, "items", ())
    if len(items) > MAX_ITEMS:
        return Malformed("too many items", f"{len(items)} items; at most {MAX_ITEMS} are expected")
    amounts: list[tuple[str, Decimal | None]] = [(name, getattr(event, name, None)) for name in ("amount", "price")]
    for i, item in enumerate(items):
        amounts += [(f"items[{i}].price", item.price), (f"items[{i}].quantity", item.quantity)]
    for name, amount in amounts:
        if amount is not None and (wrong := wrong_amount(amount)):
            return Malformed("bad amount", f"{name} {wrong}")
    return None


def wrong_key(text: str) -> str:
    """Say what keeps a text from being an id, or nothing."""
    if not text:
        return "is empty"
    if len(text) > MAX_KEY:
        return f"has {len(text)} characters; at most {MAX_KEY} are expected"
    for char in "" if text.isprintable() else text:
        if ord(char) < _FIRST_PRINTABLE or _DELETE <= ord(char) <= _LAST_CONTROL or "\ud800" <= char <= "\udfff":
            return f"holds a control character (U+{ord(char):04X})"
    return ""


def wrong_amount(amount: Decimal) -> str:
    """Say what keeps a number from being an amount, or nothing. The exponent is looked at first: it may be huge."""
    if not amount.is_finite():
        return f"is {amount}, which is no amount"
    if amount and amount.adjusted() >= MAX_AMOUNT.adjusted():
        return f"is out of range: {_shown(amount)}; less than 10^{MAX_AMOUNT.adjusted()} is expected"
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -MAX_DECIMALS and amount != round(amount, MAX_DECIMALS):
        return f"has more than {MAX_DECIMALS} decimals: {_shown(amount)}"
    return ""


def _not_json(line: bytes, error: str) -> str:
    if "surrogate" in error:
        return "a text holds half of a surrogate pair"
    for word in (b"NaN", b"Infinity"):
        if re.search(rb"[:,\[]\s*-?" + word, line):
            return f"{word.decode()} is not JSON; leave the field out"
    return f"not JSON: {error.removeprefix('JSON is malformed: ')}"


def _unknown_type(name: object) -> str:
    near = get_close_matches(name, EVENT_TYPES, n=1) if isinstance(name, str) and len(name) <= MAX_KEY else []
    return f"unknown type {_shown(name)}" + (f"; did you mean '{near[0]}'?" if near else "")


def _wrong_field(fields: dict[str, Any], error: str) -> str:
    """Turn the decoder's message into one that shows the value: "order_id: a text is expected, found a number: 5"."""
    match = _PLACE.match(error)
    if match is None:
        return error
    value: Any = fields
    for step in _STEP.findall(match["path"]):
        value = value[int(step)] if isinstance(value, list) else value.get(step)
    expected = "a number" if match["expected"] is None else _EXPECTED.get(match["expected"], match["expected"])
    return f"{match['path']}: {expected} is expected, found {_called(value)}"


def _called(value: object) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    kind = {str: "the text", int: "the number", Decimal: "the number", dict: "an object", list: "a list"}[type(value)]
    return kind if isinstance(value, (dict, list)) else f"{kind} {_shown(value)}"


def _shown(value: object) -> str:
    try:
        text = ascii(value) if isinstance(value, str) else f"{value}"
    except ValueError:  # an integer of more than 4,300 digits
        return "a huge number"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
