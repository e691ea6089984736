"""What a wait does when its instant has come: end, be held back, ask, or leave as a command (S17 to S28)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from triggers.core import gates
from triggers.core.chance import fraction
from triggers.core.customer import Sent
from triggers.core.decisions import Ask, Postponed, Reason, Released, Send
from triggers.core.gates import Refusal
from triggers.core.history import qualified
from triggers.core.rules import sending_of
from triggers.core.sending import compose
from triggers.core.times import DAY, NEVER, iso
from triggers.core.waits import end

if TYPE_CHECKING:
    from triggers.core.customer import Customer, Wait
    from triggers.core.decisions import Decision
    from triggers.core.rulebook import Rulebook
    from triggers.core.rules import Rule

SET_ASIDE = DAY
"""How long the waits of a removed rule are kept for its return (S36), in ms."""

COMMAND_BARS = 4
"""The separators in what a command's id is made of; any other inside a part is escaped."""


def command_id(customer: Customer, wait: Wait) -> str:
    """Name the command of a wait: a function of its cause alone (S28)."""
    cause = iso(wait.anchor) if wait.trigger is None else qualified(wait.trigger)
    joined = f"{wait.rule}|{customer.id}|{wait.identity or ''}|{cause}|{wait.slot or ''}"
    if "\\" in joined or joined.count("|") != COMMAND_BARS:
        parts = (wait.rule, customer.id, wait.identity or "", cause, wait.slot or "")
        joined = "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in parts)
    return hashlib.sha256(joined.encode(), usedforsecurity=False).hexdigest()  # a name, no secret: half the time


def attempt(book: Rulebook, customer: Customer, key: str, wait: Wait, at: int, out: list[Decision]) -> None:
    """Let a wait try to leave at an instant."""
    rule = book.rules.get(wait.rule)
    if rule is None:
        _set_aside(book, customer, key, wait, at, out)
        return
    if at >= wait.expiry:
        end(customer, key, wait, at, _expired(wait), "", out)
        return
    if rule.id not in book.open:
        refusal = _closed(book, rule, wait, at)
        if refusal is not None:
            hold(book, customer, wait, at, refusal, out)
            return
    for gate in book.gates[rule.id]:
        refusal = gate(book, customer, wait, at)
        if refusal is not None:
            end(customer, key, wait, at, refusal.reason, refusal.detail, out)
            return
    if rule.id in book.sharing:
        _ask(book, customer, key, wait, rule, at, out)
    else:
        leave(book, customer, key, wait, at, out, reserved=False)


def _closed(book: Rulebook, rule: Rule, wait: Wait, at: int) -> Refusal | None:
    """Tell whether a rule is paused, or an instant outside its window or periods (S17, S30)."""
    if not rule.arms:
        return Refusal(Reason.PAUSED, "", NEVER)
    opens = gates.opening(book, rule, sending_of(rule, wait), at)
    if opens == at:
        return None
    shut = opens >= NEVER or gates.in_period(rule, at) != at
    return Refusal(Reason.OUTSIDE_PERIOD if shut else Reason.WINDOW, "", opens)


def _set_aside(book: Rulebook, customer: Customer, key: str, wait: Wait, at: int, out: list[Decision]) -> None:
    """Keep a wait whose rule's file vanished for its return, then end it (S36)."""
    until = book.removed.get(wait.rule, at - SET_ASIDE) + SET_ASIDE
    if at >= until:
        end(customer, key, wait, at, Reason.RULE_REMOVED, "", out)
    else:
        wait.wake = until


def _expired(wait: Wait) -> Reason:
    """Name what a wait died of: whatever held it back last, unless that was only the hour or a pause (S18, S20)."""
    held = Reason(wait.held) if wait.held else Reason.EXPIRED
    return Reason.EXPIRED if held in (Reason.WINDOW, Reason.PAUSED) else held


def hold(book: Rulebook, customer: Customer, wait: Wait, at: int, refusal: Refusal, out: list[Decision]) -> None:
    """Postpone a wait; one that would open too late is looked at again when it expires."""
    assert refusal.until is not None  # noqa: S101  an invariant: what holds back says until when
    wait.held = refusal.reason.value
    wait.wake = min(refusal.until, wait.expiry)
    if book.narrates:
        out.append(Postponed(customer.id, wait, at, refusal.reason, wait.wake, refusal.detail))


def _ask(book: Rulebook, customer: Customer, key: str, wait: Wait, rule: Rule, at: int, out: list[Decision]) -> None:
    """Ask the rule's owner, telling whether the message would leave if it may."""
    held = gates.holding(book, customer, rule, wait, at)
    reserve = held is None and rule.status == "live" and not _withheld(book, customer, rule)
    message = compose(book, customer, rule, wait, at)
    wave = wait.slot if rule.waves else None
    command = command_id(customer, wait)
    again = NEVER
    if held is not None and held.until is not None:
        again = min(held.until, wait.expiry)
    elif message.refused:
        again = at  # a grant would be given back
    customer.asking = key
    out.append(
        Ask(customer.id, wait, rule.id, command, at, rule.priority, wait.due, message.cost, reserve, wave, again)
    )


def leave(
    book: Rulebook, customer: Customer, key: str, wait: Wait, at: int, out: list[Decision], *, reserved: bool
) -> None:
    """Pass the gates that hold back, then holdout, variant, command."""
    rule = book.rules[wait.rule]
    refusal = gates.holding(book, customer, rule, wait, at)
    message = compose(book, customer, rule, wait, at)
    if refusal is None and not message.refused:
        withheld, shadow = _withheld(book, customer, rule), rule.status == "shadow"
        if rule.id in book.sharing and not (reserved or withheld or shadow):
            _ask(book, customer, key, wait, rule, at, out)  # what held it back is gone since, and nothing is counted
            return
        reason = Reason.WITHHELD if withheld else Reason.WOULD_SEND if shadow else Reason.SENT
        send = Send(
            command_id(customer, wait),
            rule.id,
            customer.id,
            wait.identity,
            wait.anchor,
            wait.due,
            at,
            withheld,
            shadow,
            message.variant,
            wait.slot if rule.waves else None,
            message.coupon,
            message.text,
            message.segments,
            message.cost,
            book.revision,
            rule.klass,
            wait.expiry,
            message.params,
        )
        out.append(send)
        end(customer, key, wait, at, reason, "", out)
        _record(book, customer, send)
        return
    if reserved:
        out.append(Released(rule.id, command_id(customer, wait), at))
    if refusal is not None:
        hold(book, customer, wait, at, refusal, out)
    else:
        end(customer, key, wait, at, Reason.TEXT_TOO_LONG, f"{message.segments} parts", out)


def _record(book: Rulebook, customer: Customer, send: Send) -> None:
    """Remember a send for caps and limits, as long as anything may ask for it."""
    mode = "withheld" if send.withheld else "shadow" if send.shadow else "sent"
    sent = Sent(send.rule, send.klass, send.at, send.anchor, send.identity, mode, send.wave)
    oldest = send.at - book.sends_kept_ms
    if not customer.sends:
        customer.sends = [sent]
    elif customer.sends[0].at >= oldest:
        customer.sends.append(sent)
    else:
        customer.sends = [*(past for past in customer.sends if past.at >= oldest), sent]


def _withheld(book: Rulebook, customer: Customer, rule: Rule) -> bool:
    """Tell whether a customer is in the rule's or the shop's holdout (S26)."""
    if book.pins.holdout is not None:
        return book.pins.holdout
    share, shop_share = rule.sending.holdout, book.shop.holdout if rule.klass != "notice" else 0.0
    return (share > 0 and fraction(f"holdout|{rule.id}|{customer.id}") < share) or (
        shop_share > 0 and fraction(f"holdout-shop|{customer.id}") < shop_share
    )
