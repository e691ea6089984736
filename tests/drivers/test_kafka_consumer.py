"""The transport's consumer without a broker: what is handed over, and how far it commits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from faust.types.tuples import TP

from triggers.drivers.kafka.chunks import Chunk, Fetched
from triggers.drivers.kafka.faust_app import make_app
from triggers.drivers.kafka.reading import UNSETTLED
from triggers.drivers.kafka.settings import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from triggers.drivers.kafka.transport import Consumer

A, B = TP("t", 0), TP("t", 1)


class Scene:
    """A consumer whose thread is settled in epoch 3, and what it handed over."""

    def __init__(self) -> None:
        self.consumer = cast("Consumer", make_app(KafkaSettings(max_chunk=10)).consumer)
        self.thread = self.consumer._thread  # noqa: SLF001  the test is of what these do together
        self.thread.settled = 3
        self.consumer.resume_flow()
        self.chunks: list[Chunk] = []
        self.consumer.callback = self.take

    async def take(self, chunk: Any) -> None:
        self.chunks.append(chunk)

    async def bring(self, tp: TP, first: int, number: int, *, place: int | None = None, epoch: int = 3) -> list[Chunk]:
        """Bring records from an offset on; ``place`` is where the partition stands then."""
        before = len(self.chunks)
        records = [
            ConsumerRecord(tp.topic, tp.partition, first + n, 1_000, 1, None, b"", 0, -1, 0, ()) for n in range(number)
        ]
        at = TopicPartition(*tp)
        places = {at: first + number if place is None else place}
        await self.consumer._hand_over(Fetched(epoch, {at: records} if records else {}, places))  # noqa: SLF001
        return self.chunks[before:]

    def committable(self) -> dict[TP, int]:
        consumer = self.consumer
        return consumer._filter_committable_offsets(consumer._filter_tps_with_pending_acks())  # noqa: SLF001


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    yield scene
    scene.consumer.discard()


async def test_what_is_fetched_is_cut_into_chunks_with_numbers(scene: Scene) -> None:
    chunks = await scene.bring(A, 100, 26)
    assert [(c.number, c.value[0].offset, c.offset, c.next_offset) for c in chunks] == [
        (0, 100, 108, 109),
        (1, 109, 117, 118),
        (2, 118, 125, 126),
    ]
    assert [c.number for c in await scene.bring(A, 126, 1)] == [3]
    assert [(c.tp, c.number) for c in await scene.bring(B, 0, 1)] == [(B, 0)]


@pytest.mark.parametrize(
    ("fetched", "sizes"), [(10, [10]), (14, [14]), (16, [8, 8]), (24, [12, 12]), (31, [11, 11, 9])]
)
async def test_what_is_little_more_than_a_chunk_is_one(scene: Scene, fetched: int, sizes: list[int]) -> None:
    assert [len(chunk.value) for chunk in await scene.bring(A, 0, fetched)] == sizes


async def test_only_what_is_handled_without_a_gap_is_committed(scene: Scene) -> None:
    first, second, third = await scene.bring(A, 100, 30)
    assert scene.committable() == {}
    scene.consumer.ack(second)
    assert scene.committable() == {}
    scene.consumer.ack(first)
    assert scene.committable() == {A: 120}
    assert scene.consumer.ack(third)
    assert not scene.consumer.ack(third)
    assert scene.committable() == {A: 130}


async def test_missing_offsets_hold_up_nothing_and_are_passed_once_all_is_handled(scene: Scene) -> None:
    (first,) = await scene.bring(A, 100, 1, place=103)
    (second,) = await scene.bring(A, 110, 1, place=112)
    scene.consumer.ack(first)
    assert scene.committable() == {A: 101}
    await scene.bring(A, 112, 0, place=115)
    scene.consumer.ack(second)
    assert scene.committable() == {A: 115}


async def test_a_partition_that_never_had_anything_to_show_is_committed_too(scene: Scene) -> None:
    await scene.bring(A, 0, 0, place=0)
    await scene.bring(B, 0, 0, place=2)
    assert scene.committable() == {B: 2}


async def test_what_was_read_before_partitions_moved_is_not_handed_over(scene: Scene) -> None:
    assert await scene.bring(A, 0, 1, epoch=2) == []
    scene.thread.unsettle()
    assert await scene.bring(A, 0, 1, epoch=3) == []
    assert await scene.bring(A, 0, 1, epoch=UNSETTLED) == []
    assert scene.committable() == {}


async def test_handing_over_ends_with_the_epoch(scene: Scene) -> None:
    async def take_one(chunk: Any) -> None:
        scene.chunks.append(chunk)
        scene.thread.unsettle()

    scene.consumer.callback = take_one
    assert len(await scene.bring(A, 0, 30)) == 1


async def test_what_was_read_before_the_flow_is_resumed_waits_for_it(scene: Scene) -> None:
    scene.consumer.stop_flow()
    bringing = asyncio.create_task(scene.bring(A, 0, 1))
    await asyncio.sleep(0.01)
    assert scene.chunks == []
    scene.consumer.resume_flow()
    async with asyncio.timeout(5):
        await bringing
    assert len(scene.chunks) == 1


async def test_nothing_flows_while_the_places_are_not_settled(scene: Scene) -> None:
    scene.thread.unsettle()
    await scene.consumer.on_partitions_revoked(set())
    assert not scene.consumer.flow_active
    scene.consumer.resume_flow()  # what Faust does at the end of the last rebalance, where the next one has begun
    assert not scene.consumer.flow_active
