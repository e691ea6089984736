"""The instants at which slots and waves open, worked out once and looked up by every customer."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from triggers.core.rules import in_season
from triggers.core.times import NEVER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triggers.core.rules import Rule

KNOWN_LIMIT = 10_000
"""How many slots are remembered; past that they are worked out again from where somebody looks."""


class Calendar:
    """The slots of rules in order: a table that grows forward from the first instant somebody asked about."""

    __slots__ = ("_from", "_opening", "_rules", "_slots")

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._from = NEVER
        self._slots: list[int] = []
        self._opening: dict[int, tuple[Rule, ...]] = {}

    def next_after(self, after: int) -> int:
        """Find the first slot after an instant; NEVER if there is none."""
        if after < self._from or len(self._slots) > KNOWN_LIMIT:
            self._from, self._slots, self._opening = after, [], {}
        slots = self._slots
        place = bisect_right(slots, after)
        while place == len(slots):
            slots.append(self._find(slots[-1] if slots else self._from))
            place = bisect_right(slots, after)
        return slots[place]

    def rules_at(self, at: int) -> tuple[Rule, ...]:
        """List the rules that have a slot at an instant."""
        return self._opening.get(at, ()) if self.next_after(at - 1) == at else ()

    def _find(self, after: int) -> int:
        found = [(_slot_of(rule, after), rule) for rule in self._rules]
        first = min(slot for slot, _ in found)
        self._opening[first] = tuple(rule for slot, rule in found if slot == first)
        return first


def _slot_of(rule: Rule, after: int) -> int:
    """Find a rule's first slot after an instant, in its validity and periods, not before it was loaded (S31)."""
    after = max(after, rule.since - 1, rule.valid.start - 1)
    ends = min(rule.valid.end, max((period.end for period in rule.during), default=NEVER))
    while True:
        if rule.waves is not None:
            found = min((wave.slot for wave in rule.waves.waves if wave.slot > after), default=None)
        else:
            found = rule.schedule.next_after(after) if rule.schedule else None
        if found is None or found >= ends:
            return NEVER
        if in_season(rule, found):
            return found
        after = found
