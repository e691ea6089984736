"""The lanes of a topic: a partition's chunks are handled one after the other, those of different ones side by side."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from triggers.errors import ServiceUnusable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiokafka import ConsumerRecord

_log = structlog.get_logger("worker")

WAITING: Final = 2
"""Chunks of a partition that may wait; then no more of it is read."""
GRACE_S: Final = 3.0
"""How long what is under way may go on when partitions are given up; then it is cancelled, and given as long again."""


class Gate(Protocol):
    """Who reads less of a partition, and who ends the worker."""

    def hold(self, topic: str, partition: int) -> None:
        """Read no more of a partition until ``release``."""

    def release(self, topic: str, partition: int) -> None:
        """Read a partition again."""

    async def crash(self, error: BaseException) -> None:
        """End the worker with an error."""


class Lane:
    """One partition's chunks, waiting and under way."""

    __slots__ = ("begun", "bell", "epoch", "fresh", "number", "open", "partition", "task", "torn", "waiting")

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.waiting: deque[Any] = deque()
        self.bell = asyncio.Event()
        self.open = self.begun = False
        self.fresh = True
        self.torn = False
        self.epoch = self.number = -1
        self.task: asyncio.Task[None] | None = None


class Lanes:
    """All lanes of one topic in this worker.

    ``handle`` is awaited with a partition and its next records, in order. ``on_gained`` is awaited with a partition before
    its first chunk, in its lane, and may take long; if the partition goes meanwhile it is cancelled. ``on_lost`` is awaited
    with a partition that another worker has, or may have had meanwhile, and of which ``on_gained`` had begun; no handler
    of it runs then. A partition that stays through a rebalance is paused, no more.
    """

    def __init__(
        self,
        topic: str,
        handle: Callable[[int, list[ConsumerRecord]], Awaitable[None]],
        gate: Gate,
        *,
        on_gained: Callable[[int], Awaitable[None]] | None = None,
        on_lost: Callable[[int], Awaitable[None]] | None = None,
        grace_s: float = GRACE_S,
    ) -> None:
        self.topic = topic
        self._handle = handle
        self._gate = gate
        self._on_gained = on_gained
        self._on_lost = on_lost
        self._grace_s = grace_s
        self._lanes: dict[int, Lane] = {}
        self._closed = False

    def put(self, event: Any) -> None:
        """Take a chunk. ServiceUnusable if one before it was lost on the way here."""
        chunk = event.message
        chunk.arrived = True
        lane = self._lanes.get(chunk.partition)
        if lane is None or not lane.open:
            return  # it comes again, here or elsewhere: it is not acknowledged
        if chunk.epoch != lane.epoch:
            lane.epoch, lane.number = chunk.epoch, -1
            lane.waiting.clear()
        if chunk.number != lane.number + 1:
            raise ServiceUnusable(
                f"{self.topic}/{lane.partition}: chunk {chunk.number} before offset {chunk.next_offset} followed on "
                f"{lane.number}; what is between was lost in this process. A new start reads it again"
            )
        lane.number = chunk.number
        lane.waiting.append(event)
        lane.bell.set()
        if len(lane.waiting) >= WAITING:
            self._gate.hold(self.topic, lane.partition)

    async def pause(self) -> None:
        """End what is under way; no handler runs when this returns. ServiceUnusable if one does not end."""
        tasks = set()
        for lane in self._lanes.values():
            lane.open = False
            lane.waiting.clear()
            lane.bell.set()
            if lane.task is not None and not lane.task.done():
                if lane.fresh:
                    lane.task.cancel()
                tasks.add(lane.task)
        for last in (False, True):
            if tasks:
                _, tasks = await asyncio.wait(tasks, timeout=self._grace_s)
            for task in () if last else tasks:
                task.cancel()
        if tasks:
            raise ServiceUnusable(f"{self.topic}: a chunk's handler does not end, cancelled {self._grace_s:g} s ago")

    async def assign(self, partitions: frozenset[int], *, unbroken: bool) -> None:
        """Take what the group gave; ``unbroken`` says that nobody else can have had what stays."""
        await self.pause()
        for partition, lane in list(self._lanes.items()):
            if partition not in partitions or not unbroken or lane.torn:
                await self._lose(lane)
        for partition in () if self._closed else sorted(partitions):
            lane = self._lanes.setdefault(partition, Lane(partition))
            lane.open = True
            lane.task = asyncio.create_task(self._serve(lane))

    async def close(self) -> None:
        """Give up all partitions for good."""
        self._closed = True
        await self.assign(frozenset(), unbroken=False)

    async def _lose(self, lane: Lane) -> None:
        del self._lanes[lane.partition]
        if self._on_lost is not None and lane.begun:
            await self._on_lost(lane.partition)

    async def _serve(self, lane: Lane) -> None:
        lane.begun = True  # not where it was cancelled before its first step
        try:
            if lane.fresh and self._on_gained is not None:
                await self._on_gained(lane.partition)
            lane.fresh = False
            while lane.open:
                if lane.waiting:
                    await self._serve_one(lane)
                else:
                    lane.bell.clear()
                    await lane.bell.wait()
        except asyncio.CancelledError:
            lane.torn = True
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, the worker ends with it and skips nothing
            lane.torn = True
            await self._gate.crash(error)

    async def _serve_one(self, lane: Lane) -> None:
        event = lane.waiting.popleft()
        if len(lane.waiting) < WAITING:
            self._gate.release(self.topic, lane.partition)
        try:
            await self._handle(lane.partition, event.value)
        except Exception as error:
            _log.error(
                "records could not be handled",
                topic=self.topic,
                partition=lane.partition,
                before_offset=event.message.next_offset,
                at=getattr(error, "__notes__", []),  # which of them it was, where the handler knows
                error=type(error).__name__,
            )
            raise
        event.ack()
