"""Sees to it that one dispatcher sends for a fleet: whoever begins shuts the former one out, and both know.

Each second the places that are stored are committed to Kafka in a transaction. The broker refuses that of a dispatcher
which another one has followed; and one that has not been confirmed for some seconds, because it or the broker stood
still, sends nothing of the fleet's until it is.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaError,
    NotCoordinatorForGroupError,
    ProducerFenced,
)

from triggers.drivers.kafka.closing import let_go
from triggers.drivers.kafka.connection import administering, connect, saying
from triggers.errors import ServiceUnusable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from triggers.drivers.kafka.dispatch_settings import DispatchSettings
    from triggers.drivers.kafka.settings import KafkaSettings

    Places = Mapping[tuple[str, int], int]

REQUEST_TIMEOUT_MS: Final = 10_000
LAST_WORD_S: Final = 10.0
READY_S: Final = 30.0
"""How long the keeper of a group may take until it answers."""
AGAIN_S: Final = 0.2
COMING: Final = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)

_log = structlog.get_logger("dispatch")


def group_of(settings: KafkaSettings) -> str:
    """Name the group that the dispatcher's places are committed as; it has no members."""
    return f"{settings.app}-dispatcher"


async def committed(settings: DispatchSettings) -> dict[tuple[str, int], tuple[int, str]]:
    """Read what the last dispatcher had stored: the place in each partition, and the name of its database.

    Raises ServiceUnusable.
    """
    until = time.monotonic() + READY_S
    while True:
        try:
            async with administering(settings) as admin:
                found = await admin.list_consumer_group_offsets(group_of(settings))
            break
        except ServiceUnusable as error:  # the broker that keeps the group may be starting, or be another one by now
            if not isinstance(error.__cause__, COMING) or time.monotonic() > until:
                raise
            await asyncio.sleep(AGAIN_S)
    return {(place.topic, place.partition): (told.offset, told.metadata) for place, told in found.items()}


class Lease:
    """The right to send. ``places`` tells what is stored, ``database`` where."""

    def __init__(self, settings: DispatchSettings, places: Callable[[], Places], database: str) -> None:
        self._settings = settings
        self._places = places
        self._database = database
        self._told: dict[tuple[str, int], int] = {}
        self._producer: AIOKafkaProducer | None = None
        self._from = self._until = 0.0
        self._soon = asyncio.Event()
        self.fenced = False

    def soon(self) -> None:
        """Tell that somebody waits for what is stored to be committed."""
        self._soon.set()

    def holds(self) -> bool:
        """Tell whether no other dispatcher can be sending. Any thread may ask."""
        return self._from <= time.monotonic() < self._until and not self.fenced

    async def take(self, *, followed: bool) -> None:
        """Shut a former dispatcher out; ``followed`` says that one on another database may not know of it yet.

        Raises ServiceUnusable.
        """
        self._producer = AIOKafkaProducer(
            **self._settings.client_options,
            transactional_id=f"{self._settings.app}.dispatcher",
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        with saying(self._settings):
            await connect(self._producer, self._settings)
        self._from = time.monotonic() + (self._settings.lease_s if followed else 0.0)
        await self.confirm()

    async def run(self) -> None:
        """Have it confirmed again and again until cancelled. Raises ServiceUnusable once another one has it."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.beat_s):
                    await self._soon.wait()
            self._soon.clear()
            await self.confirm()

    async def confirm(self) -> None:
        """Commit what is stored, which the broker takes from the last dispatcher only. Raises ServiceUnusable."""
        began, patience_s = time.monotonic(), self._settings.patience_s
        places = dict(self._places())
        try:
            async with asyncio.timeout(patience_s):
                await self._commit(places)
        except ProducerFenced as error:
            self.fenced = True
            raise ServiceUnusable(
                f"another dispatcher of '{self._settings.app}' was started: this one has stopped. Run one only, and give"
                " another fleet another --app"
            ) from error
        except TimeoutError as error:
            raise ServiceUnusable(
                f"Kafka has not confirmed for {patience_s:g} s that this dispatcher is the only one"
            ) from error
        except KafkaError as error:
            raise ServiceUnusable(f"Kafka at {self._settings.bootstrap}: {error}") from error
        self._told = places
        self._until = began + self._settings.lease_s

    async def _commit(self, places: Places) -> None:
        producer = self._producer
        assert producer is not None, "taken first"  # noqa: S101  a broken invariant
        changed = {place: offset for place, offset in places.items() if self._told.get(place) != offset}
        changed = changed or dict(list(places.items())[:1])  # a transaction without anything asks nobody
        offsets: dict[Any, Any] = {
            TopicPartition(*place): (offset, self._database) for place, offset in changed.items()
        }
        await producer.begin_transaction()
        await producer.send_offsets_to_transaction(offsets, group_of(self._settings))
        await producer.commit_transaction()

    async def close(self) -> None:
        """Give it back: what is stored is told a last time."""
        producer = self._producer
        if producer is None:
            return
        try:
            if self.holds():
                async with asyncio.timeout(LAST_WORD_S):
                    await self.confirm()
        except (ServiceUnusable, TimeoutError) as error:
            _log.warning("the last places were not committed", error=str(error))
        self._producer = None
        await let_go(producer.stop())
