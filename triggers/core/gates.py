"""The gates that a message passes before it leaves, in the order of S19 to S21; every refusal has its reason.

Ending gates end the wait; holding gates postpone it. Each is a function that answers None to let pass. Gates look at one
customer only: total, budget and per_day belong to all customers and are the ledger's (``core/ledger.py``).
"""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from triggers.core.conditions import Moment
from triggers.core.decisions import Reason
from triggers.core.rules import sending_of
from triggers.core.times import NEVER, iso

if TYPE_CHECKING:
    from collections.abc import Callable

    from triggers.core.customer import Customer, Wait
    from triggers.core.rulebook import Rulebook
    from triggers.core.rules import Cap, Recency, Rule, Sending, Shop


class Refusal(NamedTuple):
    """Why a gate does not let a message pass; ``until`` is when to try again, None where there is no again."""

    reason: Reason
    detail: str = ""
    until: int | None = None


if TYPE_CHECKING:
    Gate: TypeAlias = Callable[[Rulebook, Customer, Wait, int], Refusal | None]


def ending_gates(rule: Rule, shop: Shop) -> tuple[Gate, ...]:
    """List the gates that may end a wait of a rule, in order; those that could never refuse are left out (S25)."""
    gates: list[Gate] = []
    if rule.klass != "notice":
        gates.append(unsubscribed)
    if rule.audience is not None:
        gates.append(partial(audience, rule))
    if rule.recency is not None and rule.klass != "notice":
        gates.append(partial(recency, rule.recency))
    gates += [partial(coupon_usable, sending) for sending in _demanding(rule)]
    if rule.limits.per_customer is not None:
        gates.append(partial(per_customer, rule, rule.limits.per_customer, shop))
    return tuple(gates)


def _demanding(rule: Rule) -> list[Sending]:
    coupon = rule.sending.coupon
    demanding = rule.when is not None and coupon is not None and not coupon.allow_unusable
    return [rule.sending] if demanding and coupon is not None and Decimal(coupon.min_spend) > 0 else []


def unsubscribed(book: Rulebook, customer: Customer, wait: Wait, at: int) -> Refusal | None:
    """Refuse who wants no messages."""
    del book, wait, at
    return Refusal(Reason.UNSUBSCRIBED) if customer.facts.unsubscribed else None


def audience(rule: Rule, book: Rulebook, customer: Customer, wait: Wait, at: int) -> Refusal | None:
    """Refuse who is not in the rule's audience, and tell the nearest miss."""
    assert rule.audience is not None  # noqa: S101  an invariant
    moment = Moment(book, customer, wait.trigger, at)
    if rule.audience.holds(moment):
        return None
    if not book.narrates:
        return Refusal(Reason.NOT_IN_AUDIENCE)
    return Refusal(Reason.NOT_IN_AUDIENCE, "; ".join(miss for miss in rule.audience.misses(moment) if miss))


def recency(limit: Recency, book: Rulebook, customer: Customer, wait: Wait, at: int) -> Refusal | None:
    """Refuse who has been silent for too long."""
    del wait
    since = book.shop.zone.subtract(at, limit.within)
    last = -1
    for kind in limit.types:
        for event in reversed(customer.kept.get(kind, ())):
            if event.at <= at:
                last = max(last, event.at)
                break
    if last >= since:
        return None
    seen = f"last active {iso(last)}" if last >= 0 else "never active in the kept history"
    return Refusal(Reason.RECENCY, f"active within {limit.within.text} needed, {seen}")


def coupon_usable(sending: Sending, book: Rulebook, customer: Customer, wait: Wait, at: int) -> Refusal | None:
    """Refuse a coupon that the triggering order is too small for."""
    del book, customer, at
    amount = getattr(wait.trigger, "amount", None)
    coupon = sending.coupon
    assert coupon is not None  # noqa: S101  an invariant
    if amount is None or Decimal(coupon.min_spend) <= amount:
        return None
    return Refusal(Reason.COUPON_NOT_USABLE, f"order of at least {coupon.min_spend} needed, had {amount}")


def per_customer(
    rule: Rule, limit: tuple[int, object], shop: Shop, book: Rulebook, customer: Customer, wait: Wait, at: int
) -> Refusal | None:
    """Refuse who got this rule's message as often as it may come (S22): sends and withheld ones count.

    Those of a trial count only as long as it goes on: nobody has got them.
    """
    del limit, book, wait
    assert rule.limits.per_customer is not None  # noqa: S101  an invariant
    most, span = rule.limits.per_customer
    count = 0
    for sent in reversed(customer.sends):
        if span is not None and shop.zone.add(sent.at, span) <= at:
            break
        if sent.rule == rule.id and (sent.mode != "shadow" or rule.status == "shadow"):
            count += 1
            if count >= most:
                every = "once" if span is None else f"{most} / {span.text}"
                return Refusal(Reason.PER_CUSTOMER, f"{every} allowed, last at {iso(customer_last(customer, rule))}")
    return None


def customer_last(customer: Customer, rule: Rule) -> int:
    """Find when a rule last reached a customer; epoch ms."""
    return max(sent.at for sent in customer.sends if sent.rule == rule.id)


def holding(book: Rulebook, customer: Customer, rule: Rule, wait: Wait, at: int) -> Refusal | None:
    """Ask the gates that postpone: caps, then look-ahead. A notice passes both (S25)."""
    if rule.klass == "notice":
        return None
    if customer.sends:
        refusal = caps(book, customer, rule, at)
        if refusal is not None:
            return refusal
    if book.shop.look_ahead and len(customer.waits) > 1:
        return look_ahead(book, customer, rule, wait, at)
    return None


def caps(book: Rulebook, customer: Customer, rule: Rule, at: int) -> Refusal | None:
    """Hold back while a cap of the rule's class, or of all classes, is full; it frees D after the n-th last send (S20)."""
    latest: Refusal | None = None
    for klass in (rule.klass, "all"):
        for cap in book.shop.caps.get(klass, ()):
            free = _frees(book.shop, customer, cap, klass)
            if free > at and (latest is None or latest.until is None or free > latest.until):
                latest = Refusal(Reason.CAPPED, f"{cap[0]} / {cap[1].text} for {klass}", free)
    return latest


def _frees(shop: Shop, customer: Customer, cap: Cap, klass: str) -> int:
    most, span = cap
    if most <= 0:
        return NEVER
    for sent in reversed(customer.sends):
        if sent.mode == "sent" and (sent.klass == klass if klass != "all" else sent.klass != "notice"):
            most -= 1
            if not most:
                return shop.zone.add(sent.at, span)
    return -1


def look_ahead(book: Rulebook, customer: Customer, rule: Rule, wait: Wait, at: int) -> Refusal | None:
    """Yield to a higher-priority live wait that will open soon and would pass its own gates as of now (S21)."""
    horizon = at + book.shop.look_ahead
    first: Refusal | None = None
    for other in customer.waits.values():
        if other is wait or other.wake > horizon:
            continue
        rival = book.rules.get(other.rule)
        if rival is None or rival.priority <= rule.priority or rival.status != "live" or rival.klass == "notice":
            continue
        opens = opening(book, rival, sending_of(rival, other), max(other.wake, at))
        if not at < opens <= horizon or opens >= other.expiry or (first and first.until and first.until <= opens):
            continue
        passes = all(gate(book, customer, other, at) is None for gate in book.gates[rival.id])
        if passes and caps(book, customer, rival, at) is None:
            first = Refusal(Reason.YIELDED, rival.id, opens)
    return first


def opening(book: Rulebook, rule: Rule, sending: Sending, at: int) -> int:
    """Find the first instant at or after ``at`` inside the window, the periods and the validity of a rule (S17)."""
    while True:
        moved = sending.window.opening(book.shop.zone, in_period(rule, at))
        if moved == at or moved >= NEVER:
            return moved
        at = moved


def always_open(rule: Rule) -> bool:
    """Tell whether every instant is inside the window, the periods and the validity of a rule."""
    windows = (
        [rule.sending.window, *(wave.sending.window for wave in rule.waves.waves if wave.sending)]
        if rule.waves
        else [rule.sending.window]
    )
    bounded = rule.during or rule.not_during or rule.valid.start or rule.valid.end != NEVER
    return not bounded and all(window.always for window in windows)


def in_period(rule: Rule, at: int) -> int:
    """Find the first instant at or after ``at`` in the validity and the periods of a rule, not in its closed ones."""
    at = max(at, rule.valid.start)
    if rule.during and not any(period.start <= at < period.end for period in rule.during):
        at = min((period.start for period in rule.during if period.start > at), default=NEVER)
    for _ in rule.not_during:
        at = next((period.end for period in rule.not_during if period.start <= at < period.end), at)
    return NEVER if at >= rule.valid.end else at
