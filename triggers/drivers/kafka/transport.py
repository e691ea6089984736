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
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, Protocol, cast

from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.serializers.schemas import Schema
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as stock
from faust.types.tuples import TP, ConsumerMessage

from triggers.drivers.kafka.assignment import StickyAssignor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from aiokafka import ConsumerRecord

SCHEME: Final = "kbatch"
UNSETTLED: Final = -1
FETCH_WAIT_MS: Final = 100
"""How long the broker may keep a request that has nothing to bring; what is not part of it waits as long."""
LISTEN_MS, LISTEN_BUSY_MS = 250, 10
"""How long one look for records takes, and while a lane is full."""
SEEK_S: Final = 60.0
"""Going back to the committed places takes no longer, or the worker ends. Faust would wait for ever."""
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


class ChunkSchema(Schema[Any, Any]):
    """The schema of a topic read in chunks: nothing is decoded, an event's value is a list of ConsumerRecord."""

    def compile(self, app: Any, **_options: Any) -> Callable[..., Awaitable[Any]]:
        """Make what turns a message into an event."""

        async def decode(message: Any, *, propagate: bool = False) -> Any:  # noqa: ARG001  Faust asks for both
            return app.create_event(None, message.value, None, message)

        return decode


class Chunk(ConsumerMessage):
    """Records of one partition that follow each other: number ``number`` of its epoch."""

    def __init__(self, tp: TP, records: Sequence[ConsumerRecord], epoch: int, number: int, generation: int) -> None:
        last = records[-1]
        super().__init__(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1_000,
            last.timestamp_type,
            None,
            None,
            cast("Any", records),
            None,
            tp=tp,
            generation_id=generation,
        )
        self.epoch = epoch
        self.number = number
        self.next_offset = last.offset + 1


class Fetched(NamedTuple):
    """What one look brought: records, and where each partition stands after them (past what is not shown to readers)."""

    epoch: int
    records: dict[TopicPartition, list[ConsumerRecord]]
    places: dict[TopicPartition, int]


class Listener(stock.ConsumerRebalanceListener):
    """Hears from aiokafka, in the consumer's thread, that partitions are revoked and assigned."""

    _thread: Thread

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> Any:
        """From now on all that was read is void."""
        self._thread.unsettle()
        return super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Note the group's new generation before Faust acts on it."""
        self._thread.join(frozenset(assigned))
        await super().on_partitions_assigned(assigned)


class Thread(stock.AIOKafkaConsumerThread):
    """The thread in which aiokafka reads; what has ``await`` in it runs there."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.assignor = StickyAssignor()
        self.settled = UNSETTLED
        self.unbroken = False
        self._epochs = 0
        self._changes = 0
        self._membership: tuple[str, int] = ("", UNSETTLED)

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        conf = self.app.conf
        return AIOKafkaConsumer(
            bootstrap_servers=stock.server_list(transport.url, transport.default_port),
            client_id=conf.broker_client_id,
            group_id=conf.id,
            partition_assignment_strategy=[self.assignor],
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_min_bytes=1,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1_000),
            request_timeout_ms=int(conf.broker_request_timeout * 1_000),
            session_timeout_ms=int(conf.broker_session_timeout * 1_000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1_000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1_000),
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            connections_max_idle_ms=conf.consumer_connections_max_idle_ms,
        )

    def unsettle(self) -> None:
        """Make void what was read and not handed over; ``rewind`` must follow before anything is."""
        self._changes += 1
        self.settled = UNSETTLED

    def join(self, assigned: frozenset[TopicPartition]) -> None:
        """Take part in a new generation of the group."""
        self.unsettle()
        coordinator = self._ensure_consumer()._coordinator  # noqa: SLF001  as the stock listener does
        member, generation = self._membership
        self._membership = (coordinator.member_id, coordinator.generation)
        self.unbroken = self._membership == (member, generation + 1)
        self.assignor.settle(coordinator.generation, assigned)

    async def rewind(self) -> dict[TopicPartition, int | None]:
        """Put all partitions back to their committed places; those without one to the beginning. Tells what was found."""
        found: dict[TopicPartition, int | None] = await self.call_thread(self._rewind)
        return found

    async def _rewind(self) -> dict[TopicPartition, int | None]:
        consumer, changes = self._ensure_consumer(), self._changes
        tps = sorted(consumer.assignment())
        found = dict(zip(tps, await asyncio.gather(*map(consumer.committed, tps)), strict=True))
        fresh = [tp for tp, offset in found.items() if not offset]
        begins = await consumer.beginning_offsets(fresh) if fresh else {}
        if changes != self._changes or sorted(consumer.assignment()) != tps:
            return {}  # partitions moved meanwhile: that rebalance has a rewind of its own
        for tp in tps:  # from here to the end nothing is awaited, so nothing is read in between
            consumer.seek(tp, found[tp] or begins[tp])
        self._epochs += 1
        self.settled = self._epochs
        return found

    async def fetch(self, wanted: frozenset[TopicPartition], wait_ms: int) -> Fetched:
        """Take what was read of some partitions, or wait a while for it."""
        fetched: Fetched = await self.call_thread(self._fetch, wanted, wait_ms)
        return fetched

    async def _fetch(self, wanted: frozenset[TopicPartition], wait_ms: int) -> Fetched:
        consumer = self._ensure_consumer()
        records = await consumer.getmany(*wanted, timeout_ms=wait_ms)
        epoch = self.settled  # in the same step as the records were taken
        places: dict[TopicPartition, int] = {}
        if epoch != UNSETTLED:
            places = {tp: await consumer.position(tp) for tp in wanted & consumer.assignment()}
        return Fetched(epoch, records, places)


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

    def _new_consumer_thread(self) -> Thread:
        return Thread(self, loop=self.loop, beacon=self.beacon)

    # Handing over.

    def hold(self, topic: str, partition: int) -> None:
        """Read no more of a partition until ``release``."""
        self._held.add(TP(topic, partition))

    def release(self, topic: str, partition: int) -> None:
        """Read a partition again."""
        self._held.discard(TP(topic, partition))

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                if not self.flow_active:
                    await self.wait(cast("Any", self.can_resume_flow))
                elif wanted := frozenset(TopicPartition(*tp) for tp in self.assignment() - self._held):
                    wait_ms = LISTEN_BUSY_MS if self._held else LISTEN_MS
                    await self._hand_over(await self._thread.fetch(wanted, wait_ms))
                else:
                    await self.sleep(LISTEN_BUSY_MS / 1_000)
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
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

    def _due(self, epoch: int) -> bool:
        return epoch != UNSETTLED and epoch == self._thread.settled and self.flow_active and not self.should_stop

    def _cut(self, fetched: Fetched) -> Iterator[Chunk]:
        """Cut into chunks all that was fetched, and await their acknowledgement before any of them is handed over."""
        size, generation = self.app.max_chunk, self.app.consumer_generation_id
        for at, records in fetched.records.items():
            tp = TP(*at)
            for begin in range(0, len(records), size):
                chunk = Chunk(tp, records[begin : begin + size], fetched.epoch, self._numbers[tp], generation)
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

    def close(self) -> None:
        """Do nothing: Faust closes from the wrong loop here, and the group would not hear that this worker leaves."""


class Transport(stock.Transport):
    """Faust's transport for Kafka, with the consumer above."""

    Consumer: ClassVar[type[Consumer]] = Consumer
