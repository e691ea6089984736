"""Facts of a customer, learnt from events so that neither order nor repetition matters (S3, S7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from triggers.core.customer import PROFILE, Facts
from triggers.core.events import (
    CustomerRegistered,
    CustomerSubscribed,
    CustomerUnsubscribed,
    CustomerUpdated,
    Event,
    OrderPaid,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Learner: TypeAlias = Callable[[Facts, Event], None]


def learn_registration(facts: Facts, event: Event) -> None:
    """Keep the earliest registration."""
    at: int = event.at
    if facts.registered_at is None or at < facts.registered_at:
        facts.registered_at = at


def learn_profile(facts: Facts, event: Event) -> None:
    """Keep the latest told value of each profile fact; of two told at once, the greater."""
    at: int = event.at
    for name in PROFILE:
        value = getattr(event, name)
        if value is None:
            continue
        told = facts.told.get(name, -1)
        if at > told or (at == told and str(value) > str(getattr(facts, name))):
            facts.told[name] = at
            setattr(facts, name, value)


def learn_payment(facts: Facts, event: Event) -> None:
    """Count a paid order once, with the amount of its earliest event; of two at once, the smaller."""
    assert isinstance(event, OrderPaid)  # noqa: S101  an invariant
    at: int = event.at
    known = facts.orders.get(event.order_id)
    if known is None:
        facts.orders_paid += 1
        facts.total_paid += event.amount
    elif (at, event.amount) < known:
        facts.total_paid += event.amount - known[1]
    if known is None or (at, event.amount) < known:
        facts.orders[event.order_id] = (at, event.amount)
    if facts.last_paid_at is None or at > facts.last_paid_at:
        facts.last_paid_at = at


def learn_subscription(facts: Facts, event: Event) -> None:
    """Keep the latest of unsubscribing and subscribing; at one instant, unsubscribing wins."""
    at: int = event.at
    told = facts.told.get("unsubscribed", -1)
    leaves = isinstance(event, CustomerUnsubscribed)
    if at > told or (at == told and leaves):
        facts.told["unsubscribed"] = at
        facts.unsubscribed = leaves


LEARNERS: dict[type[Event], Learner] = {
    CustomerRegistered: learn_registration,
    CustomerUpdated: learn_profile,
    OrderPaid: learn_payment,
    CustomerUnsubscribed: learn_subscription,
    CustomerSubscribed: learn_subscription,
}
"""What each event type teaches."""

TEACHES: dict[type[Event], tuple[str, ...]] = {
    CustomerRegistered: ("registered_at",),
    CustomerUpdated: PROFILE,
    OrderPaid: ("orders_paid", "total_paid", "avg_order_value", "last_paid_at"),
    CustomerUnsubscribed: ("unsubscribed",),
    CustomerSubscribed: ("unsubscribed",),
}
"""The facts that each event type changes."""


def copied(facts: Facts) -> Facts:
    """Copy facts so that learning does not reach the original."""
    return Facts(
        **{name: getattr(facts, name) for name in Facts.__struct_fields__ if name not in ("told", "orders")},
        told=dict(facts.told),
        orders=dict(facts.orders),
    )
