"""How far a replay has come: a bar on a terminal, a plain line now and then elsewhere; both on standard error."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from triggers.replay.playing import Report

EVERY_S: Final = 10.0
"""How often a plain line is written, in seconds."""


@contextmanager
def shown(*, quiet: bool) -> Iterator[Report | None]:
    """Give what is to be called while a log is read, or None where nothing is to be shown."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        yield from _bar()
    else:
        yield plain_lines(lambda line: click.echo(line, err=True))


def _bar() -> Iterator[Report]:
    from rich.console import Console  # noqa: PLC0415  takes a tenth of a second; only a terminal needs it
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=1.0)
        yield lambda share, events: progress.update(task, completed=share, description=f"{events:,} events")


def plain_lines(say: Callable[[str], None], clock: Callable[[], float] = monotonic, every_s: float = EVERY_S) -> Report:
    """Make a report that says a line every so many seconds."""
    begun = latest = clock()

    def report(share: float, events: int) -> None:
        nonlocal latest
        now = clock()
        if now >= latest + every_s:
            latest = now
            say(f"{share:4.0%}  {events:,} events read, {now - begun:,.0f} s")

    return report
