"""``triggers run``: the service in one process on one SQLite file."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from triggers.log import set_up
from triggers.settings import Settings

_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--rules", type=_PATH, help="The folder of rules.  [default: rules]")
@click.option("--db", type=_PATH, help="The database; made if there is none.  [default: triggers.db]")
@click.option("--delivery", type=_PATH, help="The file of gateways, routes and consent.  [default: the screen]")
@click.option("--host", help="The address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="The port to listen on; 0 takes a free one.  [default: 8080]")
@click.option("--input", type=_PATH, help="A log (.jsonl, .jsonl.gz) to read and to follow as it grows.")
@click.option("--speed", type=float, help="Run --input in virtual time, so many times as fast; 0: as fast as it can.")
@click.option(
    "--settle", "settle_s", type=float, help="Seconds after due before a try.  [default: 120; 0 with --speed]"
)
@click.option("--exit-at-end", is_flag=True, default=None, help="Stop when --input is read and decided.")
@click.option("--log-format", type=click.Choice(["auto", "json", "text"]), help="Log lines on standard error.")
def command(**given: Any) -> int:
    """Run the service: events come in over HTTP or from a file, messages leave on the console.

    POST /v1/events takes events, GET /healthz and GET /metrics tell how it is. Every option can be given as TRIGGERS_…
    in the environment, too. Ctrl-C stops it; it goes on where it was when started again.
    """
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise click.UsageError("; ".join(f"{_option(e['loc'])}: {e['msg']}" for e in error.errors())) from None
    set_up(settings.log_format)
    asyncio.run(_serve(settings))
    return 0


async def _serve(settings: Settings) -> None:
    from triggers.drivers.embedded.screen import Terminal  # noqa: PLC0415  `run --help` needs none of these
    from triggers.drivers.embedded.service import Service  # noqa: PLC0415

    service = Service(settings, Terminal(highlight=False))
    gc.collect()
    gc.freeze()  # what a start makes stays: to look through it again and again would hold messages up for 50 ms
    await service.serve()


def _option(place: tuple[int | str, ...]) -> str:
    return "--" + "-".join(map(str, place)).replace("_s", "").replace("_", "-")
