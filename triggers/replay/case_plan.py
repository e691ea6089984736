"""Turns one test of a rule file into what can be played: instants, events in order of arrival, expected sends."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec

from triggers.core.customer import PROFILE, Customer, Facts
from triggers.core.facts import copied
from triggers.core.intake import Malformed, decode, stamp
from triggers.core.times import Duration
from triggers.language import times
from triggers.language.findings import Misfit
from triggers.replay.case_matching import Wanted

if TYPE_CHECKING:
    from triggers.core.events import AnyEvent
    from triggers.core.times import Zone
    from triggers.language.cases_model import Case, Feed
    from triggers.language.folder import RuleFile
    from triggers.language.tree import Path
    from triggers.replay.case_rules import CaseRules

DEFAULT_CUSTOMER = "c1"
AFTER_LAST = Duration(days=10, text="10d")
WITH_SLOTS = Duration(days=45, text="45d")
LONGEST = Duration(months=60, text="5 years")
"""The longest time that a test may span."""

_encoder = msgspec.json.Encoder(decimal_format="number")


class Problem(NamedTuple):
    """What keeps a test from being played, at a path of its file."""

    path: Path
    message: str


class Step(NamedTuple):
    """Something that happens at an instant (epoch ms): an event, or a change of the rule file."""

    at: int
    path: Path
    feed: Feed
    event: AnyEvent | None


class Unsent(NamedTuple):
    """A customer that must not be sent to, and the reason that must be given."""

    path: Path
    to: str | None
    reason: str | None
    rule: str


@dataclass(slots=True)
class CasePlan:
    """A test ready to be played. ``until`` is the last instant that still acts, epoch ms."""

    start: int
    until: int = 0
    customers: dict[str, Facts | None] = field(default_factory=dict)
    history: list[AnyEvent] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    wanted: list[Wanted] = field(default_factory=list)
    unsent: list[Unsent] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def known(self) -> list[Customer]:
        """Make the customers that exist from the start, in the order of their ids."""
        known = [Customer(id=name, opened=self.start - 1) for name in sorted(self.customers)]
        for customer in known:
            facts = self.customers[customer.id]
            if facts is not None:
                customer.facts = copied(facts)
        return known


def plan(file: RuleFile, index: int, rules: CaseRules) -> CasePlan:
    """Work out a test; what is wrong with it is in ``problems``."""
    case, path, zone = file.tests[index], ("tests", index), rules.shop.zone
    made = CasePlan(times.wall_time(case.start).start(zone))
    _plan_events(made, case, path, zone)
    _plan_customers(made, case, path, zone)
    _plan_end(made, case, path, rules)
    for place, expect in enumerate(case.expect):
        at = None if expect.at is None else times.case_time(expect.at).instant(zone, made.start)
        here = (*path, "expect", place)
        matched = {key: getattr(expect, key) for key in Wanted.KEYS}
        made.wanted.append(Wanted(here, at, **matched))
    for place, unsent in enumerate(case.not_sent):
        made.unsent.append(Unsent((*path, "not_sent", place), unsent.to, unsent.reason, unsent.rule or file.id))
    return made


def _plan_events(made: CasePlan, case: Case, path: Path, zone: Zone) -> None:
    for place, item in enumerate(case.history):
        here = (*path, "history", place)
        event = _event(made, item, here, f"history-{place + 1}", zone)
        if event is None:
            continue
        if event.at > made.start:
            made.problems.append(Problem((*here, "at"), "history lies before the start; put this under feed"))
        made.history.append(event)
    made.history.sort(key=lambda event: (event.at, event.id))
    for place, item in enumerate(case.feed):
        here = (*path, "feed", place)
        at = times.case_time(item.arrives or item.at).instant(zone, made.start)
        if at < made.start:
            made.problems.append(Problem((*here, "at"), "this arrives before the test's start; put it under history"))
            continue
        if item.event is None:
            made.steps.append(Step(at, here, item, None))
            continue
        event = _event(made, item, here, f"feed-{place + 1}", zone)
        if event is not None:
            stamp(event, at)
            made.steps.append(Step(at, here, item, event))
    made.steps.sort(key=lambda step: step.at)


def _event(made: CasePlan, item: Feed, path: Path, name: str, zone: Zone) -> AnyEvent | None:
    """Make an event the way that intake does, so that a test cannot feed what the service would refuse."""
    at = times.case_time(item.at).instant(zone, made.start)
    fields = {**item.fields, "type": item.event, "id": item.id or name, "at": at}
    fields["customer"] = item.customer or DEFAULT_CUSTOMER
    if item.source is not None:
        fields["source"] = item.source
    event = decode(_encoder.encode(fields))
    if isinstance(event, Malformed):
        made.problems.append(Problem(path, event.message))
        return None
    return cast("AnyEvent", event)  # intake makes no other types than there are


def _plan_customers(made: CasePlan, case: Case, path: Path, zone: Zone) -> None:
    named = [event.customer for event in made.history] + [step.event.customer for step in made.steps if step.event]
    named += [expect.to for expect in case.expect if expect.to] + [unsent.to for unsent in case.not_sent if unsent.to]
    named += [member for members in case.segments.values() for member in members]
    made.customers = dict.fromkeys(named or ([] if case.customers else [DEFAULT_CUSTOMER]))
    for name, told in case.customers.items():
        try:
            made.customers[name] = _facts(told, made.start, zone)
        except (Misfit, msgspec.ValidationError) as error:
            message = str(error).partition(" - at ")[0]
            made.problems.append(Problem((*path, "customers", name), message[:1].lower() + message[1:]))


def _facts(told: dict[str, Any], start: int, zone: Zone) -> Facts:
    """Make the starting facts; all were told right before the start. Raises Misfit or msgspec's ValidationError."""
    values = {name: value for name, value in told.items() if value is not None}
    for name in ("registered_at", "last_paid_at"):
        if name in values:
            values[name] = times.case_time(str(values[name])).instant(zone, start)
    if "total_paid" in values and isinstance(values["total_paid"], int):
        values["total_paid"] = Decimal(values["total_paid"])
    values["told"] = {name: start - 1 for name in (*PROFILE, "unsubscribed") if name in values}
    return msgspec.convert(values, Facts)


def _plan_end(made: CasePlan, case: Case, path: Path, rules: CaseRules) -> None:
    zone = rules.shop.zone
    if case.until is not None:
        made.until = times.case_time(case.until).instant(zone, made.start)
        for step in made.steps:
            if step.at > made.until:
                made.problems.append(Problem(step.path, f"this comes after the test's end, until: {case.until}"))
        if made.until > zone.add(made.start, LONGEST):
            made.problems.append(Problem((*path, "until"), f"a test spans {LONGEST.text} at most"))
        return
    last = max([made.start, *(step.at for step in made.steps)])
    waits = [*rules.waits(), *(_new_wait(step.feed) for step in made.steps)]
    made.until = zone.add(max(zone.add(last, wait) for wait in waits), AFTER_LAST)
    if rules.slotted():
        made.until = max(made.until, zone.add(made.start, WITH_SLOTS))


def _new_wait(feed: Feed) -> Duration:
    wait = (feed.edit or {}).get("wait")
    try:
        return times.duration(str(wait)) if wait is not None else Duration()
    except Misfit:
        return Duration()  # building the edited rule tells


__all__ = ["CasePlan", "Problem", "Step", "Unsent", "plan"]
