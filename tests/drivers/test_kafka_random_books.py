"""Random rules over random events: a fleet in memory decides all that a replay decides, whatever breaks on the way.

TRIGGERS_TEST_BOOKS says how many books are tried (default 60), TRIGGERS_TEST_BOOK from which seed on (default 0).
"""

from __future__ import annotations

import os
import random
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from fleets import Fleet, lines
from random_books import Came, edited, some_book, some_events
from scenes import DAY, HOUR, MINUTE

from triggers.core.decisions import Send
from triggers.core.intake import decode, stamp
from triggers.drivers.kafka import partition, people
from triggers.drivers.kafka.limits import Owner
from triggers.drivers.kafka.partition import Partition
from triggers.drivers.kafka.records import TICK
from triggers.replay.replay import Replay
from triggers.store.decisions import row_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from triggers.core.rulebook import Rulebook
    from triggers.drivers.kafka.turns import Turn

BOOKS = int(os.environ.get("TRIGGERS_TEST_BOOKS", "60"))
FIRST = int(os.environ.get("TRIGGERS_TEST_BOOK", "0"))
BATCHES = 5
AFTER_THE_END = 30 * DAY


class Breaking(Fleet):
    """A fleet whose turns break off in the middle: some are written, the next is not."""

    def play(self, chance: random.Random, came: Iterable[Came], until: int) -> None:
        """Let events come, with ticks among them, and work until time has come to ``until`` everywhere."""
        for at, customer, body in came:
            self.write([(body, customer, at)], tick_at=at) if chance.random() < 0.1 else self.put(body, customer, at)
        for number in range(len(self.logs)):
            self.append(number, until, None, TICK)
        self.run()

    def change(self, made: Rulebook) -> None:
        """Go over to other rules, each partition after some crashes on the way."""
        self.check_settled()
        self.book = made
        for number in range(len(self.partitions)):
            while self.chance.random() < self.crashes:
                turns = self.partitions[number].change(made)
                self.commit(number, islice(turns, self.chance.randint(0, 2)))
                self.partitions[number] = self._partition(number)
        super().change(made)
        self.run()

    def check_settled(self) -> None:
        """See that no question is open."""
        assert self.owner.open == 0
        assert [each.waiting for each in self.partitions] == [0] * len(self.partitions)

    def _partition(self, number: int) -> Partition:
        return Partition(number, self.book, dict(self.rows[number]), virtual=True, at_hand=2)

    def _crash(self, kind: str, number: int) -> None:
        if kind == "asks":
            if self.chance.random() < 0.5:
                place = self.owner.position + 1
                self.owner.take(self.numbered(place, 3))
            self.owner = Owner(self.book, len(self.logs), dict(self.owner_rows))
            return
        turns: Iterator[Turn]
        if kind == "log":
            turns = self.partitions[number].take(self.logs[number][self.read[number] : self.read[number] + 7])
        else:
            place = self.partitions[number].place.verdict + 1
            turns = self.partitions[number].answer(self.verdicts[number][place : place + 7])
        self.commit(number, islice(turns, self.chance.randint(0, 3)))
        next(turns, None)
        self.begin_anew(number)
        self.read[number] = max(0, self.partitions[number].place.position + 1 - self.chance.randint(0, 5))


class Edit(NamedTuple):
    """Other rules from a time on, epoch ms; None: never."""

    book: Rulebook | None
    at: int


def replayed(made: Rulebook, came: list[Came], until: int, edit: Edit) -> tuple[list[Send], Counter[Any]]:
    sends: list[Send] = []
    rows: Counter[Any] = Counter()

    def take(decision: Any) -> None:
        if isinstance(decision, Send) and not decision.withheld and not decision.shadow:
            sends.append(decision)
        if (row := row_of(decision, replay.rulebook.revision)) is not None:
            rows[row] += 1

    events = []
    for each in came:
        event = decode(each.body, far_future_ok=True)
        stamp(event, each.at)  # type: ignore[arg-type]  # all are good
        events.append(event)
    replay = Replay(made, take, clock=came[0].at - 1)
    replay.play(event for event in events if event.received_at < edit.at)  # type: ignore[misc]  # as above
    if edit.book is not None:
        replay.run_until(edit.at)
        replay.change(edit.book)
    replay.play(event for event in events if event.received_at >= edit.at)  # type: ignore[misc]  # as above
    replay.run_until(until)
    return sends, rows


def fleet_of(chance: random.Random, made: Rulebook, came: list[Came], until: int, edit: Edit) -> Breaking:
    partitions = chance.choice((1, 2, 3, 8))
    crashes = chance.choice((0.0, 0.1, 0.4))
    fleet = Breaking(made, partitions, chance.randrange(1 << 30), crashes=crashes, most=chance.choice((1, 5, 50)))
    fleet.play(chance, [each for each in came if each.at < edit.at], min(until, edit.at))
    if edit.book is not None:
        fleet.change(edit.book)
        fleet.play(chance, [each for each in came if each.at >= edit.at], until)
    return fleet


def check_one(seed: int, *, edits: bool) -> int:
    chance = random.Random(seed)  # noqa: S311  chance that a seed repeats
    made, came = some_book(chance, edits=edits), some_events(chance)
    until = came[-1].at + AFTER_THE_END
    edit = Edit(None, until)
    if edits:
        at = chance.randint(came[0].at + 1, came[-1].at + 2 * DAY) // HOUR * HOUR + chance.choice((0, 1, MINUTE))
        edit = Edit(edited(chance, made, at), at)
    sends, rows = replayed(made, came, until, edit)
    fleet = fleet_of(chance, made, came, until, edit)
    found = Counter(fleet.decided)
    assert fleet.letters == []
    fleet.check_settled()
    assert sorted((found - rows).items(), key=str) == [], f"seed {seed}: only the fleet decides this"
    assert sorted((rows - found).items(), key=str) == [], f"seed {seed}: only the replay decides this"
    assert lines(fleet.sends) == lines(sends), f"seed {seed}"
    return len(sends)


@pytest.mark.parametrize("edits", [False, True], ids=["at rest", "edited"])
@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_fleet_decides_all_that_a_replay_decides(batch: int, edits: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    monkeypatch.setattr(partition, "CUSTOMERS_IN_A_TURN", 2)
    monkeypatch.setattr(people, "LONG_PAST", 0)
    seeds = range(FIRST + batch, FIRST + BOOKS, BATCHES)
    sends = [check_one(seed, edits=edits) for seed in seeds]
    assert sum(map(bool, sends)) > len(sends) / 4, "too few of the books send anything"
