"""The set-up of a fleet's topics, which may be repeated: what is missing is made, nothing is ever deleted."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from triggers.drivers.kafka.connection import administering, reading
from triggers.drivers.kafka.records import EVENTS
from triggers.drivers.kafka.rights import LACKING
from triggers.drivers.kafka.topic_list import IN_SYNC, SAFE_REPLICATION, TIMESTAMPS, Topic, topics
from triggers.errors import ServiceUnusable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiokafka.admin import AIOKafkaAdminClient

    from triggers.drivers.kafka.settings import KafkaSettings

READY_S: Final = 30.0
"""How long it may take until all brokers know what was made and set."""

MADE: Final = "made"
CHANGED: Final = "changed"
KEPT: Final = "as it should be"

_SET_FOR_THE_TOPIC: Final = 1  # the source of a configuration, in Kafka's protocol


class Change(NamedTuple):
    """What became of a topic: made, changed or kept, and in ``details`` each configuration that was given a new value."""

    topic: str
    partitions: int
    what: str
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = f": {', '.join(self.details)}" if self.details else ""
        return f"{self.topic}  {self.partitions} partition{'' if self.partitions == 1 else 's'}  {self.what}{words}"


@dataclass(frozen=True, slots=True)
class _Found:
    """A topic as it is: its partitions and their replicas, and what is set for it, beside what holds by default."""

    partitions: int
    replicas: int
    led: bool
    config: dict[str, str] = field(default_factory=dict)
    own: dict[str, str] = field(default_factory=dict)


async def ensure(settings: KafkaSettings) -> list[Change]:
    """Make the fleet's topics that are missing, and set what differs; tells what was done to each.

    May be repeated, and by several at once. Raises ServiceUnusable where a topic cannot be brought to what it should
    be, and changes nothing then: where its partitions are too many or too few, or where a log that holds events would
    get its times from elsewhere.
    """
    wanted = topics(settings)
    async with administering(settings) as admin:
        found = await _found(admin, wanted)
        for topic in wanted:
            await _refuse(settings, topic, found.get(topic.name))
        made = await _make(admin, settings, [topic for topic in wanted if topic.name not in found])
        changes = []
        for topic in wanted:
            was = found.get(topic.name)
            if was is None:
                what = MADE if topic.name in made else KEPT
                changes.append(Change(topic.name, topic.partitions, what))
            else:
                changes.append(Change(topic.name, was.partitions, *await _set(admin, topic, was)))
        await _wait(admin, wanted)
    return changes


async def timestamps_of(settings: KafkaSettings, name: str) -> str:
    """Tell where a topic's records get their times from: CreateTime or LogAppendTime. Raises ServiceUnusable."""
    return (await _one(settings, name)).config[TIMESTAMPS]


async def partitions_of(settings: KafkaSettings, name: str) -> int:
    """Tell how many partitions a topic has. Raises ServiceUnusable."""
    return (await _one(settings, name)).partitions


async def expect(settings: KafkaSettings, names: Iterable[str]) -> None:
    """Raise ServiceUnusable for the first of some topics that there is not, as far as this process may see."""
    there = await look(settings)
    for name in names:
        if name not in there:
            raise ServiceUnusable(_missing(settings, name))


async def look(settings: KafkaSettings) -> dict[str, int]:
    """Tell the partitions of each topic that this process may see. Raises ServiceUnusable."""
    async with administering(settings) as admin:
        return {each["topic"]: len(each["partitions"]) for each in await admin.describe_topics()}


async def expect_all(settings: KafkaSettings) -> list[str]:
    """Raise ServiceUnusable where a topic of the fleet is missing, or not as the log is; gives the shop's that are."""
    there = await look(settings)
    log = settings.topic(EVENTS)
    alike = topics(settings.model_copy(update={"partitions": there.get(log, settings.partitions)}))
    for name, partitions in ((topic.name, topic.partitions) for topic in alike if topic.ours):
        if name not in there:
            raise ServiceUnusable(_missing(settings, name))
        if there[name] != partitions:
            raise ServiceUnusable(
                f"of partitions {name} has {there[name]}, and {log} has {there[log]}: customers would be parted from their"
                ' state; "Growing topics" in deploy/RUNBOOK.md tells what to do'
            )
    return [topic.name for topic in alike if not topic.ours and topic.name not in there]


def _missing(settings: KafkaSettings, name: str) -> str:
    return f"there is no topic {name} at {settings.bootstrap}; `triggers topics` makes a fleet's own"


async def _one(settings: KafkaSettings, name: str) -> _Found:
    async with administering(settings) as admin:
        found = await _found(admin, [Topic(name, 0, {})])
    if name not in found:
        raise ServiceUnusable(_missing(settings, name))
    return found[name]


async def _found(admin: AIOKafkaAdminClient, wanted: list[Topic]) -> dict[str, _Found]:
    """Look at the topics that there are."""
    names = {topic.name for topic in wanted}
    # all are asked for: a broker may make what it is asked for by name
    listed = {each["topic"]: each["partitions"] for each in await admin.describe_topics() if each["topic"] in names}
    if not listed:
        return {}
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in listed])
    found = {}
    for error, message, _, name, entries in (each for answer in answers for each in answer.resources):
        _raise(error, message, name)
        config = {key: value for key, value, *_ in entries}
        own = {key: value for key, value, _, source, *_ in entries if source == _SET_FOR_THE_TOPIC}
        parts = listed[name]
        replicas = min(len(each["replicas"]) for each in parts)
        found[name] = _Found(len(parts), replicas, all(each["leader"] >= 0 for each in parts), config, own)
    return found


async def _refuse(settings: KafkaSettings, topic: Topic, found: _Found | None) -> None:
    """Say what cannot be mended by a set-up."""
    if found is None or not topic.ours:
        return
    if found.partitions != topic.partitions:
        raise ServiceUnusable(
            f"{topic.name} has {found.partitions} partitions, and {topic.partitions} are asked for: customers stay in"
            f" their partition, so this cannot be changed; ask for {found.partitions} (--partitions), or begin anew"
            " under another --prefix"
        )
    stamped = topic.config.get(TIMESTAMPS)
    if stamped is not None and found.config[TIMESTAMPS] != stamped and await _holds_records(settings, topic):
        raise ServiceUnusable(
            f"{topic.name} holds events whose times are of {found.config[TIMESTAMPS]}, and {stamped} is asked for:"
            " real and virtual time do not mix; set --virtual as it was, or begin anew under another --prefix"
        )


async def _holds_records(settings: KafkaSettings, topic: Topic) -> bool:
    async with reading(settings) as consumer:
        ends = await consumer.end_offsets([TopicPartition(topic.name, i) for i in range(topic.partitions)])
    return any(ends.values())


async def _make(admin: AIOKafkaAdminClient, settings: KafkaSettings, missing: list[Topic]) -> set[str]:
    """Make topics; tells which of them nobody else was making at the same time."""
    if not missing:
        return set()
    new = [NewTopic(t.name, t.partitions, settings.replication, topic_configs=t.config) for t in missing]
    answer = await admin.create_topics(new)
    made = set()
    for name, error, message in answer.topic_errors:
        if error != TopicAlreadyExistsError.errno:
            _raise(error, message, name)
            made.add(name)
    return made


def _differing(topic: Topic, found: _Found) -> dict[str, str]:
    """Tell what is to be set; the shop's own topics are as the shop wants them."""
    differing = {key: value for key, value in topic.config.items() if topic.ours and found.config.get(key) != value}
    if found.replicas < SAFE_REPLICATION:  # made when fewer were asked for: it could not be written to any more
        differing.pop(IN_SYNC, None)
    return differing


async def _set(admin: AIOKafkaAdminClient, topic: Topic, found: _Found) -> tuple[str, tuple[str, ...]]:
    """Set what differs. The request sets all that a topic has of its own, so that what others have set goes with it."""
    differing = _differing(topic, found)
    if not differing:
        return KEPT, ()
    resource = ConfigResource(ConfigResourceType.TOPIC, topic.name, found.own | differing)
    for answer in await admin.alter_configs([resource]):
        for error, message, *_ in answer.resources:
            _raise(error, message, topic.name)
    return CHANGED, tuple(f"{key} {found.config.get(key)} -> {value}" for key, value in sorted(differing.items()))


async def _wait(admin: AIOKafkaAdminClient, wanted: list[Topic]) -> None:
    """Wait until the brokers have all topics as they should be, with leaders to write to."""
    end = asyncio.get_running_loop().time() + READY_S
    while True:
        found = await _found(admin, wanted)
        waiting = [
            topic.name
            for topic in wanted
            if (was := found.get(topic.name)) is None or not was.led or _differing(topic, was)
        ]
        if not waiting:
            return
        if asyncio.get_running_loop().time() >= end:
            raise ServiceUnusable(f"{waiting[0]} is not ready after {READY_S:g} s: see that all brokers run")
        await asyncio.sleep(0.05)


def _raise(error: int, message: Any, name: str) -> None:
    if error and issubclass(for_code(error), LACKING):
        raise for_code(error)(name)
    if error:
        raise ServiceUnusable(f"{name}: {message or for_code(error).__name__}")
