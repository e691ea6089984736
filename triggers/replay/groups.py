"""Events dealt out by customer into groups, in temporary files, so that the replay has few customers at hand at a time.

Customers do not know each other (unless rules share limits), so each group may be played from its first event to its
last by itself. A group's customers fit into the processor's cache, and into little memory: with 100,000 customers that
is faster, in a fraction of the memory, than to hold them all and meet them in the order of the log.
"""

from __future__ import annotations

from itertools import chain
from operator import attrgetter
from struct import Struct
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any, Final, Self
from zlib import crc32

import msgspec

from triggers.core.events import AnyEvent
from triggers.replay.sorting import SortedLines, room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MOST: Final = 128
"""How many groups there are at most."""
GROUP_BYTES: Final = 3 * 512 * 1024
"""How much of a log, in bytes of JSON, makes a group."""
IN_HAND: Final = 4_096
"""How many events are dealt out before they are written."""
SORTED_IN_MEMORY: Final = 100_000
"""Up to how many events a group out of order is sorted without temporary files."""

_SMALL = 128 * 1024  # bytes of a group that need no file
_HEAD = Struct(">?I")  # of a frame: whether it holds lines of a log, and its length in bytes
_at: Any = attrgetter("at")


class Groups:
    """Events by group of customers; ``share`` tells how far the reading of all groups has come, from 0 to 1."""

    def __init__(self, number: int) -> None:
        self._files: list[IO[bytes]] = [
            SpooledTemporaryFile(_SMALL, prefix="triggers-")  # noqa: SIM115  they live as long as the groups
            for _ in range(number)
        ]
        self._counts = [0] * number
        self._hands: list[list[Any]] = [[] for _ in range(number)]
        self._bare = False  # whether the hands hold bodies
        self._in_hand = 0
        self._written = 0
        self._read = 0
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode: Callable[[bytes], list[AnyEvent]] = msgspec.msgpack.Decoder(list[AnyEvent]).decode
        self._decode_lines: Callable[[bytes], list[AnyEvent]] = msgspec.json.Decoder(AnyEvent).decode_lines

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        for file in self._files:
            file.close()

    @property
    def share(self) -> float:
        """How much of what was dealt has been played."""
        return self._read / self._written if self._written else 1.0

    def deal(self, events: Sequence[AnyEvent], bodies: Sequence[bytes] | None = None) -> None:
        """Take events in; OutputUnusable if there is no room for the temporary files.

        ``bodies`` are what stands between the braces of their lines, if that says all but ``received_at``, which will
        be ``at``.
        """
        number = len(self._files)
        if self._bare is not (bodies is not None):
            self._write()
            self._bare = bodies is not None
        takers = [hand.append for hand in self._hands]
        for event, kept in zip(events, events if bodies is None else bodies, strict=True):
            takers[crc32(event.customer.encode()) % number](kept)  # the same groups in every run
        self._in_hand += len(events)
        if self._in_hand >= IN_HAND:
            self._write()

    def _write(self) -> None:
        with room():
            for i, hand in enumerate(self._hands):
                if hand:
                    frame = b"{%b}" % b"}\n{".join(hand) if self._bare else self._encode(hand)
                    self._files[i].write(_HEAD.pack(self._bare, len(frame)) + frame)
                    self._counts[i] += len(hand)
                    self._written += _HEAD.size + len(frame)
                    hand.clear()
        self._in_hand = 0

    def __iter__(self) -> Iterator[Iterator[AnyEvent]]:
        """Give each group's events, as they were dealt; once."""
        self._write()
        for i in range(len(self._files)):
            if self._counts[i]:
                yield self._events(i)

    def sorted(self) -> Iterator[Iterator[AnyEvent]]:
        """Give each group's events in order of when they happened; once."""
        self._write()
        for i, count in enumerate(self._counts):
            if 0 < count <= SORTED_IN_MEMORY:
                yield iter(sorted(self._events(i), key=_at))
            elif count:
                yield _sorted_on_disk(self._events(i))

    def _events(self, i: int) -> Iterator[AnyEvent]:
        return chain.from_iterable(self._frames(i))

    def _frames(self, i: int) -> Iterator[list[AnyEvent]]:
        file = self._files[i]
        file.seek(0)
        while head := file.read(_HEAD.size):
            bare, length = _HEAD.unpack(head)
            frame = file.read(length)
            self._read += _HEAD.size + length
            events = self._decode_lines(frame) if bare else self._decode(frame)
            if bare:
                for event in events:
                    event.received_at = event.at
            yield events
        file.close()  # what has been read is let go


def _sorted_on_disk(events: Iterator[AnyEvent]) -> Iterator[AnyEvent]:
    """Sort by time; those of one instant stay in the order they came."""
    lines = SortedLines()
    encode = msgspec.json.Encoder().encode
    decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
    for i, event in enumerate(events):
        key = b"%015d%015d" % (event.at, i)
        lines.add(key + encode(event) + b"\n")
    for line in lines:
        yield decoder.decode(line[30:])
