"""The embedded service: intake, engine and dispatcher in one process on one SQLite file, from start to a clean end."""

from __future__ import annotations

import asyncio
import signal
import threading
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import structlog

from triggers.clock import FastClock, WallClock, wall_ms
from triggers.core.decisions import Ended, Postponed
from triggers.core.events import CustomerUnsubscribed, CustomerUpdated
from triggers.core.times import DAY, MINUTE, iso
from triggers.dispatch.assembly import Ears, assemble, contacts
from triggers.dispatch.gateway import Hears
from triggers.dispatch.gateways.console import ConsoleGateway
from triggers.dispatch.postbox import Posted
from triggers.dispatch.settings import load_delivery, on_the_console
from triggers.dispatch.terms import rules_of
from triggers.drivers.embedded.driver import Driver, Outcome
from triggers.drivers.embedded.feed import Feed, first_moment
from triggers.drivers.embedded.rules import Rules
from triggers.drivers.embedded.screen import REFRESH_S, SUMMARY_EVERY_S, Screen
from triggers.drivers.embedded.shelf import Limit
from triggers.drivers.watching import Watch, changes
from triggers.errors import InputUnusable, OutputUnusable, ServiceUnusable, TriggersError
from triggers.language.contents import contents_of
from triggers.metrics import Metrics
from triggers.store.database import Lock, connect_reader, open_database, saying
from triggers.store.event_log import EventLog, oldest_after, read_place
from triggers.store.fleet import is_of_a_fleet
from triggers.store.messages import message_of
from triggers.store.outbox import ACCEPTED, CANCELLED, QUEUED, SENDING
from triggers.store.progress import load_progress
from triggers.store.receipts import unmatched
from triggers.store.writer import Writer
from triggers.web.listening import listen
from triggers.web.service import Face

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Sequence

    from aiohttp import web
    from rich.console import Console
    from rich.text import Text

    from triggers.core.times import Zone
    from triggers.dispatch.gateway import Heard
    from triggers.dispatch.postbox import Answered, Wanted
    from triggers.drivers.editions import Edition
    from triggers.settings import Settings
    from triggers.store.event_log import Arrival, Entry
    from triggers.store.messages import Message
    from triggers.store.progress import Progress

LONGEST_WAIT_S = 0.5
"""How long the engine sleeps at most; it is woken when something arrives."""

MAX_BEHIND = DAY
"""How far the clock may be behind the log at start, in ms."""

_log = structlog.get_logger("service")


class Service:
    """Everything that ``triggers run`` runs. Make it (raises what keeps it from starting), then ``serve``."""

    def __init__(self, settings: Settings, console: Console) -> None:
        if settings.input is None and (settings.speed is not None or settings.exit_at_end):
            raise InputUnusable("--speed and --exit-at-end need --input, the log to run")
        self.settings = settings
        self._console = console
        self.metrics = Metrics()
        self._fault: BaseException | None = None
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._edited = threading.Event()
        self._switching: tuple[Edition, Future[None]] | None = None
        self._counting = threading.Lock()
        self._events_waiting = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()
        with saying(settings.db), ExitStack() as opened:
            self._open(opened)
            self._opened = opened.pop_all()

    def _open(self, opened: ExitStack) -> None:
        settings = self.settings
        contents_of(settings.rules)  # without a folder nothing is made
        delivery = on_the_console() if settings.delivery is None else load_delivery(settings.delivery)
        opened.callback(Lock(settings.db).release)
        open_database(settings.db)
        self._writer = Writer(settings.db, committed=self.metrics.commits.observe, failed=self._fail)
        opened.callback(self._writer.close)
        engine_reader, upkeep_reader, rules_reader, self._reader = (connect_reader(settings.db) for _ in range(4))
        for reader in (engine_reader, upkeep_reader, rules_reader, self._reader):
            opened.callback(reader.close)
        if is_of_a_fleet(engine_reader):
            raise ServiceUnusable(f"{settings.db} belongs to the dispatcher of a fleet; give --db another file")
        progress = load_progress(engine_reader)
        self._clock = self._make_clock(progress)
        known = contacts(delivery)
        self._writer.submit(known.catch_up).result()
        self._log = EventLog(self._writer, self._clock.now, floor=progress.clock or 0, heed=known.heed)
        if isinstance(self._clock, FastClock):
            self._clock.start(max(self._log.last_stamp, self._clock.now()))
        else:
            self._compare_clocks()
        now, virtual = self._clock.now(), self._clock.virtual
        self._ruling = Rules(
            settings.rules,
            self._writer,
            rules_reader,
            settle=settings.settle_ms,
            recalls=not virtual,
            most_due=settings.max_due_at_once,
        )
        self._edition, refused = self._ruling.first(now)
        self._watch = Watch(settings.rules, self._edition, self._switch, allowed=self._allowed, refused=refused)
        book = self._ruling.book(self._edition, now=now, first=0 if virtual else now)
        self._rules = rules_of(book)
        self.screen = Screen(self._console, book.shop.zone)
        self._driver = Driver(
            book,
            engine_reader,
            self._writer,
            self._log,
            progress,
            clock=self._clock,
            now=wall_ms,
            told=self._decided,
            in_memory=Limit(settings.max_customers_in_memory, settings.max_kept_in_memory),
        )
        self._feed = self._make_feed()
        self._dispatch = assemble(
            delivery,
            self._writer,
            upkeep_reader,
            self._log,
            lambda: self._rules,
            Ears(self._moved, self._not_sent, self._arrived, self._rules_paused),
            now=wall_ms,
            engine_now=self._clock.now,
            virtual=self._clock.virtual,
        )
        self._dispatcher = self._dispatch.dispatcher
        deaf = [name for name, road in self._dispatch.traffic.roads.items() if road.gateway.receipts != road.receipts]
        if deaf:
            _log.warning(
                "without a public_url gateways cannot tell of delivery, so they are not watched", gateways=deaf
            )
        self._show_times_of(book.shop.zone)

    def _show_times_of(self, zone: Zone) -> None:
        self.screen.zone = zone
        for gateway in self._dispatch.gateways.values():
            if isinstance(gateway, ConsoleGateway):
                gateway.show, gateway.zone = self._show, zone

    def _compare_clocks(self) -> None:
        """See to it that the clock is not far behind the log: until it has caught up, no timer acts."""
        ahead = self._log.last_stamp - self._clock.now()
        if ahead > MAX_BEHIND:
            raise ServiceUnusable(
                f"the database {self.settings.db} has come to {iso(self._log.last_stamp)}, {ahead // DAY} days ahead of"
                " the clock; if it was made with --speed, go on with that, or give --db another file"
            )
        if ahead > MINUTE:
            _log.warning(
                "the clock is behind the log; until it has caught up no message leaves", seconds=ahead // 1_000
            )

    def _make_clock(self, progress: Progress) -> FastClock | WallClock:
        settings = self.settings
        if settings.speed is None:
            return WallClock()
        assert settings.input is not None  # noqa: S101  checked at the start
        return FastClock(first_moment(settings.input) if progress.clock is None else progress.clock, settings.speed)

    def _make_feed(self) -> Feed | None:
        if self.settings.input is None:
            return None
        return Feed(
            self.settings.input,
            read_place(self._reader, str(self.settings.input.resolve())),
            self._log,
            clock=self._clock,
            ends=self.settings.exit_at_end,
            arrived=self._arrived,
            stopping=self._stopping,
        )

    # From start to end

    async def serve(self) -> None:
        """Run until a signal, the end of the input where that is asked for, or a fault; then end cleanly.

        Raises ServiceUnusable, or whatever else ended it.
        """
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._ended.set)
        try:
            runner = await self._listen()
            for state, count in self._dispatcher.recover().items():
                self.metrics.outbox.labels(state).set(count)
            self._welcome()
            await self._dispatch.upkeep.begin()
            sending, showing = self._task(self._dispatcher.run()), self._task(self._show_progress())
            upkeep = self._dispatch.upkeep.run(self.settings.upkeep_s)
            watching = self._watch.run(self.settings.reload_s)
            beside = [showing, *map(self._task, (upkeep, watching, *self._dispatch.listening()))]
            threads = [self._thread("engine", self._decide)]
            threads += [self._thread("feed", self._feed.run)] if self._feed else []
            await self._ended.wait()
            self._writer.hurry()
            await runner.cleanup()
            await self._end(sending, beside, threads)
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._loop.remove_signal_handler(number)
            self._loop = None
            await asyncio.to_thread(self._opened.close)
        if isinstance(self._fault, TriggersError):
            raise self._fault
        if self._fault is not None:
            raise ServiceUnusable(f"a part of the service failed ({type(self._fault).__name__}); the log says where")

    async def _listen(self) -> web.AppRunner:
        settings = self.settings
        face = Face(
            self,
            self.metrics.registry,
            max_body=settings.max_body,
            max_events=settings.max_events_in_body,
            token=None if settings.api_token is None else settings.api_token.get_secret_value(),
        )
        runner = await listen(
            face.application(),
            settings.host,
            settings.port,
            ending_s=5,
            guarded=settings.api_token is not None,
            rules=len(self._driver.rulebook.rules),
        )
        self.address: tuple[str, int] = runner.addresses[0][:2]
        return runner

    async def _end(
        self, sending: asyncio.Task[None], beside: Sequence[asyncio.Task[None]], threads: Sequence[threading.Thread]
    ) -> None:
        self._stopping.set()
        self._wake.set()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        self._dispatcher.stop()
        for task in beside:
            task.cancel()
        await asyncio.gather(sending, *beside, return_exceptions=True)
        if self._fault is None and self.settings.exit_at_end:
            await self._guarded(self._dispatcher.drain())
        await self._dispatch.close()
        if self._fault is None:
            self._show_numbers()
        _log.info("stopped", position=self._driver.position, fault=None if self._fault is None else str(self._fault))

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.create_task(self._guarded(work))

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001  whatever ends a part ends the service, and is raised there
            self._fail(error)

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                with saying(self.settings.db):
                    work()
            except BaseException as error:  # noqa: BLE001  whatever ends a part ends the service, and is raised there
                self._fail(error)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    def _fail(self, error: BaseException) -> None:
        if self._fault is None:
            self._fault = error
            if not isinstance(error, TriggersError):
                _log.error("a part of the service failed", exc_info=error)
        self._on_loop(self._ended.set)

    def _on_loop(self, call: Callable[[], object]) -> None:
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # closed in between: nobody is left to be told
                loop.call_soon_threadsafe(call)

    def _rules_paused(self) -> None:
        """Have the engine take up which rules are paused now."""
        self._edited.set()
        self._wake.set()

    # Rules that are edited, on the loop

    async def _switch(self, edition: Edition) -> Collection[tuple[str, str]]:
        """Have the engine switch to other rules between two events; gives what of them is not to be taken up."""
        old, at = self._driver.rulebook, self._driver.clock
        refused = await asyncio.to_thread(self._ruling.weigh, old, edition, at)
        if refused:
            return [(each.file, each.digest) for each in refused]
        told, done = changes(self._edition, edition), Future[None]()
        self._switching = (edition, done)
        self._rules_paused()
        await asyncio.wrap_future(done)
        self._show_times_of(self._driver.rulebook.shop.zone)
        self.screen.rules_changed(str(told), edition.revision)
        return ()

    async def _allowed(self, refused: Collection[tuple[str, str]]) -> Collection[tuple[str, str]]:
        return await asyncio.to_thread(self._ruling.decided, refused)

    # The engine's thread

    def _decide(self) -> None:
        if not self._driver.settled:
            self._driver.change(self._driver.rulebook)
        self._ruling.settled(self._watch.refused)
        while not self._stopping.is_set():
            self._wake.clear()
            if self._edited.is_set():
                self._edited.clear()
                self._change_rules()
            if self._driver.turn():
                continue
            if self._at_end():
                self._on_loop(self._ended.set)
                return
            self._wake.wait(min(LONGEST_WAIT_S, self._clock.seconds_until(self._driver.next_wake())))

    def _change_rules(self) -> None:
        """Move over to other rules, or to the same with others paused."""
        switching, self._switching = self._switching, None
        if switching is not None:
            self._edition = switching[0]
        now = self._clock.now()
        book = self._ruling.book(self._edition, now=now, first=now)
        self._rules = rules_of(book)
        self._driver.change(book)
        if switching is not None:
            self._ruling.settled(self._watch.refused)
            switching[1].set_result(None)

    def _at_end(self) -> bool:
        return (
            self.settings.exit_at_end
            and self._feed is not None
            and self._feed.done.is_set()
            and self._driver.position == self._log.last_seq
            and self._driver.next_wake() >= self._clock.now()
        )

    def _decided(self, outcome: Outcome) -> None:
        self.screen.take(outcome)
        for decision, _ in outcome.decisions:
            if isinstance(decision, Ended | Postponed):
                self.metrics.decisions.labels(decision.wait.rule, str(decision.reason)).inc()
        if outcome.new_commands:
            self.metrics.outbox.labels(QUEUED).inc(outcome.new_commands)
            self._on_loop(self._dispatcher.more)
        if outcome.cancelled:
            self._moved(QUEUED, CANCELLED, outcome.cancelled)

    # Intake, on any thread

    @property
    def busy(self) -> bool:
        """Whether more is waiting to be written than should be."""
        settings = self.settings
        return (
            self._writer.waiting >= settings.max_bodies_waiting or self._events_waiting >= settings.max_events_waiting
        )

    def ingest(self, arrivals: Sequence[Arrival]) -> Future[list[Entry]]:
        """Log what came in; the answer comes when it is on the disk."""

        def entered(done: Future[list[Entry]]) -> None:
            self._count_waiting(-len(arrivals))
            if not done.cancelled() and not done.exception():
                self._arrived(done.result())

        self._count_waiting(len(arrivals))
        future = self._log.append(arrivals)
        future.add_done_callback(entered)
        return future

    def _count_waiting(self, more: int) -> None:
        with self._counting:
            self._events_waiting += more

    def _arrived(self, entries: list[Entry]) -> None:
        for entry in entries:
            self.metrics.events.labels(entry.result).inc()
            if entry.note:
                self.metrics.early.inc()
        self._wake.set()

    async def heeded(self, arrivals: Sequence[Arrival]) -> None:
        """Wait until nothing commercial leaves any more to the customers who opted out in what came in."""
        names = {
            event.customer
            for arrival in arrivals
            if isinstance(event := arrival.meaning, CustomerUnsubscribed)
            or (isinstance(event, CustomerUpdated) and event.consent is False)
        }
        if names:
            await self._dispatch.inflight.over(names)

    # Messages that no rule sends, and what gateways tell; on the loop

    async def post(self, key: str, wanted: Wanted) -> Answered:
        """Queue a message that no rule sends, once by its key; returns when it is on the disk."""
        posted = await self._dispatch.postbox.post(key, wanted)
        if isinstance(posted, Posted) and posted.new:
            self.metrics.outbox.labels(QUEUED).inc()
        return posted

    def message(self, command: str) -> Message | None:
        """Tell what became of a message so far; None: there is none with this id."""
        with saying(self.settings.db):
            return message_of(self._reader, command)

    @property
    def public_url(self) -> str | None:
        """The address at which the service is reached from outside, if it was told."""
        return self._dispatch.delivery.public_url

    def caller(self, name: str) -> Hears | None:
        """Find the gateway that has this name in the settings; None: there is none, or it never calls back."""
        gateway: object = self._dispatch.gateways.get(name)
        return gateway if isinstance(gateway, Hears) else None

    async def heard(self, gateway: str, heard: Heard) -> None:
        """Store what a gateway told; returns when it is on the disk and every opt-out in it holds."""
        await self._dispatch.hearing.hear(gateway, heard)

    def health(self) -> dict[str, Any]:
        """Tell how far the service has come, and bring the gauges up to date."""
        driver, now = self._driver, self._clock.now()
        with saying(self.settings.db):
            oldest = oldest_after(self._reader, driver.position)
            self.metrics.unmatched.set(unmatched(self._reader))
        lag_s = 0.0 if oldest is None else max(0, now - oldest) / 1_000
        clock = now if driver.idle and oldest is None else driver.clock
        self.metrics.lag.set(lag_s)
        self.metrics.position.set(driver.position)
        self.metrics.clock.set(clock / 1_000)
        return {
            "status": "ok" if self._fault is None and not self._ended.is_set() else "stopping",
            "position": driver.position,
            "events": self._log.last_seq,
            "lag_s": lag_s,
            "clock": iso(clock),
            "rules": {"revision": driver.rulebook.revision, "count": len(driver.rulebook.rules)},
        }

    # The screen, on the loop

    def _show(self, line: Text) -> None:
        try:
            self.screen.show(line)
        except OutputUnusable as error:
            self._fail(error)
            raise

    def _welcome(self) -> None:
        address = f"http://{self.address[0]}:{self.address[1]}"
        self.screen.welcome(address, len(self._driver.rulebook.rules), self._clock.now(), self.settings.speed)

    def _show_numbers(self) -> None:
        self.screen.summary(self._driver.position)

    def _moved(self, old: str, new: str, count: int) -> None:
        self.metrics.outbox.labels(old).dec(count)
        self.metrics.outbox.labels(new).inc(count)
        if (old, new) == (SENDING, ACCEPTED):
            self.screen.left(count)

    def _not_sent(self, rule: str, reason: str) -> None:
        self.metrics.not_sent.labels(rule, reason).inc()
        self.screen.not_sent(reason)

    async def _show_progress(self) -> None:
        shown_s = 0.0
        told = -1
        while True:
            await asyncio.sleep(REFRESH_S)
            shown_s += REFRESH_S
            self.screen.refresh()
            if shown_s >= SUMMARY_EVERY_S and told != self._driver.position:
                shown_s, told = 0.0, self._driver.position
                self._show_numbers()
