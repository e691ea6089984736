"""Takes a request's body apart: one event, an array of them, or one a line; flat or CloudEvents, each left as it is."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

_LINES = ("ndjson", "jsonl", "json-lines", "jsonlines")
_raw_list = msgspec.json.Decoder(list[msgspec.Raw])
_raw_one = msgspec.json.Decoder(msgspec.Raw)
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class TooMany(NamedTuple):
    """A body with more events than one may have."""

    limit: int


def split(body: bytes, content_type: str, limit: int) -> list[bytes] | TooMany:
    """Find the events in a body. What is no JSON as a whole is one event, which intake will turn away with a reason.

    The content type is a hint only: many senders get it wrong.
    """
    body = body.strip().removeprefix(b"\xef\xbb\xbf")
    if not body:
        return []
    if any(word in content_type for word in _LINES):
        found = _lines(body)
    elif body.startswith(b"["):
        found = _array(body)
    else:
        found = [body] if b"\n" not in body or _is_one(body) else _lines(body)
    return TooMany(limit) if len(found) > limit else found


def _lines(body: bytes) -> list[bytes]:
    return [line for line in map(bytes.strip, body.split(b"\n")) if line]


def _array(body: bytes) -> list[bytes]:
    try:
        return [bytes(part) for part in _raw_list.decode(body)]
    except _UNREADABLE:
        return [body]


def _is_one(body: bytes) -> bool:
    try:
        _raw_one.decode(body)
    except _UNREADABLE:
        return False
    return True
