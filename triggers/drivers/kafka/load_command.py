"""``triggers load``: writes recorded logs to a fleet's log in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from triggers.drivers.kafka.options import instant, settings_of, takes


@click.command()
@click.argument("logs", metavar="LOG...", nargs=-1, required=True)
@takes("bootstrap", "prefix")
@click.option("--until", metavar="T", help="Leave out what was received after T, and let time pass to T.")
@click.option("--now", is_flag=True, help="Append the events as if they came now; the broker stamps them.")
@click.option("--quiet", is_flag=True, help="Show neither progress nor summary.")
def command(*, logs: tuple[str, ...], until: str | None, now: bool, quiet: bool, **given: Any) -> int:
    """Write recorded logs to the fleet's log, each event with the instant of its receipt.

    A LOG holds one event a line, .jsonl or .jsonl.gz; - is standard input. Ticks let time pass as the log's did, up to
    its last event: a fleet that was set up with --virtual then decides what `triggers replay --order received` decides.
    Lines that are no events go to the dead letters. T is an RFC 3339 time such as 2026-09-01T10:30:00+08:00.
    """
    from triggers.core.times import iso  # noqa: PLC0415  --help needs none of this
    from triggers.drivers.kafka.connection import hush  # noqa: PLC0415
    from triggers.drivers.kafka.loading import load  # noqa: PLC0415
    from triggers.drivers.kafka.records import EVENTS  # noqa: PLC0415
    from triggers.replay.progress import shown  # noqa: PLC0415
    from triggers.replay.summary import counted  # noqa: PLC0415

    if now and until is not None:
        raise click.UsageError("--until is of recorded time, and --now leaves that out")
    settings, end = settings_of(given), instant(until)
    hush()
    with shown(quiet=quiet) as report:
        loaded = asyncio.run(load(settings, logs, until=end, now=now, report=report))
    if quiet:
        return 0
    span = "" if loaded.span is None or now else f", {iso(loaded.span[0])} to {iso(loaded.span[1])}"
    click.echo(f"{counted(loaded.events, 'event')} in {settings.topic(EVENTS)}{span}")
    for reason, number in loaded.rejected.most_common():
        click.echo(f"{counted(number, 'line')} to the dead letters: {reason}")
    return 0
