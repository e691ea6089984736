"""What one turn of a partition brings: the records that one transaction writes, and what the core's decisions become."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from triggers.core.decisions import Ask, Ended, LateCancel, Postponed, Released, Responded, Send
from triggers.core.times import NEVER
from triggers.drivers.kafka.foresight import after_message, next_try
from triggers.drivers.kafka.records import (
    Asked,
    Cancel,
    Passed,
    Place,
    Sending,
    Told,
    encode_command,
    encode_question,
    encode_reported,
)
from triggers.store.decisions import row_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from triggers.core.customer import Customer
    from triggers.core.decisions import Decision, Reason
    from triggers.core.rulebook import Rulebook
    from triggers.drivers.kafka.letters import Letter, Record
    from triggers.drivers.kafka.records import Come

Pair: TypeAlias = tuple[bytes | None, bytes]
"""The key and the value of a record."""


class Turn:
    """The records of one transaction, by topic, and the place that the partition has come to with it.

    ``counts`` are ends and postponements by rule and reason; ``letters`` are records of the log that the engine refuses,
    each with why. In ``virtual`` time a message has left by the time of any later event: nothing is called back.
    """

    __slots__ = ("_virtual", "asks", "commands", "counts", "decisions", "letters", "must", "place", "states")

    def __init__(self, *, virtual: bool = False) -> None:
        self._virtual = virtual
        self.states: list[Pair] = []
        self.commands: list[Pair] = []
        self.decisions: list[Pair] = []
        self.asks: list[bytes] = []
        self.letters: list[tuple[Record, Letter]] = []
        self.counts: Counter[tuple[str, Reason]] = Counter()
        self.must = False
        self.place = Place()

    @property
    def matters(self) -> bool:
        """Whether anything would be lost without it: a turn that only lets time pass need not be written."""
        return bool(self.must or self.states or self.asks or self.letters)

    def take(
        self, partition: int, book: Rulebook, key: bytes, customer: Customer, out: Iterable[Decision], now: int
    ) -> Ask | None:
        """Turn a customer's decisions at ``now`` into records; gives the question that the customer now waits for."""
        asked = None
        for decision in out:
            if isinstance(decision, Ask):
                asked = decision
                self.asks.append(encode_question(_asked(partition, book, customer, decision)))
            elif isinstance(decision, Released):
                self.asks.append(encode_question(Told(partition, decision.at, released=decision)))
            elif isinstance(decision, Responded):
                self.asks.append(encode_question(Told(partition, now, answered=decision)))
            else:
                self._note(book, key, customer, decision)
        return asked

    def promise(self, partition: int, clock: int, answers: int) -> None:
        """Tell the limits' owner how far this partition has come."""
        self.asks.append(encode_question(Passed(partition, clock, answers)))

    def report(self, come: Come) -> None:
        """Tell the reporting database how far this partition has come."""
        self.decisions.append((None, encode_reported(come)))

    def _note(self, book: Rulebook, key: bytes, customer: Customer, decision: Decision) -> None:
        if isinstance(decision, Send):
            if not decision.withheld and not decision.shadow:
                self.commands.append((key, encode_command(Sending(decision, customer.facts.phone))))
            return
        row = row_of(decision, book.revision)
        if row is not None:
            self.decisions.append((key, encode_reported(row)))
        if isinstance(decision, Ended) or isinstance(decision, Postponed):  # noqa: SIM101  two are faster than a union
            self.counts[decision.wait.rule, decision.reason] += 1
        elif isinstance(decision, LateCancel) and not self._virtual:
            for rule in book.names_of(decision.rule):
                cancel = Cancel(customer.id, rule, decision.identity, decision.anchor, decision.event)
                self.commands.append((key, encode_command(cancel)))


def _asked(partition: int, book: Rulebook, customer: Customer, ask: Ask) -> Asked:
    """Say what a customer asks, and when the next question can come at the earliest, whatever the answer.

    It is that of another wait, of the same one held back, of a slot, or what a message that leaves meanwhile leads to.
    """
    following = min(ask.again, next_try(book, customer, ask.wait), after_message(book, customer, ask.at))
    slim = msgspec.structs.replace(ask.wait, trigger=None, later=None)
    return Asked(partition, msgspec.structs.replace(ask, wait=slim), min(following, NEVER))
