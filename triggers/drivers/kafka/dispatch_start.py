"""Where a dispatcher begins to read, and whether its database is the one that was used last."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import structlog
from aiokafka import TopicPartition

from triggers.drivers.kafka.connection import administering, reading
from triggers.drivers.kafka.dispatch_lease import committed
from triggers.drivers.kafka.records import COMMANDS, DECISIONS, EVENTS
from triggers.errors import ServiceUnusable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from triggers.drivers.kafka.dispatch_settings import DispatchSettings
    from triggers.store.fleet import Reading

READ = (EVENTS, COMMANDS, DECISIONS)

_log = structlog.get_logger("dispatch")


class Bounds(NamedTuple):
    """The first record that a partition still has, and the place behind its last one."""

    begin: int
    end: int


class Start(NamedTuple):
    """Where to begin in each partition of each topic; ``followed``: a dispatcher with another database was there."""

    places: dict[str, dict[int, int]]
    followed: bool


async def find_start(settings: DispatchSettings, stored: Mapping[tuple[str, int], Reading], database: str) -> Start:
    """Find out where to begin to read, from what is stored in this database and what was committed by any.

    Raises ServiceUnusable for topics that are missing, and for a database that is not the one that was used last.
    """
    bounds = await _bounds(settings)
    told = await committed(settings)
    names = {settings.topic(name) for name in READ}
    last = {place: offset for place, (offset, _) in told.items() if place[0] in names}
    followed = any(name != database for place, (_, name) in told.items() if place[0] in names)
    commands = settings.topic(COMMANDS)
    missed = [
        place
        for place, offset in last.items()
        if place[0] == commands and offset > (stored[place].offset if place in stored else 0)
    ]
    if missed and settings.go_on_at is None:
        raise ServiceUnusable(_lost(settings, known=bool(stored)))
    places: dict[str, dict[int, int]] = {}
    for (topic, part), bound in bounds.items():
        place = (topic, part)
        begin = stored[place].offset if place in stored else 0
        if missed and topic == commands:
            begin = bound.end if settings.go_on_at == "latest" else max(begin, last.get(place, 0))
            _log.warning("going on behind commands that another database had", topic=topic, part=part, offset=begin)
        places.setdefault(topic, {})[part] = _within(place, begin, bound, known=place in stored)
    return Start(places, followed)


def _lost(settings: DispatchSettings, *, known: bool) -> str:
    which = "is older than what was sent since" if known else "knows nothing of what was sent before"
    return (
        f"the database {settings.db} {which}: to read the commands again would send messages again. Give --db the one"
        " that was used last; if it is lost, --go-on-at committed goes on behind the commands that it had taken over,"
        " and --go-on-at latest behind all there are"
    )


def _within(place: tuple[str, int], begin: int, bound: Bounds, *, known: bool) -> int:
    topic, part = place
    if begin > bound.end:
        raise ServiceUnusable(
            f"{topic} ends at {bound.end} in partition {part}, and was read to {begin}: it was made anew, or Kafka is"
            " another one; give --db another file"
        )
    if begin < bound.begin and known:
        _log.error("records were deleted before they were read", topic=topic, part=part, records=bound.begin - begin)
    return max(begin, bound.begin)


async def _bounds(settings: DispatchSettings) -> dict[tuple[str, int], Bounds]:
    """Find out what the topics hold. Raises ServiceUnusable where one is missing."""
    names = [settings.topic(name) for name in READ]
    async with administering(settings) as admin:  # all are asked for: a broker may make what it is asked for by name
        found = {each["topic"]: len(each["partitions"]) for each in await admin.describe_topics()}
    missing = [name for name in names if name not in found]
    if missing:
        raise ServiceUnusable(f"there is no topic {missing[0]}; `triggers topics` makes it")
    if len({found[name] for name in names}) > 1:
        counted = ", ".join(f"{name} has {found[name]}" for name in names)
        raise ServiceUnusable(f"the topics must have as many partitions each: {counted}")
    places = [TopicPartition(name, part) for name in names for part in range(found[name])]
    async with reading(settings) as consumer:
        begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
    return {(place.topic, place.partition): Bounds(begins[place], ends[place]) for place in places}
