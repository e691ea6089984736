"""Brings the dispatcher's own events into the fleet's log: each is kept until the log's topic has it in all replicas."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
from aiokafka.errors import KafkaError

from triggers.drivers.kafka.closing import let_go
from triggers.drivers.kafka.connection import start_writing
from triggers.drivers.kafka.records import MESSAGE_EVENTS
from triggers.errors import ServiceUnusable
from triggers.store.message_events import gone, leaving_events

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiokafka import AIOKafkaProducer

    from triggers.drivers.kafka.dispatch_settings import DispatchSettings
    from triggers.store.database import Connection
    from triggers.store.message_events import MessageEvent
    from triggers.store.writer import Writer

T = TypeVar("T")
EVENTS_AT_ONCE: Final = 500
LOOK_EVERY_S: Final = 5.0
AGAIN_S: Final = 1.0
REQUEST_TIMEOUT_MS: Final = 10_000

_log = structlog.get_logger("dispatch")


class Relay:
    """Runs on the event loop. An event that is sent twice, for a crash in between, has the same id."""

    def __init__(self, settings: DispatchSettings, writer: Writer) -> None:
        self._settings = settings
        self._writer = writer
        self._topic = settings.topic(MESSAGE_EVENTS)
        self._more = asyncio.Event()

    def more(self) -> None:
        """Tell that there are new events. Call it on the event loop."""
        self._more.set()

    async def run(self) -> None:
        """Relay until cancelled; while Kafka is away the events wait."""
        while True:
            try:
                await self._relay()
            except (ServiceUnusable, KafkaError) as error:
                if not isinstance(error, KafkaError) and not isinstance(error.__cause__, KafkaError):
                    raise  # it is the database that does not go on
                _log.warning("events of messages wait: the log does not take them", error=str(error))
                await asyncio.sleep(AGAIN_S)

    async def _relay(self) -> None:
        """Relay by one producer, until it fails."""
        producer = await start_writing(self._settings, request_timeout_ms=REQUEST_TIMEOUT_MS)
        try:
            while True:
                await self._turn(producer)
        finally:
            await let_go(producer.stop())

    async def _turn(self, producer: AIOKafkaProducer) -> None:
        """Send what there is, or wait for more."""
        self._more.clear()
        events = await self._commit(lambda connection: leaving_events(connection, EVENTS_AT_ONCE))
        if events:
            await self._send(producer, events)
            await self._commit(lambda connection: gone(connection, events))
            return
        try:
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._more.wait()
        except TimeoutError:
            return

    async def _send(self, producer: AIOKafkaProducer, events: Sequence[MessageEvent]) -> None:
        acks = [await producer.send(self._topic, event.body, key=event.customer.encode()) for event in events]
        for outcome in await asyncio.gather(*acks, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _commit(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.wrap_future(self._writer.submit(work))
