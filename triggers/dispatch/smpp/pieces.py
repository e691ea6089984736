"""Puts replies together that a handset cut into parts, within bounds of room and time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from triggers.dispatch.smpp.alphabet import Piece, read, split_header
from triggers.dispatch.smpp.pdus import SAR_NUMBER, SAR_REFERENCE, SAR_TOTAL

if TYPE_CHECKING:
    from triggers.dispatch.smpp.pdus import Address, Delivery

    _Key: TypeAlias = tuple[Address, Address, int, int]

MAX_PIECES = 32
"""Parts of one reply: nobody writes 5,000 characters, and what says it has more is taken as it comes."""
MAX_UNDER_WAY = 1_000
WAIT_S = 120.0
"""How long a part waits for the others; then what came is handed on."""
GAP = "…"


class Whole(NamedTuple):
    """A text of which all parts are there, or all that came in time; ``key`` is to be named when it is stored."""

    source: Address
    destination: Address
    text: str
    key: _Key | None = None


class _Message:
    __slots__ = ("parts", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.parts: dict[int, tuple[bytes, int]] = {}


class Pieces:
    """The messages of which parts have come. Times are of the loop's clock, in seconds."""

    def __init__(self) -> None:
        self._messages: dict[_Key, _Message] = {}

    def add(self, delivery: Delivery, now: float) -> Whole | bool:
        """Take what came: the whole text if it is there now. True: it waits for the rest; False: there is no room for it.

        A whole one is given again with each repeat of a part until it is ``stored``.
        """
        piece, octets = _piece(delivery)
        source, destination = delivery.source, delivery.destination
        if piece is None:
            return Whole(source, destination, read(octets, delivery.data_coding))
        key = (source, destination, piece.reference, piece.total)
        if key not in self._messages and len(self._messages) >= MAX_UNDER_WAY:
            return False
        message = self._messages.setdefault(key, _Message(now))
        message.parts[piece.number] = octets, delivery.data_coding
        return len(message.parts) < piece.total or Whole(source, destination, _joined(message, piece.total), key)

    def stored(self, whole: Whole) -> None:
        """Let the parts of a message go that is on the disk. It is not remembered: some handsets count 1, 1, 1."""
        if whole.key is not None:
            self._messages.pop(whole.key, None)

    def overdue(self, now: float) -> list[Whole]:
        """Give what came of messages whose other parts did not come in time."""
        return [
            Whole(key[0], key[1], _joined(message, key[3]), key)
            for key, message in self._messages.items()
            if now - message.since >= WAIT_S
        ]


def _piece(delivery: Delivery) -> tuple[Piece | None, bytes]:
    """Tell which part of a message something is; None if it is all of it."""
    piece, octets = split_header(delivery.octets) if delivery.has_header else (None, delivery.octets)
    if piece is None and {SAR_REFERENCE, SAR_TOTAL, SAR_NUMBER} <= delivery.extras.keys():
        numbers = (int.from_bytes(delivery.extras[tag], "big") for tag in (SAR_REFERENCE, SAR_TOTAL, SAR_NUMBER))
        piece = Piece(*numbers)
    if piece is None or not (1 < piece.total <= MAX_PIECES and 1 <= piece.number <= piece.total):
        return None, octets
    return piece, octets


def _joined(message: _Message, total: int) -> str:
    """Put parts together, with a mark for those that are missing.

    Parts of one coding are joined before they are read, as a character may be cut.
    """
    text, octets, coding = "", b"", None
    for number in range(1, total + 1):
        part = message.parts.get(number)
        if part is None or part[1] != coding:
            text += read(octets, coding) if coding is not None else ""
            octets, coding = b"", None
        if part is None:
            text += GAP
        else:
            octets, coding = octets + part[0], part[1]
    return text + (read(octets, coding) if coding is not None else "")
