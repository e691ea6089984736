"""What another set of rules would change on the same log: sends added, dropped, moved and reworded, by rule."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Final

import msgspec

from triggers.core.times import wall_text
from triggers.replay.sorting import SortedLines
from triggers.replay.summary import counted, money

if TYPE_CHECKING:
    from collections.abc import Iterator

    from triggers.core.decisions import Ended, Send
    from triggers.core.times import Zone
    from triggers.replay.summary import Row

EXAMPLES: Final = 3
"""How many changes of a kind are shown one by one, of each rule."""
CHANGES: Final = ("added", "dropped", "moved", "reworded")


class Left(msgspec.Struct, gc=False):
    """A message that left: what must be known of it to tell whether another set of rules sends the same."""

    id: str
    rule: str
    customer: str
    at: int
    cost: int
    text: str


class Sends:
    """The messages that one set of rules sends, kept on disk where they are many."""

    wants_ends = False

    def __init__(self) -> None:
        self._lines = SortedLines()
        self._encode = msgspec.json.Encoder().encode

    def end(self, ended: Ended) -> None:
        """Nothing to compare."""

    def send(self, send: Send) -> None:
        """Keep a send, if it would really leave."""
        if not (send.withheld or send.shadow):
            left = Left(send.id, send.rule, send.customer, send.at, send.cost, send.text)
            self._lines.add(self._encode(left) + b"\n")  # it begins with the id, which orders it

    def __iter__(self) -> Iterator[Left]:
        """Give the sends in order of their ids, once."""
        return map(msgspec.json.Decoder(Left).decode, self._lines)


class Change(msgspec.Struct, frozen=True):
    """One send that is not the same: only before, only after, or both but at another time or in other words."""

    kind: str
    before: Left | None
    after: Left | None

    def words(self, zone: Zone) -> str:
        """Say the change as people read it."""
        send = self.after or self.before
        assert send is not None  # noqa: S101  a change has at least one
        times = [wall_text(zone, left.at) for left in (self.before, self.after) if left is not None]
        return f"{self.kind}: {send.rule} to {send.customer}, {' -> '.join(dict.fromkeys(times))}"


class Comparison:
    """The differences between two sets of sends, counted by rule; ``examples`` are the first of each kind and rule."""

    def __init__(self, before: Sends, after: Sends) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.cost: Counter[str] = Counter()
        self.examples: list[Change] = []
        for one, other in _paired(before, after):
            self._count(one, other)

    def _count(self, before: Left | None, after: Left | None) -> None:
        send = after or before
        assert send is not None  # noqa: S101  a pair has at least one
        counts = self.counts.setdefault(send.rule, Counter())
        counts["before"] += before is not None
        counts["after"] += after is not None
        self.cost[send.rule] += (after.cost if after else 0) - (before.cost if before else 0)
        kind = _kind(before, after)
        if kind:
            counts[kind] += 1
            if counts[kind] <= EXAMPLES:
                self.examples.append(Change(kind, before, after))

    def table(self) -> list[Row]:
        """Give the table: heads, a row for each rule, totals."""
        heads = ("before", *CHANGES, "after")
        total = sum(self.counts.values(), Counter())
        rows = [["rule", *heads, "cost"]]
        for rule, counts in sorted(self.counts.items()):
            rows.append([rule, *(f"{counts[head]:,}" for head in heads), _difference(self.cost[rule])])
        rows.append(["all", *(f"{total[head]:,}" for head in heads), _difference(self.cost.total())])
        return rows

    def said(self, zone: Zone) -> str:
        """Say what changes: a sentence, then the first changes one by one."""
        total = sum(self.counts.values(), Counter())
        before = counted(total["before"], "send")
        changed = [f"{total[kind]:,} {kind}" for kind in CHANGES if total[kind]]
        if not changed:
            return f"nothing changes: the same {before}"
        ordered = sorted(self.examples, key=lambda change: _place(change.after or change.before))
        lines = [f"  {change.words(zone)}" for change in ordered]
        return "\n".join([f"against {before} now: {', '.join(changed)}; for example:", *lines])


def _paired(before: Sends, after: Sends) -> Iterator[tuple[Left | None, Left | None]]:
    """Walk through both in order of id, side by side."""
    ones, others = iter(before), iter(after)
    one, other = next(ones, None), next(others, None)
    while one is not None and other is not None:
        if one.id == other.id:
            yield one, other
            one, other = next(ones, None), next(others, None)
        elif one.id < other.id:
            yield one, None
            one = next(ones, None)
        else:
            yield None, other
            other = next(others, None)
    yield from ((left, None) for left in chain((one,) if one else (), ones))
    yield from ((None, left) for left in chain((other,) if other else (), others))


def _kind(before: Left | None, after: Left | None) -> str:
    if before is None or after is None:
        return "added" if before is None else "dropped"
    if before.at != after.at:
        return "moved"
    return "reworded" if before.text != after.text else ""


def _place(send: Left | None) -> tuple[str, int, str]:
    return (send.rule, send.at, send.id) if send else ("", 0, "")


def _difference(cost: int) -> str:
    return f"+{money(cost)}" if cost > 0 else money(cost)
