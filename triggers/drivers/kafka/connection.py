"""Connections to Kafka for the engineers' commands: opened for a piece of work, closed after it, faults put in words."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError, NodeNotReadyError

from triggers.drivers.kafka.hindrance import hindrance
from triggers.drivers.kafka.rights import LACKING, lacking
from triggers.errors import AccessRefused, ServiceUnusable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from triggers.drivers.kafka.settings import KafkaSettings


@asynccontextmanager
async def administering(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """Open a connection to look at topics and to make them. Raises ServiceUnusable."""
    client = AIOKafkaAdminClient(**settings.client_options)
    with saying(settings):
        try:
            await connect(client, settings)
            yield client
        except NodeNotReadyError as error:  # the brokers that were named let us in; one that they name does not
            raise (await hindrance(settings) or ServiceUnusable(_told(settings, error))) from error
        finally:
            await client.close()


@asynccontextmanager
async def reading(settings: KafkaSettings, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """Open a consumer without a group, that sees only what is committed. Raises ServiceUnusable."""
    options = {
        "isolation_level": "read_committed",
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "fetch_max_wait_ms": 50,  # who reads on elsewhere waits for the last answer first
    } | options
    consumer = AIOKafkaConsumer(**settings.client_options, group_id=None, **options)
    with saying(settings):
        try:
            await connect(consumer, settings)
            yield consumer
        finally:
            await consumer.stop()


@asynccontextmanager
async def writing(settings: KafkaSettings, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    """Open a producer: what it was acked is in the log once, and in all replicas. Raises ServiceUnusable."""
    with saying(settings):
        producer = await start_writing(settings, **options)
        try:
            yield producer
        finally:
            await producer.stop()


async def start_writing(settings: KafkaSettings, **options: Any) -> AIOKafkaProducer:
    """Start a producer that whoever has it stops. Raises ServiceUnusable where Kafka does not answer."""
    options = {"enable_idempotence": True, "acks": "all"} | options
    producer = AIOKafkaProducer(**settings.client_options, **options)
    with saying(settings):
        try:
            await connect(producer, settings)
        except BaseException:
            await producer.stop()
            raise
    return producer


async def connect(client: AIOKafkaAdminClient | AIOKafkaConsumer | AIOKafkaProducer, settings: KafkaSettings) -> None:
    """Start a client. Raises ServiceUnusable with the reason where there is no way in; AccessRefused if it must change."""
    try:
        await client.start()
    except KafkaConnectionError as error:  # aiokafka tells its log alone why
        raise (await hindrance(settings) or ServiceUnusable(_silent(settings))) from error


@contextmanager
def saying(settings: KafkaSettings) -> Iterator[None]:
    """Put what Kafka refuses into words. Raises ServiceUnusable."""
    try:
        yield
    except KafkaConnectionError as error:
        raise ServiceUnusable(_silent(settings)) from error
    except LACKING as error:
        raise AccessRefused(lacking(settings.bootstrap, error)) from error
    except KafkaError as error:
        raise ServiceUnusable(_told(settings, error)) from error


def _silent(settings: KafkaSettings) -> str:
    return (
        f"no Kafka answers at {settings.bootstrap}: see that it runs, or name another with --bootstrap"
        " or TRIGGERS_KAFKA_BOOTSTRAP"
    )


def _told(settings: KafkaSettings, error: KafkaError) -> str:
    return f"Kafka at {settings.bootstrap}: {error}"


def hush() -> None:
    """Keep the client's own log lines off the screen: a command says itself what went wrong.

    Those of asyncio are the client's, too: of a transaction that fails nobody but its own future is told a second time.
    """
    for name in ("aiokafka", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
