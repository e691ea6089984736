"""Plays the customers of a partition, each by themselves: they meet events, wake, are answered and follow other rules.

Customers do not know each other but through the shared limits. One who asks the owner of those waits: what happens to
them meanwhile stands in ``behind`` and is played after the answer, so that the answer might as well have come at once, as
it does in a replay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from triggers.core.engine import advance, answer, handle, reconcile
from triggers.core.slots import open_passed
from triggers.core.times import NEVER
from triggers.drivers.kafka.bounds import end_half, meet_early
from triggers.drivers.kafka.foresight import soonest
from triggers.drivers.kafka.people import People
from triggers.drivers.kafka.turns import Turn

if TYPE_CHECKING:
    from triggers.core.decisions import Decision
    from triggers.core.events import AnyEvent
    from triggers.core.rulebook import Rulebook
    from triggers.drivers.kafka.records import Answered, State


class Play:
    """The customers of a partition at the instant ``clock`` (epoch ms) of its log; what is decided goes into ``turn``.

    ``stalled`` are those who wait for an answer, each with when they may ask beside what their question says, and the place
    of the first event held for them. All others have passed the slots up to ``opened``; ``slot`` is the next one.
    """

    def __init__(
        self,
        number: int,
        book: Rulebook,
        rows: dict[bytes, bytes],
        *,
        clock: int,
        opened: int,
        virtual: bool,
        at_hand: int,
    ) -> None:
        self.book = book
        self.clock = clock
        self.people = People(rows, at_hand, self._give_way)
        self.stalled: dict[bytes, tuple[int, int]] = {}
        self._number = number
        self._virtual = virtual
        self.turn = Turn(virtual=virtual)
        self.pass_slots(opened)
        for key in self.people.asking():
            self._stall(key, self._state(key))

    def asks_from(self) -> int:
        """Tell from when on somebody may ask something, epoch ms; NEVER where the rules share nothing.

        That must be told, too: others, and those customers whose questions are open, wait for this partition's word.
        """
        if not self.book.shares:
            return NEVER
        return min(self.clock, min((since for since, _ in self.stalled.values()), default=NEVER))

    def held(self) -> dict[str, int]:
        """Tell for whom events are held, and the place before the first of those."""
        return {key.decode(): begin - 1 for key, (_, begin) in self.stalled.items() if begin >= 0}

    def pass_slots(self, opened: int) -> None:
        """Note that every customer who does not wait for an answer has passed the slots up to an instant, epoch ms."""
        self.opened = opened
        self.slot = self.book.next_slot(opened)

    def end_turn(self) -> Turn:
        """Give what was decided since the last time, with the records of those it was decided for."""
        turn = self.turn
        turn.states = self.people.written()  # may decide, too: where a record is too large
        self.turn = Turn(virtual=self._virtual)
        return turn

    # Events

    def meet(self, key: bytes, position: int, event: AnyEvent) -> None:
        """Let a customer meet an event that came at the clock's instant; what is kept of it need not say when it came."""
        state = self.people.at_hand.get(key) or self._state(key)
        self.people.touched[key] = None
        customer, now = state.customer, self.clock
        if state.ask is not None:
            self._hold(key, state, [(position, event)])
            return
        if customer.wake < now or self.slot < now:
            self._play(key, state, [(position, event)])
            return
        event.received_at = None
        out: list[Decision] = []  # as _play does where no timer is due, without its calls
        handle(self.book, customer, event, now, out)
        if out:
            self._decide(key, state, out, now)

    def _play(self, key: bytes, state: State, events: list[tuple[int, AnyEvent]], *, late: bool = False) -> None:
        """Let a customer meet events, with the timers before each; those behind a question wait for the answer.

        ``late`` is true after an answer: the others have passed slots meanwhile that this customer has not.
        """
        customer = state.customer
        for number, (_, event) in enumerate(events):
            now: int = event.received_at  # type: ignore[assignment]  # stamped when it was read
            out = advance(self.book, customer, now) if late or customer.wake < now or self.slot < now else []
            if customer.asking is None:
                event.received_at = None
                handle(self.book, customer, event, now, out)
                if out:
                    self._decide(key, state, out, now)
            else:
                self._decide(key, state, out, now)
                self._hold(key, state, events[number:])
                return

    def _hold(self, key: bytes, state: State, events: list[tuple[int, AnyEvent]]) -> None:
        """Keep events for when the customer's question is answered."""
        known = self.stalled[key][0]
        held = [event for _, event in state.behind]
        first = soonest(self.book, state.customer, [event for _, event in events], held)
        state.behind = [*state.behind, *events]
        self.stalled[key] = (min(known, first), state.behind[0][0])

    def _stall(self, key: bytes, state: State) -> None:
        """Note that a customer asks, and what that means for those events of theirs that wait.

        A question that an edit has voided told nothing of what its customer may ask by other rules, from the edit on.
        """
        behind, state.behind = state.behind, []
        customer = state.customer
        self.stalled[key] = (NEVER if customer.asking is not None else customer.opened + 1, -1)
        if behind:
            self._hold(key, state, behind)

    def _decide(self, key: bytes, state: State, out: list[Decision], now: int) -> None:
        ask = self.turn.take(self._number, self.book, key, state.customer, out, now)
        if ask is not None:
            state.ask = ask
            self._stall(key, state)

    # Time

    def wake_touched(self) -> None:
        """Let the timers of those act who were touched; most of them have none that is due."""
        at_hand, clock, slots = self.people.at_hand, self.clock, self.slot < self.clock
        for key in list(self.people.touched):
            if slots or at_hand[key].customer.wake < clock:
                self.wake(key)

    def wake(self, key: bytes) -> None:
        """Let a customer's timers act; one for whom nothing happens is not written, one who asks looks after the answer."""
        if key in self.stalled:
            return
        state = self._state(key)
        customer = state.customer
        before = customer.wake
        if before >= self.clock <= self.slot:
            return
        out = advance(self.book, customer, self.clock)
        if out or customer.wake != before:
            self.people.touched[key] = None
            self._decide(key, state, out, self.clock)

    # Answers

    def hear(self, told: Answered) -> None:
        """Go on with a customer whose question was answered; an answer to what is not asked any more changes nothing."""
        key = told.customer.encode()
        if key not in self.people:
            return
        state = self._state(key)
        if state.ask is None or state.ask.command != told.command:
            return
        out = answer(self.book, state.customer, state.ask, told.verdict)
        self.people.touched[key] = None
        del self.stalled[key]
        at, state.ask = state.ask.at, None
        behind, state.behind = state.behind, []
        self._decide(key, state, out, at)
        asking = self.stalled  # the answer may have brought another question
        if key not in asking:
            self._play(key, state, behind, late=True)
        elif behind:
            self._hold(key, state, behind)
        if key not in asking:
            self._decide(key, state, advance(self.book, state.customer, self.clock), self.clock)

    # Rules

    def move_over(self, key: bytes, former: Rulebook) -> None:
        """Move a customer over to the rules at hand; one for whom nothing changes is not written."""
        known = self.people.at_hand.get(key)
        state = known or self._state(key)
        idle = not state.customer.waits and state.ask is None and not self.book.renamed
        out = open_passed(former, state.customer, self.clock) if state.ask is not None else []
        out += reconcile(self.book, state.customer, self.clock)
        if idle:
            if known is None:
                self.people.let_go(key)  # the place tells which slots have passed
            return
        self.people.touched[key] = None
        self._decide(key, state, out, self.clock)
        if key in self.stalled:
            self._stall(key, state)  # what may make them ask goes by the rules

    # Room

    def _give_way(self, key: bytes, state: State) -> bool:
        """Decide on what is left of a customer whose record is too large; False where that is nothing."""
        if state.behind:
            for now, out in meet_early(self.book, state):
                self._decide(key, state, out, now)
            self.stalled[key] = (self.stalled[key][0], state.behind[0][0] if state.behind else -1)
        elif state.customer.waits:
            self._decide(key, state, end_half(state.customer, self.clock), self.clock)
        else:
            return False
        return True

    def _state(self, key: bytes) -> State:
        """Find a customer, or make them known now."""
        return self.people.find(key, self.clock, self.opened)
