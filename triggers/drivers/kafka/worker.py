"""One worker of a fleet: intake, engine and its share of the answers, from start to a clean end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from triggers.drivers.kafka import faust_app
from triggers.drivers.kafka.counter import Counter
from triggers.drivers.kafka.crew import Crew
from triggers.drivers.kafka.fleet_rules import FleetRules
from triggers.drivers.kafka.intake import Intake
from triggers.drivers.kafka.records import ASKS, EVENTS, MESSAGE_EVENTS
from triggers.drivers.kafka.rights import LACKING, lacking
from triggers.drivers.kafka.topics import expect_all
from triggers.drivers.kafka.worker_metrics import WorkerMetrics
from triggers.drivers.watching import Watch
from triggers.errors import AccessRefused, PartitionLost, ServiceUnusable, TriggersError
from triggers.web.listening import listen
from triggers.web.service import application
from triggers.web.vitals import Vitals

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence

    from triggers.core.rulebook import Rulebook
    from triggers.drivers.editions import Edition
    from triggers.drivers.kafka.letters import Record
    from triggers.drivers.kafka.settings import KafkaSettings

T = TypeVar("T")
MOST_BODY = 1_000
"""A worker takes no bodies: events come through Kafka."""
_log = structlog.get_logger("worker")


class Worker:
    """What ``triggers worker`` runs. Make it, then ``serve``."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self.name = f"{socket.gethostname()}/{os.getpid()}"
        self.metrics = WorkerMetrics()
        self._rules = FleetRules(settings)
        self._unheard = False
        self._ended = asyncio.Event()

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
        except LACKING as error:
            raise AccessRefused(lacking(self.settings.bootstrap, error)) from error
        except Exception as error:
            _log.exception("the worker failed")
            raise ServiceUnusable(
                f"a part of the worker failed ({type(error).__name__}); the log says where"
            ) from error
        _log.info("stopped", worker=self.name)

    async def _run(self, opened: AsyncExitStack) -> None:
        settings, metrics = self.settings, self.metrics
        await self._see_topics()
        edition = self._edition = await self._rules.first()
        self._book = book = await self._rules.book(edition)
        metrics.revision.labels(book.revision).set(1)
        watch = Watch(settings.rules, edition, self._switch, allowed=self._allowed, in_use=self._taken_up)
        self._crew = crew = Crew(settings, book, self.name, metrics, self._book_in_use)
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
        watching = asyncio.create_task(self._follow(watch))
        running = asyncio.create_task(faust_app.run(app, self._ended))
        try:
            await asyncio.wait({beside, watching, running}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._ended.set()
            watching.cancel()
            beside.cancel()
            outcomes = await asyncio.gather(running, beside, watching, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
                raise _plain(outcome)

    async def _see_topics(self) -> None:
        """Raise ServiceUnusable where a topic of the fleet is missing; one of the shop's own is told."""
        for name in await expect_all(self.settings):
            _log.error("a topic of the shop is not there, or not to be seen: nothing is taken in from it", topic=name)

    def _taking(self, intake: Intake, topic: str) -> Callable[[int, Sequence[Record]], Awaitable[None]]:
        async def take(_partition: int, records: Sequence[Record]) -> None:
            self.metrics.took_in(await intake.take(topic, records))

        return take

    # Rules that are edited

    async def _follow(self, watch: Watch) -> None:
        await watch.run(self.settings.reload_s)
        await self._ended.wait()

    async def _switch(self, edition: Edition) -> Collection[tuple[str, str]] | None:
        """Switch to other rules, each partition between two records; gives what of them is not to be taken up."""
        refused = await self._asked(self._rules.weigh(self._book, edition, self._crew.count_due))
        if refused is None or refused:
            return refused
        book = await self._asked(self._rules.book(edition))
        if book is None:
            return None
        await self._counter.change(book)
        await self._crew.change(book)
        self.metrics.revision.remove(self._book.revision)
        self.metrics.revision.labels(book.revision).set(1)
        self._edition, self._book = edition, book
        return ()

    async def _allowed(self, refused: Collection[tuple[str, str]]) -> Collection[tuple[str, str]]:
        return await self._asked(self._rules.allowed(refused)) or ()

    async def _taken_up(self, edition: Edition) -> Edition | None:
        return await self._asked(self._rules.in_use(edition))

    async def _asked(self, asking: Coroutine[Any, Any, T]) -> T | None:
        """Await an answer of the fleet; None where there is none now: the rules stay as they are until the next look."""
        task = asyncio.create_task(asking)
        try:
            await asyncio.wait({task})  # a client whose Kafka is away may cancel what waits for it
        finally:
            task.cancel()
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or isinstance(error, ServiceUnusable | PartitionLost):
            if not self._unheard:
                _log.warning("what the fleet says of its rules cannot be had now", error=str(error or "cancelled"))
            self._unheard = True
            return None
        self._unheard = False
        return task.result()

    async def _book_in_use(self, revision: str) -> Rulebook | None:
        """Make the rulebook of what the fleet has taken up, if it has this revision and ours has not."""
        edition = await self._taken_up(self._edition)
        return None if edition is None or edition.revision != revision else await self._asked(self._rules.book(edition))

    # What others see

    async def _listen(self, opened: AsyncExitStack) -> None:
        app = application(Vitals(self.health, self.metrics.registry), max_body=MOST_BODY)
        runner = await listen(app, self.settings.host, self.settings.port, ending_s=2, guarded=True)
        opened.push_async_callback(runner.cleanup)

    def health(self) -> dict[str, Any]:
        """Tell how the worker is: ready once every partition that it was given has been taken over."""
        self.metrics.look()
        stopping = self._ended.is_set()
        return {
            "status": "stopping" if stopping else "ok" if self._crew.ready else "taking over",
            "worker": self.name,
            "partitions": self._crew.partitions,
            "rules": {"revision": self._book.revision, "count": len(self._book.rules)},
        }


def _plain(error: BaseException) -> BaseException:
    """Take the one fault out of a group of one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
