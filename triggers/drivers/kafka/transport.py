"""A Faust transport that hands over chunks: some thousand records of one partition as one event of the stream.

Faust spends most of its time on what it does once a message; here that is once a chunk. Where its broker URL begins with
``kbatch://`` an app reads all its topics this way. The private names this stands on are listed in ``internals``.

What is read and not yet handed over must never be skipped when partitions move. One number rules that: the consumer's
thread is *settled* in an epoch from the moment all partitions stand at their committed places until they are revoked.
What was read in one epoch is handed over in that epoch or not at all, because the next one begins by going back. Chunks of
a partition are numbered within an epoch, so that one that Faust lost is noticed (``lanes``) and not skipped.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, cast

from aiokafka import TopicPartition
from aiokafka.errors import ConsumerStoppedError
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as stock
from faust.types.tuples import TP

from triggers.drivers.kafka.chunks import Chunk, Fetched
from triggers.drivers.kafka.reading import UNSETTLED, Listener, Thread
from triggers.errors import ServiceUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEME: Final = "kbatch"
LISTEN_MS, LISTEN_BUSY_MS = 250, 10
"""How long one look for records takes, and while a lane is full."""
SEEK_S: Final = 60.0
"""Going back to the committed places takes no longer, or the worker ends. Faust would wait for ever."""
GROUP_S: Final = 1.0
"""How often it is asked whether the group's coordinator refuses this process; who has no partitions hears no more of it."""
LOST_LOOKS: Final = 20
"""A chunk that has not come to its lane after so many looks for more, each a turn of the event loop or more, is lost."""
COMMIT_S: Final = 5.0
"""The last commit before partitions are given up takes no longer; what it would have said is read again."""

TRANSPORTS.aliases[SCHEME] = f"{__name__}:Transport"


class Lanes(Protocol):
    """Where the chunks of one topic go."""

    topic: str

    async def pause(self) -> None:
        """End what is under way; no handler runs when this returns."""

    async def assign(self, partitions: frozenset[int], *, unbroken: bool) -> None:
        """Take what the group gave; ``unbroken`` says that nobody else can have had what stays."""


class Consumer(stock.Consumer):
    """Faust's consumer, handing over chunks and committing up to the last of those acknowledged without a gap."""

    RebalanceListener: ClassVar[type[Listener]] = Listener
    app: Any  # its ``lanes`` and ``max_chunk`` are ours
    _thread: Thread

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._sent: defaultdict[TP, deque[Chunk]] = defaultdict(deque)
        self._reached: dict[TP, int] = {}
        self._numbers: defaultdict[TP, int] = defaultdict(int)
        self._held: set[TP] = set()
        self._looks = 0

    def _new_consumer_thread(self) -> Thread:
        return Thread(self, loop=self.loop, beacon=self.beacon)

    # Handing over.

    def hold(self, topic: str, partition: int) -> None:
        """Read no more of a partition until ``release``."""
        self._held.add(TP(topic, partition))

    def release(self, topic: str, partition: int) -> None:
        """Read a partition again."""
        self._held.discard(TP(topic, partition))

    async def watch_group(self) -> None:
        """Watch the membership until cancelled. Raises aiokafka's KafkaError for what ends it."""
        while True:
            await asyncio.sleep(GROUP_S)
            await self._thread.check()

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                self._looks += 1
                self._miss_lost()
                if not self.flow_active:
                    await self.wait(cast("Any", self.can_resume_flow))
                elif wanted := frozenset(TopicPartition(*tp) for tp in self.assignment() - self._held):
                    wait_ms = LISTEN_BUSY_MS if self._held else LISTEN_MS
                    await self._hand_over(await self._thread.fetch(wanted, wait_ms))
                else:
                    await self.sleep(LISTEN_BUSY_MS / 1_000)
        except (asyncio.CancelledError, ConsumerStoppedError):
            if not self.app.should_stop:  # or Faust takes a stop in the midst of a rebalance for a crash
                raise

    async def _hand_over(self, fetched: Fetched) -> None:
        while self._thread.settled == fetched.epoch and not self.flow_active and not self.should_stop:
            await self.wait(cast("Any", self.can_resume_flow))  # read after the rewind, but before Faust is ready
        if not self._due(fetched.epoch):
            return
        for chunk in list(self._cut(fetched)):
            if not self._due(fetched.epoch):
                return
            await self.wait_first(self.callback(chunk), cast("Any", self.suspend_flow.wait()))
            chunk.handed_over = self._looks

    def _miss_lost(self) -> None:
        """Raise ServiceUnusable if Faust lost a chunk: where more chunks follow, the lane notices that by the numbers."""
        for tp, sent in self._sent.items():
            first = sent[0] if sent else None
            if first is None or first.arrived or first.handed_over is None or not self._due(first.epoch):
                continue
            if self._looks - first.handed_over > LOST_LOOKS:
                raise ServiceUnusable(
                    f"{tp.topic}/{tp.partition}: chunk {first.number} before offset {first.next_offset} was lost in this "
                    f"process. A new start reads it again"
                )

    def _due(self, epoch: int) -> bool:
        return epoch != UNSETTLED and epoch == self._thread.settled and self.flow_active and not self.should_stop

    def _cut(self, fetched: Fetched) -> Iterator[Chunk]:
        """Cut into chunks all that was fetched, and await their acknowledgement before any of them is handed over.

        A chunk is about ``max_chunk`` records: what is little more is not cut, since every chunk is a turn of its own.
        """
        size, generation = self.app.max_chunk, self.app.consumer_generation_id
        for at, records in fetched.records.items():
            tp = TP(*at)
            many = max(1, round(len(records) / size))
            each = -(-len(records) // many)
            for begin in range(0, len(records), each):
                chunk = Chunk(tp, records[begin : begin + each], fetched.epoch, self._numbers[tp], generation)
                self._numbers[tp] += 1
                self._sent[tp].append(chunk)
                yield chunk
        self._reached.update((TP(*tp), place) for tp, place in fetched.places.items())

    # Acknowledging and committing.

    def ack(self, message: Any) -> bool:
        """Note that a chunk is handled."""
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        return True

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in list(self._reached) if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        """Tell where a partition may be read from next time: after all that was handed over if all is handled.

        That is past what a reader is not shown (a transaction's end, what was aborted), so that a group's lag ends at 0.
        """
        sent, offset = self._sent[tp], None
        while sent and sent[0].acked:
            offset = sent.popleft().next_offset
        return offset if sent else self._reached[tp] or None

    async def wait_empty(self) -> None:
        """End what is under way, and commit it; what cannot be committed now is read again."""
        await self._pause()
        if self.app.crashed:
            return  # the thread's queue is dead then: a commit would hang
        try:
            async with asyncio.timeout(COMMIT_S):
                await self.maybe_wait_for_commit_to_finish()
                await self.force_commit(start_new_transaction=False)
        except TimeoutError:
            self.log.warning("The last commit took more than %s s", COMMIT_S)

    # Rebalancing.

    def resume_flow(self) -> None:
        """Let chunks flow, unless another rebalance has begun: Faust ends the last one all the same.

        What flowed then would be lost, because Faust empties its streams after it has gone back.
        """
        if self._thread.settled != UNSETTLED:
            super().resume_flow()

    async def perform_seek(self) -> None:
        """Go back to the committed places, and begin an epoch."""
        self._thread.unsettle()
        self._forget()
        async with asyncio.timeout(SEEK_S):
            found = await self._thread.rewind()
        self._committed_offset.clear()
        self._committed_offset.update({TP(*tp): offset for tp, offset in found.items()})

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Give partitions up; the group goes on when this returns, and no handler runs then."""
        self.stop_flow()  # Faust does so only where there was something to give up
        await super().on_partitions_revoked(revoked)
        await self._pause()
        self._forget()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Take the partitions that the group gave."""
        try:
            if not self.app.should_stop:
                for lanes in self.app.lanes:
                    mine = frozenset(tp.partition for tp in assigned if tp.topic == lanes.topic)
                    await lanes.assign(mine, unbroken=self._thread.unbroken)
        except Exception as error:  # noqa: BLE001  aiokafka would log it and go on
            await self.app.crash(error)
        await super().on_partitions_assigned(assigned, generation_id)

    async def _pause(self) -> None:
        try:
            for lanes in self.app.lanes:
                await lanes.pause()
        except Exception as error:  # noqa: BLE001  aiokafka would log it and go on
            await self.app.crash(error)

    def _forget(self) -> None:
        self._sent.clear()
        self._reached.clear()
        self._numbers.clear()
        self._held.clear()

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Say nothing: Faust takes a reader behind an open transaction for a stuck one. Our own metric tells the lag."""

    def discard(self) -> None:
        """Close the loop of a thread that never ran; one that ran closes its own."""
        loop = self._thread.thread_loop
        if not loop.is_running() and not loop.is_closed():
            loop.close()

    def close(self) -> None:
        """Do nothing: Faust closes from the wrong loop here, and the group would not hear that this worker leaves."""


class Transport(stock.Transport):
    """Faust's transport for Kafka, with the consumer above."""

    Consumer: ClassVar[type[Consumer]] = Consumer
