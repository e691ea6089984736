"""The embedded service: intake, engine and dispatcher in one process on one SQLite file, from start to a clean end."""

from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import structlog

from triggers.clock import wall_ms
from triggers.dispatch.assembly import Ears, assemble, contacts
from triggers.dispatch.settings import load_delivery, on_the_console
from triggers.drivers.embedded.archive import Archive
from triggers.drivers.embedded.bulletin import Bulletin
from triggers.drivers.embedded.deciding import Deciding
from triggers.drivers.embedded.driver import Driver
from triggers.drivers.embedded.feed import Feed
from triggers.drivers.embedded.reception import Reception
from triggers.drivers.embedded.rules import Rules
from triggers.drivers.embedded.shelf import Limit
from triggers.drivers.life import Life
from triggers.errors import InputUnusable
from triggers.language.contents import contents_of
from triggers.metrics import Metrics
from triggers.store.database import saying
from triggers.store.event_log import read_place
from triggers.web.listening import listen
from triggers.web.service import Face

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp import web
    from rich.console import Console

    from triggers.dispatch.settings import Delivery
    from triggers.drivers.editions import Edition
    from triggers.drivers.embedded.driver import Outcome
    from triggers.drivers.watching import Changes
    from triggers.settings import Settings
    from triggers.store.event_log import Entry

_log = structlog.get_logger("service")


class Service:
    """Everything that ``triggers run`` runs. Make it (raises what keeps it from starting), then ``serve``."""

    def __init__(self, settings: Settings, console: Console) -> None:
        if settings.input is None and (settings.speed is not None or settings.exit_at_end):
            raise InputUnusable("--speed and --exit-at-end need --input, the log to run")
        self.settings = settings
        self.metrics = Metrics()
        self._console = console
        self._life = Life("service", _log)
        self._stopping = threading.Event()
        with saying(settings.db), ExitStack() as half_open:
            contents_of(settings.rules)  # without a folder nothing is made
            delivery = on_the_console() if settings.delivery is None else load_delivery(settings.delivery)
            self._archive = Archive(settings, contacts(delivery), self.metrics, failed=self._life.fail)
            half_open.callback(self._archive.close)
            self._open_engine()
            self._open_dispatch(delivery)
            half_open.pop_all()

    def _open_engine(self) -> None:
        settings, archive = self.settings, self._archive
        now, virtual = archive.clock.now(), archive.clock.virtual
        ruling = Rules(
            settings.rules,
            archive.writer,
            archive.another_reader(),
            settle=settings.settle_ms,
            recalls=not virtual,
            most_due=settings.max_due_at_once,
        )
        edition, refused = ruling.first(now)
        book = ruling.book(edition, now=now, first=0 if virtual else now)
        self._bulletin = Bulletin(self.metrics, self._console, book.shop.zone, failed=self._life.fail)
        self._driver = Driver(
            book,
            archive.another_reader(),
            archive.writer,
            archive.log,
            archive.progress,
            clock=archive.clock,
            now=wall_ms,
            told=self._decided,
            in_memory=Limit(settings.max_customers_in_memory, settings.max_kept_in_memory),
        )
        self._feed = self._make_feed()
        self._deciding = Deciding(
            self._driver,
            ruling,
            edition,
            settings.rules,
            refused=refused,
            log=archive.log,
            clock=archive.clock,
            stopping=self._stopping,
            read_out=lambda: settings.exit_at_end and self._feed is not None and self._feed.done.is_set(),
            changed=self._rules_changed,
        )

    def _make_feed(self) -> Feed | None:
        path, archive = self.settings.input, self._archive
        if path is None:
            return None
        return Feed(
            path,
            read_place(archive.reader, str(path.resolve())),
            archive.log,
            clock=archive.clock,
            ends=self.settings.exit_at_end,
            arrived=self._arrived,
            stopping=self._stopping,
        )

    def _open_dispatch(self, delivery: Delivery) -> None:
        archive = self._archive
        self._dispatch = assemble(
            delivery,
            archive.writer,
            archive.another_reader(),
            archive.log,
            lambda: self._deciding.rules,
            Ears(self._bulletin.moved, self._bulletin.not_sent, self._arrived, self._deciding.take_up),
            now=wall_ms,
            engine_now=archive.clock.now,
            virtual=archive.clock.virtual,
        )
        self._bulletin.attend(self._dispatch.gateways.values())
        self.reception = Reception(
            self.settings,
            self._dispatch,
            archive,
            self._driver,
            self.metrics,
            queued=self._bulletin.queued,
            arrived=self._arrived,
            well=lambda: self._life.well,
        )
        deaf = [name for name, road in self._dispatch.traffic.roads.items() if road.gateway.receipts != road.receipts]
        if deaf:
            _log.warning(
                "without a public_url gateways cannot tell of delivery, so they are not watched", gateways=deaf
            )

    # From start to end

    async def serve(self) -> None:
        """Run until a signal, the end of the input where that is asked for, or a fault; then end cleanly.

        Raises ServiceUnusable, or whatever else ended it.
        """
        with self._life.lived():
            try:
                await self._run()
            finally:
                await asyncio.to_thread(self._archive.close)  # what waits is written yet, and that may fail, too

    async def _run(self) -> None:
        life, dispatcher, upkeep = self._life, self._dispatch.dispatcher, self._dispatch.upkeep
        runner = await self._listen()
        for state, count in dispatcher.recover().items():
            self.metrics.outbox.labels(state).set(count)
        host, port = runner.addresses[0][:2]
        rules, now = len(self._driver.rulebook.rules), self._archive.clock.now()
        self._bulletin.welcome(f"http://{host}:{port}", rules, now, self.settings.speed)
        await upkeep.begin()
        sending = life.task(dispatcher.run())
        works = [
            self._bulletin.run(lambda: self._driver.position),
            upkeep.run(self.settings.upkeep_s),
            self._deciding.watch.run(self.settings.reload_s),
            *self._dispatch.listening(),
        ]
        beside = [life.task(work) for work in works]
        threads = [self._thread("engine", self._decide)]
        threads += [self._thread("feed", self._feed.run)] if self._feed else []
        await life.ended.wait()
        self._archive.writer.hurry()
        await runner.cleanup()
        await self._end(sending, beside, threads)

    async def _listen(self) -> web.AppRunner:
        settings = self.settings
        face = Face(
            self.reception,
            self.metrics.registry,
            max_body=settings.max_body,
            max_events=settings.max_events_in_body,
            token=None if settings.api_token is None else settings.api_token.get_secret_value(),
        )
        return await listen(
            face.application(),
            settings.host,
            settings.port,
            ending_s=5,
            guarded=settings.api_token is not None,
            rules=len(self._driver.rulebook.rules),
        )

    async def _end(
        self, sending: asyncio.Task[None], beside: Sequence[asyncio.Task[None]], threads: Sequence[threading.Thread]
    ) -> None:
        life = self._life
        self._stopping.set()
        self._deciding.wake()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        self._dispatch.dispatcher.stop()
        for task in beside:
            task.cancel()
        await asyncio.gather(sending, *beside, return_exceptions=True)
        if life.fault is None and self.settings.exit_at_end:
            await life.guarded(self._dispatch.dispatcher.drain())
        await self._dispatch.close()
        if life.fault is None:
            self._bulletin.sum_up(self._driver.position)
        _log.info("stopped", position=self._driver.position, fault=None if life.fault is None else str(life.fault))

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        def on_the_database() -> None:
            with saying(self.settings.db):
                work()

        return self._life.thread(name, on_the_database)

    def _decide(self) -> None:
        self._deciding.run()
        self._life.on_loop(self._life.ended.set)

    # What one part tells of, and others go by; on any thread

    def _arrived(self, entries: list[Entry]) -> None:
        self._bulletin.arrived(entries)
        self._deciding.wake()

    def _decided(self, outcome: Outcome) -> None:
        self._bulletin.decided(outcome)
        if outcome.new_commands:
            self._life.on_loop(self._dispatch.dispatcher.more)

    # On the loop

    def _rules_changed(self, told: Changes, edition: Edition) -> None:
        self._bulletin.rules_changed(told, edition, self._driver.rulebook.shop.zone)
