"""Advance one customer through time and events, and decide: the one door of the core.

Theory of operation
===================

The engine owns *when*, its driver owns *waking*. A driver loads a customer, calls ``step``, and commits the customer, the
decisions and the log position together. Nothing here looks at a clock: ``now`` is the received_at of a record, or an
instant that the driver knows the log to be read up to.

``step(rulebook, customer, event, now)`` first lets every timer before ``now`` act, each at the instant it was due, then
handles the event; so an event that arrives at an instant counts for the timers of that instant (S24). ``advance`` is the
first half alone. Both are idempotent in time: stepping in one stride or in a thousand decides the same, because every
timer acts at its own instant whoever looks and whenever.

**A wait** (S8) is born when a trigger matches (S9), from its anchor, the trigger's occurred_at. A cancelling event at or
after the anchor kills it, whichever of the two arrives first: arriving later it finds the wait, arriving earlier it is
found in the kept history. So the life of an identity is a function of the *set* of its events (S40): of all matches, those
survive that no cancel at or after them kills; the wait's anchor is the earliest survivor (``again: ignore``) or the latest
(``restart``). For ``ignore`` the later survivors are remembered beside the wait (``Wait.later``), since a cancel of the
first may leave them waiting. For ``restart`` none are needed: what kills the latest kills all. Only where one customer
has hundreds of waits is there no room for another, and who came first stays (``core/room.py``).

**A try** happens when ``Wait.wake`` comes: too late ends it (S18), a closed window postpones it (S17), then the gates of
``core/gates.py`` end or postpone it (S19 to S21), then it leaves as a ``Send``. Whatever holds a wait back is remembered
in ``Wait.held`` and becomes its reason if it expires so. Tries of one instant go by S23.

**What customers share** (``per_day``, ``total``, ``budget``, a wave's sizes) is not in the customer. There the step stops
with an ``Ask``; the driver carries it to the rule's owner and comes back through ``answer`` with a ``Verdict``. While a
question is open the customer's later timers wait (``Customer.asking``), so tries keep their order. Events are still
handled, and may end the wait that asked; its grant is then ``Released``. A driver that answers the questions of one
instant in S23 order is deterministic, and one owner a rule is enough for many workers.

**Slots and waves** (S29) open one wait a customer when a step passes the slot's instant; ``Customer.opened`` remembers how
far that went, so a slot is opened once, late if need be. A driver steps every customer at each ``Rulebook.next_slot``.

**An edit** makes a new rulebook; ``reconcile`` moves a customer's waits over to it (S30 to S36).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from triggers.core.decisions import Ask, Decision, Ended, Released, Send, Verdict
from triggers.core.edits import move_over
from triggers.core.events import AnyEvent, MessageSent
from triggers.core.facts import copied
from triggers.core.gates import Refusal
from triggers.core.history import catch_up, keep, learn
from triggers.core.slots import open_slot, respond
from triggers.core.tries import attempt, command_id, hold, leave
from triggers.core.waits import arm, cancel, earliest, end, late_cancel

if TYPE_CHECKING:
    from triggers.core.customer import Customer, Facts, Wait
    from triggers.core.plans import Plan
    from triggers.core.rulebook import Rulebook


def step(book: Rulebook, customer: Customer, event: AnyEvent | None, now: int) -> list[Decision]:
    """Advance a customer to ``now`` (epoch ms), then handle an event received at that instant.

    The event's ``at`` is an integer, at most 5 min after its received_at (``core/intake.py`` sees to both).
    """
    out = advance(book, customer, now)
    if event is not None:
        handle(book, customer, event, now, out)
    return out


def advance(book: Rulebook, customer: Customer, until: int) -> list[Decision]:
    """Let the timers of all instants before ``until`` (epoch ms) act; stops early where a question is asked."""
    out: list[Decision] = []
    if customer.opened < 0:
        customer.opened = until - 1
    while customer.asking is None:
        at = customer.wake
        if book.has_slots:
            slot = book.next_slot(customer.opened)
            if slot <= at and slot < until:
                open_slot(book, customer, slot, out)
                continue
        if at >= until:
            break
        if customer.ahead:
            catch_up(customer, at)
        _try_all(book, customer, at, out)
    return out


def answer(book: Rulebook, customer: Customer, ask: Ask, verdict: Verdict) -> list[Decision]:
    """Go on with a try whose question was answered; then ``advance`` goes on with the customer's other timers."""
    out: list[Decision] = []
    key, customer.asking = customer.asking, None
    wait = customer.waits.get(key) if key is not None else None
    if key is None or wait is None or command_id(customer, wait) != ask.command:
        if verdict.reason is None and ask.reserve:
            out.append(Released(ask.rule, ask.command, ask.at))
    elif verdict.reason is None:
        leave(book, customer, key, wait, ask.at, out, reserved=ask.reserve)
    elif verdict.until is None:
        end(customer, key, wait, ask.at, verdict.reason, "", out)
    else:
        hold(book, customer, wait, ask.at, Refusal(verdict.reason, "", verdict.until), out)
    customer.wake = earliest(customer)
    if book.chains:
        _chain(book, customer, out)
    return out


def handle(book: Rulebook, customer: Customer, event: AnyEvent, now: int, out: list[Decision]) -> None:
    """Let one event teach, cancel, answer and arm, at ``now``; every timer before ``now`` has acted."""
    plan = book.plans[event.__class__]
    if plan.keep_ms and not keep(plan, customer, event, now):
        return
    facts = None
    if plan.learner is not None or customer.ahead:
        if event.at > now:
            facts = _see_ahead(plan, customer, event)
        else:
            learn(plan, customer, event, now)
    if plan.cancellers and (customer.waits or customer.sends):
        _cancel_all(book, customer, plan, event, now, out)
    for rule, waves in plan.responders:
        respond(book, customer, rule, waves, event, out)
    for armer in plan.armers:
        arm(book, customer, armer, event, now, out)
    if facts is not None:
        customer.facts = facts


def _cancel_all(book: Rulebook, customer: Customer, plan: Plan, event: AnyEvent, now: int, out: list[Decision]) -> None:
    """Cancel what waits; what has left already is only counted."""
    if customer.waits:
        for canceller in plan.cancellers:
            cancel(book, customer, canceller, event, now, out)
    sends = customer.sends
    if sends and (book.recalls or event.at <= sends[-1].at):
        for canceller in plan.cancellers:
            late_cancel(book, customer, canceller, event, now, out)


def remember(book: Rulebook, customer: Customer, event: AnyEvent, now: int) -> None:
    """Learn an event of the past: it counts as fact and history and never arms."""
    if customer.opened < 0:
        customer.opened = now - 1
    plan = book.plans[event.__class__]
    if not plan.keep_ms or keep(plan, customer, event, now):
        learn(plan, customer, event, now)


def reconcile(book: Rulebook, customer: Customer, now: int) -> list[Decision]:
    """Move a customer's waits over to an edited set of rules at ``now`` (S30 to S36)."""
    out: list[Decision] = []
    move_over(book, customer, now, out)
    customer.wake = earliest(customer)
    return out


def _see_ahead(plan: Plan, customer: Customer, event: AnyEvent) -> Facts:
    """Let the conditions on an event stamped ahead of its arrival see its facts, those of others not yet (S7).

    Gives the facts to put back when the event is handled.
    """
    facts = customer.facts
    if plan.learner is not None:
        customer.facts = copied(facts)
        plan.learner(customer.facts, event)
        customer.ahead = (*customer.ahead, event)
    return facts


def _try_all(book: Rulebook, customer: Customer, at: int, out: list[Decision]) -> None:
    """Try every wait whose instant has come, in the order of S23."""
    waits = customer.waits
    ripe = []
    for key, waiting in waits.items():  # a comprehension would be a call
        if waiting.wake <= at:
            ripe.append(key)
    if len(ripe) > 1:
        _sort_by_turn(book, waits, ripe)
    for key in ripe:
        wait = waits.get(key)
        if wait is not None and wait.wake <= at:
            before = len(out)
            attempt(book, customer, key, wait, at, out)
            if customer.asking is not None:
                return
            if book.chains:
                _chain(book, customer, out, before)
    customer.wake = earliest(customer)


def _sort_by_turn(book: Rulebook, waits: dict[str, Wait], keys: list[str]) -> None:
    def turn(key: str) -> tuple[int, int, str, str, str]:
        wait = waits[key]
        rule = book.rules.get(wait.rule)
        return (-rule.priority if rule else 0, wait.due, wait.rule, wait.identity or "", wait.slot or "")

    keys.sort(key=turn)


def _chain(book: Rulebook, customer: Customer, out: list[Decision], since: int = 0) -> None:
    """Tell the customer's rules of messages that left; the dispatcher's own report has the same id (S2).

    Rules that answer each other at once would go on for ever: a rule's second message of an instant, if it is itself an
    answer to a message of that instant, is kept but begins nothing.
    """
    for send, ended in pairwise(out[since:]):
        if isinstance(send, Send) and isinstance(ended, Ended) and not send.withheld and not send.shadow:
            event = MessageSent(
                id=send.id,
                source="triggers",
                customer=customer.id,
                at=send.at,
                received_at=send.at,
                rule_id=send.rule,
                wave=send.wave,
                variant=send.variant,
            )
            if _goes_round(customer, send, ended.wait):
                remember(book, customer, event, send.at)
            else:
                handle(book, customer, event, send.at, out)


def _goes_round(customer: Customer, send: Send, wait: Wait) -> bool:
    trigger = wait.trigger
    if not isinstance(trigger, MessageSent) or trigger.at < send.at:
        return False
    return sum(sent.rule == send.rule and sent.at == send.at for sent in customer.sends) > 1
