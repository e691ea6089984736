"""Lanes: in order in a partition, side by side between partitions, and nothing runs once they are paused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from triggers.drivers.kafka.lanes import WAITING, Lanes
from triggers.errors import ServiceUnusable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Event:
    """What Faust's stream brings: a chunk of one record, its number."""

    def __init__(self, partition: int, number: int, epoch: int = 1) -> None:
        self.partition, self.number, self.epoch = partition, number, epoch
        self.next_offset = number + 1
        self.message = self
        self.value: list[Any] = [number]
        self.acked = False

    def ack(self) -> None:
        self.acked = True


class Scene:
    """Lanes of a topic, and what happened in them."""

    def __init__(self, grace_s: float = 0.05) -> None:
        self.handled: list[tuple[int, int]] = []
        self.told: list[str] = []
        self.held: set[int] = set()
        self.errors: list[BaseException] = []
        self.may_end: dict[int, asyncio.Event] = {}
        self.may_begin: dict[int, asyncio.Event] = {}
        self.deaf = False
        self.lanes = Lanes("t", self.handle, self, on_gained=self.gained, on_lost=self.lost, grace_s=grace_s)

    def hold(self, topic: str, partition: int) -> None:
        assert topic == "t"
        self.held.add(partition)

    def release(self, topic: str, partition: int) -> None:
        assert topic == "t"
        self.held.discard(partition)

    async def crash(self, error: BaseException) -> None:
        self.errors.append(error)

    async def gained(self, partition: int) -> None:
        self.told.append(f"gaining {partition}")
        if gate := self.may_begin.get(partition):
            await gate.wait()
        self.told.append(f"gained {partition}")

    async def lost(self, partition: int) -> None:
        self.told.append(f"lost {partition}")

    async def handle(self, partition: int, records: list[Any]) -> None:
        while gate := self.may_end.get(partition):
            try:
                await gate.wait()
                break
            except asyncio.CancelledError:
                if not self.deaf:
                    raise
        if records == ["bad"]:
            error = ValueError("bad")
            error.add_note("at t/0/0")
            raise error
        self.handled += [(partition, record) for record in records]

    def put(self, *events: Event) -> list[Event]:
        for event in events:
            self.lanes.put(event)
        return list(events)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    yield scene
    scene.deaf = False
    for gate in [*scene.may_end.values(), *scene.may_begin.values()]:
        gate.set()
    await scene.lanes.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110  what is waited for is many things
            await asyncio.sleep(0)


async def assign(scene: Scene, *partitions: int, unbroken: bool = True) -> None:
    await scene.lanes.assign(frozenset(partitions), unbroken=unbroken)
    await until(lambda: all(f"gaining {p}" in scene.told for p in partitions))


async def test_of_a_partition_that_goes_before_anything_was_done_for_it_nothing_is_told(scene: Scene) -> None:
    await scene.lanes.assign(frozenset({0}), unbroken=True)
    await scene.lanes.assign(frozenset(), unbroken=False)
    assert scene.told == []


async def test_a_slow_partition_holds_up_no_other(scene: Scene) -> None:
    scene.may_end[0] = asyncio.Event()
    await assign(scene, 0, 1)
    events = scene.put(*(Event(partition, number) for number in range(3) for partition in (0, 1)))
    await until(lambda: len(scene.handled) == 3)
    assert scene.handled == [(1, 0), (1, 1), (1, 2)]
    assert [event.acked for event in events] == [False, True] * 3
    scene.may_end.pop(0).set()
    await until(lambda: all(event.acked for event in events))
    assert scene.handled[3:] == [(0, 0), (0, 1), (0, 2)]


async def test_no_more_is_read_of_a_partition_where_enough_waits(scene: Scene) -> None:
    gate = scene.may_end[0] = asyncio.Event()
    await assign(scene, 0, 1)
    scene.put(Event(0, 0))
    await asyncio.sleep(0.01)
    scene.put(*(Event(0, number) for number in range(1, WAITING)))
    assert scene.held == set()
    scene.put(Event(0, WAITING), Event(1, 0))
    assert scene.held == {0}
    scene.may_end.clear()
    gate.set()
    await until(lambda: len(scene.handled) == WAITING + 2)
    assert scene.held == set()


async def test_a_pause_awaits_what_is_under_way_and_drops_what_waits(scene: Scene) -> None:
    gate = scene.may_end[0] = asyncio.Event()
    await assign(scene, 0)
    under_way, waiting = scene.put(Event(0, 0), Event(0, 1))
    await asyncio.sleep(0.01)
    pausing = asyncio.create_task(scene.lanes.pause())
    await asyncio.sleep(0.01)
    assert not pausing.done()
    gate.set()
    await pausing
    assert (under_way.acked, waiting.acked) == (True, False)
    (late,) = scene.put(Event(0, 2))
    await asyncio.sleep(0.01)
    assert not late.acked
    await scene.lanes.assign(frozenset({0}), unbroken=True)
    await asyncio.sleep(0.01)
    assert scene.handled == [(0, 0)]


async def test_what_does_not_end_in_time_is_cancelled_and_its_partition_begins_anew(scene: Scene) -> None:
    scene.may_end[0] = asyncio.Event()
    await assign(scene, 0, 1)
    (event,) = scene.put(Event(0, 0))
    await asyncio.sleep(0.01)
    await scene.lanes.pause()
    scene.may_end.clear()
    scene.told.clear()
    await assign(scene, 0)
    assert not event.acked
    assert scene.told == ["lost 0", "lost 1", "gaining 0", "gained 0"]


async def test_what_cannot_be_cancelled_is_told(scene: Scene) -> None:
    scene.may_end[0] = asyncio.Event()
    scene.deaf = True
    await assign(scene, 0)
    scene.put(Event(0, 0))
    await asyncio.sleep(0.01)
    with pytest.raises(ServiceUnusable, match="t: a chunk's handler does not end"):
        await scene.lanes.pause()


async def test_a_partition_that_stays_is_neither_lost_nor_gained(scene: Scene) -> None:
    await assign(scene, 0, 1, 2)
    scene.told.clear()
    await scene.lanes.pause()
    await scene.lanes.assign(frozenset({1, 2, 3}), unbroken=True)
    await until(lambda: "gained 3" in scene.told)
    assert scene.told == ["lost 0", "gaining 3", "gained 3"]
    scene.put(Event(1, 0, epoch=2))
    await until(lambda: scene.handled == [(1, 0)])


async def test_a_partition_that_another_may_have_had_is_lost_and_gained(scene: Scene) -> None:
    await assign(scene, 0)
    scene.told.clear()
    await assign(scene, 0, unbroken=False)
    assert scene.told == ["lost 0", "gaining 0", "gained 0"]


async def test_nothing_is_handled_before_the_partition_is_loaded_and_loading_is_cancelled(scene: Scene) -> None:
    gate = scene.may_begin[1] = asyncio.Event()
    await assign(scene, 1)
    scene.put(Event(1, 0))
    await asyncio.sleep(0.01)
    assert scene.handled == []
    await scene.lanes.assign(frozenset(), unbroken=True)
    assert scene.told == ["gaining 1", "lost 1"]
    scene.told.clear()
    await assign(scene, 1)
    gate.set()
    scene.put(Event(1, 0, epoch=2))
    await until(lambda: scene.handled == [(1, 0)])


async def test_loading_is_not_waited_for_where_the_partition_goes() -> None:
    scene = Scene(grace_s=60)
    scene.may_begin[1] = asyncio.Event()
    await assign(scene, 1)
    async with asyncio.timeout(5):
        await scene.lanes.close()
    assert scene.told == ["gaining 1", "lost 1"]


@pytest.mark.parametrize("numbers", [[1], [0, 2], [0, 1, 1]])
async def test_a_chunk_that_was_lost_on_the_way_is_noticed(scene: Scene, numbers: list[int]) -> None:
    await assign(scene, 0)
    with pytest.raises(ServiceUnusable, match="t/0: chunk"):
        scene.put(*(Event(0, number) for number in numbers))


async def test_a_new_epoch_begins_to_count_anew_and_drops_what_waits(scene: Scene) -> None:
    gate = scene.may_end[0] = asyncio.Event()
    await assign(scene, 0)
    first, second = scene.put(Event(0, 0), Event(0, 1))
    await asyncio.sleep(0.01)
    (again,) = scene.put(Event(0, 0, epoch=2))
    scene.may_end.clear()
    gate.set()
    await until(lambda: again.acked)
    assert (first.acked, second.acked) == (True, False)
    assert scene.handled == [(0, 0), (0, 0)]


async def test_a_handler_that_fails_ends_the_worker_and_its_lane_goes_no_further(scene: Scene) -> None:
    await assign(scene, 0)
    bad, after = Event(0, 0), Event(0, 1)
    bad.value = ["bad"]
    with capture_logs() as logs:
        scene.put(bad, after)
        await until(lambda: bool(scene.errors))
    assert [(line["topic"], line["partition"], line["before_offset"], line["at"]) for line in logs] == [
        ("t", 0, 1, ["at t/0/0"])
    ]
    await asyncio.sleep(0.01)
    scene.put(Event(0, 2))
    await asyncio.sleep(0.01)
    assert [str(error) for error in scene.errors] == ["bad"]
    assert (bad.acked, after.acked, scene.handled) == (False, False, [])
    scene.told.clear()
    await assign(scene, 0)  # a rebalance before the worker has ended
    assert scene.told == ["lost 0", "gaining 0", "gained 0"]


async def test_closed_lanes_take_nothing_more(scene: Scene) -> None:
    await assign(scene, 0)
    await scene.lanes.close()
    await scene.lanes.assign(frozenset({0, 1}), unbroken=True)
    scene.put(Event(0, 0))
    await asyncio.sleep(0.01)
    assert scene.told == ["gaining 0", "gained 0", "lost 0"]
    assert scene.handled == []
