"""Writes down in words what happens to customers while a log is decided: their events, waits and every decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from triggers.core.conditions import Moment
from triggers.core.decisions import Armed, Ended, LateCancel, Postponed, Reason, Send
from triggers.core.events import Event, type_of
from triggers.core.rules import in_season
from triggers.core.times import MINUTE, NEVER, wall_text
from triggers.log import mask_phone, printable
from triggers.replay.explain import explain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from triggers.core.customer import Customer, Wait
    from triggers.core.decisions import Decision
    from triggers.core.events import AnyEvent
    from triggers.core.rulebook import Rulebook
    from triggers.core.rules import Rule

MAX_ENTRIES = 100_000
"""More than this nobody reads; what comes after is counted."""

_LEAVING = (Reason.SENT, Reason.WITHHELD, Reason.WOULD_SEND)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the diary.

    ``kind`` is event, ignored, edit, waits, restarts, held, ended, sent, not sent (it was decided, and
    did not leave after all), withheld, would send, late cancel or waiting.
    ``at`` is when it happened, epoch ms; ``wait`` what it happened to, if it is about a wait.
    """

    at: int
    kind: str
    customer: str
    rule: str | None
    text: str
    wait: Wait | None = None
    reason: str | None = None


class Diary:
    """The entries of one run, in the order in which they were decided.

    ``only`` is the one customer to write of. ``later`` says that customers are not in the state of the moment, but in
    the one that they have now.
    """

    def __init__(self, customers: Mapping[str, Customer], only: str | None = None, *, later: bool = False) -> None:
        self.customers = customers
        self.only = only
        self.later = later
        self.entries: list[Entry] = []
        self.dropped = 0
        self._leaving: Send | None = None
        self._seen: set[tuple[str, str]] = set()
        self._anchors: dict[int, tuple[Wait, int]] = {}  # by identity of the wait, which is kept so that it stays one

    def take(self, book: Rulebook, decision: Decision) -> None:
        """Note a decision; the customer must still be in the state that it was made in."""
        if not isinstance(decision, Armed | Ended | Postponed | LateCancel | Send):
            return
        if self.only is not None and decision.customer != self.only:
            return
        if isinstance(decision, Send):
            self._leaving = decision  # the end of its wait comes next
            return
        if isinstance(decision, Armed):
            self._anchors[id(decision.wait)] = (decision.wait, decision.wait.anchor)
        elif isinstance(decision, Ended | Postponed):
            self._note_restart(book, decision)
        self._note(self._entry(book, decision))

    def edited(self, at: int, rule: str, text: str) -> None:
        """Note that a rule file was changed."""
        self._note(Entry(at, "edit", "", rule, text))

    def _note_restart(self, book: Rulebook, decision: Ended | Postponed) -> None:
        """Note that a wait has begun anew since the last entry on it: a further match moved its anchor (S10)."""
        wait = decision.wait
        _, anchor = self._anchors.get(id(wait), (wait, wait.anchor))
        if wait.anchor != anchor:
            self._anchors[id(wait)] = (wait, wait.anchor)
            self._note(Entry(decision.at, "restarts", decision.customer, wait.rule, wait_words(book, wait), wait))

    def saw(self, book: Rulebook, event: AnyEvent) -> None:
        """Note an event, before it is handled."""
        if self.only is not None and event.customer != self.only:
            return
        came = ""
        if _arrival(event) - _at(event) >= MINUTE:
            came = f", arrived {wall_text(book.shop.zone, _arrival(event))}"
        if (event.source, event.id) in self._seen:
            came += ", known already"
        self._note(Entry(_at(event), "event", event.customer, None, describe(event) + came))

    def handled(self, book: Rulebook, event: AnyEvent) -> None:
        """Note, after an event was handled, why it began no wait of a rule that listens to its type."""
        known = (event.source, event.id) in self._seen
        if known or (self.only is not None and event.customer != self.only):
            return
        self._seen.add((event.source, event.id))
        for rule in book.rules.values():
            if rule.when is not None and rule.when.event == type_of(event):
                miss = self._why_not(book, rule, event)
                if miss:
                    text = f"{printable(event.id)} began no wait: {miss}"
                    self._note(Entry(_arrival(event), "ignored", event.customer, rule.id, text))

    def _why_not(self, book: Rulebook, rule: Rule, event: AnyEvent) -> str:
        assert rule.when is not None  # noqa: S101  the caller looked
        if not rule.arms:
            return f"the rule is {rule.status}"
        if not in_season(rule, _at(event)):
            return "the rule is not in season"
        where, customer = rule.when.where, self.customers.get(event.customer)
        if where is None or customer is None:
            return ""
        if self.later and any(name.startswith("customer.") for name in where.names):
            return ""  # the facts of that moment are gone
        if where.predicate(event, customer.facts, book.shop, _arrival(event)):
            return ""
        return "; ".join(where.misses(Moment(book, customer, event, _arrival(event))))

    def _note(self, entry: Entry) -> None:
        if len(self.entries) < MAX_ENTRIES:
            self.entries.append(entry)
        else:
            self.dropped += 1

    def _entry(self, book: Rulebook, decision: Armed | Ended | Postponed | LateCancel) -> Entry:
        if isinstance(decision, LateCancel):
            text = f"{decision.event} {decision.event_id} would have cancelled, the message had left"
            return Entry(decision.at, "late cancel", decision.customer, decision.rule, text)
        wait, customer = decision.wait, self.customers.get(decision.customer)
        if isinstance(decision, Ended) and decision.reason in _LEAVING:
            kind, text = str(decision.reason), send_words(self._leaving) if self._leaving else "a text that is not kept"
            self._leaving = None
            return Entry(decision.at, kind, decision.customer, wait.rule, text, wait, kind)
        if isinstance(decision, Armed):
            text = wait_words(book, wait)
            return Entry(decision.at, "waits", decision.customer, wait.rule, text, wait)
        why = explain(book, customer, decision, later=self.later) if customer is not None else str(decision.reason)
        if isinstance(decision, Ended):
            return Entry(decision.at, "ended", decision.customer, wait.rule, why, wait, decision.words)
        label = str(decision.reason)
        return Entry(decision.at, "held", decision.customer, wait.rule, why + _next_try(book, decision), wait, label)


def _next_try(book: Rulebook, held: Postponed) -> str:
    if held.until >= NEVER:
        return ""
    if held.until >= held.wait.expiry:
        return f", too late from {wall_text(book.shop.zone, held.wait.expiry)} on"
    return f", tried again {wall_text(book.shop.zone, held.until)}"


def wait_words(book: Rulebook, wait: Wait) -> str:
    """Say what is waited for: since when and which event or slot, and when it is due."""
    zone, rule = book.shop.zone, book.rules.get(wait.rule)
    whose = f" for {wait.identity}" if wait.identity is not None else ""
    if wait.trigger is not None:
        cause = f"{type_of(wait.trigger)} {wait.trigger.id} at {wall_text(zone, wait.anchor)}"
    else:
        wave = wait.slot if rule is not None and rule.waves else None
        cause = f"{f'wave {wave}' if wave else 'the slot'} of {wall_text(zone, wait.anchor)}"
    opens = ""
    if rule is not None:
        at = rule.sending.window.opening(zone, wait.due)
        opens = f", window opens {wall_text(zone, at)}" if wait.due < at < NEVER else ""
    return f"since {cause}{whose}, due {wall_text(zone, wait.due)}{opens}"


def still_waiting(book: Rulebook, customer: Customer) -> list[Entry]:
    """Tell what a customer's timers wait for now, by the instant of the next try."""
    entries = []
    for wait in sorted(customer.waits.values(), key=lambda each: (each.wake, each.rule, each.identity or "")):
        text = f"{wait_words(book, wait)}{state_words(book, wait)}"
        entries.append(Entry(wait.wake, "waiting", customer.id, wait.rule, text, wait, wait.held or None))
    return entries


def state_words(book: Rulebook, wait: Wait) -> str:
    """Say what holds a waiting timer back, and when it is tried next."""
    zone = book.shop.zone
    held = f", held back: {wait.held}" if wait.held else ""
    if wait.rule in book.removed:
        return f", set aside because its file is gone, until {wall_text(zone, wait.wake)}"
    if wait.wake >= wait.expiry:
        return f"{held}, too late from {wall_text(zone, wait.expiry)} on"
    return f"{held}, tried next {wall_text(zone, wait.wake)}" if wait.due != wait.wake < NEVER else held


def send_words(send: Send) -> str:
    """Say what left: variant, wave and coupon if there are, then the text."""
    named = (("variant", send.variant), ("wave", send.wave), ("coupon", send.coupon))
    parts = [f"{name} {value}" for name, value in named if value is not None]
    return f'{", ".join(parts)}{": " if parts else ""}"{printable(send.text)}"'


def describe(event: Event) -> str:
    """Name an event with its id and what it says: "order.created e17 (order_id o1, amount 899)"; phones are masked."""
    told = []
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if name in Event.__struct_fields__ or value is None or value in ("", ()):
            continue
        if name == "phone":
            value = mask_phone(str(value))
        elif name == "items":
            value = f"{len(value)} item{'s' if len(value) != 1 else ''}"
        told.append(f"{name} {printable(str(value))}")
    fields = f" ({', '.join(told)})" if told else ""
    return f"{type_of(event)} {printable(event.id)}{fields}"


def _at(event: Event) -> int:
    assert isinstance(event.at, int)  # noqa: S101  an integer after intake
    return event.at


def _arrival(event: Event) -> int:
    return event.received_at if isinstance(event.received_at, int) else _at(event)
