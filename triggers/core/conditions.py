"""Conditions on a customer: what an audience may ask of facts, of the kept history and of segments.

A condition is read at the moment of leaving (S32). ``holds`` decides, ``misses`` tells a person what was needed and what
was there instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from triggers.core.customer import Customer
    from triggers.core.events import Event
    from triggers.core.rulebook import Rulebook
    from triggers.core.rules import Shop
    from triggers.core.times import Duration, Zone

    Predicate: TypeAlias = Callable[[Event | None, object, Shop, int], bool]
    """A compiled expression: (event, facts of the customer, shop, now in epoch ms) -> does it hold. Never raises."""


class Moment:
    """What a condition may look at: a customer at an instant, with the wait's trigger event if there is one."""

    __slots__ = ("customer", "event", "now", "rulebook")

    def __init__(self, rulebook: Rulebook, customer: Customer, event: Event | None, now: int) -> None:
        self.rulebook = rulebook
        self.customer = customer
        self.event = event
        self.now = now


class Condition(Protocol):
    """One node of an audience."""

    def holds(self, moment: Moment) -> bool:
        """Decide whether it is true of the customer at that moment."""
        ...

    def misses(self, moment: Moment) -> Iterator[str]:
        """Say, for a condition that does not hold, what would have been needed."""
        ...

    def parts(self) -> Iterable[Condition]:
        """List the conditions right below this one."""
        ...


@dataclass(frozen=True, slots=True)
class Where:
    """An expression on the customer, and for when-rules on the trigger event."""

    text: str
    predicate: Predicate
    names: frozenset[str] = frozenset()

    def holds(self, moment: Moment) -> bool:
        """Evaluate the expression."""
        return self.predicate(moment.event, moment.customer.facts, moment.rulebook.shop, moment.now)

    def misses(self, moment: Moment) -> Iterator[str]:
        """Quote the expression, with the values it saw of the customer."""
        seen = sorted(name for name in self.names if name.startswith("customer."))
        values = ", ".join(f"{name} = {_shown(getattr(moment.customer.facts, name[9:]))}" for name in seen)
        yield f"{self.text} needed" + (f", had {values}" if values else "")

    def parts(self) -> Iterable[Condition]:
        """Have nothing below."""
        return ()


@dataclass(frozen=True, slots=True)
class Without:
    """The correlated absence inside a ``did``: no such event of the same ``match`` value within a time after."""

    types: tuple[str, ...]
    match: str
    within: Duration | None = None

    def answers(self, moment: Moment) -> dict[object, list[Event]]:
        """Collect the events that a matching one must do without, by the value they must share with it."""
        found: dict[object, list[Event]] = {}
        for kind in self.types:
            for event in moment.customer.kept.get(kind, ()):
                if event.at <= moment.now:
                    found.setdefault(getattr(event, self.match, None), []).append(event)
        return found

    def answered(self, event: Event, answers: dict[object, list[Event]], zone: Zone) -> bool:
        """Tell whether an event was followed by one that it should be without."""
        others = [other for other in answers.get(getattr(event, self.match, None), ()) if other is not event]
        if self.within is None:
            return bool(others)
        end = zone.add(event.at, self.within)
        return any(event.at <= other.at <= end for other in others)


@dataclass(frozen=True, slots=True)
class Did:
    """At least ``at_least`` events of the types with t - within <= occurred_at <= t (S6)."""

    types: tuple[str, ...]
    within: Duration
    at_least: int = 1
    where: Where | None = None
    without: Without | None = None

    def holds(self, moment: Moment) -> bool:
        """Count the events until there are enough."""
        needed = self.at_least
        if needed <= 0:
            return True
        for _ in self.matching(moment):
            needed -= 1
            if not needed:
                return True
        return False

    def matching(self, moment: Moment) -> Iterator[Event]:
        """Go through the events that count, the latest of each type first."""
        shop, facts, now = moment.rulebook.shop, moment.customer.facts, moment.now
        since = shop.zone.subtract(now, self.within)
        answers = self.without.answers(moment) if self.without else None
        for kind in self.types:
            for event in reversed(moment.customer.kept.get(kind, ())):
                if event.at < since:
                    break
                if event.at > now or (self.where and not self.where.predicate(event, facts, shop, now)):
                    continue
                if answers is None or self.without is None or not self.without.answered(event, answers, shop.zone):
                    yield event

    def misses(self, moment: Moment) -> Iterator[str]:
        """Tell how many events were needed and how many there were."""
        had = sum(1 for _ in self.matching(moment))
        where = f" where {self.where.text}" if self.where else ""
        without = f" without {' or '.join(self.without.types)}" if self.without else ""
        kinds = " or ".join(self.types)
        yield f"{self.at_least} {kinds}{where}{without} within {self.within.text} needed, had {had}"

    def parts(self) -> Iterable[Condition]:
        """Have nothing below."""
        return ()


@dataclass(frozen=True, slots=True)
class In:
    """Membership of a segment: one that was given, or the one that a wave rule keeps."""

    segment: str

    def holds(self, moment: Moment) -> bool:
        """Look the customer up in the segment."""
        return moment.rulebook.in_segment(moment.customer, self.segment, moment.now)

    def misses(self, moment: Moment) -> Iterator[str]:
        """Name the segment."""
        del moment
        yield f"in {self.segment} needed, is not"

    def parts(self) -> Iterable[Condition]:
        """Have nothing below."""
        return ()


@dataclass(frozen=True, slots=True)
class All:
    """Every one of the conditions."""

    conditions: tuple[Condition, ...]

    def holds(self, moment: Moment) -> bool:
        """Stop at the first that does not hold."""
        return all(condition.holds(moment) for condition in self.conditions)

    def misses(self, moment: Moment) -> Iterator[str]:
        """Tell the misses of every condition that does not hold."""
        for condition in self.conditions:
            if not condition.holds(moment):
                yield from condition.misses(moment)

    def parts(self) -> Iterable[Condition]:
        """List the conditions."""
        return self.conditions


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of the conditions."""

    conditions: tuple[Condition, ...]

    def holds(self, moment: Moment) -> bool:
        """Stop at the first that holds."""
        return any(condition.holds(moment) for condition in self.conditions)

    def misses(self, moment: Moment) -> Iterator[str]:
        """Join the misses of all the ways."""
        yield " or else ".join("; ".join(condition.misses(moment)) for condition in self.conditions)

    def parts(self) -> Iterable[Condition]:
        """List the conditions."""
        return self.conditions


@dataclass(frozen=True, slots=True)
class Not:
    """The contrary of a condition."""

    condition: Condition

    def holds(self, moment: Moment) -> bool:
        """Turn the answer round."""
        return not self.condition.holds(moment)

    def misses(self, moment: Moment) -> Iterator[str]:
        """Tell what should not have been there."""
        if isinstance(self.condition, Did):
            latest = next(self.condition.matching(moment), None)
            if latest is not None:
                kinds = " or ".join(self.condition.types)
                where = f" where {self.condition.where.text}" if self.condition.where else ""
                yield f"no {kinds}{where} within {self.condition.within.text} needed, had {latest.id}"
            return
        if isinstance(self.condition, Where):
            yield f"not ({self.condition.text}) needed"
        elif isinstance(self.condition, In):
            yield f"not in {self.condition.segment} needed, is"
        else:
            yield "none of a group of conditions needed, the group holds"

    def parts(self) -> Iterable[Condition]:
        """Name the condition."""
        return (self.condition,)


def walk(condition: Condition | None) -> Iterator[Condition]:
    """Go through a condition and everything below it."""
    if condition is None:
        return
    yield condition
    for part in condition.parts():
        yield from walk(part)


def _shown(value: object) -> str:
    return "nothing" if value is None else str(value)
