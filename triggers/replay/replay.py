"""The core in virtual time, in memory: events in order of arrival, timers between them, each at its own instant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triggers.core.customer import Customer
from triggers.core.decisions import Ask, Decision
from triggers.core.engine import advance, answer, handle, reconcile, remember
from triggers.core.ledger import Ledger
from triggers.core.times import NEVER
from triggers.replay.wakes import Wakes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from triggers.core.events import AnyEvent
    from triggers.core.rulebook import Rulebook


class Replay:
    """Customers, their timers and the shared ledger; ``take`` is given every decision as it falls.

    ``clock`` is the instant reached, epoch ms: every timer before it has acted, every event up to it has been handled.
    """

    def __init__(
        self, rulebook: Rulebook, take: Callable[[Decision], None], *, clock: int = -1, in_order: bool = True
    ) -> None:
        self.rulebook = rulebook
        self.take = take
        self.clock = clock
        self.in_order = in_order or rulebook.has_slots or rulebook.shares
        self.customers: dict[str, Customer] = {}
        self._instant: list[AnyEvent] = []  # what arrived at the clock's instant, where nothing is kept of it
        self.ledger = Ledger()
        self.wakes = Wakes()
        self._wanted: dict[str, int] = {}  # the earliest entry in wakes of each customer
        self._idle = _idle(rulebook)
        self._notes = rulebook.shares or any(rule.waves for rule in rulebook.rules.values())

    def play(self, events: Iterable[AnyEvent]) -> None:
        """Handle events in ascending order of received_at (an integer), letting timers act between them."""
        if self.in_order:
            self._play_in_order(events)
        else:
            self._play_customers(events)

    def _play_in_order(self, events: Iterable[AnyEvent]) -> None:
        """Let every timer act before the next event, whoever's it is."""
        for event in events:
            if event.__class__ in self._idle:
                continue
            now: int = event.received_at  # type: ignore[assignment]  # the reader stamps every event
            alone = now != self.clock
            if alone:
                self._act_before(now)
            customer = self.customer(event.customer)
            out = advance(self.rulebook, customer, now) if customer.wake < now else []
            self._handle(customer, event, out, alone=alone)
            if out:
                self._hand_over(out)
            if customer.wake < NEVER:  # a wait may have begun without a word
                self._want(customer)

    def _play_customers(self, events: Iterable[AnyEvent]) -> None:
        """Let a customer's timers act before the customer's next event: they do not show elsewhere before that."""
        book, customers, take, idle = self.rulebook, self.customers, self.take, self._idle
        for event in events:
            if event.__class__ in idle:
                continue
            now: int = event.received_at  # type: ignore[assignment]  # the reader stamps every event
            alone, self.clock = now != self.clock, now
            customer = customers.get(event.customer)
            if customer is None:
                customer = self.customer(event.customer)
            out = advance(book, customer, now) if customer.wake < now else []
            if alone:  # as _handle does, without a call
                self._instant = [event]
                handle(book, customer, event, now, out)
            else:
                self._handle(customer, event, out, alone=False)
            if out:
                for decision in out:
                    take(decision)

    def _handle(self, customer: Customer, event: AnyEvent, out: list[Decision], *, alone: bool) -> None:
        """Handle an event at the clock's instant, at which it is alone so far, or not."""
        if alone:
            self._instant = [event]
        elif not self.rulebook.lateness:
            self._handle_together(customer, event, out)
            return
        handle(self.rulebook, customer, event, self.clock, out)

    def _handle_together(self, customer: Customer, event: AnyEvent, out: list[Decision]) -> None:
        """Handle one of several events of an instant, in a log without late ones.

        Only they can be its doubles or cancel it. Nothing is kept for what cannot come, so the customer is lent them.
        """
        others = [other for other in self._instant if other.customer == customer.id]
        if any(other.id == event.id and other.source == event.source for other in others):
            return
        self._instant.append(event)
        lent: dict[str, list[AnyEvent]] = {}
        for other in others:
            plan = self.rulebook.plans[other.__class__]
            if not plan.keep_ms:
                lent.setdefault(plan.type, []).append(other)
        if lent:
            customer.kept = customer.kept | lent
        handle(self.rulebook, customer, event, self.clock, out)
        if lent:
            customer.kept = {kind: kept for kind, kept in customer.kept.items() if kind not in lent}

    def run_until(self, until: int) -> None:
        """Let the timers of all instants before ``until`` act."""
        if self.in_order:
            self._act_before(until)
            return
        for customer in self.customers.values():
            if customer.wake < until:
                for decision in advance(self.rulebook, customer, until):
                    self.take(decision)
        self.clock = max(self.clock, until)

    def customer(self, name: str) -> Customer:
        """Find a customer, or make them known now."""
        found = self.customers.get(name)
        if found is None:
            found = self.customers[name] = Customer(id=name, opened=self.clock - 1)
        return found

    def remember(self, event: AnyEvent) -> None:
        """Let a customer's past be known: facts and history that never arm."""
        customer = self.customer(event.customer)
        remember(self.rulebook, customer, event, self.clock)

    def change(self, rulebook: Rulebook) -> None:
        """Switch to an edited set of rules at the clock's instant."""
        self.rulebook = rulebook
        self._idle = _idle(rulebook)
        self._notes = rulebook.shares or any(rule.waves for rule in rulebook.rules.values())
        for old, new in rulebook.renamed.items():
            self.ledger.rename(old, new)
        for customer in self.customers.values():
            self._hand_over(reconcile(rulebook, customer, self.clock))
            self._want(customer)

    def _act_before(self, until: int) -> None:
        while True:
            slot = self.rulebook.next_slot(self.clock - 1) if self.rulebook.has_slots else NEVER
            at = min(self.wakes.next(), slot)
            if at >= until:
                break
            if slot <= at:
                self.clock = slot + 1
                self._wake_at(slot, sorted(self.customers))
            else:
                woken = self.wakes.pop(until)
                assert woken is not None  # noqa: S101  next() said so
                self._wake_at(*woken)
        self.clock = max(self.clock, until)

    def _wake_at(self, at: int, names: list[str]) -> None:
        """Step customers through one instant; then answer what they ask, in the order of S23, until all is answered."""
        asks: list[Ask] = []
        for name in names:
            if self._wanted.get(name) == at:
                del self._wanted[name]
            customer = self.customers[name]
            out = advance(self.rulebook, customer, at + 1)
            asks += self._hand_over(out) if out else ()
            if customer.asking is None:
                self._want(customer)
        while asks:
            asks.sort(key=_turn, reverse=True)
            ask = asks.pop()
            customer = self.customers[ask.customer]
            verdict = self.ledger.verdict(self.rulebook, ask)
            asks += self._hand_over(answer(self.rulebook, customer, ask, verdict))
            asks += self._hand_over(advance(self.rulebook, customer, at + 1))
            if customer.asking is None:
                self._want(customer)

    def _hand_over(self, out: list[Decision]) -> list[Ask]:
        asks = []
        for decision in out:
            if decision.__class__ is Ask:
                asks.append(decision)
            else:
                if self._notes:
                    self.ledger.note(decision)
                self.take(decision)
        return asks

    def _want(self, customer: Customer) -> None:
        wake = customer.wake
        if wake < NEVER and wake < self._wanted.get(customer.id, NEVER):
            self._wanted[customer.id] = wake
            self.wakes.add(wake, customer.id)


def _idle(book: Rulebook) -> set[type[AnyEvent]]:
    """List the event types that nothing comes of: with slots there are none, since every event makes its customer known."""
    return {cls for cls, plan in book.plans.items() if plan.idle and not book.has_slots}  # type: ignore[misc]


def _turn(ask: Ask) -> tuple[int, int, int, str, str, str]:
    return (ask.at, -ask.priority, ask.due, ask.rule, ask.customer, ask.wait.identity or "")
