"""One partition of the log, decided on: its records in order, the time that they tell, and what each turn writes.

It is a function of the partition's records and of the owner's answers, whoever runs it and in whatever chunks: each
customer is played by themselves (``playing``), up to their next event, and up to the time that the log has come to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from triggers.core.events import Event
from triggers.core.intake import decode_many, stamp
from triggers.drivers.kafka.foreign import decoded, place_of
from triggers.drivers.kafka.intake import check
from triggers.drivers.kafka.playing import Play
from triggers.drivers.kafka.records import OWN, TICK, Come, Place, decode_answered, decode_place
from triggers.errors import ServiceUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from triggers.core.customer import Customer
    from triggers.core.rulebook import Rulebook
    from triggers.drivers.kafka.letters import Record
    from triggers.drivers.kafka.turns import Turn


CUSTOMERS_IN_A_TURN = 2_000
"""How many customers a transaction writes at most where time wakes them; a chunk of the log may touch more."""
MOST_WAITING = 1_000
"""How many customers with undecided events a report names; of more it tells the place before the first of them."""


class Partition:
    """The engine of one partition. ``rows`` are its customers' records by key, as triggers.customers has them.

    ``place`` is how far it has come. Every method that decides gives turns, each of which must be on the broker before
    the next is asked for; if one cannot be written this object is of no more use. ``virtual`` is true where a message has
    left by the time of any later event, so that nothing is called back; ``at_hand`` is how many customers are kept
    decoded.
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
        own = rows.pop(OWN, None)
        self.place = place = Place() if own is None else decode_place(own)
        self._play = Play(number, book, rows, clock=place.clock, opened=place.opened, virtual=virtual, at_hand=at_hand)
        self._worker = worker
        self._promised = (-1, -1)

    def __len__(self) -> int:
        return len(self._play.people)

    @property
    def book(self) -> Rulebook:
        """The rules at hand."""
        return self._play.book

    @property
    def clock(self) -> int:
        """The time of its log, epoch ms."""
        return self._play.clock

    @property
    def waiting(self) -> int:
        """How many customers wait for an answer of the limits' owner."""
        return len(self._play.stalled)

    def copies(self, number: int) -> Iterator[list[Customer]]:
        """Give copies of all customers as they are now, so many at a time; what happens meanwhile does not matter."""
        return self._play.people.copies(number)

    def take(self, records: Sequence[Record]) -> Iterator[Turn]:
        """Decide on the next records of the partition; those it has decided on before are left out."""
        play, known = self._play, self.place.position
        fresh = [record for record in records if record.offset > known]
        if not fresh:
            return
        position = fresh[-1].offset
        if self.place.opened < 0:
            self._pass_slots(fresh[0].timestamp - 1)  # nobody was there before
        events = [record for record in fresh if record.key is not None or record.value != TICK]
        meanings = iter(decode_many([record.value or b"" for record in events], far_future_ok=True))
        for record in fresh:
            key = record.key
            play.clock = max(play.clock, record.timestamp)
            if key is None and record.value == TICK:
                continue
            meaning = next(meanings)
            if key is not None and isinstance(meaning, Event) and key == meaning.customer.encode():
                stamp(meaning, play.clock)
                try:
                    play.meet(key, record.offset, meaning)  # type: ignore[arg-type]  # one of AnyEvent
                except Exception as error:
                    error.add_note(f"at {place_of(record)}")
                    raise
            else:
                letter = check(record)
                assert letter is not None, "what is no letter was decoded"  # noqa: S101  a broken invariant
                play.turn.letters.append((record, letter))
        yield from self._let_pass(position)

    def resume(self) -> Iterator[Turn]:
        """Go on where the owner before was lost between two turns of a chunk: all events were met, not all timers."""
        if self.clock >= 0:
            yield from self._let_pass(self.place.position)

    def answer(self, records: Sequence[Record]) -> Iterator[Turn]:
        """Go on with the customers whose questions were answered."""
        for record in records:
            if record.offset <= self.place.verdict or (told := decoded(record, decode_answered)) is None:
                continue
            if told.number > self.place.answers + 1:
                raise ServiceUnusable(
                    f"answers {self.place.answers + 1} to {told.number - 1} of the limits' owner to partition {self.number}"
                    " are gone: the fleet stood still for longer than its topic of verdicts is kept"
                )
            self.place = replace(self.place, answers=told.number, verdict=record.offset)
            self._play.hear(told)
        yield from self._let_pass(self.place.position)

    def change(self, book: Rulebook) -> Iterator[Turn]:
        """Move all customers over to an edited set of rules at the clock's instant, between two records.

        The place goes on naming the old set until the last customer has been moved, so a crash in between begins anew.
        """
        play = self._play
        former, play.book = play.book, book
        if self.clock >= 0:
            for number, key in enumerate(play.people.keys(), start=1):
                play.move_over(key, former)
                if self._is_full() or number % CUSTOMERS_IN_A_TURN == 0:
                    yield self._end_turn(self.place.position)
            self._pass_slots(max(self.place.opened, self.clock - 1))
        self.place = replace(self.place, revision=book.revision)
        play.turn.must = True
        yield self._end_turn(self.place.position, last=True)

    def _let_pass(self, position: int) -> Iterator[Turn]:
        """Let the timers and slots of all instants before the clock act, and end the turn."""
        play, people = self._play, self._play.people
        play.wake_touched()
        if play.slot < play.clock:
            yield from self._open_slots(position)
        for key in people.woken(play.clock):
            play.wake(key)
            if self._is_full():
                yield self._end_turn(position)
        yield self._end_turn(position, last=True)

    def _open_slots(self, position: int) -> Iterator[Turn]:
        """Step every customer through the slots before the clock; who waits for an answer passes them after it."""
        play = self._play
        for number, key in enumerate(play.people.keys(), 1):
            if key not in play.people.touched:
                play.wake(key)
            if self._is_full() or number % CUSTOMERS_IN_A_TURN == 0:
                yield self._end_turn(position)  # also where little or nothing happened: others wait for their turn
        self._pass_slots(play.clock - 1)

    def _is_full(self) -> bool:
        """Tell whether a turn writes as many customers as it may."""
        return len(self._play.people.touched) >= CUSTOMERS_IN_A_TURN

    def _pass_slots(self, opened: int) -> None:
        self.place = replace(self.place, opened=opened)
        self._play.pass_slots(opened)

    def _end_turn(self, position: int, *, last: bool = False) -> Turn:
        """Give what was decided, to be written before anything else; the ``last`` turn of a chunk says how far it goes."""
        turn = self._play.end_turn()
        if last:
            self._say_how_far(turn, position)
        self.place = turn.place = replace(self.place, position=position, clock=self.clock)
        return turn

    def _say_how_far(self, turn: Turn, position: int) -> None:
        promise = (self._play.asks_from(), self.place.answers)
        if promise != self._promised:
            self._promised = promise
            turn.promise(self.number, *promise)
        waiting = self._play.held()
        if len(waiting) > MOST_WAITING:
            position, waiting = min(waiting.values()), {}
        turn.report(Come(self.number, position, self.clock, self.book.revision, self._worker, waiting))
