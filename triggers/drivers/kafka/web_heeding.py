"""Waits until an opt-out in the log holds: the dispatcher has it, and what was leaving to the customer has left."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from triggers.drivers.kafka.closing import let_go
from triggers.drivers.kafka.dispatch_lease import group_of
from triggers.drivers.kafka.keys import partition_of
from triggers.drivers.kafka.records import EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from triggers.drivers.kafka.dispatch_settings import FaceSettings

LOOK_EVERY_S: Final = 0.1
LEAVING_S: Final = 5.0
"""How long after its claim the first byte of a message has left."""

_log = structlog.get_logger("web")


class Heeding:
    """Asks Kafka how far the dispatcher has taken the log over. Close it."""

    def __init__(self, settings: FaceSettings) -> None:
        self._settings = settings
        self._topic = settings.topic(EVENTS)
        self._consumer: AIOKafkaConsumer | None = None
        self._admin: AIOKafkaAdminClient | None = None
        self._turn = asyncio.Lock()
        self._taken: dict[int, int] = {}
        self._looked_at = 0.0

    async def wait(self, customers: Iterable[str]) -> None:
        """Wait until the dispatcher has what is in the log now of these customers, and nothing older is leaving to them.

        A dispatcher that has not read a customer's part of the log for ``fresh_s`` sends nothing commercial to them:
        longer than that and a little more there is nothing to wait for.
        """
        try:
            async with asyncio.timeout(self._settings.fresh_s + LEAVING_S):
                await self._wait(customers)
        except TimeoutError:
            _log.warning(
                "the dispatcher is behind the log, or does not run; it sends nothing commercial until it is not"
            )

    async def close(self) -> None:
        """Disconnect."""
        consumer, admin, self._consumer, self._admin = self._consumer, self._admin, None, None
        if consumer is not None:
            await let_go(consumer.stop())
        if admin is not None:
            await let_go(admin.close())

    async def _wait(self, customers: Iterable[str]) -> None:
        ends: dict[int, int] | None = None
        while True:
            try:
                if ends is None:
                    ends = await self._ends(customers)
                taken = await self._look()
                # Where there is no dispatcher yet, whichever comes reads the log first.
                if all(taken.get(part, end) >= end for part, end in ends.items()):
                    return
            except KafkaError as error:
                _log.warning("Kafka does not tell how far the dispatcher has come", error=type(error).__name__)
                async with self._turn:
                    await self.close()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _ends(self, customers: Iterable[str]) -> dict[int, int]:
        """Tell where the log of some customers ends now."""
        async with self._turn:
            consumer = self._consumer
            if consumer is None:
                self._consumer = consumer = AIOKafkaConsumer(**self._settings.client_options, group_id=None)
                await consumer.start()
            (told,) = await (await self._asked()).describe_topics([self._topic])
            parts = {partition_of(name.encode(), len(told["partitions"])) for name in customers}
            ends = await consumer.end_offsets([TopicPartition(self._topic, part) for part in parts])
        return {place.partition: end for place, end in ends.items()}

    async def _look(self) -> dict[int, int]:
        """Tell how far the dispatcher has taken each partition over; asked for all who wait, now and then."""
        async with self._turn:
            if time.monotonic() - self._looked_at < LOOK_EVERY_S:
                return self._taken
            found = await (await self._asked()).list_consumer_group_offsets(group_of(self._settings))
            self._taken = {place.partition: told.offset for place, told in found.items() if place.topic == self._topic}
            self._looked_at = time.monotonic()
            return self._taken

    async def _asked(self) -> AIOKafkaAdminClient:
        if self._admin is None:
            self._admin = admin = AIOKafkaAdminClient(**self._settings.client_options)
            await admin.start()
        return self._admin
