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
first may leave them waiting. For ``restart`` none are needed: what kills the latest kills all.

**A try** happens when ``Wait.wake`` comes: too late ends it (S18), a closed window postpones it (S17), then the gates of
``core/gates.py`` end or postpone it (S19 to S21), then it leaves as a ``Send``. Whatever holds a wait back is remembered
in ``Wait.held`` and becomes its reason if it expires so. Tries of one instant go by S23.

**What customers share** (``per_day``, ``total``, ``budget``, a wave's sizes) is not in the customer. There the step stops
with an ``Ask``; the driver carries it to the rule's owner and comes back through ``answer`` with a ``Verdict``. While a
question is open the customer's later timers wait (``Customer.asking``), so tries keep their order. Events are still handled, and
may end the wait that asked; its grant is then ``Released``. A driver that answers the questions of one instant in S23 order
is deterministic, and one owner a rule is enough for many workers.

**Slots and waves** (S29) open one wait a customer when a step passes the slot's instant; ``Customer.opened`` remembers how
far that went, so a slot is opened once, late if need be. A driver steps every customer at each ``Rulebook.next_slot``.

**An edit** makes a new rulebook; ``reconcile`` moves a customer's waits over to it (S30 to S36).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from triggers.core import gates
from triggers.core.chance import fraction
from triggers.core.customer import NOBODY, Customer, Facts, Sent, Wait
from triggers.core.decisions import (
    Armed,
    Ask,
    Decision,
    Ended,
    LateCancel,
    Postponed,
    Reason,
    Released,
    Responded,
    Send,
    Verdict,
)
from triggers.core.events import Event, Message, MessageSent
from triggers.core.facts import copied
from triggers.core.rulebook import SET_ASIDE, Armer, Plan, Rulebook, answered, in_season
from triggers.core.rules import sending_of
from triggers.core.sending import compose
from triggers.core.times import DAY, NEVER, iso

if TYPE_CHECKING:
    from triggers.core.rules import Rule, Unless, Wave, Waves

LATER_LIMIT = 100
"""How many absorbed matches a wait remembers."""

COMMAND_BARS = 4
"""The separators in what a command's id is made of; any other inside a part is escaped."""

SEEN_SLACK = 64
"""How many ids may outlive their events before the list is made anew."""


# The doors


def step(book: Rulebook, customer: Customer, event: Event | None, now: int) -> list[Decision]:
    """Advance a customer to ``now`` (epoch ms), then handle an event received at that instant.

    The event's ``at`` is an integer, at most 5 min after its received_at (``core/intake.py`` sees to both).
    """
    out: list[Decision] = []
    if customer.opened < 0:
        customer.opened = now - 1
    elif customer.wake < now or book.has_slots:
        _advance(book, customer, now, out)
    if event is not None:
        handle(book, customer, event, now, out)
    return out


def advance(book: Rulebook, customer: Customer, until: int) -> list[Decision]:
    """Let the timers of all instants before ``until`` (epoch ms) act; stops early where a question is asked."""
    out: list[Decision] = []
    if customer.opened < 0:
        customer.opened = until - 1
    _advance(book, customer, until, out)
    return out


def answer(book: Rulebook, customer: Customer, ask: Ask, verdict: Verdict) -> list[Decision]:
    """Go on with a try whose question was answered."""
    out: list[Decision] = []
    key = customer.asking
    customer.asking = None
    wait = customer.waits.get(key) if key is not None else None
    granted = verdict.reason is None
    if key is None or wait is None or command_id(customer, wait) != ask.command:
        if granted and ask.reserve:
            out.append(Released(ask.rule, ask.command, ask.at))
    elif verdict.reason is not None and verdict.until is None:
        _end(customer, key, wait, ask.at, verdict.reason, "", out)
    elif verdict.reason is not None and verdict.until is not None:
        _hold(book, customer, wait, ask.at, gates.Refusal(verdict.reason, "", verdict.until), out)
    else:
        _leave(book, customer, key, wait, ask.at, out, reserved=ask.reserve)
    customer.wake = _earliest(customer)
    return out


def remember(book: Rulebook, customer: Customer, event: Event, now: int) -> None:
    """Learn an event of the past: it counts as fact and history and never arms."""
    if customer.opened < 0:
        customer.opened = now - 1
    plan = book.plans[event.__class__]
    if not plan.keep_ms or _keep(plan, customer, event, now):
        _learn(plan, customer, event, now)


def reconcile(book: Rulebook, customer: Customer, now: int) -> list[Decision]:
    """Move a customer's waits over to an edited set of rules at ``now`` (S30 to S36)."""
    out: list[Decision] = []
    for key, wait in list(customer.waits.items()):
        if wait.rule in book.renamed and wait.rule not in book.rules:
            key = _rename(book, customer, key, wait)  # noqa: PLW2901  the wait goes on under its new key
        _reconcile_wait(book, customer, key, wait, now, out)
    for sent in customer.sends:
        sent.rule = book.renamed.get(sent.rule, sent.rule) if sent.rule not in book.rules else sent.rule
    customer.wake = _earliest(customer)
    return out


def command_id(customer: Customer, wait: Wait) -> str:
    """Name the command of a wait: a function of its cause alone (S28)."""
    trigger = wait.trigger
    cause = iso(wait.anchor) if trigger is None else _qualified(trigger)
    joined = f"{wait.rule}|{customer.id}|{wait.identity or ''}|{cause}|{wait.slot or ''}"
    if "\\" in joined or joined.count("|") != COMMAND_BARS:
        parts = (wait.rule, customer.id, wait.identity or "", cause, wait.slot or "")
        joined = "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in parts)
    return hashlib.sha256(joined.encode()).hexdigest()


# Events


def handle(book: Rulebook, customer: Customer, event: Event, now: int, out: list[Decision]) -> None:
    """Let one event teach, cancel, answer and arm."""
    plan = book.plans[event.__class__]
    if plan.keep_ms and not _keep(plan, customer, event, now):
        return
    if event.at > now and plan.learner is not None:  # type: ignore[operator]  an integer after intake
        _handle_ahead(book, customer, event, now, out)
        return
    if plan.learner is not None or customer.ahead:
        _learn(plan, customer, event, now)
    _set_in_motion(book, plan, customer, event, now, out)


def _handle_ahead(book: Rulebook, customer: Customer, event: Event, now: int, out: list[Decision]) -> None:
    """Handle an event stamped later than it arrived: its own conditions see its facts, those of others not yet (S7)."""
    plan = book.plans[event.__class__]
    facts = customer.facts
    customer.facts = copied(facts)
    assert plan.learner is not None  # noqa: S101  an invariant
    plan.learner(customer.facts, event)
    _set_in_motion(book, plan, customer, event, now, out)
    customer.facts = facts
    customer.ahead = (*customer.ahead, event)  # type: ignore[assignment]  one of AnyEvent


def _set_in_motion(  # noqa: PLR0913  the step's whole context
    book: Rulebook, plan: Plan, customer: Customer, event: Event, now: int, out: list[Decision]
) -> None:
    for rule, unless in plan.cancellers:
        if customer.waits:
            _cancel(book, customer, rule, unless, event, now, out)
        if customer.sends and event.at <= customer.sends[-1].at:  # type: ignore[operator]  an integer after intake
            _late_cancel(customer, rule, unless, event, now, out)
    for rule, waves in plan.responders:
        _respond(book, customer, rule, waves, event, out)
    for armer in plan.armers:
        _arm(book, customer, armer, event, now, out)


def _keep(plan: Plan, customer: Customer, event: Event, now: int) -> bool:
    """Keep an event in the history, ordered by occurred_at; False if it is known already (S2)."""
    name = event.id if not event.source else _qualified(event)
    seen = customer.seen
    if name in seen:
        return False
    seen.append(name)
    kept = customer.kept.get(plan.type)
    if kept is None:
        customer.kept[plan.type] = [event]  # type: ignore[list-item]  one of AnyEvent
        return True
    at: int = event.at  # type: ignore[assignment]  an integer after intake
    if not kept or at >= kept[-1].at:  # type: ignore[operator]
        kept.append(event)  # type: ignore[arg-type]
    else:
        place = len(kept)
        while place and kept[place - 1].at > at:  # type: ignore[operator]
            place -= 1
        kept.insert(place, event)  # type: ignore[arg-type]
    if kept[0].at < now - plan.keep_ms:  # type: ignore[operator]
        _forget(plan, customer, kept, now)
    return True


def _forget(plan: Plan, customer: Customer, kept: list[Event], now: int) -> None:
    oldest = now - plan.keep_ms
    place = 0
    while place < len(kept) and kept[place].at < oldest:  # type: ignore[operator]
        place += 1
    del kept[:place]
    total = sum(map(len, customer.kept.values()))
    if len(customer.seen) > 2 * total + SEEN_SLACK:
        customer.seen = [_qualified(event) for events in customer.kept.values() for event in events]


def _qualified(event: Event) -> str:
    return f"{event.source}\0{event.id}" if event.source else event.id


def _learn(plan: Plan, customer: Customer, event: Event, now: int) -> None:
    if customer.ahead:
        _catch_up(customer, now)
    if plan.learner is not None:
        plan.learner(own_facts(customer), event)


def _catch_up(customer: Customer, now: int) -> None:
    """Let the facts of events stamped ahead count, once their time has come."""
    ripe = [event for event in customer.ahead if event.at <= now]  # type: ignore[operator]  an integer after intake
    if ripe:
        customer.ahead = tuple(event for event in customer.ahead if event.at > now)  # type: ignore[operator]
        from triggers.core.facts import LEARNERS  # noqa: PLC0415  rare

        for event in ripe:
            LEARNERS[event.__class__](own_facts(customer), event)


def own_facts(customer: Customer) -> Facts:
    """Give the facts of a customer to change."""
    if customer.facts is NOBODY:
        customer.facts = Facts()
    return customer.facts


# Arming


def _arm(  # noqa: PLR0913  the step's whole context
    book: Rulebook, customer: Customer, armer: Armer, event: Event, now: int, out: list[Decision]
) -> None:
    rule = armer.rule
    if armer.predicate is not None and not armer.predicate(event, customer.facts, book.shop, now):
        return
    if (rule.valid.start or rule.during or rule.valid.end != NEVER) and not in_season(rule, event.at):  # type: ignore[arg-type]
        return
    identity = None if armer.per is None else str(getattr(event, armer.per))
    key = wait_key(rule.id, identity, _qualified(event) if armer.each else None)
    wait = customer.waits.get(key)
    if wait is not None:
        _absorb(book, customer, armer, wait, key, event, now, out)
        return
    wait = Wait(rule.id, identity, 0, 0, 0, 0, when_key=rule.when_key)
    _anchor(book, rule, armer, wait, event, now)
    out.append(Armed(customer.id, wait, now))
    killer = _killer(book, customer, rule, wait, event, now)
    if killer is not None:
        out.append(Ended(customer.id, wait, now, Reason.CANCELLED, book.plans[killer.__class__].type))
        return
    customer.waits[key] = wait
    customer.wake = min(customer.wake, wait.wake)


def _anchor(  # noqa: PLR0913  the step's whole context
    book: Rulebook, rule: Rule, armer: Armer | None, wait: Wait, event: Event, now: int
) -> None:
    """Let a wait begin at an event: anchor, due and expiry follow from it."""
    zone = book.shop.zone
    at: int = event.at  # type: ignore[assignment]  an integer after intake
    wait.trigger = event  # type: ignore[assignment]  one of AnyEvent
    wait.anchor = at
    wait.due = at + armer.wait_ms if armer is not None and armer.wait_ms is not None else zone.add(at, rule.wait)
    if armer is not None and armer.expires_ms is not None:
        wait.expiry = wait.due + armer.expires_ms
    else:
        wait.expiry = expiry_of(book, rule, wait)
    wait.wake = max(wait.due + book.settle, now)
    wait.held = ""


def expiry_of(book: Rulebook, rule: Rule, wait: Wait) -> int:
    """Find the first instant that is too late for a wait (S18)."""
    expires = sending_of(rule, wait).expires
    if expires is not None:
        return book.shop.zone.add(wait.due, expires)
    return book.shop.zone.midnight(wait.anchor, 1) if wait.slot is not None else wait.due + 2 * DAY


def wait_key(rule: str, identity: str | None, extra: str | None = None) -> str:
    """Name a wait within its customer: rule, value of ``per``, and the event or slot where each has its own (S8)."""
    if extra is not None:
        return f"{rule}\0{identity or ''}\0{extra}"
    return rule if identity is None else f"{rule}\0{identity}"


def _absorb(  # noqa: PLR0913  the step's whole context
    book: Rulebook, customer: Customer, armer: Armer, wait: Wait, key: str, event: Event, now: int, out: list[Decision]
) -> None:
    """Take a second match into a waiting wait (S10), so that the order of arrival does not matter."""
    rule, trigger = armer.rule, wait.trigger
    assert trigger is not None  # noqa: S101  only when-rules absorb
    if event.id == trigger.id and event.source == trigger.source:
        return
    earlier = (event.at, event.id) < (trigger.at, trigger.id)
    if armer.restart:
        if not earlier:
            _anchor(book, rule, armer, wait, event, now)
            killer = _killer(book, customer, rule, wait, event, now)
            if killer is not None:
                _end(customer, key, wait, now, Reason.CANCELLED, book.plans[killer.__class__].type, out)
                return
            customer.wake = min(customer.wake, wait.wake)
        return
    if _killer(book, customer, rule, wait, event, now) is not None:
        return
    survivors = wait.later or []
    if earlier:
        survivors.append(trigger)
        _anchor(book, rule, armer, wait, event, now)
        customer.wake = min(customer.wake, wait.wake)
    else:
        survivors.append(event)  # type: ignore[arg-type]  one of AnyEvent
    survivors.sort(key=lambda match: (match.at, match.id))
    wait.later = survivors[-LATER_LIMIT:]


# Cancelling


def _cancel(  # noqa: PLR0913  the step's whole context
    book: Rulebook, customer: Customer, rule: Rule, unless: Unless, event: Event, now: int, out: list[Decision]
) -> None:
    """Cancel the waits of a rule that an event is against (S12)."""
    when = rule.when
    per = when.per if when else None
    if (per is None or unless.match == "same") and (when is None or when.again != "each"):
        identity = None if per is None else str(getattr(event, per, None))
        key = wait_key(rule.id, identity)
        wait = customer.waits.get(key)
        if wait is not None:
            _cancel_one(book, customer, rule, unless, key, wait, event, now, out)
        return
    for key, wait in list(customer.waits.items()):
        if wait.rule == rule.id:
            _cancel_one(book, customer, rule, unless, key, wait, event, now, out)


def _cancel_one(  # noqa: PLR0913  the step's whole context
    book: Rulebook,
    customer: Customer,
    rule: Rule,
    unless: Unless,
    key: str,
    wait: Wait,
    event: Event,
    now: int,
    out: list[Decision],
) -> None:
    if not _kills(book, customer, rule, unless, wait, wait.trigger, event, now):
        return
    survivors = [
        match
        for match in wait.later or ()
        if not _kills(book, customer, rule, unless, wait, match, event, now)
    ]
    _end(customer, key, wait, now, Reason.CANCELLED, book.plans[event.__class__].type, out)
    if survivors:
        fresh = Wait(rule.id, wait.identity, 0, 0, 0, 0, when_key=rule.when_key, later=survivors[1:] or None)
        _anchor(book, rule, None, fresh, survivors[0], now)
        customer.waits[key] = fresh
        customer.wake = min(customer.wake, fresh.wake)
        out.append(Armed(customer.id, fresh, now))


def _kills(  # noqa: PLR0913  the step's whole context
    book: Rulebook,
    customer: Customer,
    rule: Rule,
    unless: Unless,
    wait: Wait,
    match: Event | None,
    event: Event,
    now: int,
) -> bool:
    """Tell whether an event cancels a match: same identity, at or after it, not itself, and its condition holds (S12)."""
    since = wait.anchor if match is None else match.at
    if event.at < since or event is match:  # type: ignore[operator]  integers after intake
        return False
    if match is not None and event.id == match.id and event.source == match.source:
        return False
    per = rule.when.per if rule.when else None
    if per is not None and unless.match == "same" and str(getattr(event, per, None)) != wait.identity:
        return False
    return unless.where is None or unless.where.predicate(event, customer.facts, book.shop, now)


def _killer(  # noqa: PLR0913  the step's whole context
    book: Rulebook, customer: Customer, rule: Rule, wait: Wait, match: Event | None, now: int
) -> Event | None:
    """Find an event that arrived before and cancels a match (S12), in the history from the match on."""
    since = wait.anchor if match is None else match.at
    for unless in rule.unless:
        for kind in unless.types:
            kept = customer.kept.get(kind)
            if not kept:
                continue
            for event in reversed(kept):
                if event.at < since:  # type: ignore[operator]  integers after intake
                    break
                if _kills(book, customer, rule, unless, wait, match, event, now):
                    return event
    return None


def _late_cancel(  # noqa: PLR0913  the step's whole context
    customer: Customer, rule: Rule, unless: Unless, event: Event, now: int, out: list[Decision]
) -> None:
    """Count a cancel of a message that has already left (S14)."""
    per = rule.when.per if rule.when else None
    for sent in reversed(customer.sends):
        if sent.at < event.at:  # type: ignore[operator]  an integer after intake
            return
        if sent.rule != rule.id or event.at < sent.anchor or sent.mode != "sent":  # type: ignore[operator]
            continue
        if per is not None and unless.match == "same" and sent.identity != str(getattr(event, per, None)):
            continue
        out.append(LateCancel(customer.id, rule.id, now, event.__struct_config__.tag, event.id))  # type: ignore[arg-type]


def _respond(  # noqa: PLR0913  the step's whole context
    book: Rulebook, customer: Customer, rule: Rule, waves: Waves, event: Event, out: list[Decision]
) -> None:
    """Credit an answer to the latest wave that it may be an answer to (S29)."""
    if isinstance(event, Message) and event.rule_id not in (None, rule.id):
        return
    at: int = event.at  # type: ignore[assignment]  an integer after intake
    for sent in reversed(customer.sends):
        if sent.rule != rule.id or sent.wave is None or sent.mode != "sent" or sent.at > at:
            continue
        if at <= book.shop.zone.add(sent.at, waves.within):
            if sent.answered_at is None:
                out.append(Responded(customer.id, rule.id, sent.wave, at))
            sent.answered_at = at if sent.answered_at is None else min(at, sent.answered_at)
        return


# Time


def _advance(book: Rulebook, customer: Customer, until: int, out: list[Decision]) -> None:
    while customer.asking is None:
        at = customer.wake
        if book.has_slots:
            slot = book.next_slot(customer.opened)
            if slot <= at and slot < until:
                _open_slot(book, customer, slot, out)
                continue
        if at >= until:
            return
        if customer.ahead:
            _catch_up(customer, at)
        _tries(book, customer, at, out)
    return


def _tries(book: Rulebook, customer: Customer, at: int, out: list[Decision]) -> None:
    """Try every wait whose instant has come, in the order of S23."""
    waits = customer.waits
    ripe = [key for key, wait in waits.items() if wait.wake <= at]
    if len(ripe) > 1:
        ripe.sort(key=lambda key: _turn(book, waits[key]))
    for key in ripe:
        wait = waits.get(key)
        if wait is not None and wait.wake <= at:
            _try(book, customer, key, wait, at, out)
            if customer.asking is not None:
                return
    customer.wake = _earliest(customer)


def _turn(book: Rulebook, wait: Wait) -> tuple[int, int, str, str, str]:
    rule = book.rules.get(wait.rule)
    return (-rule.priority if rule else 0, wait.due, wait.rule, wait.identity or "", wait.slot or "")


def _earliest(customer: Customer) -> int:
    waits = customer.waits
    return min([wait.wake for wait in waits.values()]) if waits else NEVER  # a list is quicker than a generator here


def _open_slot(book: Rulebook, customer: Customer, slot: int, out: list[Decision]) -> None:
    """Open a wait for each rule, or wave, whose slot this is (S29)."""
    for rule, wave in book.slots_at(slot):
        if wave is not None and not _invited(customer, rule, wave):
            continue
        name = iso(slot) if wave is None else wave.id
        wait = Wait(rule.id, None, slot, slot + _spread(book, customer, rule, name), 0, 0, slot=name)
        wait.expiry = expiry_of(book, rule, wait)
        wait.wake = wait.due + book.settle
        customer.waits[wait_key(rule.id, None, name)] = wait
        customer.wake = min(customer.wake, wait.wake)
        out.append(Armed(customer.id, wait, slot))
    customer.opened = slot


def _invited(customer: Customer, rule: Rule, wave: Wave) -> bool:
    """Tell whether a wave is for a customer: the first for all, another for those who answered the one before."""
    assert rule.waves is not None  # noqa: S101  an invariant
    place = rule.waves.waves.index(wave)
    return not place or answered(customer, rule, rule.waves.waves[place - 1].id, wave.slot)


def _spread(book: Rulebook, customer: Customer, rule: Rule, slot: str) -> int:
    if not rule.spread or not book.pins.spread:
        return 0
    return int(rule.spread * fraction(f"spread|{rule.id}|{slot}|{customer.id}"))


# Trying


def _try(book: Rulebook, customer: Customer, key: str, wait: Wait, at: int, out: list[Decision]) -> None:  # noqa: PLR0913
    """Let a wait try to leave at an instant."""
    rule = book.rules.get(wait.rule)
    if rule is None:
        _set_aside(book, customer, key, wait, at, out)
        return
    if at >= wait.expiry:
        _end(customer, key, wait, at, _expired(wait), "", out)
        return
    if not rule.arms:
        _hold(book, customer, wait, at, gates.Refusal(Reason.PAUSED, "", NEVER), out)
        return
    opens = gates.opening(book, rule, sending_of(rule, wait), at)
    if opens > at:
        closed = Reason.WINDOW if gates.in_period(rule, at) == at else Reason.OUTSIDE_PERIOD
        _hold(book, customer, wait, at, gates.Refusal(closed, "", opens), out)
        return
    for gate in book.gates[rule.id]:
        refusal = gate(book, customer, wait, at)
        if refusal is not None:
            _end(customer, key, wait, at, refusal.reason, refusal.detail, out)
            return
    if rule.id in book.sharing:
        _ask(book, customer, key, wait, rule, at, out)
    else:
        _leave(book, customer, key, wait, at, out, reserved=False)


def _set_aside(book: Rulebook, customer: Customer, key: str, wait: Wait, at: int, out: list[Decision]) -> None:  # noqa: PLR0913
    """Keep a wait whose rule's file vanished for its return, then end it (S36)."""
    end = book.removed.get(wait.rule, at - SET_ASIDE) + SET_ASIDE
    if at >= end:
        _end(customer, key, wait, at, Reason.RULE_REMOVED, "", out)
    else:
        wait.wake = end


def _expired(wait: Wait) -> Reason:
    held = Reason(wait.held) if wait.held else Reason.EXPIRED
    return Reason.EXPIRED if held in (Reason.WINDOW, Reason.PAUSED) else held


def _hold(  # noqa: PLR0913  the step's whole context
    book: Rulebook, customer: Customer, wait: Wait, at: int, refusal: gates.Refusal, out: list[Decision]
) -> None:
    """Postpone a wait; one that would open too late is looked at again when it expires."""
    del book
    assert refusal.until is not None  # noqa: S101  only holding gates come here
    wait.held = refusal.reason.value
    wait.wake = min(refusal.until, wait.expiry)
    out.append(Postponed(customer.id, wait, at, refusal.reason, wait.wake, refusal.detail))


def _ask(  # noqa: PLR0913  the step's whole context
    book: Rulebook, customer: Customer, key: str, wait: Wait, rule: Rule, at: int, out: list[Decision]
) -> None:
    """Ask the rule's owner, telling whether the message would leave if it may."""
    held = gates.holding(book, customer, rule, wait, at)
    withheld = _withheld(book, customer, rule)
    cost = compose(book, customer, rule, wait, at).cost
    reserve = held is None and not withheld and rule.status == "live"
    wave = wait.slot if rule.waves else None
    customer.asking = key
    out.append(
        Ask(customer.id, wait, rule.id, command_id(customer, wait), at, rule.priority, wait.due, cost, reserve, wave)
    )


def _leave(  # noqa: PLR0913  the step's whole context
    book: Rulebook, customer: Customer, key: str, wait: Wait, at: int, out: list[Decision], *, reserved: bool
) -> None:
    """Pass the holding gates, then holdout, variant, command."""
    rule = book.rules[wait.rule]
    refusal = gates.holding(book, customer, rule, wait, at)
    if refusal is None:
        text = compose(book, customer, rule, wait, at)
        if text.refused:
            _end(customer, key, wait, at, Reason.TEXT_TOO_LONG, f"{text.segments} parts", out)
    if refusal is not None or text.refused:
        if reserved:
            out.append(Released(rule.id, command_id(customer, wait), at))
        if refusal is not None:
            _hold(book, customer, wait, at, refusal, out)
        return
    withheld, shadow = _withheld(book, customer, rule), rule.status == "shadow"
    send = Send(
        id=command_id(customer, wait),
        rule=rule.id,
        customer=customer.id,
        identity=wait.identity,
        anchor=wait.anchor,
        due=wait.due,
        at=at,
        withheld=withheld,
        shadow=shadow,
        variant=text.variant,
        wave=wait.slot if rule.waves else None,
        coupon=text.coupon,
        text=text.text,
        segments=text.segments,
        cost=text.cost,
        revision=book.revision,
        klass=rule.klass,
        expires=wait.expiry,
    )
    out.append(send)
    reason = Reason.WITHHELD if withheld else Reason.WOULD_SEND if shadow else Reason.SENT
    _end(customer, key, wait, at, reason, "", out)
    _record(book, customer, send, wait, at)
    if book.chains and reason is Reason.SENT:
        _chain(book, customer, send, at, out)


def _record(book: Rulebook, customer: Customer, send: Send, wait: Wait, at: int) -> None:
    mode = "withheld" if send.withheld else "shadow" if send.shadow else "sent"
    sends = customer.sends
    sends.append(Sent(send.rule, send.klass, at, wait.anchor, wait.identity, mode, send.wave))
    oldest = at - book.sends_kept_ms
    if sends[0].at < oldest:
        customer.sends = [sent for sent in sends if sent.at >= oldest]


def _chain(book: Rulebook, customer: Customer, send: Send, at: int, out: list[Decision]) -> None:
    """Tell the customer's other rules that a message left; the dispatcher's own report has the same id (S2)."""
    event = MessageSent(
        id=send.id, customer=customer.id, at=at, source="triggers", rule_id=send.rule, wave=send.wave, variant=send.variant
    )
    handle(book, customer, event, at, out)


def _withheld(book: Rulebook, customer: Customer, rule: Rule) -> bool:
    """Tell whether a customer is in the rule's or the shop's holdout (S26)."""
    if book.pins.holdout is not None:
        return book.pins.holdout
    share, shop_share = rule.sending.holdout, book.shop.holdout if rule.klass != "notice" else 0.0
    return (share > 0 and fraction(f"holdout|{rule.id}|{customer.id}") < share) or (
        shop_share > 0 and fraction(f"holdout-shop|{customer.id}") < shop_share
    )


def _end(  # noqa: PLR0913  the step's whole context
    customer: Customer, key: str, wait: Wait, at: int, reason: Reason, detail: str, out: list[Decision]
) -> None:
    del customer.waits[key]
    out.append(Ended(customer.id, wait, at, reason, detail))


# Edits


def _rename(book: Rulebook, customer: Customer, key: str, wait: Wait) -> str:
    """Let a wait go on under the rule's new name (S39)."""
    new = book.renamed[wait.rule]
    fresh = new + key[len(wait.rule) :]
    del customer.waits[key]
    wait.rule = new
    customer.waits[fresh] = wait
    return fresh


def _reconcile_wait(  # noqa: PLR0913  the step's whole context
    book: Rulebook, customer: Customer, key: str, wait: Wait, now: int, out: list[Decision]
) -> None:
    rule = book.rules.get(wait.rule)
    if rule is None:
        removed_at = book.removed.get(wait.rule)
        wait.wake = now if removed_at is None else max(now, removed_at + SET_ASIDE)
        return
    if wait.slot is None and not _still_matches(book, customer, rule, wait, now):
        _end(customer, key, wait, now, Reason.RULE_CHANGED, "", out)
        return
    killer = _killer(book, customer, rule, wait, wait.trigger, now)
    if killer is not None:
        _end(customer, key, wait, now, Reason.CANCELLED, book.plans[killer.__class__].type, out)
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
    if when is None or trigger is None or book.plans[trigger.__class__].type != when.event:
        return False
    if when.where is not None and not when.where.predicate(trigger, customer.facts, book.shop, now):
        return False
    wait.when_key = rule.when_key
    identity = None if when.per is None else str(getattr(trigger, when.per))
    return identity == wait.identity
