"""What becomes of a customer's waits when the rules are edited (S30 to S36, S39)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triggers.core.decisions import Reason
from triggers.core.events import type_of
from triggers.core.tries import SET_ASIDE
from triggers.core.waits import end, expiry_of, killer

if TYPE_CHECKING:
    from triggers.core.customer import Customer, Wait
    from triggers.core.decisions import Decision
    from triggers.core.rulebook import Rulebook
    from triggers.core.rules import Rule


def move_over(book: Rulebook, customer: Customer, now: int, out: list[Decision]) -> None:
    """Let every wait of a customer go on, move or end under an edited set of rules."""
    for name, wait in list(customer.waits.items()):
        key = name
        if wait.rule in book.renamed and wait.rule not in book.rules:
            key = _rename(book, customer, key, wait)
        _move_wait(book, customer, key, wait, now, out)
    for sent in customer.sends:
        if sent.rule in book.renamed and sent.rule not in book.rules:
            sent.rule = book.renamed[sent.rule]


def _rename(book: Rulebook, customer: Customer, key: str, wait: Wait) -> str:
    """Let a wait go on under the rule's new name (S39)."""
    fresh = book.renamed[wait.rule] + key[len(wait.rule) :]
    del customer.waits[key]
    wait.rule = book.renamed[wait.rule]
    customer.put(fresh, wait)
    return fresh


def _move_wait(book: Rulebook, customer: Customer, key: str, wait: Wait, now: int, out: list[Decision]) -> None:
    rule = book.rules.get(wait.rule)
    if rule is None:
        removed_at = book.removed.get(wait.rule)
        wait.wake = now if removed_at is None else max(now, removed_at + SET_ASIDE)
        return
    if wait.slot is None and not _still_matches(book, customer, rule, wait, now):
        end(customer, key, wait, now, Reason.RULE_CHANGED, "", out)
        return
    cancelling = killer(book, customer, rule, wait, wait.trigger, now)
    if cancelling is not None:
        end(customer, key, wait, now, Reason.CANCELLED, type_of(cancelling), out)
        return
    if wait.slot is None:
        wait.due = book.shop.zone.add(wait.anchor, rule.wait)
    wait.expiry = expiry_of(book, rule, wait)
    wait.wake = max(wait.due + book.settle, now)


def _still_matches(book: Rulebook, customer: Customer, rule: Rule, wait: Wait, now: int) -> bool:
    """Match a waiting trigger against an edited ``when`` (S35)."""
    if wait.when_key == rule.when_key:
        return True
    when, trigger = rule.when, wait.trigger
    if when is None or trigger is None or type_of(trigger) != when.event:
        return False
    if when.where is not None and not when.where.predicate(trigger, customer.facts, book.shop, now):
        return False
    wait.when_key = rule.when_key
    return wait.identity == (None if when.per is None else getattr(trigger, when.per))
