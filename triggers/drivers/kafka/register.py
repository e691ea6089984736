"""Since when each rule counts, and since when one is gone: a list that all workers of a fleet read and add to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
from aiokafka import TopicPartition

from triggers.core.times import DAY
from triggers.drivers.kafka.connection import reading, writing
from triggers.drivers.kafka.records import RULES
from triggers.store.progress import Register

if TYPE_CHECKING:
    from collections.abc import Collection

    from triggers.drivers.kafka.settings import KafkaSettings

READ_TIMEOUT_MS = 500


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A rule that came (``since``) or was first missed (``gone``), epoch ms."""

    rule: str
    since: int | None = None
    gone: int | None = None


class Known(NamedTuple):
    """What the list says of a rule."""

    since: int
    gone: int | None = None


async def enrol(settings: KafkaSettings, ids: Collection[str], now: int, first: int) -> Register:
    """Note which rules there are now; what several workers note at once, the first has noted for all.

    ``first`` is what a rule of a new fleet counts since, else it is ``now`` (S31). A rule that comes back within 24 h goes
    on as if it had stayed; later it is a new one (S36). Raises ServiceUnusable.
    """
    known = await _read(settings)
    new_since = now if known else first
    entries = [Entry(rule, since=new_since) for rule in sorted(set(ids) - set(known))]
    for rule, each in sorted(known.items()):
        if rule in ids and each.gone is not None:
            entries.append(Entry(rule, since=now if now - each.gone >= DAY else each.since))
        elif rule not in ids and each.gone is None:
            entries.append(Entry(rule, gone=now))
    if entries:
        await _write(settings, entries)
        known = await _read(settings)
    return Register(
        {rule: known[rule].since for rule in ids},
        {rule: each.gone for rule, each in known.items() if rule not in ids and each.gone is not None},
    )


async def _read(settings: KafkaSettings) -> dict[str, Known]:
    known: dict[str, Known] = {}
    place = TopicPartition(settings.topic(RULES), 0)
    async with reading(settings) as consumer:
        consumer.assign([place])
        end = (await consumer.end_offsets([place]))[place]
        await consumer.seek_to_beginning(place)
        while await consumer.position(place) < end:
            for record in (await consumer.getmany(timeout_ms=READ_TIMEOUT_MS)).get(place, ()):
                _learn(known, msgspec.json.decode(record.value, type=Entry))
    return known


def _learn(known: dict[str, Known], entry: Entry) -> None:
    """Take in an entry; of two that say the same the first counts."""
    old = known.get(entry.rule)
    if entry.gone is not None:
        if old is not None and old.gone is None:
            known[entry.rule] = Known(old.since, entry.gone)
    elif entry.since is not None and (old is None or old.gone is not None):
        known[entry.rule] = Known(entry.since)


async def _write(settings: KafkaSettings, entries: list[Entry]) -> None:
    topic = settings.topic(RULES)
    async with writing(settings) as producer:
        for entry in entries:
            await producer.send_and_wait(topic, msgspec.json.encode(entry), key=entry.rule.encode(), partition=0)
