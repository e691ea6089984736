"""Slots and waves: who gets a wait when one opens, and what counts as an answer to a wave (S29)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triggers.core.chance import fraction
from triggers.core.customer import Wait
from triggers.core.decisions import Armed, Responded
from triggers.core.events import Message
from triggers.core.times import NEVER, iso
from triggers.core.waits import expiry_of, wait_key

if TYPE_CHECKING:
    from triggers.core.customer import Customer
    from triggers.core.decisions import Decision
    from triggers.core.events import AnyEvent
    from triggers.core.rulebook import Rulebook
    from triggers.core.rules import Rule, Wave, Waves


def open_slot(book: Rulebook, customer: Customer, slot: int, out: list[Decision]) -> None:
    """Open a wait for each rule, or wave, whose slot an instant is."""
    for rule, wave in book.slots_at(slot):
        if wave is not None and not _invited(customer, rule, wave):
            continue
        name = iso(slot) if wave is None else wave.id
        wait = Wait(rule.id, None, slot, slot + _spread(book, customer, rule, name), 0, 0, slot=name)
        wait.expiry = expiry_of(book, rule, wait)
        wait.wake = wait.due + book.settle
        customer.put(wait_key(rule.id, None, name), wait)
        if book.narrates:
            out.append(Armed(customer.id, wait, slot))
    customer.opened = slot


def open_passed(book: Rulebook, customer: Customer, until: int) -> list[Decision]:
    """Open the slots before ``until`` (epoch ms), for a customer whose open question keeps their timers waiting.

    An edit voids the question and counts all slots before it as opened (S31); so they have to be, by the rules before.
    """
    out: list[Decision] = []
    while (slot := book.next_slot(customer.opened)) < until:
        open_slot(book, customer, slot, out)
    return out


def _invited(customer: Customer, rule: Rule, wave: Wave) -> bool:
    """Tell whether a wave is for a customer: the first for all, another for those who answered the one before."""
    assert rule.waves is not None  # noqa: S101  an invariant: a wave has a chain
    place = rule.waves.waves.index(wave)
    return not place or answered(customer, rule.id, rule.waves.waves[place - 1].id, wave.slot)


def answered(customer: Customer, rule: str, wave: str, before: int) -> bool:
    """Tell whether a customer was sent a wave and answered it in time, before an instant."""
    return any(
        sent.rule == rule
        and sent.wave == wave
        and sent.mode == "sent"
        and sent.answered_at is not None
        and sent.answered_at < before
        for sent in customer.sends
    )


def _spread(book: Rulebook, customer: Customer, rule: Rule, slot: str) -> int:
    if not rule.spread or not book.pins.spread:
        return 0
    return int(rule.spread * fraction(f"spread|{rule.id}|{slot}|{customer.id}"))


def respond(book: Rulebook, customer: Customer, rule: Rule, waves: Waves, event: AnyEvent, out: list[Decision]) -> None:
    """Credit an event to the latest wave that it may be an answer to."""
    if isinstance(event, Message) and event.rule_id not in (None, rule.id):
        return
    for sent in reversed(customer.sends):
        if sent.rule != rule.id or sent.wave is None or sent.mode != "sent" or sent.at > event.at:
            continue
        if isinstance(event, Message) and event.wave not in (None, sent.wave):
            continue  # it names another wave
        if event.at <= book.shop.zone.add(sent.at, waves.within):
            known, before = sent.answered_at, _slot_after(waves, sent.wave)
            if event.at < before and (known is None or known >= before):
                out.append(Responded(customer.id, rule.id, sent.wave, event.at))
            sent.answered_at = event.at if known is None else min(event.at, known)
        return


def _slot_after(waves: Waves, wave: str) -> int:
    """Find the slot of the wave that an answer to a wave lets follow; later ones do not count (S29)."""
    place = next((i for i, each in enumerate(waves.waves) if each.id == wave), len(waves.waves))
    return waves.waves[place + 1].slot if place + 1 < len(waves.waves) else NEVER
