"""A recorded log as events in order: of when they happened, or of when they were received.

Logs are nearly sorted as a rule: a small buffer mends them. One that is not is sorted in temporary files, which shows
only while reading: ``Unsorted`` then asks the reader to start over. Memory never grows with the log.
"""

from __future__ import annotations

import base64
from bisect import bisect_right
from collections import Counter
from contextlib import suppress
from heapq import merge
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import msgspec

from triggers.core.events import AnyEvent
from triggers.core.intake import Malformed, decode, decode_chunk, stamp
from triggers.core.times import HOUR
from triggers.errors import InputUnusable
from triggers.replay.sorting import Sorting
from triggers.replay.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SLACK: Final = HOUR
"""How much later than its neighbours an event may stand in a log that is read in one go, in ms of the log's time."""
MAX_HELD: Final = 50_000
"""How many events are held to be put in order."""
MAX_LOGS: Final = 500
EXAMPLES: Final = 3
"""How many rejected lines are remembered for the summary, of each reason."""

_at: Any = attrgetter("at")
_received: Any = attrgetter("received_at")


class Rejected(msgspec.Struct):
    """A line that is no event: where it stands, why, and itself as text, or in base64 if it is none."""

    file: str
    line: int
    reason: str
    message: str
    raw: str | None
    raw_base64: str | None = None


class Unsorted(Exception):  # noqa: N818  the name reads as the sentence
    """The log is further out of order than the buffer mends; read it once more from the start."""


class Log:
    """Several recorded logs as one.

    ``order`` is "occurred" (each event counts as received when it happened) or "received" (as recorded; without a
    record when it happened, and never before the line above it). ``reject`` is given every line that is no event,
    ``progress`` is called after every chunk. Counts are those of the reading that is under way.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        order: str = "occurred",
        reject: Callable[[Rejected], None] | None = None,
        progress: Callable[[Log], None] | None = None,
    ) -> None:
        if len(names) > MAX_LOGS:
            raise InputUnusable(f"{len(names)} logs; at most {MAX_LOGS} can be merged")
        self.sources = [Source(name) for name in names]
        self._order = order
        self.reject = reject
        self._progress = progress
        self._unsorted: set[Source] = set()
        self._start()

    def _start(self) -> None:
        self.events = 0
        self.moved = 0
        self.reasons: Counter[str] = Counter()
        self.examples: dict[str, list[Rejected]] = {}

    @property
    def share(self) -> float:
        """How much of the log has been read, from 0 to 1."""
        size = sum(source.size for source in self.sources)
        return sum(source.position for source in self.sources) / size if size else 1.0

    def read(self) -> Iterator[AnyEvent]:
        """Give the events in order, with ``received_at`` set, from the start; Unsorted asks to be called again."""
        self._start()
        batches = self._as_received if self._order == "received" else self._as_occurred
        parts = [chain.from_iterable(batches(source)) for source in self.sources]
        return parts[0] if len(parts) == 1 else merge(*parts, key=_received)

    def find_unsorted(self) -> None:
        """Find out beforehand which logs must be sorted, for whoever cannot take back what is done with the events."""
        reject, self.reject = self.reject, None
        for source in self.sources if self._order == "occurred" else ():
            with suppress(Unsorted):
                for _ in self._as_occurred(source):
                    pass
        self.reject = reject

    # In order

    def _as_occurred(self, source: Source) -> Iterator[list[AnyEvent]]:
        if source in self._unsorted:
            yield from self._sorted_on_disk(source)
            return
        held: list[AnyEvent] = []
        given = 0
        for events in self._decoded(source):
            self._happened_as_received(events)
            held += events
            held.sort(key=_at)
            if held and held[0].at < given:
                self._unsorted.add(source)
                raise Unsorted
            ready = bisect_right(held, _at(held[-1]) - SLACK, key=_at) if held else 0
            ready = max(ready, len(held) - MAX_HELD)
            if ready:
                batch = held[:ready]
                del held[:ready]
                given = _at(batch[-1])
                yield batch
        yield held

    def _sorted_on_disk(self, source: Source) -> Iterator[list[AnyEvent]]:
        sorting: Sorting[AnyEvent] = Sorting(AnyEvent, _at)
        for events in self._decoded(source):
            self._happened_as_received(events)
            sorting.add(events)
        for event in sorting:
            yield [event]

    def _happened_as_received(self, events: list[AnyEvent]) -> None:
        """Let every event count as received when it happened; one from the future happened when received (S4)."""
        for event in events:
            if event.received_at is not None and stamp(event, event.received_at):
                self.moved += 1
            event.received_at = event.at

    def _as_received(self, source: Source) -> Iterator[list[AnyEvent]]:
        latest = 0
        for events in self._decoded(source):
            for event in events:
                if event.received_at is None:
                    event.received_at = event.at
                else:
                    self.moved += stamp(event, event.received_at)
                if event.received_at < latest:
                    event.received_at = latest
                else:
                    latest = event.received_at
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
            if self._progress is not None:
                self._progress(self)
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
        self.reasons[wrong.reason] += 1
        examples = self.examples.setdefault(wrong.reason, [])
        if len(examples) < EXAMPLES:
            examples.append(msgspec.structs.replace(rejected, raw=None, raw_base64=None))
        if self.reject is not None:
            self.reject(rejected)
