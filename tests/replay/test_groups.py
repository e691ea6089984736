"""Groups of customers and sorting on disk: nothing is lost, and order is kept."""

from __future__ import annotations

import random
import tempfile
from decimal import Decimal

import pytest

from triggers.core.events import OrderPaid, StoreVisited
from triggers.errors import OutputUnusable
from triggers.replay import groups as groups_module
from triggers.replay import sorting
from triggers.replay.groups import Groups
from triggers.replay.sorting import SortedLines

chance = random.Random(7)  # noqa: S311  a test's shuffle


def visits(number: int, *, customers: int = 50) -> list[StoreVisited]:
    return [StoreVisited(id=f"e{i}", customer=f"c{i % customers}", at=10**12 + i // 3) for i in range(number)]


def test_every_customer_is_in_one_group_with_all_events_in_the_order_dealt() -> None:
    events = visits(40_000)
    groups = Groups(8)
    for start in range(0, len(events), 700):
        groups.deal(events[start : start + 700])
    dealt = [list(group) for group in groups]
    assert len(dealt) > 1
    members = [{event.customer for event in group} for group in dealt]
    assert sum(map(len, members)) == 50
    for group, customers in zip(dealt, members, strict=True):
        assert group == [event for event in events if event.customer in customers]
    assert groups.share == 1.0


def test_an_event_comes_back_whole() -> None:
    event = OrderPaid(id="1", customer="c", at=5, received_at=7, order_id="o", amount=Decimal("0.10"))
    groups = Groups(1)
    groups.deal([event])
    assert [list(group) for group in groups] == [[event]]


@pytest.mark.parametrize("in_memory", [10**9, 0])
def test_groups_out_of_order_are_sorted_and_equal_instants_stay_as_they_came(
    in_memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups_module, "SORTED_IN_MEMORY", in_memory)
    events = visits(5_000)
    shuffled = chance.sample(events, len(events))
    groups = Groups(3)
    groups.deal(shuffled)
    got = [list(group) for group in groups.sorted()]
    assert sum(map(len, got)) == len(events)
    for group in got:
        customers = {event.customer for event in group}
        expected = [event for event in shuffled if event.customer in customers]
        assert group == sorted(expected, key=lambda event: event.at)


@pytest.mark.parametrize("most_held", [10**9, 5_000, 60])
def test_lines_are_sorted_however_little_is_held(most_held: int) -> None:
    lines = [b"%06d\n" % number for number in chance.sample(range(10_000), 3_000)]
    sorted_lines = SortedLines(most_held)
    for line in lines:
        sorted_lines.add(line)
    assert list(sorted_lines) == sorted(lines)


def test_few_files_are_open_however_many_runs_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "FAN_IN", 4)
    sorted_lines = SortedLines(1)
    for number in range(200, 0, -1):
        sorted_lines.add(b"%03d\n" % number)
    assert max(map(len, sorted_lines._levels)) < 4  # noqa: SLF001  the number of open files shows only here
    assert list(sorted_lines) == [b"%03d\n" % number for number in range(1, 201)]


def test_no_room_for_temporary_files_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(OutputUnusable, match="No space left on device; TMPDIR names a folder with room"):
        SortedLines(1).add(b"line\n")
