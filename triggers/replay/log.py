"""A recorded log as events in order: of when they happened, or of when they were received.

Logs are nearly sorted as a rule: a small buffer mends them. One that is not is given as it stands, and ``sorted`` says
so: its events must be sorted by whoever keeps them. Memory never grows with the log.
"""

from __future__ import annotations

import base64
from bisect import bisect_right
from collections import Counter
from heapq import merge
from itertools import chain, islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import msgspec

from triggers.core.events import type_of
from triggers.core.intake import Malformed, decode, decode_chunk, stamp
from triggers.core.times import HOUR
from triggers.errors import InputUnusable
from triggers.replay.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from triggers.core.events import AnyEvent

SLACK: Final = HOUR
"""How much later than its neighbours an event may stand in a log that is read in one go, in ms of the log's time."""
MAX_HELD: Final = 50_000
"""How many events are held to be put in order."""
MAX_LOGS: Final = 500
GZIP_FACTOR: Final = 8
"""How much larger a log is than its gzip file, roughly."""
MERGED_BATCH: Final = 4_096
"""How many events of several logs are given at once."""
EXAMPLES: Final = 3
"""How many rejected lines are remembered for the summary, of each reason."""

_at: Any = attrgetter("at")
_received: Any = attrgetter("received_at")


class Rejected(msgspec.Struct):
    """A line that is no event: where it stands, why, and itself as text, or in base64 if it is none.

    ``line`` is 0 where it was noticed only after the events were put in order.
    """

    file: str
    line: int
    reason: str
    message: str
    raw: str | None
    raw_base64: str | None = None


class Log:
    """Several recorded logs as one.

    ``order`` is "occurred" (each event counts as received when it happened) or "received" (as recorded; without a
    record when it happened, and never before the line above it). ``reject`` is given every line that is no event.
    ``events``, ``moved``, ``reasons`` and ``examples`` tell what was met in the reading that is under way; ``sorted``
    is false once an event was given after a later one.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        order: str = "occurred",
        reject: Callable[[Rejected], None] | None = None,
    ) -> None:
        if len(names) > MAX_LOGS:
            raise InputUnusable(f"{len(names)} logs; at most {MAX_LOGS} can be merged")
        self.sources = [Source(name) for name in names]
        self.order = order
        self.reject = reject
        self._start()

    def _start(self) -> None:
        self.events = 0
        self.moved = 0
        self.sorted = True
        self.reasons: Counter[str] = Counter()
        self.examples: dict[str, list[Rejected]] = {}

    @property
    def share(self) -> float:
        """How much of the log has been read, from 0 to 1."""
        size = sum(source.size for source in self.sources)
        return sum(source.position for source in self.sources) / size if size else 1.0

    @property
    def size(self) -> int:
        """About how many bytes of JSON the log has."""
        return sum(source.size * (GZIP_FACTOR if source.zipped else 1) for source in self.sources)

    def read(self) -> Iterator[list[AnyEvent]]:
        """Give the events in order, in batches, with ``received_at`` set; each call reads from the start."""
        self._start()
        batches = self._as_received if self.order == "received" else self._as_occurred
        if len(self.sources) == 1:
            yield from batches(self.sources[0])
            return
        merged = merge(*(chain.from_iterable(batches(source)) for source in self.sources), key=_received)
        while batch := list(islice(merged, MERGED_BATCH)):
            yield batch

    # In order

    def _as_occurred(self, source: Source) -> Iterator[list[AnyEvent]]:
        held: list[AnyEvent] = []
        given = 0
        for events in self._decoded(source):
            self._happened_as_received(events)
            held += events
            held.sort(key=_at)
            if held and held[0].at < given:
                self.sorted = False
            ready = bisect_right(held, held[-1].at - SLACK, key=_at) if held else 0
            ready = max(ready, len(held) - MAX_HELD)
            if ready:
                batch = held[:ready]
                del held[:ready]
                given = max(given, batch[-1].at)
                yield batch
        if held:
            yield held

    def _happened_as_received(self, events: list[AnyEvent]) -> None:
        """Let every event count as received when it happened; one from the future happened when received (S4)."""
        for event in events:
            if event.received_at is not None:
                self.moved += stamp(event, event.received_at)
            event.received_at = event.at

    def _as_received(self, source: Source) -> Iterator[list[AnyEvent]]:
        latest = 0
        for events in self._decoded(source):
            for event in events:
                if event.received_at is None:
                    event.received_at = event.at
                else:
                    self.moved += stamp(event, event.received_at)
                event.received_at = latest = max(latest, event.received_at)
            yield events

    # Lines

    def _decoded(self, source: Source) -> Iterator[list[AnyEvent]]:
        line = 1
        for chunk in source.chunks():
            events = decode_chunk(chunk)
            if events is None:
                events = self._line_by_line(source, chunk, line)
            line += chunk.count(b"\n")
            self.events += len(events)
            yield events

    def _line_by_line(self, source: Source, chunk: bytes, first: int) -> list[AnyEvent]:
        events: list[Any] = []
        for number, line in enumerate(chunk.split(b"\n"), first):
            if line and not line.isspace():
                read = decode(line)
                if isinstance(read, Malformed):
                    self._turn_away(source, number, line, read)
                else:
                    events.append(read)
        return events

    def _turn_away(self, source: Source, number: int, line: bytes, wrong: Malformed) -> None:
        try:
            rejected = Rejected(source.name, number, wrong.reason, wrong.message, line.decode())
        except UnicodeDecodeError:
            encoded = base64.b64encode(line).decode()
            rejected = Rejected(source.name, number, wrong.reason, wrong.message, None, encoded)
        self._count(rejected)

    def contradicted(self, event: AnyEvent, known: AnyEvent) -> None:
        """Turn an event away that has the id of an earlier one and says something else (S2)."""
        message = (
            f"{known.id!r} was {type_of(known)} of {known.customer!r} before; the first counts, give each event an id"
        )
        raw = msgspec.json.encode(event).decode()
        name = self.sources[0].name if len(self.sources) == 1 else "the logs"
        self._count(Rejected(name, 0, "same id as another event", message, raw))

    def _count(self, rejected: Rejected) -> None:
        self.reasons[rejected.reason] += 1
        examples = self.examples.setdefault(rejected.reason, [])
        if len(examples) < EXAMPLES:
            examples.append(msgspec.structs.replace(rejected, raw=None, raw_base64=None))
        if self.reject is not None:
            self.reject(rejected)
