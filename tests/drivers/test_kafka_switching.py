"""A worker's partitions that move while its rules are switched: none ends on the old set, and no loss of one ends it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from fleets import Record
from test_rule_guard import SHOP, book, rule, waiting

from triggers.core.customer import Customer, Sent
from triggers.core.decisions import Ask, Reason
from triggers.drivers.kafka import holding as holding_module
from triggers.drivers.kafka import partition as partition_module
from triggers.drivers.kafka.crew import Crew
from triggers.drivers.kafka.limits import Owner
from triggers.drivers.kafka.records import (
    OWN,
    Asked,
    Passed,
    Place,
    State,
    decode_place,
    decode_state,
    encode_place,
    encode_state,
)
from triggers.drivers.kafka.settings import KafkaSettings
from triggers.drivers.kafka.worker_metrics import WorkerMetrics
from triggers.errors import PartitionLost, ServiceUnusable
from triggers.language import build_rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from triggers.core.rulebook import Rulebook
    from triggers.drivers.kafka.journal import Batch

DAY = 86_400_000
CLOCK = 1_788_000_000_000
SETTINGS = KafkaSettings(prefix="t.", app="t", partitions=2)


def named(revision: str, wait: str = "3d") -> Rulebook:
    made = book(rule(wait=wait))
    made.revision = revision
    return made


OLD, NEW, NEWER = named("old"), named("new", "4d"), named("newer", "5d")


class Log:
    """The records of all partitions' customers, and a gate at which whoever writes them can be kept."""

    def __init__(self) -> None:
        self.rows = {number: rows(OLD) for number in range(2)}
        self.writing = asyncio.Event()
        self.writing.set()
        self.busy = asyncio.Event()
        self.lost: set[int] = set()
        self.dies_after = 1_000
        self.turns = 0
        self.revisions: dict[int, list[str]] = {0: [], 1: []}


def rows(under: Rulebook) -> dict[bytes, bytes | None]:
    found: dict[bytes, bytes | None] = {OWN: encode_place(Place(5, CLOCK, CLOCK, revision=under.revision))}
    for customer in waiting(under, 6):
        found[customer.id.encode()] = encode_state(State(customer), customer.wake)
    return found


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()

    class Journal:
        def __init__(self, _settings: object, _name: str, _topic: str, number: int) -> None:
            self.number = number

        async def open(self) -> dict[bytes, bytes | None]:
            return dict(log.rows[self.number])

        async def commit(self, batches: Iterable[Batch]) -> None:
            log.busy.set()
            await log.writing.wait()
            if self.number in log.lost:
                raise PartitionLost("another worker has it")
            if log.turns >= log.dies_after:
                raise ServiceUnusable("it is dead")
            log.turns += 1
            for batch in batches:
                if batch.topic == "t.customers":
                    log.rows[self.number] |= dict(batch.records)  # type: ignore[arg-type]  # none is without a key
                    log.revisions[self.number].append(placed(log, self.number))

        async def close(self) -> None:
            """Let go."""

    monkeypatch.setattr(holding_module, "Journal", Journal)
    monkeypatch.setattr(partition_module, "CUSTOMERS_IN_A_TURN", 2)
    return log


def placed(log: Log, number: int) -> str:
    row = log.rows[number][OWN]
    assert row is not None
    return decode_place(row).revision


def dues(log: Log, number: int) -> list[int]:
    states = [decode_state(row) for key, row in log.rows[number].items() if key != OWN and row is not None]
    return [(wait.due - wait.anchor) // DAY for state in states for wait in state.customer.waits.values()]


async def crew_of(log: Log, *numbers: int) -> Crew:
    crew = Crew(SETTINGS, OLD, "w", WorkerMetrics())
    for number in numbers:
        await crew.gained(number)
    log.turns = 0
    return crew


async def test_all_partitions_switch(log: Log) -> None:
    crew = await crew_of(log, 0, 1)
    await crew.change(NEW)
    for number in range(2):
        assert (placed(log, number), dues(log, number)) == ("new", [4] * 6)


async def test_a_partition_that_is_just_being_taken_over_follows(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    crew = await crew_of(log, 0)
    making, go_on = threading.Event(), threading.Event()

    def made(*given: Any, **more: Any) -> partition_module.Partition:
        making.set()
        assert go_on.wait(10)
        return partition_module.Partition(*given, **more)

    monkeypatch.setattr(holding_module, "Partition", made)
    taking = asyncio.create_task(crew.gained(1))
    assert await asyncio.to_thread(making.wait, 10)  # with the old set
    changing = asyncio.create_task(crew.change(NEW))
    await asyncio.sleep(0.05)
    go_on.set()
    await asyncio.gather(taking, changing)
    assert (placed(log, 1), dues(log, 1)) == ("new", [4] * 6)


async def test_a_partition_taken_over_later_has_the_new_set(log: Log) -> None:
    crew = await crew_of(log, 0)
    await crew.change(NEW)
    await crew.gained(1)
    assert (placed(log, 1), dues(log, 1)) == ("new", [4] * 6)


async def test_a_partition_that_another_worker_has_taken_over_ends_nothing(log: Log) -> None:
    crew = await crew_of(log, 0, 1)
    log.lost.add(0)
    await crew.change(NEW)
    assert (placed(log, 0), placed(log, 1)) == ("old", "new")
    assert crew.partitions == [1]
    await crew.lost(0)


async def test_a_partition_that_goes_in_the_middle_of_a_switch_goes_at_once_and_is_switched_by_the_next(
    log: Log,
) -> None:
    crew = await crew_of(log, 0)
    log.writing.clear()
    log.busy.clear()
    changing = asyncio.create_task(crew.change(NEW))
    await log.busy.wait()
    going = asyncio.create_task(crew.lost(0))
    await asyncio.sleep(0.01)
    log.writing.set()
    await asyncio.gather(changing, going)
    assert log.turns == 1  # what was under way, and no more
    assert placed(log, 0) == "old"
    assert sorted(dues(log, 0)) == [3, 3, 3, 3, 4, 4]
    await Crew(SETTINGS, NEW, "other", WorkerMetrics()).gained(0)
    assert (placed(log, 0), dues(log, 0)) == ("new", [4] * 6)


async def test_a_worker_that_dies_in_the_middle_of_a_switch_leaves_all_to_be_switched(log: Log) -> None:
    crew = await crew_of(log, 0)

    log.dies_after = 2
    with pytest.raises(ServiceUnusable):
        await crew.change(NEW)
    assert placed(log, 0) == "old"
    log.dies_after = 1_000
    await Crew(SETTINGS, NEWER, "other", WorkerMetrics()).gained(0)
    assert (placed(log, 0), dues(log, 0)) == ("newer", [5] * 6)


async def test_records_that_come_meanwhile_are_decided_on_by_the_new_set(log: Log) -> None:
    crew = await crew_of(log, 0)
    log.writing.clear()
    log.busy.clear()
    changing = asyncio.create_task(crew.change(NEW))
    await log.busy.wait()
    body = (
        b'{"id":"x","type":"favorite.added","customer":"z","at":%d,"product_id":"p","category":"A","price":1}' % CLOCK
    )
    taking = asyncio.create_task(crew.take(0, [Record("t.events", 0, 6, CLOCK + 1, b"z", body)]))
    await asyncio.sleep(0.01)
    log.writing.set()
    await asyncio.gather(changing, taking)
    assert dues(log, 0) == [4] * 7


async def test_a_worker_that_is_behind_the_fleet_takes_a_partition_over_with_the_fleets_rules(log: Log) -> None:
    log.rows[0] = rows(NEW)
    asked: list[str] = []

    async def in_use(revision: str) -> Rulebook | None:
        asked.append(revision)
        return NEW if revision == "new" else None

    crew = Crew(SETTINGS, OLD, "w", WorkerMetrics(), in_use)
    await crew.gained(0)
    assert placed(log, 0) == "new"
    assert set(log.revisions[0]) <= {"new"}
    log.rows[1] = rows(NEWER)
    await crew.gained(1)
    assert placed(log, 1) == "old"  # it was on a set that the fleet has left behind
    assert asked == ["new", "newer"]


async def test_waits_are_counted_by_partition_and_nothing_is_changed(log: Log) -> None:
    crew = await crew_of(log, 0, 1)
    before = {number: dict(found) for number, found in log.rows.items()}
    due = named("due", "0min")
    assert await crew.count_due(due) == {0: {"wish": 6}, 1: {"wish": 6}}
    assert await crew.count_due(NEW) == {0: {}, 1: {}}
    assert log.rows == before


# The owner of the shared limits


def test_about_a_rule_that_the_owner_does_not_know_yet_it_is_asked_again_and_about_a_removed_one_not() -> None:
    (customer,) = waiting(OLD, 1)
    (wait,) = customer.waits.values()
    fields = {"command": "x", "customer": "c0", "at": CLOCK, "due": CLOCK, "cost": 1, "reserve": True}
    asks = [Ask(rule=name, wait=wait, priority=0, wave=None, again=CLOCK, **fields) for name in ("new", "gone")]
    owner = Owner(book(rule(), removed={"gone": 1}), 1, {})
    questions = [Asked(0, each, CLOCK) for each in asks]
    answers, _ = owner.take(enumerate([*questions[:1], Passed(0, CLOCK + DAY, 0)]))
    assert [(told.verdict.reason, told.verdict.until) for _, told in answers] == [(Reason.RULE_CHANGED, CLOCK + 60_000)]
    owner = Owner(book(rule(), removed={"gone": 1}), 1, {})
    answers, _ = owner.take(enumerate([*questions[1:], Passed(0, CLOCK + DAY, 0)]))
    assert [(told.verdict.reason, told.verdict.until) for _, told in answers] == [(Reason.RULE_REMOVED, None)]


async def test_who_waits_for_nothing_is_not_written_and_no_slot_of_the_past_opens_for_them(log: Log) -> None:
    idle = [Customer(id=f"idle{number}", opened=CLOCK - DAY) for number in range(7)]
    log.rows[0] |= {each.id.encode(): encode_state(State(each), each.wake) for each in idle}
    crew = await crew_of(log, 0)
    before = dict(log.rows[0])
    slot = build_rule(
        {
            "rule": "v1", "id": "slot", "title": "T", "status": "live", "class": "notice",
            "schedule": {"cron": "* * * * *"}, "send": {"text": "hello"},
        },
        SHOP,
    )  # fmt: skip
    both = book(rule(wait="4d"), slot)
    both.revision = "new"
    await crew.change(both)
    assert dues(log, 0) == [4] * 6
    assert all(log.rows[0][each.id.encode()] == before[each.id.encode()] for each in idle)
    await crew.take(0, [Record("t.events", 0, 6, CLOCK + 90_000, None, b"tick")])
    states = [decode_state(row) for key, row in log.rows[0].items() if key.startswith(b"idle") and row is not None]
    slots = [[sent.anchor - CLOCK for sent in state.customer.sends] for state in states]
    assert slots == [[60_000]] * 7


async def test_what_was_sent_moves_with_a_rules_name_also_of_who_waits_for_nothing(log: Log) -> None:
    customer = Customer(id="idle", opened=CLOCK, sends=[Sent("wish", "notice", CLOCK - DAY, CLOCK - DAY)])
    log.rows[0][b"idle"] = encode_state(State(customer), customer.wake)
    crew = await crew_of(log, 0)
    renamed = book(rule("nudge", renamed_from="wish"))
    renamed.revision = "new"
    await crew.change(renamed)
    row = log.rows[0][b"idle"]
    assert row is not None
    assert [sent.rule for sent in decode_state(row).customer.sends] == ["nudge"]
