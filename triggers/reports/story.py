"""One customer's story: events, waits and decisions in the order of time, and what is still waited for."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import SequenceMatcher
from heapq import nsmallest
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from triggers.core.times import NEVER, Zone, iso

if TYPE_CHECKING:
    from collections.abc import Iterable

    from triggers.core.rulebook import Rulebook
    from triggers.core.rules import Rule
    from triggers.replay.diary import Entry

MAX_SUGGESTED = 5
MAX_SEARCHED = 20_000
MAX_SLIPS = 2
LEAST_LIKENESS = 0.75


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

    def of_rule(self, rule: str, book: Rulebook | None = None) -> Story:
        """Keep what one rule did, the events, and what other rules sent, since their sends fill the caps."""
        kept = [entry for entry in self.entries if entry.rule in (None, rule) or entry.kind == "sent"]
        waiting = [entry for entry in self.waiting if entry.rule == rule]
        notes = list(self.notes)
        if not waiting and not any(entry.rule == rule and entry.wait is not None for entry in kept):
            why = _never(book.rules.get(rule) if book is not None else None)
            notes.append(f"{rule} never began a wait for {self.customer}{why}")
        return Story(self.customer, self.zone, self.now, kept, waiting, notes, self.dropped)

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


def _never(rule: Rule | None) -> str:
    """Say what would have been needed for a wait to begin."""
    if rule is None:
        return ""
    if not rule.arms:
        return f": the rule is {rule.status}"
    if rule.when is None:
        return ": no slot of it came while the customer was known"
    where = f" where {rule.when.where.text}" if rule.when.where is not None else ""
    return f": {rule.when.event}{where} is needed"


@dataclass(frozen=True, slots=True)
class Unknown:
    """A customer of whom nothing is known, and those of whom something is."""

    customer: str
    known: Iterable[str]

    def close(self) -> list[str]:
        """Suggest known customers that may have been meant: nearly the same id, or one that begins so."""
        wanted = self.customer.casefold()
        known = nsmallest(MAX_SEARCHED, self.known, key=lambda each: (-_begins(wanted, each), each))
        alike = [each for each in known if wanted and each.casefold().startswith(wanted)][:MAX_SUGGESTED]
        rest = (each for each in known if each not in alike)
        similar = ((-_likeness(wanted, each.casefold()), -_begins(wanted, each), each) for each in rest)
        near = [each for likeness, _, each in sorted(similar) if likeness <= -LEAST_LIKENESS]
        return [*alike, *near][:MAX_SUGGESTED]


def _begins(one: str, other: str) -> int:
    """Count the characters with which two ids begin alike."""
    pairs = zip(one, other.casefold(), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _likeness(one: str, other: str) -> float:
    """Tell how alike two ids are, from 0 to 1; quickly 0 where they are not."""
    if abs(len(one) - len(other)) > MAX_SLIPS:
        return 0.0
    matcher = SequenceMatcher(None, other, one, autojunk=False)
    return matcher.ratio() if matcher.quick_ratio() >= LEAST_LIKENESS else 0.0


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
