"""The Faust app of a worker: its settings, its agents, and how it runs inside our own process."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import faust

from triggers.drivers.kafka.chunks import ChunkSchema
from triggers.drivers.kafka.lanes import Lanes
from triggers.drivers.kafka.transport import SCHEME

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiokafka import ConsumerRecord
    from faust.auth import Credentials

    from triggers.drivers.kafka.settings import KafkaSettings
    from triggers.drivers.kafka.transport import Consumer

REBALANCE_S: Final = 30.0
"""How long a group waits for a worker that is alive and does not give up its partitions."""
MAX_FETCH_BYTES: Final = 1_048_576
"""Read of a partition at once; a larger record comes alone."""


STOP_S: Final = 60.0
"""Ending takes no longer: what is under way is ended or cancelled, and the group is left, within seconds."""


class App(faust.App):
    """A Faust app that reads chunks."""

    max_chunk: int
    lanes: list[Lanes]
    client_options: dict[str, Any]

    def hold(self, topic: str, partition: int) -> None:
        """Read no more of a partition until ``release``."""
        cast("Consumer", self.consumer).hold(topic, partition)

    def release(self, topic: str, partition: int) -> None:
        """Read a partition again."""
        cast("Consumer", self.consumer).release(topic, partition)


def make_app(settings: KafkaSettings) -> App:
    """Make the app of a worker. It makes no topics, serves no HTTP, takes no signals and writes to no folder of ours."""
    hosts = [host.strip() for host in settings.bootstrap.split(",")]
    app = App(
        settings.app,
        broker=[f"{SCHEME}://{host}" for host in hosts],
        broker_credentials=_credentials(settings.client_options),
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.heartbeat_s,
        broker_rebalance_timeout=REBALANCE_S,
        broker_request_timeout=max(REBALANCE_S, settings.session_timeout_s) + 10,
        broker_commit_interval=1.0,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=MAX_FETCH_BYTES,
        processing_guarantee="at_least_once",
        stream_buffer_maxsize=16,
        stream_wait_empty=True,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        autodiscover=False,
        worker_redirect_stdouts=False,
        datadir=Path(tempfile.gettempdir()) / f"{settings.app}-faust-{os.getpid()}",
    )
    app.max_chunk = settings.max_chunk
    app.lanes = []
    app.client_options = settings.client_options
    return app


def _credentials(options: Mapping[str, Any]) -> Credentials | None:
    """Say it as Faust wants to hear it, whose own producer connects, too, and writes nothing."""
    if "sasl_mechanism" in options:
        return faust.SASLCredentials(
            mechanism=options["sasl_mechanism"],
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            ssl_context=options["ssl_context"],
        )
    return None if options["ssl_context"] is None else faust.SSLCredentials(options["ssl_context"])


def on_chunks(
    app: App,
    topic: str,
    handle: Callable[[int, list[ConsumerRecord]], Awaitable[None]],
    *,
    on_gained: Callable[[int], Awaitable[None]] | None = None,
    on_lost: Callable[[int], Awaitable[None]] | None = None,
) -> Lanes:
    """Make an agent that handles a topic chunk by chunk, in order for each partition; see ``Lanes`` for the hooks.

    A chunk is acknowledged when ``handle`` returns. Where it raises the worker ends with that, and nothing is skipped.
    """
    lanes = Lanes(topic, handle, app, on_gained=on_gained, on_lost=on_lost)
    app.lanes.append(lanes)

    async def take(stream: Any) -> None:
        async for event in stream.noack().events():
            try:
                lanes.put(event)
            except Exception as error:  # noqa: BLE001  Faust would start the agent anew and skip the chunk
                await app.crash(error)

    app.agent(app.topic(topic, schema=ChunkSchema()), name=f"take.{topic}")(take)
    return lanes


async def run(app: App, stop: asyncio.Event) -> None:
    """Run until ``stop`` is set, or raise what ended the app. Leaves the group, so that others take over at once."""
    watching = asyncio.create_task(_watch_group(app))
    try:
        await app.wait_first(app.start(), stop.wait())
        await app.wait(stop.wait())
    finally:
        watching.cancel()
        try:
            for lanes in app.lanes:
                await lanes.close()
        finally:
            async with asyncio.timeout(STOP_S):
                await app.stop()
            cast("Consumer", app.consumer).discard()
            shutil.rmtree(app.conf.datadir, ignore_errors=True)
    if app.crash_reason is not None:
        raise app.crash_reason


async def _watch_group(app: App) -> None:
    try:
        await cast("Consumer", app.consumer).watch_group()
    except Exception as error:  # noqa: BLE001  whatever it is, the worker ends with it
        await app.crash(error)
