"""What a person sees while a service runs: messages that leave, what was held back and why, and a line of numbers."""

from __future__ import annotations

import os
import threading
from collections import Counter
from errno import EPIPE
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from triggers.core.decisions import Ended, Postponed, Reason
from triggers.core.times import Zone, wall_text
from triggers.errors import OutputUnusable
from triggers.log import printable

if TYPE_CHECKING:
    from triggers.drivers.embedded.driver import Outcome

ALL_HELD = 12
"""Up to so many held-back messages are told at a time, every one of them."""

HELD_AT_ONCE = 4
"""How many are told of more: of each kind the rarest first, the rest is counted."""

WAITING_LIMIT = 1_000
SUMMARY_EVERY_S = 5.0
REFRESH_S = 0.5


class Terminal(Console):
    """A console that says so when nobody reads it any more, rather than ending the program."""

    def on_broken_pipe(self) -> None:
        """Hand the error on."""
        raise BrokenPipeError(EPIPE, os.strerror(EPIPE))


class Screen:
    """Lines on a console, in the time of ``zone``. ``take`` may be called from any thread, the rest from one."""

    def __init__(self, console: Console, zone: Zone) -> None:
        self._console = console
        self.zone = zone
        self._lock = threading.Lock()
        self._waiting: list[Ended | Postponed] = []
        self._told: Counter[tuple[str, str]] = Counter()
        self.sent = 0
        self.held: Counter[str] = Counter()
        self.clock = 0

    def show(self, line: Text) -> None:
        """Put one line on the screen. Raises OutputUnusable when nobody reads it any more."""
        try:
            self._console.print(line, soft_wrap=True, highlight=False)
        except OSError as error:
            raise OutputUnusable(f"the screen cannot be written: {error.strerror}") from error

    def take(self, outcome: Outcome) -> None:
        """Note what a commit brought."""
        with self._lock:
            self.clock = outcome.clock
            for decision, _ in outcome.decisions:
                if not isinstance(decision, Ended | Postponed) or decision.reason is Reason.SENT:
                    continue
                if isinstance(decision, Ended):
                    self.held[str(decision.reason)] += 1
                if len(self._waiting) < WAITING_LIMIT:
                    self._waiting.append(decision)

    def left(self, count: int) -> None:
        """Count messages that a gateway took."""
        with self._lock:
            self.sent += count

    def not_sent(self, reason: str) -> None:
        """Count a message that was due and did not leave after all."""
        with self._lock:
            self.held[reason] += 1

    def refresh(self) -> None:
        """Tell what was held back since the last time: all if it is little, else first the kinds told least."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        chosen = waiting if len(waiting) <= ALL_HELD else self._rarest(waiting)
        for decision in sorted(chosen, key=lambda each: each.at):
            self._told[_kind(decision)] += 1
            self.show(self._held_line(decision))

    def _rarest(self, waiting: list[Ended | Postponed]) -> list[Ended | Postponed]:
        told = self._told.copy()
        chosen: list[Ended | Postponed] = []
        for _ in range(HELD_AT_ONCE):
            chosen.append(min(waiting, key=lambda each: told[_kind(each)]))
            waiting.remove(chosen[-1])
            told[_kind(chosen[-1])] += 1
        return chosen

    def welcome(self, address: str, rules: int, at: int, speed: float | None) -> None:
        """Say what is running, and that it has come to ``at``, epoch ms."""
        self.clock = max(self.clock, at)
        pace = "" if speed is None else f", {speed:g} times as fast as real time" if speed else ", as fast as can be"
        line = Text(f"{rules} rules · events to {address}/v1/events · Ctrl-C stops\n", style="bold")
        line.append(f"It is {wall_text(self.zone, at)} in {self.zone.name}{pace}.")
        self.show(line)

    def rules_changed(self, what: str, revision: str) -> None:
        """Tell of other rules."""
        self.show(Text(printable(f"rules: {what} · revision {revision}"), style="bold"))

    def summary(self, events: int) -> None:
        """Tell the numbers so far."""
        with self._lock:
            held = ", ".join(f"{reason} {count:,}" for reason, count in self.held.most_common())
            line = Text(f"— {wall_text(self.zone, self.clock)} · {events:,} events · {self.sent:,} sent", style="bold")
        line.append(f" · not sent: {held}" if held else "")
        self.show(line)

    def _held_line(self, decision: Ended | Postponed) -> Text:
        wait = decision.wait
        words = decision.words if isinstance(decision, Ended) else str(decision.reason)
        if decision.detail and decision.reason is not Reason.CANCELLED:
            words += f" ({decision.detail})"
        if isinstance(decision, Postponed):
            words += f", again at {wall_text(self.zone, decision.until)}"
        line = Text(f"{wall_text(self.zone, decision.at)}  ", style="dim")
        line.append("held" if isinstance(decision, Postponed) else "not sent")
        line.append(printable(f"  {decision.customer}  {wait.rule}: {words}"))
        return line


def _kind(decision: Ended | Postponed) -> tuple[str, str]:
    return decision.wait.rule, str(decision.reason)
