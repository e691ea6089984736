"""Turns texts into the octets of short messages and back: GSM 03.38 or UCS-2, cut into parts as they are charged."""

from __future__ import annotations

from typing import NamedTuple

from triggers.core.texts import GSM_MANY, GSM_ONE, WIDE_MANY, WIDE_ONE

DEFAULT_ALPHABET, UCS2 = 0x00, 0x08
MAX_PARTS = 255
"""What the header of a part can count."""

_ESCAPE = 0x1B
_GSM = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_ESCAPED = dict(zip("\f^{}\\[~]|€", (0x0A, 0x14, 0x28, 0x29, 0x2F, 0x3C, 0x3D, 0x3E, 0x40, 0x65), strict=True))
SEPTETS = {char: bytes([at]) for at, char in enumerate(_GSM) if at != _ESCAPE} | {
    char: bytes([_ESCAPE, at]) for char, at in _GSM_ESCAPED.items()
}
"""GSM 03.38, each septet in an octet of its own, as SMPP carries it."""
_ESCAPED = {at: char for char, at in _GSM_ESCAPED.items()}

# SMPP 3.4 section 5.2.19; 15 is reserved there and GBK in China. 2 and 4 are octets that the two ends agreed upon.
_CODECS = {
    1: "ascii", 2: "latin-1", 3: "latin-1", 4: "latin-1", 5: "iso2022_jp", 6: "iso8859_5", 7: "iso8859_8",
    UCS2: "utf-16-be", 9: "shift_jis", 10: "iso2022_jp", 13: "iso2022_jp_1", 14: "euc_kr", 15: "gbk",
}  # fmt: skip

_HEADER, _LONG_HEADER = bytes([5, 0, 3]), bytes([6, 8, 4])


class Coded(NamedTuple):
    """A text as it is submitted: its data coding, and the octets of its parts without their headers."""

    data_coding: int
    parts: tuple[bytes, ...]


class Piece(NamedTuple):
    """Which part of a longer message something is, counted from 1; ``reference`` says of which message."""

    reference: int
    total: int
    number: int


def coded(text: str, *, wide: bool = False, whole: bool = False, long_header: bool = False) -> Coded:
    """Cut a text into the parts that ``segments`` counts; ``wide`` takes UCS-2 for every text, ``whole`` does not cut.

    A long header takes one octet more, so that a long text may need a part more than is counted.
    """
    if not wide and all(char in SEPTETS for char in text):
        one, many = GSM_ONE, GSM_MANY - long_header
        data_coding, octets = DEFAULT_ALPHABET, [SEPTETS[char] for char in text]
    else:
        one, many = WIDE_ONE * 2, (WIDE_MANY - long_header) * 2
        data_coding, octets = UCS2, [char.encode("utf-16-be", "replace") for char in text]
    everything = b"".join(octets)
    if whole or len(everything) <= one:
        return Coded(data_coding, (everything,))
    return Coded(data_coding, tuple(_cut(octets, many)))


def header(piece: Piece, *, long: bool = False) -> bytes:
    """Write the header that says which part of a message follows; a long one has a reference of 16 bits."""
    reference = (piece.reference & 0xFFFF).to_bytes(2, "big") if long else bytes([piece.reference & 0xFF])
    return (_LONG_HEADER if long else _HEADER) + reference + bytes([piece.total, piece.number])


def split_header(octets: bytes) -> tuple[Piece | None, bytes]:
    """Read the header that octets begin with: which part they are, if it says so, and what follows it."""
    end = 1 + octets[0] if octets else 0
    head, rest = octets[1:end], octets[end:]
    while len(head) >= 2:  # noqa: PLR2004  an element's name and its length
        name, size = head[0], head[1]
        value, head = head[2 : 2 + size], head[2 + size :]
        if (name, size, len(value)) in {(0, 3, 3), (8, 4, 4)}:
            return Piece(int.from_bytes(value[:-2], "big"), value[-2], value[-1]), rest
    return None, rest


def read(octets: bytes, data_coding: int) -> str:
    """Read a text in any data coding. What cannot be read becomes a mark, so that the rest is not lost."""
    codec = _codec(data_coding)
    return octets.decode(codec, "replace").removeprefix("\ufeff") if codec else _read_gsm(octets)


def _cut(octets: list[bytes], room: int) -> list[bytes]:
    """Fill parts one after the other; an escaped character or a surrogate pair is not cut."""
    parts, part = [], b""
    for char in octets:
        if len(part) + len(char) > room:
            parts.append(part)
            part = b""
        part += char
    return [*parts, part]


def _codec(data_coding: int) -> str | None:
    """Find Python's codec for a data coding; None: the default alphabet."""
    group = data_coding >> 4
    if group == 0:
        return _CODECS.get(data_coding)
    if group in {1, 2, 3}:  # as GSM 03.38 has them, from 0x10 on
        return {1: "latin-1", 2: "utf-16-be"}.get(data_coding >> 2 & 3)
    if group == 0xE:  # noqa: PLR2004  a mark that messages wait, in UCS-2
        return "utf-16-be"
    return "latin-1" if group == 0xF and data_coding & 4 else None  # noqa: PLR2004  a message of a class


def _read_gsm(octets: bytes) -> str:
    text, escaped = [], False
    for octet in octets:
        if octet == _ESCAPE and not escaped:
            escaped = True
            continue
        char = _GSM[octet] if octet < len(_GSM) else "�"
        text.append(_ESCAPED.get(octet, char) if escaped else char)
        escaped = False
    return "".join(text)
