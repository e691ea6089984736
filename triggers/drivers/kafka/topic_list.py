"""The list of a fleet's topics, with their partitions and configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from triggers.drivers.kafka.records import (
    ASKS,
    COMMANDS,
    CUSTOMERS,
    DEAD_LETTERS,
    DECISIONS,
    EVENTS,
    LIMITS,
    MESSAGE_EVENTS,
    RULES,
    VERDICTS,
)

if TYPE_CHECKING:
    from triggers.drivers.kafka.settings import KafkaSettings

MIB: Final = 1024 * 1024
DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
LONG_MS: Final = 400 * DAY_MS
"""How long the log is kept: a rule may look back a year."""
TALK_MS: Final = 30 * DAY_MS
"""How long questions and answers are kept."""
FOR_EVER: Final = "-1"
RECORD_BYTES: Final = 4 * MIB
"""The largest record of most topics; an event has far less, but what is no event must get as far as the dead letters."""
LETTER_BYTES: Final = 8 * MIB
"""The largest dead letter: 5 MiB of a value, its key and what is said of it."""
SAFE_REPLICATION: Final = 3
"""From so many replicas on, a write is acked by two of them."""
IN_SYNC: Final = "min.insync.replicas"
"""How many replicas a write that is acked is in."""
TIMESTAMPS: Final = "message.timestamp.type"
"""Where a topic's records get their times from: CreateTime or LogAppendTime."""

_ANY_TIME: Final = str(2**63 - 1)
_EXTREMES: Final = ("message.timestamp.before.max.ms", "message.timestamp.after.max.ms")


class Topic(NamedTuple):
    """A topic as it should be; the shop's own (``ours`` false) is only made where it is missing."""

    name: str
    partitions: int
    config: dict[str, str]
    ours: bool = True


def topics(settings: KafkaSettings) -> list[Topic]:
    """List all topics of a fleet as they should be, the shop's own first."""
    many = settings.partitions
    kept = _kept(LONG_MS, settings)
    talk = _kept(TALK_MS, settings)
    listed = [
        *(Topic(name, many, kept | _size(RECORD_BYTES), ours=False) for name in settings.sources),
        *(
            Topic(settings.topic(name), partitions, config)
            for name, partitions, config in (
                (EVENTS, many, kept | _size(RECORD_BYTES) | _times(settings)),
                (COMMANDS, many, kept | _size(RECORD_BYTES)),
                (DECISIONS, many, kept | _size(RECORD_BYTES)),
                (MESSAGE_EVENTS, many, kept | _size(RECORD_BYTES)),
                (DEAD_LETTERS, many, kept | _size(LETTER_BYTES)),
                (ASKS, 1, talk | _size(RECORD_BYTES)),
                (VERDICTS, many, talk | _size(RECORD_BYTES)),
                (CUSTOMERS, many, _compacted(64 * MIB) | _size(LETTER_BYTES)),
                (LIMITS, 1, _compacted(16 * MIB) | _size(RECORD_BYTES)),
                (RULES, 1, {"cleanup.policy": "delete", "retention.ms": FOR_EVER} | _size(RECORD_BYTES)),
            )
        ),
    ]
    safe = {IN_SYNC: "2"} if settings.replication >= SAFE_REPLICATION else {}
    return [topic._replace(config=topic.config | safe) for topic in listed]


def _kept(ms: int, settings: KafkaSettings) -> dict[str, str]:
    """Keep records so long; recorded ones, which are old when they come, for ever."""
    return {"cleanup.policy": "delete", "retention.ms": FOR_EVER if settings.virtual else str(ms)}


def _compacted(segment_bytes: int) -> dict[str, str]:
    """Keep the last record of each key, and few others: a new owner reads all there is before it begins."""
    return {
        "cleanup.policy": "compact",
        "segment.bytes": str(segment_bytes),  # the segment that is written to is never compacted
        "segment.ms": str(HOUR_MS),
        "min.cleanable.dirty.ratio": "0.2",
        "delete.retention.ms": str(DAY_MS),
    }


def _size(most: int) -> dict[str, str]:
    return {"max.message.bytes": str(most)}


def _times(settings: KafkaSettings) -> dict[str, str]:
    """Let the broker stamp events as they come in; in virtual time they carry the time they were recorded with."""
    if settings.virtual:
        return {TIMESTAMPS: "CreateTime"} | dict.fromkeys(_EXTREMES, _ANY_TIME)
    return {TIMESTAMPS: "LogAppendTime"}
