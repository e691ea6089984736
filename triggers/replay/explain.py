"""Says in words why a wait ended or is held back, and what would have been needed: for failing tests and for ``why``.

Times are wall times of the shop's zone, to the minute.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from triggers.core.conditions import Moment
from triggers.core.decisions import Ended, Postponed, Reason
from triggers.core.events import type_of
from triggers.core.times import NEVER, days_of, wall_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from triggers.core.customer import Customer, Sent, Wait
    from triggers.core.events import Event
    from triggers.core.rulebook import Rulebook
    from triggers.core.rules import Rule, Unless
    from triggers.core.times import Zone

    Outcome: TypeAlias = Ended | Postponed
    Teller: TypeAlias = Callable[[Rulebook, Customer, Rule, Outcome], str]

_INSTANT = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.\d{3}Z")
_SHOWN = 3
_OF_THE_MOMENT = (Reason.NOT_IN_AUDIENCE, Reason.PAUSED)
"""Reasons that hang on facts, or on a status, which later ones replace."""


def explain(book: Rulebook, customer: Customer, outcome: Outcome, *, later: bool = False) -> str:
    """Say why, with the nearest miss: "not in audience: 2 favorite.added within 7d needed, had 1".

    ``customer`` is in the state at the moment of the decision, or in a ``later`` one: then what may have changed since
    is taken from the decision's own detail, as is what the rules no longer know.
    """
    if outcome.reason is Reason.WINDOW:
        return "window closed"
    rule = book.rules.get(outcome.wait.rule)
    teller = None if later and outcome.reason in _OF_THE_MOMENT else _TELLERS.get(outcome.reason)
    told = teller(book, customer, rule, outcome) if rule is not None and teller is not None else ""
    detail = told or local(outcome.detail, book.shop.zone)
    words = outcome.words if isinstance(outcome, Ended) else str(outcome.reason)
    if not detail or detail == local(words, book.shop.zone) or words.endswith(f" by {detail}"):
        return words
    return f"{words}: {detail}"


def local(detail: str, zone: Zone) -> str:
    """Rewrite the instants in a detail from RFC 3339 in UTC to the shop's wall clock."""

    def wall(found: re.Match[str]) -> str:
        year, month, day, hour, minute, second = (int(part) for part in found.groups())
        return wall_text(zone, (((days_of(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000)

    return _INSTANT.sub(wall, detail)


def _cancelled(book: Rulebook, customer: Customer, rule: Rule, outcome: Outcome) -> str:
    found = next(iter(sorted(_cancels(book, customer, rule, outcome), key=_at)), None)
    return f"{found.id} at {wall_text(book.shop.zone, _at(found))}" if found is not None else ""


def _cancels(book: Rulebook, customer: Customer, rule: Rule, outcome: Outcome) -> Iterator[Event]:
    """Go through the kept events that cancel a wait by S12."""
    for unless in rule.unless:
        for kind in unless.types:
            if isinstance(outcome, Ended) and outcome.words != f"{Reason.CANCELLED} by {kind}":
                continue
            for event in customer.kept.get(kind, ()):
                arrived = not isinstance(event.received_at, int) or event.received_at <= outcome.at
                if arrived and _at(event) >= outcome.wait.anchor and _same(rule, unless, outcome.wait, event):
                    where = unless.where
                    if where is None or where.predicate(event, customer.facts, book.shop, outcome.at):
                        yield event


def _same(rule: Rule, unless: Unless, wait: Wait, event: Event) -> bool:
    per = rule.when.per if rule.when else None
    if wait.trigger is not None and event.id == wait.trigger.id and event.source == wait.trigger.source:
        return False
    return unless.match == "customer" or per is None or str(getattr(event, per, None)) == str(wait.identity)


def _expired(book: Rulebook, customer: Customer, rule: Rule, outcome: Outcome) -> str:
    del customer
    wait, zone = outcome.wait, book.shop.zone
    text = f"due {wall_text(zone, wait.due)}, had to leave before {wall_text(zone, wait.expiry)}"
    opens = rule.sending.window.opening(zone, wait.due)
    if opens >= NEVER:
        return f"{text}, but its window never opens"
    if opens >= wait.expiry:
        return f"{text}, but its window opens {wall_text(zone, opens)}"
    held = f", held back: {wait.held}" if wait.held else ""
    return f"{text}{held}"


def _audience(book: Rulebook, customer: Customer, rule: Rule, outcome: Outcome) -> str:
    if rule.audience is None:
        return ""
    moment = Moment(book, customer, outcome.wait.trigger, outcome.at)
    return "; ".join(miss for miss in rule.audience.misses(moment) if miss)


def _recency(book: Rulebook, customer: Customer, rule: Rule, outcome: Outcome) -> str:
    limit = rule.recency or book.shop.recency.get(rule.klass)
    if limit is None:
        return ""
    events = [event for kind in limit.types for event in customer.kept.get(kind, ()) if _at(event) <= outcome.at]
    latest = max(events, key=_at, default=None)
    needed = f"{' or '.join(limit.types)} within {limit.within.text} needed"
    if latest is None:
        return f"{needed}, had none"
    return f"{needed}, last was {type_of(latest)} {latest.id} at {wall_text(book.shop.zone, _at(latest))}"


def _coupon(book: Rulebook, customer: Customer, rule: Rule, outcome: Outcome) -> str:
    del book, customer
    amount, coupon = getattr(outcome.wait.trigger, "amount", None), rule.sending.coupon
    if coupon is None or amount is None:
        return ""
    order = getattr(outcome.wait.trigger, "order_id", "")
    return f"coupon {coupon.batch} needs an order of at least {coupon.min_spend} yuan, {order} had {amount}"


def _per_customer(book: Rulebook, customer: Customer, rule: Rule, outcome: Outcome) -> str:
    limit = rule.limits.per_customer
    own = [sent for sent in customer.sends if sent.rule == rule.id and sent.at <= outcome.at]
    if limit is None or not own:
        return ""
    most, span = limit
    had = ", ".join(_sent_words(book.shop.zone, sent) for sent in own[-most:][-_SHOWN:])
    if span is None:
        return f"{'once' if most == 1 else f'{most} for ever'} allowed, had {had}"
    frees = book.shop.zone.add(own[-most:][0].at, span)
    return f"{most} / {span.text} allowed, had {had}; free again {wall_text(book.shop.zone, frees)}"


def _capped(book: Rulebook, customer: Customer, rule: Rule, outcome: Outcome) -> str:
    """Name each full cap with the sends that fill it and when it frees (S20)."""
    zone, full = book.shop.zone, []
    for klass in (rule.klass, "all"):
        for most, span in book.shop.caps.get(klass, ()):
            counted = [s for s in customer.sends if s.mode == "sent" and _counts(s, klass) and s.at <= outcome.at]
            filling = counted[-most:] if most > 0 else []
            if most <= 0:
                full.append(f"{klass} allows none")
            elif len(filling) == most and zone.add(filling[0].at, span) > outcome.at:
                had = ", ".join(_sent_words(zone, sent) for sent in filling[-_SHOWN:])
                frees = wall_text(zone, zone.add(filling[0].at, span))
                full.append(f"{most} / {span.text} for {klass} is filled by {had}; frees {frees}")
    return " and ".join(full)


def _counts(sent: Sent, klass: str) -> bool:
    return sent.klass == klass or (klass == "all" and sent.klass != "notice")


def _sent_words(zone: Zone, sent: Sent) -> str:
    mode = "" if sent.mode == "sent" else f" ({sent.mode})"
    return f"{sent.rule} at {wall_text(zone, sent.at)}{mode}"


def _yielded(book: Rulebook, customer: Customer, rule: Rule, outcome: Outcome) -> str:
    del customer
    rival = book.rules.get(outcome.detail)
    if rival is None:
        return ""
    opens = f", which opens {wall_text(book.shop.zone, outcome.until)}" if isinstance(outcome, Postponed) else ""
    return f"to {rival.id} (priority {rival.priority} over {rule.priority}){opens}"


def _paused(book: Rulebook, customer: Customer, rule: Rule, outcome: Outcome) -> str:
    del book, customer, outcome
    return f"the rule is {rule.status}"


def _outside(book: Rulebook, customer: Customer, rule: Rule, outcome: Outcome) -> str:
    del customer, outcome
    zone = book.shop.zone
    parts = [f"only during {p.name} ({_span(zone, p.start, p.end)})" for p in rule.during]
    parts += [f"not during {p.name} ({_span(zone, p.start, p.end)})" for p in rule.not_during]
    if rule.valid.start > 0 or rule.valid.end < NEVER:
        parts.append(f"valid {_span(zone, rule.valid.start, rule.valid.end)}")
    return ", ".join(parts)


def _span(zone: Zone, start: int, end: int) -> str:
    since = wall_text(zone, start) if start > 0 else "ever"
    return f"{since} to {wall_text(zone, end) if end < NEVER else 'ever'}"


def _at(event: Event) -> int:
    assert isinstance(event.at, int)  # noqa: S101  an integer after intake
    return event.at


_TELLERS: dict[Reason, Teller] = {
    Reason.CANCELLED: _cancelled,
    Reason.EXPIRED: _expired,
    Reason.OUTSIDE_PERIOD: _outside,
    Reason.NOT_IN_AUDIENCE: _audience,
    Reason.RECENCY: _recency,
    Reason.COUPON_NOT_USABLE: _coupon,
    Reason.PER_CUSTOMER: _per_customer,
    Reason.CAPPED: _capped,
    Reason.PAUSED: _paused,
    Reason.YIELDED: _yielded,
}
