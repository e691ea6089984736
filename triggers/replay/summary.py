"""What a replay came to, by rule, in words and figures for the person who ran it."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from triggers.core.decisions import Reason
from triggers.core.times import wall_text
from triggers.replay.output import MILLI_FEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from triggers.core.customer import Customer
    from triggers.core.decisions import Send
    from triggers.core.times import Zone
    from triggers.replay.log import Log
    from triggers.replay.playing import Played

Row = list[str]

_GAP = "  "


class Tally:
    """Counts by rule: waits that ended by reason, and still wait; parts and cost (1/1000 fen) of what was sent."""

    def __init__(self, rules: Iterable[str]) -> None:
        self.rules = sorted(rules)
        self.ended: defaultdict[str, defaultdict[Reason, int]] = defaultdict(lambda: defaultdict(int))
        self.waiting: Counter[str] = Counter()
        self.parts: defaultdict[str, int] = defaultdict(int)
        self.cost: defaultdict[str, int] = defaultdict(int)
        self.late_cancels = 0
        self.customers = 0

    def sent(self, send: Send) -> None:
        """Count what a message that left was made of."""
        self.parts[send.rule] += send.segments
        self.cost[send.rule] += send.cost

    def finish(self, customers: Mapping[str, Customer]) -> None:
        """Count customers, and the waits that are left when the replay ends."""
        self.customers += len(customers)
        for customer in customers.values():
            for wait in customer.waits.values():
                self.waiting[wait.rule] += 1

    def table(self) -> list[Row]:
        """Give the table: heads, a row for each rule, totals; only the columns in which something happened."""
        waits = {rule: sum(self.ended[rule].values()) + self.waiting[rule] for rule in self.rules}
        columns: dict[str, Mapping[str, int]] = {"waits": waits}
        for reason in Reason:
            columns[reason.value] = {rule: counts.get(reason, 0) for rule, counts in self.ended.items()}
        columns |= {"still waiting": self.waiting, "parts": self.parts}
        shown = {name: counts for name, counts in columns.items() if name == "sent" or any(counts.values())}
        rows = [["rule", *shown, "cost"]]
        rows += [
            [rule, *(_figure(by_rule.get(rule, 0)) for by_rule in shown.values()), money(self.cost[rule])]
            for rule in self.rules
        ]
        rows.append(
            ["all", *(_figure(sum(by_rule.values())) for by_rule in shown.values()), money(sum(self.cost.values()))]
        )
        return rows


def money(cost: int) -> str:
    """Write 1/1000 fen as yuan, to the fen, with thousands apart."""
    return f"{cost / MILLI_FEN:,.2f}"


def counted(number: int, thing: str) -> str:
    """Write a number of things: "1 line", "2,000 lines"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _figure(number: int) -> str:
    return f"{number:,}" if number else "."


def plain(rows: Sequence[Row]) -> str:
    """Write a table as aligned text: the first column to the left, figures to the right, heads a word a line."""
    rows = [*_stacked(rows[0]), *rows[1:]]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append(_GAP.join([row[0].ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def _stacked(heads: Row) -> list[Row]:
    """Write heads of several words one below the other, so that a table of many reasons fits a screen."""
    words = [head.split() for head in heads]
    depth = max(map(len, words))
    columns = [[""] * (depth - len(each)) + each for each in words]
    return [list(row) for row in zip(*columns, strict=True)]


def heading(log: Log, played: Played, zone: Zone, seconds: float) -> str:
    """Say what was read, and how fast (in seconds of the whole run)."""
    if played.span is None:
        return "no event to play"
    tally, span = played.tally, played.span
    begin, end = wall_text(zone, span[0]), wall_text(zone, span[1])
    speed = f"{log.events / seconds:,.0f} events/s" if seconds else ""
    return (
        f"{counted(log.events, 'event')}, {counted(tally.customers, 'customer')}, {begin} to {end} ({zone.name}); "
        f"decided in {seconds:.1f} s, {speed}"
    )


def remarks(log: Log, tally: Tally, rejected_name: str | None) -> list[str]:
    """Say in plain words what was not as it should be: lines turned away and why, times moved, cancels too late."""
    said = []
    if log.reasons:
        total = sum(log.reasons.values())
        where = f"kept in {rejected_name}" if rejected_name else "--rejected FILE keeps them"
        said.append(f"{counted(total, 'line')} could not be understood and {_were(total)} left out ({where}):")
        for reason, number in sorted(log.reasons.items(), key=lambda item: (-item[1], item[0])):
            first = log.examples[reason][0]
            place = f"{first.file}:{first.line}" if first.line else first.file
            said.append(f"  {number:,} {reason}; first {place}: {first.message}")
    if log.moved:
        moved = f"{counted(log.moved, 'event')} from the future (over 5 min ahead)"
        said.append(f"{moved} {_were(log.moved)} taken to have happened when received")
    if tally.late_cancels:
        said.append(f"{counted(tally.late_cancels, 'cancel')} came after the message had left")
    return said


def _were(number: int) -> str:
    return "was" if number == 1 else "were"
