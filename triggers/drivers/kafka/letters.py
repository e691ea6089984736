"""Dead letters: what could not be taken as an event, kept with where it came from, why, and how to send it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from triggers.drivers.kafka.batches import Row
from triggers.drivers.kafka.foreign import place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

KEPT_BYTES: Final = 5 * 1024 * 1024
"""How much of a value is kept."""
KEPT_KEY_BYTES: Final = 64 * 1024
KEPT_HEADERS_BYTES: Final = 64 * 1024
"""What is longer of a key is cut; of longer headers none are kept."""
MOST_WORDS: Final = 1_000
"""How long a message is, in characters."""

ORIGIN: Final = "origin"
REASON: Final = "reason"
MESSAGE: Final = "message"
AT: Final = "at"
CUT: Final = "cut"
TIME: Final = "timestamp"
REQUEUED: Final = "requeued"
OWN_HEADER: Final = "header:"
"""The headers of a letter; those that the record had stand behind the last one."""


class Record(Protocol):
    """A record as aiokafka reads it; ``timestamp`` in epoch ms."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class Letter(NamedTuple):
    """Why a record is no event: ``reason`` to count by (one of a few), ``message`` to mend it by."""

    reason: str
    message: str


class DeadLetter(NamedTuple):
    """A letter as it is kept, at its ``partition`` and ``offset`` among the dead letters.

    ``origin`` is "topic/partition/offset", or "file:line" of a log that was loaded. ``at`` (epoch ms) is when it was
    put aside, ``time`` what the record's own time was; ``size`` are the bytes of the value, of which only the beginning
    was kept where ``cut``.
    """

    partition: int
    offset: int
    origin: str
    reason: str
    message: str
    at: int
    time: int | None
    size: int
    cut: bool
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def bury(record: Record, letter: Letter, at: int) -> Row:
    """Make the dead letter of a record that was put aside at an instant, epoch ms."""
    return buried(letter, place_of(record), at, record.key, record.value, record.headers or (), record.timestamp)


def buried(
    letter: Letter,
    origin: str,
    at: int,
    key: bytes | None,
    value: bytes | None,
    own: Sequence[tuple[str, bytes]] = (),
    time: int | None = None,
) -> Row:
    """Make a dead letter: the value as it came, cut where it is too large, and what is to be known of it."""
    headers = [
        (ORIGIN, origin.encode(errors="replace")),
        (REASON, letter.reason.encode()),
        (MESSAGE, letter.message[:MOST_WORDS].encode(errors="replace")),
        (AT, b"%d" % at),
    ]
    if time is not None:
        headers.append((TIME, b"%d" % time))
    too_many = sum(len(name) + len(held or b"") for name, held in own) > KEPT_HEADERS_BYTES
    if too_many or len(value or b"") > KEPT_BYTES or len(key or b"") > KEPT_KEY_BYTES:
        headers.append((CUT, b"%d" % len(value or b"")))
    if not too_many:
        headers += [(OWN_HEADER + name, held) for name, held in own]
    return Row(
        None if key is None else key[:KEPT_KEY_BYTES],
        None if value is None else value[:KEPT_BYTES],
        None,
        headers,
    )


def marker(letter: DeadLetter) -> Row:
    """Make the record that says that what came from a place was sent there again."""
    return Row(letter.key, b"", None, [(REQUEUED, letter.origin.encode())])


def marked(record: Record) -> str | None:
    """Tell the origin of the letter that was sent again, if a record says so."""
    said = dict(record.headers).get(REQUEUED)
    return None if said is None else said.decode(errors="replace")


def read_letter(record: Record) -> DeadLetter | None:
    """Read a dead letter; None where a record is none."""
    said = dict(record.headers)
    origin, reason = said.get(ORIGIN), said.get(REASON)
    if origin is None or reason is None:
        return None
    at, time, cut = (_number(said.get(name)) for name in (AT, TIME, CUT))
    return DeadLetter(
        record.partition,
        record.offset,
        origin.decode(errors="replace"),
        reason.decode(errors="replace"),
        said.get(MESSAGE, b"").decode(errors="replace"),
        record.timestamp if at is None else at,
        time,
        len(record.value or b"") if cut is None else cut,
        cut is not None,
        record.key,
        record.value,
        tuple((name.removeprefix(OWN_HEADER), held) for name, held in record.headers if name.startswith(OWN_HEADER)),
    )


def _number(digits: bytes | None) -> int | None:
    return int(digits) if digits is not None and digits.isdigit() else None
