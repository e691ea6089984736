"""Since when each rule counts, and since when one is gone: a list that all workers of a fleet read and add to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from triggers.core.times import DAY
from triggers.drivers.kafka.foreign import decoded
from triggers.drivers.kafka.rule_notes import FILE, NOTE, Record, read_records, write_records
from triggers.store.progress import Register

if TYPE_CHECKING:
    from collections.abc import Collection

    from triggers.drivers.kafka.settings import KafkaSettings

RULE: Final = b"rule/"
"""What the key of an entry begins with: a rule may be called as a note is. Earlier ones have the rule's id alone."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A rule that came (``since``) or was first missed (``gone``), epoch ms."""

    rule: str
    since: int | None = None
    gone: int | None = None


_entry = msgspec.json.Decoder(Entry)


class Known(NamedTuple):
    """What the list says of a rule."""

    since: int
    gone: int | None = None


async def enrol(settings: KafkaSettings, ids: Collection[str], now: int, first: int) -> Register:
    """Note which rules there are now; what several workers note at once, the first has noted for all.

    ``first`` is what a rule of a new fleet counts since, else it is ``now`` (S31). A rule that comes back within 24 h goes
    on as if it had stayed; later it is a new one (S36). Raises ServiceUnusable.
    """
    known = await read_known(settings)
    new_since = now if known else first
    entries = [Entry(rule, since=new_since) for rule in sorted(set(ids) - set(known))]
    for rule, each in sorted(known.items()):
        if rule in ids and each.gone is not None:
            entries.append(Entry(rule, since=now if now - each.gone >= DAY else each.since))
        elif rule not in ids and each.gone is None:
            entries.append(Entry(rule, gone=now))
    if entries:
        records = [Record(RULE + entry.rule.encode(), msgspec.json.encode(entry)) for entry in entries]
        await write_records(settings, records)
        known = await read_known(settings)
    return Register(
        {rule: known[rule].since for rule in ids},
        {rule: each.gone for rule, each in known.items() if rule not in ids and each.gone is not None},
    )


async def read_known(settings: KafkaSettings) -> dict[str, Known]:
    """Read what the list says of each rule, those included that are gone. Raises ServiceUnusable."""
    known: dict[str, Known] = {}
    for record in await read_records(settings):
        if record.key == NOTE or record.key.startswith(FILE):
            continue
        entry = decoded(record, _entry.decode)
        if entry is not None:
            _learn(known, entry)
    return known


def _learn(known: dict[str, Known], entry: Entry) -> None:
    """Take in an entry; of two that say the same the first counts."""
    old = known.get(entry.rule)
    if entry.gone is not None:
        if old is not None and old.gone is None:
            known[entry.rule] = Known(old.since, entry.gone)
    elif entry.since is not None and (old is None or old.gone is not None):
        known[entry.rule] = Known(entry.since)
