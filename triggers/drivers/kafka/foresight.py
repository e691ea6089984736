"""When a customer who waits for an answer may ask the limits' owner next, or tell it something, at the earliest.

The owner answers in the order of time, so it waits for whoever may still ask before. The less may come of what a customer
waits for, the more questions can be answered at once: else a backlog of questions is worked off one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from triggers.core.events import MessageSent
from triggers.core.times import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from triggers.core.customer import Customer, Wait
    from triggers.core.events import AnyEvent
    from triggers.core.plans import Armer, Plan
    from triggers.core.rulebook import Rulebook


def next_try(book: Rulebook, customer: Customer, asking: Wait) -> int:
    """Tell when a wait that has begun already may ask at the earliest, epoch ms, beside the one that asks now.

    Only rules that share something ask. No wait ever moves forward by itself: a try only holds it back.
    """
    first = book.next_slot(customer.opened)
    for wait in customer.waits.values():
        if wait.wake < first and wait is not asking and wait.rule in book.sharing:
            first = wait.wake
    return first


def after_message(book: Rulebook, customer: Customer, at: int, arming: Iterable[AnyEvent] = ()) -> int:
    """Tell when a message that leaves at ``at`` or later may lead to a question or an answer at the earliest, epoch ms.

    Rules hear of it at once (S2): one that it arms asks once its wait is over; it may cancel the first of several matches,
    or answer a wave. ``arming`` are events that the customer is still to meet. NEVER where no rule heeds messages.
    """
    plan = book.plans[MessageSent]
    if _answers(plan, customer) or _revives(book, plan, customer, arming):
        return at
    waits = (armer.least_ms for armer in plan.armers if armer.id in book.sharing)
    return min((at + wait + book.settle for wait in waits), default=NEVER)


def soonest(book: Rulebook, customer: Customer, held: Iterable[AnyEvent], before: Iterable[AnyEvent] = ()) -> int:
    """Tell when events that are held may make a customer ask or tell something at the earliest, epoch ms; or NEVER.

    An event that arms does so only once its wait is over; one that cancels can let a later match of the same wait go on
    at once; one that answers a wave is told at once; any may make a message leave. ``before`` are the events held in
    front of these.
    """
    first, arming = NEVER, list(before)
    for event in held:
        plan = book.plans[event.__class__]
        now: int = event.received_at  # type: ignore[assignment]  # stamped when it was read
        if now < first and (_answers(plan, customer) or _revives(book, plan, customer, arming)):
            first = now
        for armer in plan.armers:
            if armer.id in book.sharing:
                first = min(first, max(now, _due(book, armer, event.at) + book.settle))
        arming.append(event)
        if now < first:
            first = min(first, after_message(book, customer, now, arming))
    return first


def _due(book: Rulebook, armer: Armer, at: int) -> int:
    return at + armer.wait_ms if armer.wait_ms is not None else book.shop.zone.add(at, armer.rule.wait)


def _answers(plan: Plan, customer: Customer) -> bool:
    """Tell whether an event may be an answer to a wave that the customer has, or is to have."""
    return any(
        any(sent.rule == rule.id for sent in customer.sends) or any(w.rule == rule.id for w in customer.waits.values())
        for rule, _ in plan.responders
    )


def _revives(book: Rulebook, plan: Plan, customer: Customer, arming: Iterable[AnyEvent]) -> bool:
    """Tell whether an event may cancel the first of several matches of a wait, so that the next one counts."""
    rules = {each.rule.id for each in plan.cancellers if each.rule.id in book.sharing}
    return bool(rules) and (
        any(wait.later and wait.rule in rules for wait in customer.waits.values())
        or any(armer.id in rules for event in arming for armer in book.plans[event.__class__].armers)
    )
