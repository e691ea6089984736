"""The embedded engine at work: it decides turn after turn on a thread of its own, and takes up other rules in between."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from triggers.dispatch.terms import rules_of
from triggers.drivers.watching import Watch, changes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from triggers.clock import Clock
    from triggers.drivers.editions import Edition
    from triggers.drivers.embedded.driver import Driver
    from triggers.drivers.embedded.rules import Rules
    from triggers.drivers.watching import Changes
    from triggers.store.event_log import EventLog

LONGEST_WAIT_S = 0.5
"""How long the engine sleeps at most; it is woken when something arrives."""


class Deciding:
    """Has ``driver`` decide. ``rules`` are those at hand, as the dispatcher needs them; ``watch`` looks for others.

    ``edition`` is what the driver's rulebook was made of, by ``ruling``, and ``refused`` what of ``folder`` was left out.
    ``stopping`` ends the engine; ``read_out`` tells whether it is to end once it has decided on all there is. ``changed``
    is told of each switch to other rules, on the loop.
    """

    def __init__(
        self,
        driver: Driver,
        ruling: Rules,
        edition: Edition,
        folder: Path,
        *,
        refused: Collection[tuple[str, str]],
        log: EventLog,
        clock: Clock,
        stopping: threading.Event,
        read_out: Callable[[], bool],
        changed: Callable[[Changes, Edition], None],
    ) -> None:
        self.rules = rules_of(driver.rulebook)
        self.watch = Watch(folder, edition, self._switch, allowed=self._allowed, refused=refused)
        self._driver = driver
        self._ruling = ruling
        self._edition = edition
        self._log = log
        self._clock = clock
        self._stopping = stopping
        self._read_out = read_out
        self._changed = changed
        self._woken = threading.Event()
        self._edited = threading.Event()
        self._switching: tuple[Edition, Future[None]] | None = None

    # From any thread

    def wake(self) -> None:
        """Have the engine look whether something is to be done."""
        self._woken.set()

    def take_up(self) -> None:
        """Have the engine take up which rules are paused now."""
        self._edited.set()
        self._woken.set()

    # On the loop

    async def _switch(self, edition: Edition) -> Collection[tuple[str, str]]:
        """Have the engine switch to other rules between two events; gives what of them is not to be taken up."""
        old, at = self._driver.rulebook, self._driver.clock
        refused = await asyncio.to_thread(self._ruling.weigh, old, edition, at)
        if refused:
            return [(each.file, each.digest) for each in refused]
        told, done = changes(self._edition, edition), Future[None]()
        self._switching = (edition, done)
        self.take_up()
        await asyncio.wrap_future(done)
        self._changed(told, edition)
        return ()

    async def _allowed(self, refused: Collection[tuple[str, str]]) -> Collection[tuple[str, str]]:
        return await asyncio.to_thread(self._ruling.decided, refused)

    # On the engine's thread

    def run(self) -> None:
        """Decide until stopped, or until all is decided where that is the end."""
        if not self._driver.settled:
            self._driver.change(self._driver.rulebook)
        self._ruling.settled(self.watch.refused)
        while not self._stopping.is_set():
            self._woken.clear()
            if self._edited.is_set():
                self._edited.clear()
                self._change_rules()
            if self._driver.turn():
                continue
            if self._at_end():
                return
            self._woken.wait(min(LONGEST_WAIT_S, self._clock.seconds_until(self._driver.next_wake())))

    def _change_rules(self) -> None:
        """Move over to other rules, or to the same with others paused."""
        switching, self._switching = self._switching, None
        if switching is not None:
            self._edition = switching[0]
        now = self._clock.now()
        book = self._ruling.book(self._edition, now=now, first=now)
        self.rules = rules_of(book)
        self._driver.change(book)
        if switching is not None:
            self._ruling.settled(self.watch.refused)
            switching[1].set_result(None)

    def _at_end(self) -> bool:
        return (
            self._read_out()
            and self._driver.position == self._log.last_seq
            and self._driver.next_wake() >= self._clock.now()
        )
