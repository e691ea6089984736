"""One partition of the log, decided on: its customers, their timers, and their questions to the limits' owner.

It is a function of the partition's records and of the owner's answers, whoever runs it and in whatever chunks. Customers
do not know each other but through the shared limits, so each is played by itself: up to its next event, and up to the
time that the log has come to. A customer who asks the owner waits: what happens to them meanwhile stands in ``behind``
and is played after the answer, so that the answer might as well have come at once, as it does in a replay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from triggers.core.engine import advance, answer, handle, reconcile
from triggers.core.events import Event
from triggers.core.intake import decode_many, stamp
from triggers.core.slots import open_passed
from triggers.core.times import NEVER
from triggers.drivers.kafka.bounds import end_half, meet_early
from triggers.drivers.kafka.foresight import soonest
from triggers.drivers.kafka.intake import check
from triggers.drivers.kafka.people import People
from triggers.drivers.kafka.records import OWN, TICK, Come, Place, State, decode_answered, decode_place
from triggers.drivers.kafka.turns import Turn
from triggers.errors import ServiceUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from triggers.core.customer import Customer
    from triggers.core.decisions import Decision
    from triggers.core.events import AnyEvent
    from triggers.core.rulebook import Rulebook
    from triggers.drivers.kafka.letters import Record


CUSTOMERS_IN_A_TURN = 2_000
"""How many customers a transaction writes at most where time wakes them; a chunk of the log may touch more."""
MOST_WAITING = 1_000
"""How many customers with undecided events a report names; of more it tells the place before the first of them."""


class Partition:
    """The engine of one partition. ``rows`` are its customers' records by key, as triggers.customers has them.

    ``place`` is how far it has come and ``clock`` (epoch ms) the time of its log. Every method that decides gives turns,
    each of which must be on the broker before the next is asked for; if one cannot be written this object is of no more
    use. ``virtual`` is true where a message has left by the time of any later event, so that nothing is called back;
    ``at_hand`` is how many customers are kept decoded.
    """

    def __init__(
        self,
        number: int,
        book: Rulebook,
        rows: dict[bytes, bytes],
        *,
        worker: str = "",
        virtual: bool = False,
        at_hand: int = 20_000,
    ) -> None:
        self.number = number
        self.book = book
        own = rows.pop(OWN, None)
        self.place = Place() if own is None else decode_place(own)
        self.clock = self.place.clock
        self._people = People(rows, at_hand, self._give_way)
        self._worker = worker
        self._virtual = virtual
        self._stalled: dict[bytes, tuple[int, int]] = {}
        """Who waits for an answer: when held events may make them ask, and where those begin."""
        self._slot = book.next_slot(self.place.opened)
        self._promised = (-1, -1)
        self._turn = Turn(virtual=virtual)
        for key in self._people.asking():
            self._stall(key, self._state(key))

    def __len__(self) -> int:
        return len(self._people)

    @property
    def waiting(self) -> int:
        """How many customers wait for an answer of the limits' owner."""
        return len(self._stalled)

    # The log

    def take(self, records: Sequence[Record]) -> Iterator[Turn]:
        """Decide on the next records of the partition; those it has decided on before are left out."""
        fresh = [record for record in records if record.offset > self.place.position]
        if not fresh:
            return
        position = fresh[-1].offset
        if self.place.opened < 0:
            self._pass_slots(fresh[0].timestamp - 1)  # nobody was there before
        events = [record for record in fresh if record.key is not None or record.value != TICK]
        meanings = decode_many([record.value or b"" for record in events], far_future_ok=True)
        place = 0
        for record in fresh:
            key = record.key
            self.clock = max(self.clock, record.timestamp)
            if key is None and record.value == TICK:
                continue
            meaning = meanings[place]
            place += 1
            if key is not None and isinstance(meaning, Event) and key == meaning.customer.encode():
                stamp(meaning, self.clock)
                try:
                    self._meet(key, record.offset, meaning)  # type: ignore[arg-type]  # one of AnyEvent
                except Exception as error:
                    error.add_note(f"at {record.topic}/{record.partition}/{record.offset}")
                    raise
            else:
                letter = check(record)
                assert letter is not None, "what is no letter was decoded"  # noqa: S101  a broken invariant
                self._turn.letters.append((record, letter))
        yield from self._let_pass(position)

    def resume(self) -> Iterator[Turn]:
        """Go on where the owner before was lost between two turns of a chunk: all events were met, not all timers."""
        if self.clock >= 0:
            yield from self._let_pass(self.place.position)

    def _meet(self, key: bytes, position: int, event: AnyEvent) -> None:
        """Let a customer meet an event that came at the clock's instant."""
        state = self._people.at_hand.get(key) or self._state(key)
        self._people.touched[key] = None
        if state.ask is not None:
            self._hold(key, state, [(position, event)])
            return
        customer = state.customer
        if customer.wake < self.clock or self._slot < self.clock:
            self._play(key, state, [(position, event)])
            return
        out: list[Decision] = []  # as _play does where no timer is due, without its calls
        handle(self.book, customer, event, self.clock, out)
        if out:
            self._decide(key, state, out, self.clock)

    def _play(self, key: bytes, state: State, events: list[tuple[int, AnyEvent]], *, late: bool = False) -> None:
        """Let a customer meet events, with the timers before each; those behind a question wait for the answer.

        ``late`` is true after an answer: the others have passed slots meanwhile that this customer has not.
        """
        customer = state.customer
        for number, (_, event) in enumerate(events):
            now: int = event.received_at  # type: ignore[assignment]  # stamped when it was read
            out = advance(self.book, customer, now) if late or customer.wake < now or self._slot < now else []
            if customer.asking is None:
                handle(self.book, customer, event, now, out)
                if out:
                    self._decide(key, state, out, now)
            else:
                self._decide(key, state, out, now)
                self._hold(key, state, events[number:])
                return

    def _hold(self, key: bytes, state: State, events: list[tuple[int, AnyEvent]]) -> None:
        """Keep events for when the customer's question is answered."""
        known = self._stalled.get(key, (NEVER, -1))[0] if state.behind else NEVER
        held = [event for _, event in state.behind]
        first = soonest(self.book, state.customer, [event for _, event in events], held)
        state.behind = [*state.behind, *events]
        self._stalled[key] = (min(known, first), state.behind[0][0])

    def _stall(self, key: bytes, state: State) -> None:
        """Note that a customer asks, and what that means for those events of theirs that wait."""
        behind, state.behind = state.behind, []
        self._stalled[key] = (NEVER, -1)
        if behind:
            self._hold(key, state, behind)

    def _decide(self, key: bytes, state: State, out: list[Decision], now: int) -> None:
        ask = self._turn.take(self.number, self.book, key, state.customer, out, now)
        if ask is not None:
            state.ask = ask
            self._stall(key, state)

    # Time

    def _let_pass(self, position: int) -> Iterator[Turn]:
        """Let the timers and slots of all instants before the clock act, and end the turn."""
        people = self._people
        for key in list(people.touched):
            if key not in self._stalled:
                self._wake(key)
        if self._slot < self.clock:
            yield from self._open_slots(position)
        for key in people.woken(self.clock):
            if key not in self._stalled:  # who is will be looked at after the answer
                self._wake(key)
            if len(people.touched) >= CUSTOMERS_IN_A_TURN:
                yield self._end_turn(position)
        yield self._end_turn(position, last=True)

    def _open_slots(self, position: int) -> Iterator[Turn]:
        """Step every customer through the slots before the clock; who waits for an answer passes them after it."""
        for number, key in enumerate(self._people.keys(), 1):
            if key not in self._stalled and key not in self._people.touched:
                self._wake(key)
            if len(self._people.touched) >= CUSTOMERS_IN_A_TURN or number % CUSTOMERS_IN_A_TURN == 0:
                yield self._end_turn(position)  # also where little or nothing happened: others wait for their turn
        self._pass_slots(self.clock - 1)

    def _pass_slots(self, opened: int) -> None:
        """Note that every customer who does not wait for an answer has passed the slots up to an instant, epoch ms."""
        self.place = replace(self.place, opened=opened)
        self._slot = self.book.next_slot(opened)

    def _wake(self, key: bytes) -> None:
        """Let a customer's timers act; one for whom nothing happens is not written."""
        state = self._state(key)
        customer = state.customer
        before = customer.wake
        if before >= self.clock <= self._slot:
            return
        out = advance(self.book, customer, self.clock)
        if out or customer.wake != before:
            self._people.touched[key] = None
            self._decide(key, state, out, self.clock)

    # Answers

    def answer(self, records: Sequence[Record]) -> Iterator[Turn]:
        """Go on with the customers whose questions were answered."""
        for record in records:
            if record.offset <= self.place.verdict or record.value is None:
                continue
            told = decode_answered(record.value)
            if told.number > self.place.answers + 1:
                raise ServiceUnusable(
                    f"answers {self.place.answers + 1} to {told.number - 1} of the limits' owner to partition {self.number}"
                    " are gone: the fleet stood still for longer than its topic of verdicts is kept"
                )
            self.place = replace(self.place, answers=told.number, verdict=record.offset)
            key = told.customer.encode()
            if (
                key in self._people
                and (state := self._state(key)).ask is not None
                and state.ask.command == told.command
            ):
                self._go_on(key, state, answer(self.book, state.customer, state.ask, told.verdict))
        yield from self._let_pass(self.place.position)

    def _go_on(self, key: bytes, state: State, out: list[Decision]) -> None:
        """Take an answered question's outcome, then play what happened since."""
        assert state.ask is not None  # noqa: S101  an invariant: it was answered
        self._people.touched[key] = None
        del self._stalled[key]
        at, state.ask = state.ask.at, None
        behind, state.behind = state.behind, []
        self._decide(key, state, out, at)
        asking = self._stalled  # the answer may have brought another question
        if key in asking:
            self._hold(key, state, behind)
        else:
            self._play(key, state, behind, late=True)
        if key not in asking:
            self._decide(key, state, advance(self.book, state.customer, self.clock), self.clock)

    # Rules

    def change(self, book: Rulebook) -> Iterator[Turn]:
        """Move all customers over to an edited set of rules at the clock's instant, between two records.

        The place goes on naming the old set until the last customer has been moved, so a crash in between begins anew.
        """
        former, self.book = self.book, book
        if self.clock >= 0:
            for number, key in enumerate(self._people.keys(), start=1):
                self._move_over(key, former)
                if len(self._people.touched) >= CUSTOMERS_IN_A_TURN or number % CUSTOMERS_IN_A_TURN == 0:
                    yield self._end_turn(self.place.position)
            self._pass_slots(max(self.place.opened, self.clock - 1))
        self.place = replace(self.place, revision=book.revision)
        self._turn.must = True
        yield self._end_turn(self.place.position, last=True)

    def _move_over(self, key: bytes, former: Rulebook) -> None:
        """Move a customer over to the rules at hand; one for whom nothing changes is not written."""
        known = self._people.at_hand.get(key)
        state = known or self._state(key)
        idle = not state.customer.waits and state.ask is None and not self.book.renamed
        out = open_passed(former, state.customer, self.clock) if state.ask is not None else []
        out += reconcile(self.book, state.customer, self.clock)
        if idle:
            if known is None:
                del self._people.at_hand[key]  # the place tells which slots have passed
            return
        self._people.touched[key] = None
        self._decide(key, state, out, self.clock)
        if key in self._stalled:
            self._stall(key, state)  # what may make them ask goes by the rules

    def copies(self, number: int) -> Iterator[list[Customer]]:
        """Give copies of all customers as they are now, so many at a time; what happens meanwhile does not matter."""
        return self._people.copies(number)

    # Turns

    def _state(self, key: bytes) -> State:
        """Find a customer, or make them known now."""
        return self._people.find(key, self.clock, self.place.opened)

    def _end_turn(self, position: int, *, last: bool = False) -> Turn:
        """Give what was decided, to be written before anything else; the ``last`` turn of a chunk says how far it goes."""
        turn = self._turn
        turn.states = self._people.written()
        self._turn = Turn(virtual=self._virtual)
        if last:
            self._say_how_far(turn, position)
        self.place = turn.place = replace(self.place, position=position, clock=self.clock)
        return turn

    def _give_way(self, key: bytes, state: State) -> bool:
        """Decide on what is left of a customer whose record is too large; False where that is nothing."""
        if state.behind:
            for now, out in meet_early(self.book, state):
                self._decide(key, state, out, now)
            self._stalled[key] = (self._stalled[key][0], state.behind[0][0] if state.behind else -1)
        elif state.customer.waits:
            self._decide(key, state, end_half(state.customer, self.clock), self.clock)
        else:
            return False
        return True

    def _say_how_far(self, turn: Turn, position: int) -> None:
        promise = (self._asks_from(), self.place.answers)
        if promise != self._promised:
            self._promised = promise
            turn.promise(self.number, *promise)
        turn.report(self._come(position))

    def _asks_from(self) -> int:
        """Tell from when on this partition may ask something, epoch ms; NEVER where its rules share nothing.

        That must be told, too: others, and those of its own customers whose questions are open, wait for its word.
        """
        if not self.book.shares:
            return NEVER
        return min(self.clock, min((since for since, _ in self._stalled.values()), default=NEVER))

    def _come(self, position: int) -> Come:
        waiting = {key.decode(): begin - 1 for key, (_, begin) in self._stalled.items() if begin >= 0}
        if len(waiting) > MOST_WAITING:
            position, waiting = min(waiting.values()), {}
        return Come(self.number, position, self.clock, self.book.revision, self._worker, waiting)
