"""The thread in which aiokafka reads, and the epochs that keep what it read from being skipped when partitions move."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import IllegalStateError
from faust.exceptions import ConsumerNotStarted
from faust.transport.drivers import aiokafka as stock

from triggers.drivers.kafka.assignment import StickyAssignor
from triggers.drivers.kafka.chunks import Fetched

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiokafka import TopicPartition

UNSETTLED: Final = -1
FETCH_WAIT_MS: Final = 100
"""How long the broker may keep a request that has nothing to bring; what is not part of it waits as long."""


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

    app: Any  # its ``client_options`` are ours

    def __post_init__(self) -> None:
        super().__post_init__()
        self.assignor = StickyAssignor()
        self.settled = UNSETTLED
        self.unbroken = False
        self._epochs = 0
        self._changes = 0
        self._membership: tuple[str, int] = ("", UNSETTLED)

    def _create_worker_consumer(self, _transport: Any) -> AIOKafkaConsumer:
        conf = self.app.conf
        return AIOKafkaConsumer(
            **self.app.client_options,
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

    async def check(self) -> None:
        """Raise what the group's coordinator has against this process."""
        await self.call_thread(self._check)

    async def _check(self) -> None:
        with suppress(ConsumerNotStarted):
            coordinator = self._ensure_consumer()._coordinator  # noqa: SLF001  no public way tells without partitions
            if coordinator is not None:
                coordinator.check_errors()

    async def fetch(self, wanted: frozenset[TopicPartition], wait_ms: int) -> Fetched:
        """Take what was read of some partitions, or wait a while for it."""
        fetched: Fetched = await self.call_thread(self._fetch, wanted, wait_ms)
        return fetched

    async def _fetch(self, wanted: frozenset[TopicPartition], wait_ms: int) -> Fetched:
        consumer = self._ensure_consumer()
        records = await consumer.getmany(*wanted, timeout_ms=wait_ms)
        epoch = self.settled  # in the same step as the records were taken
        if epoch == UNSETTLED:
            return Fetched(epoch, {}, {})
        try:
            places = {tp: await consumer.position(tp) for tp in wanted & consumer.assignment()}
        except IllegalStateError:  # a partition is gone: its revocation has made this epoch's records void
            return Fetched(UNSETTLED, {}, {})
        return Fetched(epoch, records, places)
