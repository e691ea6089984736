"""What becomes of a customer's waits when the rules are edited (S30 to S36, S38, S39)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triggers.core.chance import fraction
from triggers.core.decisions import Armed, Reason
from triggers.core.events import type_of
from triggers.core.history import qualified
from triggers.core.times import HOUR, iso
from triggers.core.tries import SET_ASIDE
from triggers.core.waits import absorbed, begin, end, expiry_of, killer, wait_key

if TYPE_CHECKING:
    from triggers.core.customer import Customer, Wait
    from triggers.core.decisions import Decision
    from triggers.core.events import AnyEvent
    from triggers.core.rulebook import Rulebook
    from triggers.core.rules import Rule


SEND, SPREAD, DROP = "send", "spread", "drop"
"""What may become of the waits that an edit makes due at once (S38)."""
SPREAD_OVER = HOUR


def move_over(book: Rulebook, customer: Customer, now: int, out: list[Decision]) -> None:
    """Let every wait of a customer go on, move or end under an edited set of rules.

    A question that is open is void: its wait tries again under the rules of now, and its answer finds nobody. Slots
    before the edit are over: those of the rules until then were opened, others are of the past (S31).
    """
    customer.asking = None
    customer.opened = max(customer.opened, now - 1)
    for key, wait in list(customer.waits.items()):
        if customer.waits.get(key) is not wait:
            continue  # it has become one with another
        wait.rule = book.name_of(wait.rule)
        rule = book.rules.get(wait.rule)
        if rule is None:
            removed_at = book.removed.get(wait.rule)
            wait.wake = now if removed_at is None else max(now, removed_at + SET_ASIDE)
        elif wait.slot is None:
            _move_wait(book, customer, rule, key, wait, now, out)
        else:
            _move_slot(book, customer, rule, key, wait, now, out)
    if book.overdue:
        _relieve(book, customer, now, out)
    for sent in customer.sends:
        sent.rule = book.name_of(sent.rule)


def _relieve(book: Rulebook, customer: Customer, now: int, out: list[Decision]) -> None:
    """Spread or end the waits that are due, where somebody said so (S38)."""
    for key, wait in list(customer.waits.items()):
        how = book.overdue.get(wait.rule)
        if how is None or wait.due > now or wait.rule not in book.rules:
            continue
        if how == DROP:
            end(customer, key, wait, now, Reason.RULE_CHANGED, "overdue", out)
        elif how == SPREAD:
            latest = min(now + SPREAD_OVER, max(now, wait.expiry - 1))
            wait.wake = now + int((latest - now) * fraction(f"overdue|{wait.rule}|{customer.id}"))


def _move_slot(
    book: Rulebook, customer: Customer, rule: Rule, key: str, wait: Wait, now: int, out: list[Decision]
) -> None:
    """Let a slot's wait go on if the rule still has such slots."""
    if rule.waves is not None:
        known = any(wave.id == wait.slot for wave in rule.waves.waves)
    else:
        known = rule.schedule is not None and wait.slot == iso(wait.anchor)
    if not known:
        end(customer, key, wait, now, Reason.RULE_CHANGED, "", out)
        return
    wait.expiry = expiry_of(book, rule, wait)
    wait.wake = max(wait.due + book.settle, now)
    del customer.waits[key]
    customer.put(wait_key(rule.id, None, wait.slot), wait)


def _move_wait(
    book: Rulebook, customer: Customer, rule: Rule, key: str, wait: Wait, now: int, out: list[Decision]
) -> None:
    """Let a wait go on from its trigger, or else from the first match it absorbed that the edited rule lets live."""
    fault = _fault(book, customer, rule, wait, wait.trigger, now)
    later = [match for match in wait.later or () if not _fault(book, customer, rule, wait, match, now)]
    wait.when_key = rule.when_key
    if fault is not None:
        end(customer, key, wait, now, *fault, out)
        if not later:
            return
        wait = begin(book, book.armers[rule.id], wait.identity, later.pop(0), now)
        if book.narrates:
            out.append(Armed(customer.id, wait, now))
    else:
        del customer.waits[key]
        wait.due = book.shop.zone.add(wait.anchor, rule.wait)
        wait.expiry = expiry_of(book, rule, wait)
        wait.wake = max(wait.due + book.settle, now)
    wait.later = later or None
    _settle(customer, rule, wait, now, out)


def _fault(
    book: Rulebook, customer: Customer, rule: Rule, wait: Wait, match: AnyEvent | None, now: int
) -> tuple[Reason, str] | None:
    """Tell why an edited rule does not let a match wait on: it matches no more (S35), or is cancelled (S33)."""
    if match is None or (wait.when_key != rule.when_key and not _still_matches(book, customer, rule, wait, match, now)):
        return Reason.RULE_CHANGED, ""
    cancelling = killer(book, customer, rule, wait, match, now)
    return None if cancelling is None else (Reason.CANCELLED, type_of(cancelling))


def _still_matches(book: Rulebook, customer: Customer, rule: Rule, wait: Wait, match: AnyEvent, now: int) -> bool:
    when = rule.when
    if when is None or type_of(match) != when.event:
        return False
    if when.where is not None and not when.where.predicate(match, customer.facts, book.shop, now):
        return False
    return wait.identity == (None if when.per is None else getattr(match, when.per))


def _settle(customer: Customer, rule: Rule, wait: Wait, now: int, out: list[Decision]) -> None:
    """Put a wait where the edited rule looks for it; of two that have become one identity's, S10 names who stays."""
    assert rule.when is not None and wait.trigger is not None  # noqa: S101, PT018  an invariant: it matches
    each, per = rule.when.again == "each", rule.when.per
    if each:
        key = wait_key(rule.id, wait.identity, qualified(wait.trigger))
    else:
        key = rule.id if per is None else f"{rule.id}\0{wait.identity}"
    other = customer.waits.get(key)
    if other is not None and other.trigger is not None:
        first, last = sorted((wait, other), key=lambda one: (one.anchor, one.trigger.id if one.trigger else ""))
        wait, gone = (last, first) if rule.when.again == "restart" else (first, last)
        customer.waits[key] = gone
        end(customer, key, gone, now, Reason.RULE_CHANGED, "", out)
        if rule.when.again == "ignore" and gone.trigger is not None:
            wait.later = absorbed(wait, gone.trigger, *(gone.later or ()))
    customer.put(key, wait)
