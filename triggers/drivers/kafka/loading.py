"""Writes a recorded log to the fleet's log in virtual time: each event with the instant of its receipt, and ticks."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiokafka import TopicPartition

from triggers.clock import wall_ms
from triggers.core.times import HOUR, NEVER, iso
from triggers.drivers.kafka.batches import BATCH_BYTES, Row, send_all
from triggers.drivers.kafka.connection import reading, writing
from triggers.drivers.kafka.keys import partition_of
from triggers.drivers.kafka.letters import buried
from triggers.drivers.kafka.recorded import Recorded
from triggers.drivers.kafka.records import DEAD_LETTERS, EVENTS, TICK
from triggers.drivers.kafka.topics import timestamps_of
from triggers.errors import ServiceUnusable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiokafka import AIOKafkaProducer

    from triggers.drivers.kafka.letters import Letter
    from triggers.drivers.kafka.recorded import Line
    from triggers.drivers.kafka.settings import KafkaSettings

TICK_EVERY: Final = HOUR
"""After how much recorded time all partitions are told what time it is, in ms, so that their clocks keep together."""
AT_ONCE: Final = 20_000
"""How many events are written at once."""
MOST_BYTES: Final = 16 * 1024 * 1024
"""How many bytes of events and letters are held to be written at once."""

_received: Any = attrgetter("received")


class Loaded(NamedTuple):
    """What came of it: ``span`` is the first and the last instant (epoch ms), None where nothing was loaded."""

    events: int
    rejected: Counter[str]
    span: tuple[int, int] | None


async def load(
    settings: KafkaSettings,
    names: Sequence[str],
    *,
    until: int | None = None,
    now: bool = False,
    report: Callable[[float, int], None] | None = None,
) -> Loaded:
    """Write logs to the fleet's log in the order of receipt, and let time pass up to ``until`` (epoch ms).

    None is the last event's instant: what then has been decided is what a replay of the logs decides. ``now`` appends
    the events as if they came now. Raises ServiceUnusable where the log would not keep their instants, or has come to
    later ones.
    """
    log = settings.topic(EVENTS)
    stamped = await timestamps_of(settings, log)
    if stamped != "CreateTime" and not now:
        raise ServiceUnusable(
            f"{log} stamps events as they come in, so that recorded times would be lost: set up a fleet with"
            " --virtual and another --prefix, or append the events as if they came now (--now)"
        )
    async with writing(settings, max_batch_size=BATCH_BYTES) as producer:
        loading = _Loading(producer, settings, len(await producer.partitions_for(log)), until, now=now)
        recorded = Recorded(names, loading.turn_away)
        for lines in recorded.read():
            if loading.begin is None and lines and not now:
                await _refuse_the_past(settings, log, loading.partitions, lines[0].received)
            more = loading.take(lines)
            if loading.full:
                await loading.flush()
            if report is not None:
                report(recorded.share, loading.events)
            if not more:
                break
        return await loading.finish()


class _Loading:
    """Rows that are to go to the partitions of the log, and letters that tell which lines are no events."""

    def __init__(
        self, producer: AIOKafkaProducer, settings: KafkaSettings, partitions: int, until: int | None, *, now: bool
    ) -> None:
        self._producer = producer
        self._log = settings.topic(EVENTS)
        self._letters_to = settings.topic(DEAD_LETTERS)
        self.partitions = partitions
        self._until = NEVER if until is None else until
        self._now = now
        self._letters: list[Row] = []
        self._rows: dict[int, list[Row]] = {i: [] for i in range(partitions)}
        self._held = self._bytes = 0
        self._ticked = -TICK_EVERY
        self._end = 0
        self._rejected: Counter[str] = Counter()
        self.events = 0
        self.begin: int | None = None

    def take(self, lines: Sequence[Line]) -> bool:
        """Take lines that are not behind the end; False where one is."""
        wanted = lines[: bisect_right(lines, self._until, key=_received)]
        for received, key, value in wanted:
            if received - self._ticked >= TICK_EVERY:
                self._tick(received)
            self._rows[partition_of(key, self.partitions)].append(Row(key, value, None if self._now else received))
            self._bytes += len(value)
        if wanted:
            self.begin = wanted[0].received if self.begin is None else self.begin
            self._end = wanted[-1].received
        self._held += len(wanted)
        self.events += len(wanted)
        return len(wanted) == len(lines)

    def _tick(self, at: int) -> None:
        """Tell all partitions what time it is; not where real time passes, in which whoever owns them tells that."""
        self._ticked = at
        if not self._now:
            for rows in self._rows.values():
                rows.append(Row(None, TICK, at))

    def turn_away(self, origin: str, letter: Letter, line: bytes) -> None:
        """Note a line that is no event."""
        self._rejected[letter.reason] += 1
        self._letters.append(buried(letter, origin, wall_ms(), None, line))
        self._bytes += len(line)

    @property
    def full(self) -> bool:
        """Whether enough is held to be written."""
        return self._held >= AT_ONCE or self._bytes >= MOST_BYTES

    async def flush(self) -> None:
        """Write what is held; comes back when all of it is acked."""
        await send_all(self._producer, self._letters_to, {0: self._letters})
        await send_all(self._producer, self._log, self._rows)
        self._letters.clear()
        for rows in self._rows.values():
            rows.clear()
        self._held = self._bytes = 0

    async def finish(self) -> Loaded:
        """Write the rest, and let time pass to the end."""
        span = None
        if self.begin is not None:
            span = (self.begin, self._end if self._until == NEVER else self._until)
            self._tick(span[1])
        await self.flush()
        return Loaded(self.events, self._rejected, span)


async def _refuse_the_past(settings: KafkaSettings, log: str, partitions: int, begin: int) -> None:
    """Refuse to go back in time: a partition's clock only goes forward."""
    async with reading(settings) as consumer:
        places = [TopicPartition(log, i) for i in range(partitions)]
        later = await consumer.offsets_for_times(dict.fromkeys(places, begin + 1))
    if any(found is not None for found in later.values()):
        raise ServiceUnusable(
            f"{log} has come to later times than {iso(begin)}, where this log begins; load it under another --prefix"
        )
