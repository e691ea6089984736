"""One worker of a fleet: intake, engine and its share of the answers, from start to a clean end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from triggers.clock import wall_ms
from triggers.drivers.kafka import faust_app
from triggers.drivers.kafka.counter import Counter
from triggers.drivers.kafka.crew import Crew
from triggers.drivers.kafka.intake import Intake
from triggers.drivers.kafka.records import ASKS, EVENTS, MESSAGE_EVENTS
from triggers.drivers.kafka.register import enrol
from triggers.drivers.kafka.worker_metrics import WorkerMetrics
from triggers.drivers.rules import load_rules, rulebook
from triggers.errors import ServiceUnusable, TriggersError
from triggers.web.answers import in_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from triggers.core.rulebook import Rulebook
    from triggers.drivers.kafka.letters import Record
    from triggers.drivers.kafka.settings import KafkaSettings
    from triggers.language import Loaded

_log = structlog.get_logger("worker")


async def book_of(settings: KafkaSettings, loaded: Loaded) -> Rulebook:
    """Make the rulebook that all workers with these rules have. Raises ServiceUnusable."""
    now = wall_ms()
    register = await enrol(settings, [rule.id for rule in loaded.rules], now, 0 if settings.virtual else now)
    return rulebook(loaded, register, settle=settings.settle_ms, recalls=not settings.virtual)


class Worker:
    """What ``triggers worker`` runs. Make it, then ``serve``."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self.name = f"{socket.gethostname()}/{os.getpid()}"
        self.metrics = WorkerMetrics()
        self._loaded = load_rules(settings.rules)
        self._ended = asyncio.Event()
        self.address: tuple[str, int] = ("", 0)

    async def serve(self) -> None:
        """Run until a signal, or a fault; then let go of the partitions and end cleanly.

        Raises ServiceUnusable, or whatever else ended it.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._ended.set)
        try:
            async with AsyncExitStack() as opened:
                await self._run(opened)
        except TriggersError:
            raise
        except Exception as error:
            _log.exception("the worker failed")
            raise ServiceUnusable(
                f"a part of the worker failed ({type(error).__name__}); the log says where"
            ) from error
        _log.info("stopped", worker=self.name)

    async def _run(self, opened: AsyncExitStack) -> None:
        settings, metrics = self.settings, self.metrics
        self._book = book = await book_of(settings, self._loaded)
        metrics.revision.labels(book.revision).set(1)
        self._crew = crew = Crew(settings, book, self.name, metrics)
        self._counter = counter = Counter(settings, book)
        intake = Intake(settings)
        opened.push_async_callback(intake.stop)
        await intake.start()
        app = faust_app.make_app(settings)
        for source in (*settings.sources, settings.topic(MESSAGE_EVENTS)):
            faust_app.on_chunks(app, source, self._taking(intake, source))
        faust_app.on_chunks(app, settings.topic(EVENTS), crew.take, on_gained=crew.gained, on_lost=crew.lost)
        faust_app.on_chunks(app, settings.topic(ASKS), counter.take, on_gained=counter.gained, on_lost=counter.lost)
        await self._listen(opened)
        _log.info("working", worker=self.name, rules=len(book.rules), revision=book.revision)
        beside = asyncio.create_task(crew.run())
        running = asyncio.create_task(faust_app.run(app, self._ended))
        try:
            await asyncio.wait({beside, running}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._ended.set()
            beside.cancel()
            outcomes = await asyncio.gather(running, beside, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
                raise _plain(outcome)

    def _taking(self, intake: Intake, topic: str) -> Callable[[int, Sequence[Record]], Awaitable[None]]:
        async def take(_partition: int, records: Sequence[Record]) -> None:
            self.metrics.took_in(await intake.take(topic, records))

        return take

    # What others see

    async def _listen(self, opened: AsyncExitStack) -> None:
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/metrics", self._metrics)
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        opened.push_async_callback(runner.cleanup)
        host, port = self.settings.host, self.settings.port
        try:
            await web.TCPSite(runner, host, port, shutdown_timeout=2).start()
        except OSError as error:
            raise ServiceUnusable(
                f"cannot listen on {host} port {port}: {error.strerror or error}; choose another with --port"
            ) from error
        self.address = runner.addresses[0][:2]
        _log.info("listening", address=f"http://{self.address[0]}:{self.address[1]}")

    def health(self) -> dict[str, Any]:
        """Tell how the worker is: ready once every partition that it was given has been taken over."""
        stopping = self._ended.is_set()
        return {
            "status": "stopping" if stopping else "ok" if self._crew.ready else "taking over",
            "worker": self.name,
            "partitions": self._crew.partitions,
            "rules": {"revision": self._book.revision, "count": len(self._book.rules)},
        }

    async def _healthz(self, _request: web.Request) -> web.Response:
        health = self.health()
        return in_json(health, 200 if health["status"] == "ok" else 503)

    async def _metrics(self, _request: web.Request) -> web.Response:
        self.metrics.look()
        return web.Response(body=generate_latest(self.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _plain(error: BaseException) -> BaseException:
    """Take the one fault out of a group of one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
