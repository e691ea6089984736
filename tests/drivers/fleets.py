"""A fleet in memory: partitions and the limits' owner, their records in lists, worked on in any order by chance."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from triggers.drivers.kafka.limits import Owner
from triggers.drivers.kafka.partition import Partition
from triggers.drivers.kafka.records import (
    OWN,
    TICK,
    Sending,
    decode_command,
    decode_question,
    decode_reported,
    encode_answered,
    encode_place,
)
from triggers.store.decisions import DecisionRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from triggers.core.decisions import Send
    from triggers.core.rulebook import Rulebook
    from triggers.drivers.kafka.turns import Turn


class Record(NamedTuple):
    """A record as a consumer reads it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Any, ...] = ()


def spread(customer: str, partitions: int) -> int:
    """Choose a partition for a customer; any function of the name does."""
    return sum(customer.encode()) % partitions


class Fleet:
    """Partitions of one log, worked on one step at a time: a chunk, some answers, or some questions."""

    def __init__(self, book: Rulebook, partitions: int, seed: int, *, crashes: float = 0.0, most: int = 200) -> None:
        self.book = book
        self.chance = random.Random(seed)  # noqa: S311  chance that a seed repeats
        self.crashes = crashes
        self.most = most
        self.logs: list[list[Record]] = [[] for _ in range(partitions)]
        self.questions: list[bytes] = []
        self.verdicts: list[list[Record]] = [[] for _ in range(partitions)]
        self.rows: list[dict[bytes, bytes]] = [{} for _ in range(partitions)]
        self.owner_rows: dict[bytes, bytes] = {}
        self.commands: list[Any] = []
        self.decided: list[DecisionRow] = []
        self.read = [0] * partitions
        self.letters: list[str] = []
        self.partitions = [self._partition(number) for number in range(partitions)]
        self.owner = Owner(book, partitions, {})

    def _partition(self, number: int) -> Partition:
        return Partition(number, self.book, dict(self.rows[number]), virtual=True, at_hand=50)

    def write(self, bodies: Iterable[tuple[bytes, str, int]], *, tick_at: int) -> None:
        """Put events (body, customer, received_at) into their partitions, then a last tick into each."""
        for body, customer, at in bodies:
            self.put(body, customer, at)
        for number in range(len(self.logs)):
            self.append(number, tick_at, None, TICK)

    def put(self, body: bytes, customer: str, at: int) -> None:
        """Put an event into its customer's partition."""
        self.append(spread(customer, len(self.logs)), at, customer.encode(), body)

    def append(self, number: int, at: int, key: bytes | None, value: bytes | None) -> None:
        """Put one record into a partition."""
        self.logs[number].append(Record("events", number, len(self.logs[number]), at, key, value))

    def run(self) -> None:
        """Work until nothing is left to do, in an order that chance gives."""
        while work := self._work():
            kind, number = self.chance.choice(work)
            if self.chance.random() < self.crashes:
                self._crash(kind, number)
            elif kind == "log":
                size = self.chance.randint(1, self.most)
                chunk = self.logs[number][self.read[number] : self.read[number] + size]
                self.commit(number, self.partitions[number].take(chunk))
                self.read[number] += len(chunk)
            elif kind == "verdicts":
                place = self.partitions[number].place.verdict + 1
                chunk = self.verdicts[number][place : place + self.chance.randint(1, self.most)]
                self.commit(number, self.partitions[number].answer(chunk))
            else:
                self._answer(self.chance.randint(1, self.most))

    def _work(self) -> list[tuple[str, int]]:
        work = [("log", i) for i, log in enumerate(self.logs) if self.read[i] < len(log)]
        work += [
            ("verdicts", i)
            for i, verdicts in enumerate(self.verdicts)
            if self.partitions[i].place.verdict + 1 < len(verdicts)
        ]
        return work + [("asks", 0)] * (self.owner.position + 1 < len(self.questions))

    def _crash(self, kind: str, number: int) -> None:
        """Lose what is in memory, before or after a turn that was not written."""
        if kind == "asks":
            self.owner = Owner(self.book, len(self.logs), dict(self.owner_rows))
            return
        if self.chance.random() < 0.5:  # it had worked on, but nothing of it was written
            chunk = self.logs[number][self.read[number] : self.read[number] + 3]
            next(self.partitions[number].take(chunk), None)
        self.begin_anew(number)
        self.read[number] = max(0, self.partitions[number].place.position - 5)

    def begin_anew(self, number: int) -> None:
        """Let a partition go on from what is written."""
        self.partitions[number] = self._partition(number)
        self.commit(number, self.partitions[number].resume())

    def change(self, book: Rulebook) -> None:
        """Go over to other rules."""
        self.book = book
        self.owner.adopt(book)
        for number, partition in enumerate(self.partitions):
            self.commit(number, partition.change(book))

    def commit(self, number: int, turns: Iterable[Turn]) -> None:
        """Write what a partition decided."""
        for turn in turns:
            for key, row in turn.states:
                self.rows[number][key] = row  # type: ignore[index]  # only decisions have records without a key
            self.rows[number][OWN] = encode_place(turn.place)
            self.commands += [decode_command(value) for _, value in turn.commands]
            reported = [decode_reported(value) for _, value in turn.decisions]
            self.decided += [each for each in reported if isinstance(each, DecisionRow)]
            self.questions += turn.asks
            self.letters += [letter.reason for _, letter in turn.letters]

    def numbered(self, place: int, most: int) -> list[tuple[int, Any]]:
        """Read questions from a place on, each with its place."""
        return [(place + i, decode_question(each)) for i, each in enumerate(self.questions[place : place + most])]

    def _answer(self, most: int) -> None:
        answers, rows = self.owner.take(self.numbered(self.owner.position + 1, most))
        for key, row in rows:
            if row is None:
                self.owner_rows.pop(key, None)
            else:
                self.owner_rows[key] = row
        for number, answered in answers:
            verdicts = self.verdicts[number]
            verdicts.append(Record("verdicts", number, len(verdicts), 0, None, encode_answered(answered)))

    @property
    def sends(self) -> list[Send]:
        """The messages that were to leave."""
        return [command.send for command in self.commands if isinstance(command, Sending)]


def lines(sends: Iterable[Send]) -> list[bytes]:
    """Write sends out, in order, so that two runs can be compared to the last line."""
    return sorted(msgspec.json.encode(send) for send in sends)
