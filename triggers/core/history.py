"""What is kept of a customer's past: events in order of occurrence, each once, and the facts that they teach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triggers.core.customer import NOBODY, Facts
from triggers.core.facts import LEARNERS

if TYPE_CHECKING:
    from triggers.core.customer import Customer
    from triggers.core.events import AnyEvent, Event
    from triggers.core.plans import Plan

SEEN_SLACK = 64
"""How many ids may outlive their events before the list of ids is made anew."""


def qualified(event: Event) -> str:
    """Name an event by (source, id): what makes two events one (S2)."""
    return f"{event.source}\0{event.id}" if event.source else event.id


def same(event: Event, other: Event) -> bool:
    """Tell whether two events say the same, whenever they were received."""
    names = (name for name in event.__struct_fields__ if name != "received_at")
    return event.__class__ is other.__class__ and all(getattr(event, name) == getattr(other, name) for name in names)


def keep(plan: Plan, customer: Customer, event: AnyEvent, now: int) -> bool:
    """Keep an event, ordered by occurred_at; False if it is known already (S2)."""
    name = qualified(event) if event.source else event.id
    seen = customer.seen
    if name in seen:
        return False
    if seen:
        seen.append(name)
    else:
        customer.seen = [name]
    kept = customer.kept.get(plan.type)
    if kept is None:
        if customer.kept:
            customer.kept[plan.type] = [event]
        else:
            customer.kept = {plan.type: [event]}
        return True
    if not kept or event.at >= kept[-1].at:
        kept.append(event)
    else:
        place = len(kept)
        while place and kept[place - 1].at > event.at:
            place -= 1
        kept.insert(place, event)
    if kept[0].at < now - plan.keep_ms:
        forget(plan, customer, kept, now)
    return True


def forget(plan: Plan, customer: Customer, kept: list[AnyEvent], now: int) -> None:
    """Let go of events that are older than anything may ask for."""
    oldest = now - plan.keep_ms
    place = 0
    while place < len(kept) and kept[place].at < oldest:
        place += 1
    del kept[:place]
    if len(customer.seen) > SEEN_SLACK and len(customer.seen) > 2 * sum(map(len, customer.kept.values())):
        customer.seen = [qualified(event) for events in customer.kept.values() for event in events]


def learn(plan: Plan, customer: Customer, event: AnyEvent, now: int) -> None:
    """Let an event change the facts, after those that were stamped ahead of it."""
    if customer.ahead:
        catch_up(customer, now)
    if plan.learner is not None:
        plan.learner(own_facts(customer), event)


def catch_up(customer: Customer, now: int) -> None:
    """Let the facts of events stamped ahead of their arrival count, once their time has come (S7)."""
    ripe = [event for event in customer.ahead if event.at <= now]
    if ripe:
        customer.ahead = tuple(event for event in customer.ahead if event.at > now)
        for event in ripe:
            LEARNERS[event.__class__](own_facts(customer), event)


def own_facts(customer: Customer) -> Facts:
    """Give the facts of a customer to change."""
    if customer.facts is NOBODY:
        customer.facts = Facts()
    return customer.facts
