"""CloudEvents 1.0 as the shop's topics may hold them, made flat JSON: in the value, or with their attributes in headers.

What looks usual is put together from its pieces as they stand; all else is left to the core, which knows what is wrong
with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

_PREFIX: Final = "ce_"
_SPECVERSION: Final = "ce_specversion"
_ATTRIBUTES: Final = ("specversion", "id", "source", "type", "subject", "time")
_MARK: Final = b'"specversion"'
_TAKEN: Final = (b'"id"', b'"source"', b'"type"', b'"customer"', b'"at"', b"\\u")
_encode = msgspec.json.Encoder().encode


class _Envelope(msgspec.Struct):
    specversion: Literal["1.0"]
    id: msgspec.Raw
    source: msgspec.Raw
    type: msgspec.Raw
    subject: msgspec.Raw
    time: msgspec.Raw
    data: msgspec.Raw = msgspec.Raw(b"{}")


_envelope: msgspec.json.Decoder[_Envelope] = msgspec.json.Decoder(_Envelope)


def flattened(value: bytes) -> bytes:
    """Make an envelope flat JSON of the same meaning where that is quick; else, and for what is none, give it back."""
    if _MARK not in value:
        return value
    try:
        envelope = _envelope.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return value
    data = bytes(envelope.data)
    if not data.startswith(b"{") or any(key in data for key in _TAKEN):  # the envelope's would have to win
        return value
    rest = data[1:].lstrip()
    return b'{"id":%b,"source":%b,"type":%b,"customer":%b,"at":%b%b%b' % (
        envelope.id,
        envelope.source,
        envelope.type,
        envelope.subject,
        envelope.time,
        b"" if rest == b"}" else b",",
        rest,
    )


def enveloped(value: bytes | None, headers: Sequence[tuple[str, bytes]]) -> bytes | None:
    """Put an event whose attributes stand in headers into one envelope; without such headers give the value back."""
    said = dict(headers)
    if _SPECVERSION not in said:
        return value
    found: dict[str, Any] = {
        name: (said.get(_PREFIX + name) or b"").decode(errors="replace") or None for name in _ATTRIBUTES
    }
    try:
        return _encode(found | {"data": msgspec.json.decode(value or b"{}", type=msgspec.Raw)})
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return value  # the core says what is wrong with it
