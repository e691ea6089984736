"""The dispatcher of a fleet: one process, one SQLite file; it sends what the workers decide, from start to a clean end."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from triggers.clock import wall_ms
from triggers.dispatch.assembly import Ears, assemble, contacts
from triggers.dispatch.gateways.console import ConsoleGateway
from triggers.dispatch.settings import load_delivery, on_the_console
from triggers.dispatch.upkeep import OLD_ENOUGH
from triggers.drivers.kafka.closing import let_go
from triggers.drivers.kafka.dispatch_desk import Doubts, FleetDesk
from triggers.drivers.kafka.dispatch_feeds import Feeds
from triggers.drivers.kafka.dispatch_lease import Lease
from triggers.drivers.kafka.dispatch_metrics import DispatchMetrics
from triggers.drivers.kafka.dispatch_relay import Relay
from triggers.drivers.kafka.dispatch_rules import RulesInUse
from triggers.drivers.kafka.dispatch_start import find_start
from triggers.drivers.life import Life
from triggers.errors import ServiceUnusable
from triggers.reports.numbers import Numbers
from triggers.store.database import Lock, connect_reader, open_database, saying
from triggers.store.fleet import Reading, identity, is_of_a_fleet, read_to, readings
from triggers.store.message_events import MessageEvents
from triggers.store.progress import load_progress
from triggers.store.writer import Writer
from triggers.web.callbacks import Callbacks
from triggers.web.entrance import READ_TIMEOUT_S, Entrance
from triggers.web.listening import listen
from triggers.web.messages import Messages
from triggers.web.service import application
from triggers.web.vitals import Vitals

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from aiohttp import web

    from triggers.drivers.kafka.dispatch_settings import DispatchSettings
    from triggers.store.database import Connection
    from triggers.store.event_log import Entry

T = TypeVar("T")
_log = structlog.get_logger("dispatch")


class PostOffice:
    """Everything that ``triggers dispatcher`` runs. Make it and ``serve`` within one event loop.

    Both raise what keeps it from starting.
    """

    def __init__(self, settings: DispatchSettings) -> None:
        self.settings = settings
        self.metrics = DispatchMetrics()
        self._life = Life("dispatcher", _log)
        self._opened = AsyncExitStack()

    async def serve(self) -> None:
        """Run until a signal or a fault; then end cleanly. Raises ServiceUnusable, or whatever else ended it."""
        with self._life.lived():
            async with self._opened:
                with saying(self.settings.db):
                    self._open()
                await self._begin()
                await self._life.ended.wait()
                await self._end()

    def _open(self) -> None:
        settings = self.settings
        self._rules = RulesInUse(settings)
        delivery = on_the_console() if settings.delivery is None else load_delivery(settings.delivery)
        self._opened.callback(Lock(settings.db, "dispatcher").release)
        open_database(settings.db)
        self._writer = Writer(settings.db, committed=self.metrics.commits.observe, failed=self._life.fail)
        self._opened.callback(self._writer.close)
        reader, upkeep_reader = connect_reader(settings.db), connect_reader(settings.db)
        self._opened.callback(reader.close)
        self._opened.callback(upkeep_reader.close)
        counting_reader = connect_reader(settings.db)
        self._opened.callback(counting_reader.close)
        self._numbers = Numbers(counting_reader, settings.db, old_enough=OLD_ENOUGH, now=wall_ms)
        self.metrics.registry.register(self._numbers)
        if is_of_a_fleet(reader) is False:
            raise ServiceUnusable(f"{settings.db} belongs to a `triggers run`; give --db another file")
        known = contacts(delivery)
        self._stored = readings(reader)
        self._database = identity(reader)
        self._relay = Relay(settings, self._writer)
        self._feeds = Feeds(
            settings,
            self._writer,
            self.metrics,
            known,
            self._rules,
            stored=self._stored,
            position=load_progress(reader).position,
        )
        self._lease = Lease(settings, self._feeds.places, self._database)
        self._dispatch = assemble(
            delivery,
            self._writer,
            upkeep_reader,
            MessageEvents(known.heed, wall_ms),
            self._rules,
            Ears(self._moved, self._not_sent, self._said, _nothing),
            now=wall_ms,
            engine_now=self._feeds.log_now if settings.virtual else wall_ms,
            virtual=settings.virtual,
            doubts=Doubts(settings, self._lease, self._feeds.log),
        )
        self._feeds.attend(self._dispatch, self._moved, self._lease.soon)
        for gateway in self._dispatch.gateways.values():
            if isinstance(gateway, ConsoleGateway):
                gateway.zone = self._rules().shop.zone
        self._desk = FleetDesk(
            settings,
            self._dispatch,
            self._writer,
            reader,
            self.metrics,
            readers=self._feeds.readers,
            lease=self._lease,
            rules=self._rules,
            well=lambda: self._life.well,
        )

    # From start to end

    async def _begin(self) -> None:
        """Find the place to go on at, shut a former dispatcher out, and set everything going."""
        start = await find_start(self.settings, self._stored, self._database)
        await self._rules.follow()
        begins = [Reading(topic, part, at) for topic, places in start.places.items() for part, at in places.items()]
        await self._commit(lambda connection: read_to(connection, begins))
        await self._feeds.open(start.places, self._opened)
        self._opened.push_async_callback(lambda: let_go(self._lease.close()))
        await self._lease.take(followed=start.followed)
        dispatcher, upkeep = self._dispatch.dispatcher, self._dispatch.upkeep
        for state, count in dispatcher.recover().items():
            self.metrics.outbox.labels(state).set(count)
        self._runner = await self._listen()
        await upkeep.begin()
        self._sending = self._task(dispatcher.run())
        works = [
            *self._feeds.works(),
            self._lease.run(),
            self._relay.run(),
            self._rules.run(),
            upkeep.run(self.settings.upkeep_s),
            self._numbers.run(self.settings.upkeep_s),
            *self._dispatch.listening(),
        ]
        self._beside = [self._task(work) for work in works]

    async def _listen(self) -> web.AppRunner:
        settings, desk = self.settings, self._desk
        entrance = Entrance(desk, settings.token, READ_TIMEOUT_S)
        parts = (Messages(desk, entrance), Callbacks(desk, entrance), Vitals(desk.health, self.metrics.registry))
        app = application(*parts, max_body=settings.max_body, answers=self.metrics.answers)
        runner = await listen(app, settings.host, settings.port, ending_s=5, guarded=settings.token is not None)
        self._opened.push_async_callback(runner.cleanup)
        return runner

    async def _end(self) -> None:
        """Take nothing more in, wait for what is being sent, then stop everything."""
        self._writer.hurry()
        await self._runner.cleanup()
        self._dispatch.dispatcher.stop()
        await asyncio.gather(self._sending, return_exceptions=True)
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        await self._dispatch.close()
        fault = self._life.fault
        _log.info("stopped", fault=None if fault is None else str(fault))

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        async def uncancelled() -> None:
            try:
                await work
            except asyncio.CancelledError:
                if not self._life.ended.is_set():  # not by us: a client's own
                    self._life.fail(
                        ServiceUnusable("a part of the dispatcher was ended by Kafka's client; start again")
                    )
                raise

        return self._life.task(uncancelled())

    async def _commit(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.wrap_future(self._writer.submit(work))

    # What is told, on any thread

    def _moved(self, old: str, new: str, count: int) -> None:
        self.metrics.outbox.labels(old).dec(count)
        self.metrics.outbox.labels(new).inc(count)

    def _not_sent(self, rule: str, reason: str) -> None:
        self.metrics.not_sent.labels(rule, reason).inc()

    def _said(self, _entries: list[Entry]) -> None:
        """Have the events that entered brought into the log."""
        self._life.on_loop(self._relay.more)


def _nothing() -> None:
    """Hear that rules were paused: each claim looks at that itself."""
