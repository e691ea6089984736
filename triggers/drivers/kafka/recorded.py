"""A recorded log as lines in the order of receipt, each as it stands in its file, with its customer and its instant."""

from __future__ import annotations

from heapq import merge
from itertools import chain, islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from triggers.core.intake import MAX_AHEAD, bodies_of, decode_chunk, stamp
from triggers.drivers.kafka.intake import understood
from triggers.drivers.kafka.letters import Letter
from triggers.errors import InputUnusable
from triggers.replay.log import MAX_LOGS
from triggers.replay.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from triggers.core.events import AnyEvent

MERGED_BATCH: Final = 1_000
"""How many lines of several logs are given at once."""

_received: Any = attrgetter("received")
_encode = msgspec.json.Encoder().encode


class Line(NamedTuple):
    """An event of a recorded log; ``received`` (epoch ms) as a replay in order of receipt has it."""

    received: int
    key: bytes
    value: bytes


class Recorded:
    """Several recorded logs as one. ``turn_away`` is given what is no event: where it stands, why, and itself."""

    def __init__(self, names: Sequence[str], turn_away: Callable[[str, Letter, bytes], None]) -> None:
        if len(names) > MAX_LOGS:
            raise InputUnusable(f"{len(names)} logs; at most {MAX_LOGS} can be merged")
        self._sources = [Source(name) for name in names]
        self._turn_away = turn_away

    @property
    def share(self) -> float:
        """How much of the logs has been read, from 0 to 1."""
        size = sum(source.size for source in self._sources)
        return sum(source.position for source in self._sources) / size if size else 1.0

    def read(self) -> Iterator[list[Line]]:
        """Give the lines in batches; those of one instant in the order of their files."""
        if len(self._sources) == 1:
            yield from self._lines(self._sources[0])
            return
        merged = merge(*(chain.from_iterable(self._lines(source)) for source in self._sources), key=_received)
        while batch := list(islice(merged, MERGED_BATCH)):
            yield batch

    def _lines(self, source: Source) -> Iterator[list[Line]]:
        latest, number = 0, 1
        for data in source.chunks():
            events = decode_chunk(data)
            bodies = None if events is None else bodies_of(data, len(events))
            if events is None or bodies is None:
                events, values = self._line_by_line(source, data, number)
            else:
                values = [b"{%b}" % body for body in bodies]
            lines = []
            for event, value in zip(events, values, strict=True):
                latest, kept = _placed(event, value, latest)
                lines.append(Line(latest, event.customer.encode(), kept))
            number += data.count(b"\n")
            yield lines

    def _line_by_line(self, source: Source, data: bytes, first: int) -> tuple[list[Any], list[bytes]]:
        events, values = [], []
        for number, line in enumerate(data.split(b"\n"), first):
            if line and not line.isspace():
                found = understood(line, far_future_ok=False)
                if isinstance(found, Letter):
                    self._turn_away(f"{source.name}:{number}", found, line)
                else:
                    events.append(found[0])
                    values.append(found[1])
        return events, values


def _placed(event: AnyEvent, value: bytes, latest: int) -> tuple[int, bytes]:
    """Tell when an event was received, never before the one above it; without a record of that, when it happened.

    Whether it came from the future (S4) is told by its own record: where that is not what will be seen, it is mended.
    """
    received = event.received_at
    if received is None:
        return max(latest, event.at), value
    if received < latest and event.at > received + MAX_AHEAD:
        stamp(event, received)
        value = _encode(event)
    return max(latest, received), value
