"""One customer's story: events, waits and decisions in the order of time, and what is still waited for."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from triggers.core.times import NEVER, Zone, iso

if TYPE_CHECKING:
    from collections.abc import Iterable

    from triggers.replay.diary import Entry

MAX_SUGGESTED = 5


@dataclass(slots=True)
class Story:
    """What a reader found out about a customer. ``now`` is the instant up to which it is told, epoch ms."""

    customer: str
    zone: Zone
    now: int
    entries: list[Entry] = field(default_factory=list)
    waiting: list[Entry] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    dropped: int = 0

    def of_rule(self, rule: str) -> Story:
        """Keep what one rule did, the events, and what other rules sent, since their sends fill the caps."""
        kept = [entry for entry in self.entries if entry.rule in (None, rule) or entry.kind == "sent"]
        waiting = [entry for entry in self.waiting if entry.rule == rule]
        return Story(self.customer, self.zone, self.now, kept, waiting, self.notes, self.dropped)

    def in_order(self) -> list[Entry]:
        """List the entries by time; of one instant as they were decided."""
        return sorted(self.entries, key=lambda entry: entry.at)

    def as_data(self) -> dict[str, Any]:
        """Give the story as plain values for machines: times RFC 3339 in UTC."""
        return {
            "customer": self.customer,
            "timezone": self.zone.name,
            "until": iso(self.now),
            "entries": [_data(entry) for entry in self.in_order()],
            "waiting": [_data(entry) for entry in self.waiting],
            "notes": self.notes,
        }


def _data(entry: Entry) -> dict[str, Any]:
    wait = entry.wait
    return {
        "at": iso(entry.at) if entry.at < NEVER else None,
        "kind": entry.kind,
        "rule": entry.rule,
        "identity": wait.identity if wait is not None else None,
        "due": iso(wait.due) if wait is not None else None,
        "reason": entry.reason,
        "text": entry.text,
    }


def close_ids(customer: str, known: Iterable[str]) -> list[str]:
    """Suggest known customers for one that is not: nearly the same, or beginning alike."""
    known = list(known)
    near = get_close_matches(customer, known, n=MAX_SUGGESTED, cutoff=0.7)
    longer = sorted(each for each in known if customer and each.startswith(customer) and each not in near)
    return [*near, *longer][:MAX_SUGGESTED]
