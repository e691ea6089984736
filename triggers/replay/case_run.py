"""Plays a planned test in virtual time, and tells its story where that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triggers.core.decisions import Decision, Ended, Send
from triggers.core.times import wall_text
from triggers.replay.case_verdict import Failure
from triggers.replay.diary import Diary, Entry, state_words
from triggers.replay.replay import Replay

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from triggers.core.customer import Customer
    from triggers.core.rulebook import Rulebook
    from triggers.core.times import Zone
    from triggers.replay.case_plan import CasePlan, Step
    from triggers.replay.case_rules import CaseRules

MAX_TIMERS = 20
"""How many timers a failing test tells of."""


class Run:
    """One playing of a test. A run that explains writes a diary, and is slower."""

    def __init__(self, made: CasePlan, rules: CaseRules, *, explain: bool = False) -> None:
        self.made = made
        self.rules = rules
        self.sends: list[Send] = []
        self.ended: list[Ended] = []
        self.failures: list[Failure] = []
        self.replay = Replay(rules.rulebook(narrates=explain), self._take, clock=made.start)
        self.diary = Diary(self.replay.customers) if explain else None

    def play(self) -> None:
        """Play it to its end; an edit that does not fit is a failure and ends it."""
        replay = self.replay
        replay.customers.update((customer.id, customer) for customer in self.made.known())
        for event in self.made.history:
            replay.remember(event)
        for step in self.made.steps:
            if step.event is not None:
                self._feed(step)
            elif not self._change(step):
                return
        replay.run_until(self.made.until + 1)

    def _feed(self, step: Step) -> None:
        event, diary = step.event, self.diary
        assert event is not None  # noqa: S101  the caller looked
        if diary is None:
            self.replay.play((event,))
            return
        self.replay.run_until(step.at)
        diary.saw(self.replay.rulebook, event)
        self.replay.play((event,))
        diary.handled(self.replay.rulebook, event)

    def _change(self, step: Step) -> bool:
        feed, told = step.feed, ""
        if feed.edit is not None:
            told = "edited: " + ", ".join(feed.edit)
            try:
                self.rules.edit(feed.edit, step.at)
            except ValueError as error:
                self.failures.append(Failure((*step.path, "edit"), f"the edited rule does not load: {error}"))
                return False
        elif feed.status is not None:
            told = f"status is now {feed.status}"
            self.rules.set_status(feed.status, step.at)
        elif feed.remove:
            told = "the file was removed"
            self.rules.remove(step.at)
        elif feed.restore:
            told = "the file was put back"
            self.rules.restore(step.at)
        self.replay.run_until(step.at)
        if self.diary is not None:
            self.diary.edited(step.at, self.rules.id, told)
        self.replay.change(self.rules.rulebook(narrates=self.diary is not None))
        return True

    def _take(self, decision: Decision) -> None:
        if self.diary is not None:
            self.diary.take(self.replay.rulebook, decision)
        if isinstance(decision, Send):
            self.sends.append(decision)
        elif isinstance(decision, Ended):
            self.ended.append(decision)

    def story(self, failures: Sequence[Failure]) -> list[str]:
        """Tell of the timers that the failures are about: each with its state and reason."""
        if self.diary is None:
            return []
        zone, book = self.rules.shop.zone, self.replay.rulebook
        about = {name for failure in failures for name in failure.customers}
        if any(not failure.customers for failure in failures):
            about = set(self.replay.customers)
        entries = [entry for entry in self.diary.entries if entry.customer in about or not entry.customer]
        lines = [f"what happened, in the time of {zone.name}:"]
        lines += (_line(zone, entry) for entry in entries if entry.kind == "edit")
        timers = list(_timers(entries, book, [self.replay.customers[name] for name in sorted(about)], zone))
        for timer in timers[:MAX_TIMERS]:
            lines += timer
        if len(timers) > MAX_TIMERS:
            lines.append(f"… and {len(timers) - MAX_TIMERS} more timers")
        lines += (_line(zone, entry) for entry in entries if entry.kind == "ignored")
        if not timers:
            lines.append(f"no timer began{self._why_none()}")
        return lines

    def _why_none(self) -> str:
        rule = self.rules.rule
        if rule.when is not None:
            fed = {step.feed.event for step in self.made.steps}
            return "" if rule.when.event in fed else f": no {rule.when.event} was fed"
        zone, start, until = self.rules.shop.zone, self.made.start, self.made.until
        return f": no slot between {wall_text(zone, start)} and {wall_text(zone, until)}"


def _timers(entries: Iterable[Entry], book: Rulebook, customers: Sequence[Customer], zone: Zone) -> Iterator[list[str]]:
    """Go through the timers in the order in which they began, each with what happened to it."""
    timers: dict[int, list[str]] = {}
    for entry in entries:
        if entry.wait is None:
            continue
        if entry.kind == "waits" and id(entry.wait) not in timers:
            timers[id(entry.wait)] = [f"{entry.rule} for {entry.customer}, {entry.text}"]
        else:
            words = "held back" if entry.kind == "held" else entry.kind
            timers.setdefault(id(entry.wait), []).append(f"  {wall_text(zone, entry.at)} {words}: {entry.text}")
    for customer in customers:
        for wait in customer.waits.values():
            state = state_words(book, wait) or f", due {wall_text(zone, wait.due)}"
            timers.setdefault(id(wait), []).append(f"  still waiting at the end{state}")
    yield from timers.values()


def _line(zone: Zone, entry: Entry) -> str:
    whose = f" for {entry.customer}" if entry.customer else ""
    return f"{entry.rule}{whose}, {wall_text(zone, entry.at)}: {entry.text}"
