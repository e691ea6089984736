"""What is told of the embedded service while it runs: each thing that happens is counted, and shown on the screen."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from triggers.core.decisions import Ended, Postponed
from triggers.dispatch.gateways.console import ConsoleGateway
from triggers.drivers.embedded.screen import REFRESH_S, SUMMARY_EVERY_S, Screen
from triggers.errors import OutputUnusable
from triggers.store.states import ACCEPTED, CANCELLED, QUEUED, SENDING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import Console
    from rich.text import Text

    from triggers.core.times import Zone
    from triggers.dispatch.gateway import Gateway
    from triggers.drivers.editions import Edition
    from triggers.drivers.embedded.driver import Outcome
    from triggers.drivers.watching import Changes
    from triggers.metrics import Metrics
    from triggers.store.event_log import Entry


class Bulletin:
    """Keeps the numbers and the screen up to date. ``failed`` is told when nobody reads the screen any more."""

    def __init__(
        self, metrics: Metrics, console: Console, zone: Zone, *, failed: Callable[[BaseException], None]
    ) -> None:
        self._metrics = metrics
        self._screen = Screen(console, zone)
        self._failed = failed
        self._consoles: list[ConsoleGateway] = []

    # From any thread

    def arrived(self, entries: list[Entry]) -> None:
        """Tell of events that came in."""
        for entry in entries:
            self._metrics.events.labels(entry.result).inc()
            if entry.note:
                self._metrics.early.inc()

    def decided(self, outcome: Outcome) -> None:
        """Tell what a commit of the engine brought."""
        self._screen.take(outcome)
        for decision, _ in outcome.decisions:
            if isinstance(decision, Ended | Postponed):
                self._metrics.decisions.labels(decision.wait.rule, str(decision.reason)).inc()
        if outcome.new_commands:
            self.queued(outcome.new_commands)
        if outcome.cancelled:
            self.moved(QUEUED, CANCELLED, outcome.cancelled)

    def queued(self, count: int = 1) -> None:
        """Tell of messages that are new in the outbox."""
        self._metrics.outbox.labels(QUEUED).inc(count)

    def moved(self, old: str, new: str, count: int) -> None:
        """Tell of messages that went from one state to another."""
        self._metrics.outbox.labels(old).dec(count)
        self._metrics.outbox.labels(new).inc(count)
        if (old, new) == (SENDING, ACCEPTED):
            self._screen.left(count)

    def not_sent(self, rule: str, reason: str) -> None:
        """Tell of a message that was due and will not leave."""
        self._metrics.not_sent.labels(rule, reason).inc()
        self._screen.not_sent(reason)

    # On the loop

    def attend(self, gateways: Iterable[Gateway]) -> None:
        """Have the gateways that show messages show them on the screen, too."""
        self._consoles = [each for each in gateways if isinstance(each, ConsoleGateway)]
        for each in self._consoles:
            each.show, each.zone = self._show, self._screen.zone

    def _show(self, line: Text) -> None:
        try:
            self._screen.show(line)
        except OutputUnusable as error:
            self._failed(error)
            raise

    def welcome(self, address: str, rules: int, at: int, speed: float | None) -> None:
        """Tell what is running, and since when: epoch ms."""
        self._screen.welcome(address, rules, at, speed)

    def rules_changed(self, told: Changes, edition: Edition, zone: Zone) -> None:
        """Tell of other rules, and go by their zone."""
        self._screen.zone = zone
        for each in self._consoles:
            each.zone = zone
        self._screen.rules_changed(str(told), edition.revision)

    async def run(self, position: Callable[[], int]) -> None:
        """Show what was held back as it comes, and the numbers now and then, until cancelled.

        ``position`` is how many events are decided on.
        """
        shown_s = 0.0
        told = -1
        while True:
            await asyncio.sleep(REFRESH_S)
            shown_s += REFRESH_S
            self._screen.refresh()
            if shown_s >= SUMMARY_EVERY_S and told != position():
                shown_s, told = 0.0, position()
                self.sum_up(told)

    def sum_up(self, position: int) -> None:
        """Show the numbers."""
        self._screen.summary(position)
