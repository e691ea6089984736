"""How waits begin, go on and are cancelled: the life of an identity as a function of the set of its events (S8 to S15)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triggers.core.customer import NO_WAITS, Wait
from triggers.core.decisions import Armed, Ended, LateCancel, Reason, Recall
from triggers.core.events import type_of
from triggers.core.history import qualified
from triggers.core.plans import EXPIRES
from triggers.core.room import MOST_OF_A_RULE, is_refused
from triggers.core.rules import in_season, sending_of
from triggers.core.times import NEVER

if TYPE_CHECKING:
    from triggers.core.customer import Customer
    from triggers.core.decisions import Decision
    from triggers.core.events import AnyEvent
    from triggers.core.plans import Armer, Canceller
    from triggers.core.rulebook import Rulebook
    from triggers.core.rules import Rule, Unless

LATER_LIMIT = 100
"""How many absorbed matches a wait remembers."""


def wait_key(rule: str, identity: str | None, extra: str | None = None) -> str:
    """Name a wait within its customer: rule, value of ``per``, and the event or slot where each has its own (S8)."""
    if extra is not None:
        return f"{rule}\0{identity or ''}\0{extra}"
    return rule if identity is None else f"{rule}\0{identity}"


def end(customer: Customer, key: str, wait: Wait, at: int, reason: Reason, detail: str, out: list[Decision]) -> None:
    """End a wait for a reason."""
    del customer.waits[key]
    out.append(Ended(customer.id, wait, at, reason, detail))


def earliest(customer: Customer) -> int:
    """Find the first instant that a wait wants to be looked at; NEVER if there is none."""
    first = NEVER
    for wait in customer.waits.values():
        if wait.wake < first:  # noqa: PLR1730  they are few: min() takes longer
            first = wait.wake
    return first


# Beginning


def arm(book: Rulebook, customer: Customer, armer: Armer, event: AnyEvent, now: int, out: list[Decision]) -> None:
    """Let a trigger begin a wait, if there is room, or be absorbed by the one that waits already (S9, S10)."""
    if not armer.plain and not _matches(book, customer, armer, event, now):
        return
    per = armer.per
    if per is None:
        identity, key = None, armer.id
    else:
        identity = getattr(event, per)
        key = f"{armer.prefix}{identity}"
    if armer.each:
        key = wait_key(armer.id, identity, qualified(event))
    waits = customer.waits
    if key in waits:
        _absorb(book, customer, armer, waits[key], key, event, now, out)
        return
    wait = begin(book, armer, identity, event, now)
    if book.narrates:
        out.append(Armed(customer.id, wait, now))
    if customer.kept and _is_dead(book, customer, armer, wait, event, now, out):
        return
    if waits is NO_WAITS:
        customer.waits = {key: wait}
    elif len(waits) < MOST_OF_A_RULE or not is_refused(customer, wait, now, out):
        waits[key] = wait
    else:
        return
    if wait.wake < customer.wake:  # noqa: PLR1730  min() takes longer
        customer.wake = wait.wake


def _matches(book: Rulebook, customer: Customer, armer: Armer, event: AnyEvent, now: int) -> bool:
    if armer.predicate is not None and not armer.predicate(event, customer.facts, book.shop, now):
        return False
    return not armer.seasonal or in_season(armer.rule, event.at)


def _is_dead(
    book: Rulebook, customer: Customer, armer: Armer, wait: Wait, event: AnyEvent, now: int, out: list[Decision]
) -> bool:
    """End a wait at its very beginning if what cancels it has arrived before."""
    if not _may_be_dead(customer, armer, wait.anchor):
        return False
    cancelling = killer(book, customer, armer.rule, wait, event, now)
    if cancelling is None:
        return False
    out.append(Ended(customer.id, wait, now, Reason.CANCELLED, type_of(cancelling)))
    return True


def begin(book: Rulebook, armer: Armer, identity: str | None, event: AnyEvent, now: int) -> Wait:
    """Make the wait that a trigger begins: anchor, due and expiry follow from it (S9, S15, S18)."""
    at, wait_ms, expires_ms = event.at, armer.wait_ms, armer.expires_ms
    due = at + wait_ms if wait_ms is not None else book.shop.zone.add(at, armer.rule.wait)
    expiry = due + expires_ms if expires_ms is not None else book.shop.zone.add(due, armer.expires)
    wake = due + book.settle
    return Wait(armer.id, identity, at, due, wake if wake > now else now, expiry, event, None, "", armer.when_key)  # noqa: FURB136  max() takes longer


def expiry_of(book: Rulebook, rule: Rule, wait: Wait) -> int:
    """Find the first instant that is too late for a wait (S18)."""
    expires = sending_of(rule, wait).expires
    if expires is None and wait.slot is not None:
        return book.shop.zone.midnight(wait.anchor, 1)
    return book.shop.zone.add(wait.due, expires or EXPIRES)


def _absorb(
    book: Rulebook,
    customer: Customer,
    armer: Armer,
    wait: Wait,
    key: str,
    event: AnyEvent,
    now: int,
    out: list[Decision],
) -> None:
    """Take a second match into a waiting wait (S10), so that the order of arrival does not matter."""
    trigger = wait.trigger
    if trigger is None or (event.id == trigger.id and event.source == trigger.source):
        return
    earlier = event.at < wait.anchor or (event.at == wait.anchor and event.id < trigger.id)
    if armer.restart and earlier:
        return
    if customer.kept and _may_be_dead(customer, armer, event.at):
        cancelling = killer(book, customer, armer.rule, wait, event, now)
        if cancelling is not None:
            if armer.restart:
                end(customer, key, wait, now, Reason.CANCELLED, type_of(cancelling), out)
            return
    if not armer.restart:
        wait.later = absorbed(wait, trigger if earlier else event)
    if armer.restart or earlier:
        _replace(customer, key, wait, begin(book, armer, wait.identity, event, now))


def absorbed(wait: Wait, *matches: AnyEvent) -> list[AnyEvent]:
    """List the matches that a wait has absorbed, with more of them, in order of time."""
    later = [*(wait.later or ()), *matches]
    later.sort(key=lambda match: (match.at, match.id))
    return later[-LATER_LIMIT:]


def _replace(customer: Customer, key: str, wait: Wait, fresh: Wait) -> None:
    """Let a wait count from another trigger."""
    fresh.later = wait.later
    customer.waits[key] = fresh
    if fresh.wake < customer.wake:
        customer.wake = fresh.wake
    elif wait.wake == customer.wake:
        customer.wake = earliest(customer)


# Cancelling


def cancel(
    book: Rulebook, customer: Customer, canceller: Canceller, event: AnyEvent, now: int, out: list[Decision]
) -> None:
    """Cancel the waits of a rule that an event is against (S12)."""
    waits = customer.waits
    if canceller.direct:
        per = canceller.per
        key = canceller.key if per is None else f"{canceller.prefix}{getattr(event, per, None)}"
        wait = waits.get(key)
        if wait is not None:
            _cancel_one(book, customer, canceller, key, wait, event, now, out)
        return
    for key, wait in list(waits.items()):
        if wait.rule == canceller.rule.id and (
            not canceller.same or getattr(event, canceller.per or "", None) == wait.identity
        ):
            _cancel_one(book, customer, canceller, key, wait, event, now, out)


def _cancel_one(
    book: Rulebook,
    customer: Customer,
    canceller: Canceller,
    key: str,
    wait: Wait,
    event: AnyEvent,
    now: int,
    out: list[Decision],
) -> None:
    unless = canceller.unless
    if event.at <= wait.anchor and (event.at < wait.anchor or _is_trigger(wait, event)):
        return
    if unless.where is not None and not unless.where.predicate(event, customer.facts, book.shop, now):
        return
    end(customer, key, wait, now, Reason.CANCELLED, type_of(event), out)
    if wait.wake == customer.wake:
        customer.wake = earliest(customer)
    if not wait.later:
        return
    later = [match for match in wait.later if not _kills(book, customer, unless, wait, match, event, now)]
    if later:
        fresh = begin(book, book.armers[wait.rule], wait.identity, later[0], now)
        fresh.later = later[1:] or None
        customer.put(key, fresh)
        if book.narrates:
            out.append(Armed(customer.id, fresh, now))


def _is_trigger(wait: Wait, event: AnyEvent) -> bool:
    """Tell whether an event is the very trigger of a wait."""
    trigger = wait.trigger
    return trigger is not None and event.id == trigger.id and event.source == trigger.source


def _kills(
    book: Rulebook,
    customer: Customer,
    unless: Unless,
    wait: Wait,
    match: AnyEvent | None,
    event: AnyEvent,
    now: int,
) -> bool:
    """Tell whether an event, of the right identity, is at or after a match, not itself, and its condition holds (S12)."""
    since = wait.anchor if match is None else match.at
    if event.at < since:
        return False
    if event.at == since and match is not None and event.id == match.id and event.source == match.source:
        return False
    return unless.where is None or unless.where.predicate(event, customer.facts, book.shop, now)


def _may_be_dead(customer: Customer, armer: Armer, since: int) -> bool:
    """Tell at little cost whether anything that could cancel was kept from an instant on."""
    for kind in armer.kill_types:
        kept = customer.kept.get(kind)
        if kept and kept[-1].at >= since:
            return True
    return False


def killer(
    book: Rulebook, customer: Customer, rule: Rule, wait: Wait, match: AnyEvent | None, now: int
) -> AnyEvent | None:
    """Find an event that arrived before and cancels a match (S12), in the history from the match on."""
    since = wait.anchor if match is None else match.at
    per = rule.when.per if rule.when else None
    for unless in rule.unless:
        for kind in unless.types:
            for event in reversed(customer.kept.get(kind, ())):
                if event.at < since:
                    break
                if per is not None and unless.match == "same" and getattr(event, per, None) != wait.identity:
                    continue
                if _kills(book, customer, unless, wait, match, event, now):
                    return event
    return None


def late_cancel(
    book: Rulebook, customer: Customer, canceller: Canceller, event: AnyEvent, now: int, out: list[Decision]
) -> None:
    """Count a cancel of a message that has already left (S14), or call it back if it may not have left yet (S13)."""
    where = canceller.unless.where
    if where is not None and not where.predicate(event, customer.facts, book.shop, now):
        return
    for sent in reversed(customer.sends):
        happened_after = sent.at < event.at
        if happened_after and not book.recalls:
            return
        if sent.rule != canceller.rule.id or event.at < sent.anchor or sent.mode != "sent":
            continue
        if sent.at >= now:  # the word of its own leaving
            continue
        if canceller.same and sent.identity != getattr(event, canceller.per or "", None):
            continue
        kind = Recall if happened_after else LateCancel
        out.append(kind(customer.id, sent.rule, now, type_of(event), event.id, sent.identity, sent.anchor))
