"""Intake: a line of bytes becomes an event with whole milliseconds in it, or a Malformed that says why not.

Flat JSON decodes straight into the event's struct; a CloudEvents 1.0 envelope, and all that is wrong, takes the slow
way in ``flaws``. A whole chunk of lines is decoded at once where every line of it is good.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow, localcontext
from typing import TYPE_CHECKING, Any, Final

import msgspec

from triggers.core.events import (
    AnyEvent,
    Event,
    FavoriteAdded,
    FavoriteRemoved,
    Item,
    OrderCancelled,
    OrderCreated,
    OrderPaid,
    OrderRefunded,
)
from triggers.core.flaws import MAX_EVENT_BYTES, MAX_ITEMS, MAX_KEY, Malformed, explain, wrong_value
from triggers.core.times import DAY, MINUTE, days_of, iso

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "MAX_EVENT_BYTES",
    "Malformed",
    "bodies_of",
    "decode",
    "decode_chunk",
    "decode_many",
    "decode_whole",
    "epoch_ms",
    "stamp",
]

EARLIEST: Final = days_of(2000, 1, 1) * DAY
LATEST: Final = days_of(2050, 1, 1) * DAY
"""An event happened in [EARLIEST, LATEST), epoch ms."""
MAX_AHEAD: Final = 5 * MINUTE
"""How far an event's own time may lie ahead of its receipt, in ms (S4)."""

_YEAR_10000 = days_of(10_000, 1, 1) * DAY
_ROUNDING = 0.0005  # a timestamp's float is exact to less than a microsecond, so this keeps whole milliseconds whole
_BOM = b"\xef\xbb\xbf"
_WITH_ITEMS = frozenset({OrderCreated, OrderPaid})
_ORDERS = _WITH_ITEMS | {OrderCancelled, OrderRefunded}
_FAVORITES = frozenset({FavoriteAdded, FavoriteRemoved})

_CHECKING = Context(prec=19, traps=[Inexact, Overflow, InvalidOperation])
_OFFSET = Decimal(9 * 10**12)
_LOWEST, _HIGHEST = Decimal(8 * 10**12), Decimal(10**13)
# _OFFSET + amount lies between the two exactly when the amount is below 10^12 either way, and then has 13 digits before
# the point, so that the context above traps a seventh decimal: one addition checks both.

_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def decode(line: bytes, *, far_future_ok: bool = False) -> Event | Malformed:
    """Turn one line into an event; ``at`` and a given ``received_at`` become epoch ms.

    ``far_future_ok`` lets an ``at`` past LATEST through for a caller that stamps the event with its own clock.
    """
    if len(line) > MAX_EVENT_BYTES:
        return Malformed("too large", f"{len(line)} bytes; an event has at most {MAX_EVENT_BYTES}")
    event: Event | Malformed
    try:
        event = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        event = explain(line.removeprefix(_BOM))
        if isinstance(event, Malformed):
            return event
    return _wrong_time(event, far_future_ok=far_future_ok) or wrong_value(event) or event


def decode_many(lines: Sequence[bytes], *, far_future_ok: bool = False) -> list[Event | Malformed]:
    """Turn lines into as many events or Malformed; fast where all are good."""
    events = decode_chunk(b"\n".join(lines))
    if events is not None and len(events) == len(lines) and all(map(_is_braced, lines)):
        return list(events)
    return [decode(line, far_future_ok=far_future_ok) for line in lines]


def decode_chunk(data: bytes) -> list[AnyEvent] | None:
    """Turn a chunk of whole lines into their events, or None if any line must be looked at by itself."""
    whole = decode_whole(data)
    return None if whole is None else whole[0]


def decode_whole(data: bytes) -> tuple[list[AnyEvent], bool] | None:
    """Do as ``decode_chunk``, and tell whether the events are just what their lines say: times in ms, none received."""
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    if _has_long_line(data):
        return None
    try:
        events = _decoder.decode_lines(data)
        if len(events) != lines:  # blank lines, two objects on a line, one object on two
            return None
        with localcontext(_CHECKING):
            just_so = _check(events)
        if b"\\" in data or b"\x7f" in data or b"\xc2" in data:  # without these there is no control character
            return None if any(map(wrong_value, events)) else (events, just_so)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ArithmeticError, ValueError):
        return None
    return events, just_so


def bodies_of(data: bytes, number: int) -> list[bytes] | None:
    """Cut a good chunk into what stands between the outer braces of its events, or None if not each is on a line.

    "}", an end of line and "{" can follow each other only between two events: as many of these as events, less one, put
    each of them on a line of its own.
    """
    if not (data.startswith(b"{") and data.endswith(b"}\n")):
        return None
    bodies = data[1:-2].split(b"}\n{")
    return bodies if len(bodies) == number else None


def _is_braced(line: bytes) -> bool:
    """Tell whether a line is from brace to brace: it then holds an event at least, as "}", "{" are never within one.

    As many events as such lines means one in each; else two on one line and none on the next would be taken for that.
    """
    bare = line.strip()
    return bare[:1] == b"{" and bare[-1:] == b"}"


def _has_long_line(data: bytes) -> bool:
    """Tell whether a line is too long: it then covers a multiple of the limit, so only those places are looked at."""
    for place in range(0, len(data), MAX_EVENT_BYTES):
        end = data.find(b"\n", place)
        if (len(data) if end < 0 else end) - data.rfind(b"\n", 0, place) - 1 > MAX_EVENT_BYTES:
            return True
    return False


def _check(events: list[Any]) -> bool:
    """Check what the types cannot say in the fewest steps; ValueError or ArithmeticError where an event is wrong.

    Tells whether all times were in ms and none of them one of receipt.
    """
    just_so = True
    for event in events:
        at = event.at
        if type(at) is not int:
            event.at = at = epoch_ms(at)
            just_so = False
        if not EARLIEST <= at < LATEST or not 0 < len(event.id) <= MAX_KEY or not 0 < len(event.customer) <= MAX_KEY:
            raise ValueError
        kind = type(event)
        if kind in _ORDERS:
            amount = event.amount
            if amount is not None and not _LOWEST < amount + _OFFSET < _HIGHEST:
                raise ValueError
            if not 0 < len(event.order_id) <= MAX_KEY:
                raise ValueError
            if kind in _WITH_ITEMS and event.items:
                _check_items(event.items)
        elif kind in _FAVORITES:
            price = event.price
            if not 0 < len(event.product_id) <= MAX_KEY:
                raise ValueError
            if price is not None and not _LOWEST < price + _OFFSET < _HIGHEST:
                raise ValueError
        if event.received_at is not None or event.source:
            just_so = _check_origin(event) and just_so
    return just_so


def _check_origin(event: Event) -> bool:
    if _wrong_time(event) or wrong_value(event):
        raise ValueError
    return event.received_at is None


def _check_items(items: tuple[Item, ...]) -> None:
    if len(items) > MAX_ITEMS:
        raise ValueError
    for item in items:
        if item.price is not None and not _LOWEST < item.price + _OFFSET < _HIGHEST:
            raise ValueError
        if item.quantity is not None and not _LOWEST < item.quantity + _OFFSET < _HIGHEST:
            raise ValueError


def epoch_ms(time: object) -> int:
    """Turn an RFC 3339 text with an offset, or epoch ms, into epoch ms; ValueError says what is wrong with it."""
    if isinstance(time, int):
        return time
    text = str(time)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text.upper())  # RFC 3339 allows t and z
        except ValueError:
            raise ValueError(f"{text[:40]!a} is not an RFC 3339 time") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text[:40]!a} has no offset; write for example {text[:19]}+08:00 or {text[:19]}Z")
    return int(moment.timestamp() * 1_000 + _ROUNDING)


def _wrong_time(event: Event, *, far_future_ok: bool = False) -> Malformed | None:
    """Turn both times into epoch ms, or say what is wrong with them."""
    name = "at"
    try:
        event.at = at = epoch_ms(event.at)
        name = "received_at"
        received_at = event.received_at = None if event.received_at is None else epoch_ms(event.received_at)
    except ValueError as error:
        return Malformed("time not understood", f"{name}: {error}")
    if received_at is not None and not EARLIEST <= received_at < LATEST:
        return _out_of_range("received_at", received_at)
    latest = _YEAR_10000 if far_future_ok or received_at is not None else LATEST
    return None if EARLIEST <= at < latest else _out_of_range("at", at)


def _out_of_range(name: str, at: int) -> Malformed:
    for unit, ms in (("seconds", at * 1_000), ("microseconds", at // 1_000), ("nanoseconds", at // 1_000_000)):
        if EARLIEST <= ms < LATEST:
            message = f"{name} {at} looks like epoch {unit}: epoch milliseconds are expected"
            return Malformed("time out of range", message)
    shown = iso(at) if 0 <= at < _YEAR_10000 else f"{at} ms" if abs(at) < _YEAR_10000 else "a huge number"
    return Malformed("time out of range", f"{name} is {shown}; a time from 2000 to 2049 is expected")


def stamp(event: Event, received_at: int) -> bool:
    """Note when the event was received (epoch ms); one from more than 5 min ahead happened then (S4). Tells if so."""
    event.received_at = received_at
    if epoch_ms(event.at) <= received_at + MAX_AHEAD:
        return False
    event.at = received_at
    return True
