"""``triggers export``: writes a fleet's log, or a stretch of it, to a file that `triggers replay` reads."""

from __future__ import annotations

import asyncio
import gzip
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import click

from triggers.drivers.kafka.options import instant, settings_of, takes
from triggers.errors import OutputUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.command()
@takes("bootstrap", "prefix")
@click.option("--from", "since", metavar="T", help="Leave out what was received before T.")
@click.option("--until", metavar="T", help="Leave out what was received after T.")
@click.option("--out", metavar="FILE", default="-", show_default=True, help="Where to: .jsonl, .jsonl.gz or -.")
@click.option("--quiet", is_flag=True, help="Do not say what was written.")
def command(*, since: str | None, until: str | None, out: str, quiet: bool, **given: Any) -> int:
    """Write the fleet's log as a recorded log, in the order of receipt.

    Replayed with --order received, it repeats what the fleet decided. Each line has the instant of its receipt as
    received_at. T is an RFC 3339 time such as 2026-09-01T10:30:00+08:00.
    """
    from triggers.core.times import iso  # noqa: PLC0415  --help needs none of this
    from triggers.drivers.kafka.connection import hush  # noqa: PLC0415
    from triggers.drivers.kafka.exporting import export  # noqa: PLC0415
    from triggers.drivers.kafka.records import EVENTS  # noqa: PLC0415
    from triggers.replay.summary import counted  # noqa: PLC0415

    settings, begin, end = settings_of(given), instant(since), instant(until)
    if begin is not None and end is not None and begin > end:
        raise click.UsageError("--from is after --until")
    hush()
    with _opened(out) as file:
        exported = asyncio.run(export(settings, settings.topic(EVENTS), file.writelines, since=begin, until=end))
    if not quiet:
        refused = (
            f"; {counted(exported.refused, 'record')} that the engine refuses left out" if exported.refused else ""
        )
        last = "" if exported.last is None else f"; the log has come to {iso(exported.last)}"
        click.echo(f"{counted(exported.events, 'event')} written{refused}{last}", err=True)
    return 0


@contextmanager
def _opened(name: str) -> Iterator[IO[bytes]]:
    """Open an output. Raises OutputUnusable where it cannot be written."""
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        with Path(name).open("wb", 1024 * 1024) as raw:
            if not name.endswith(".gz"):
                yield raw
                return
            with gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:  # no name, no time: the same bytes each run
                yield cast("IO[bytes]", packed)
    except OSError as error:
        raise OutputUnusable(f"{name} cannot be written: {error.strerror or error}") from error
