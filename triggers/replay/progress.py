"""How far a replay has come: a bar on a terminal, a plain line now and then elsewhere; both on standard error."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from triggers.replay.log import Log

EVERY_S: Final = 10.0
"""How often a plain line is written, in seconds."""


@contextmanager
def shown(*, quiet: bool) -> Iterator[Callable[[Log], None] | None]:
    """Give what is to be called while a log is read, or None where nothing is to be shown."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        yield from _bar()
    else:
        yield plain_lines(lambda line: click.echo(line, err=True))


def _bar() -> Iterator[Callable[[Log], None]]:
    from rich.console import Console  # noqa: PLC0415  takes a tenth of a second; only a terminal needs it
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=1.0)
        yield lambda log: progress.update(task, completed=log.share, description=f"{log.events:,} events")


def plain_lines(
    say: Callable[[str], None], clock: Callable[[], float] = monotonic, every_s: float = EVERY_S
) -> Callable[[Log], None]:
    """Make a report that says a line every so many seconds."""
    begun = latest = clock()

    def report(log: Log) -> None:
        nonlocal latest
        now = clock()
        if now >= latest + every_s:
            latest = now
            say(f"{log.share:4.0%}  {log.events:,} events, {log.events / (now - begun):,.0f} events/s")

    return report
