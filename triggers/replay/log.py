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
from triggers.core.intake import Malformed, bodies_of, decode, decode_whole, stamp
from triggers.core.times import HOUR
from triggers.errors import InputUnusable
from triggers.replay.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from triggers.core.events import AnyEvent

    Batch = tuple[list[AnyEvent], list[bytes] | None]

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


class _Held:
    """Events in order of when they happened, with those instants, and with the bodies of those that have one."""

    def __init__(self) -> None:
        self.ats: list[int] = []
        self._events: list[AnyEvent] = []
        self._bodies: list[bytes | None] = []

    def add(self, events: list[AnyEvent], bodies: list[bytes] | None) -> None:
        """Take events in; those of one instant stay in the order they came."""
        ats = list(map(_at, events))
        in_order = (not self.ats or not ats or self.ats[-1] <= ats[0]) and ats == sorted(ats)
        self.ats += ats
        self._events += events
        self._bodies += [None] * len(events) if bodies is None else bodies
        if not in_order:
            order = sorted(range(len(self.ats)), key=self.ats.__getitem__)
            self.ats.sort()
            self._events = [self._events[i] for i in order]
            self._bodies = [self._bodies[i] for i in order]

    def take(self, number: int) -> Batch:
        """Give the first events away: with their bodies if all have one, else as received when they happened."""
        events, bodies = self._events[:number], self._bodies[:number]
        del self.ats[:number], self._events[:number], self._bodies[:number]
        if all(bodies):
            return events, bodies  # type: ignore[return-value]
        if any(bodies):
            for event in events:
                event.received_at = event.at
        return events, None


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
        if len(self.sources) == 1:
            yield from self._stamped(self.sources[0])
            return
        merged = merge(*(chain.from_iterable(self._stamped(source)) for source in self.sources), key=_received)
        while batch := list(islice(merged, MERGED_BATCH)):
            yield batch

    def read_with_bodies(self) -> Iterator[Batch]:
        """Do as ``read``, and give with a batch what stands between the braces of its lines where that says all.

        The events of such a batch have no ``received_at``: they count as received when they happened. To keep what
        stands in the log is much cheaper than to write an event anew.
        """
        if len(self.sources) == 1 and self.order != "received":
            self._start()
            yield from self._as_occurred(self.sources[0], bare=True)
        else:
            for events in self.read():
                yield events, None

    def _stamped(self, source: Source) -> Iterator[list[AnyEvent]]:
        if self.order == "received":
            return self._as_received(source)
        return (events for events, _ in self._as_occurred(source, bare=False))

    # In order

    def _as_occurred(self, source: Source, *, bare: bool) -> Iterator[Batch]:
        held = _Held()
        given = 0
        for events, chunk in self._decoded(source):
            bodies = None if chunk is None or not bare else bodies_of(chunk, len(events))
            if bodies is None:
                self._happened_as_received(events)
            held.add(events, bodies)
            if held.ats and held.ats[0] < given:
                self.sorted = False
            ready = bisect_right(held.ats, held.ats[-1] - SLACK) if held.ats else 0
            ready = max(ready, len(held.ats) - MAX_HELD)
            if ready:
                given = max(given, held.ats[ready - 1])
                yield held.take(ready)
        if held.ats:
            yield held.take(len(held.ats))

    def _happened_as_received(self, events: list[AnyEvent]) -> None:
        """Let every event count as received when it happened; one from the future happened when received (S4)."""
        for event in events:
            if event.received_at is not None:
                self.moved += stamp(event, event.received_at)
            event.received_at = event.at

    def _as_received(self, source: Source) -> Iterator[list[AnyEvent]]:
        latest = 0
        for events, _ in self._decoded(source):
            for event in events:
                if event.received_at is None:
                    event.received_at = event.at
                else:
                    self.moved += stamp(event, event.received_at)
                event.received_at = latest = max(latest, event.received_at)
            yield events

    # Lines

    def _decoded(self, source: Source) -> Iterator[tuple[list[AnyEvent], bytes | None]]:
        """Give the events of each chunk, and the chunk if they are just what it says."""
        line = 1
        for chunk in source.chunks():
            whole = decode_whole(chunk)
            events, just_so = (self._line_by_line(source, chunk, line), False) if whole is None else whole
            line += chunk.count(b"\n") if whole is None else len(events)
            self.events += len(events)
            yield events, chunk if just_so else None

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
