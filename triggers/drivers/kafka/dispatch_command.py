"""``triggers dispatcher``: sends what the fleet's workers decide."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import click

from triggers.drivers.kafka.options import made, takes
from triggers.log import set_up

_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--db", type=_PATH, help="The database; made if there is none.  [default: dispatcher.db]")
@click.option("--delivery", type=_PATH, help="The file of gateways, routes and consent.  [default: the screen]")
@click.option("--rules", type=_PATH, help="The folder of rules.  [default: rules]")
@takes("bootstrap", "app", "prefix", "virtual")
@click.option("--host", help="The address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="The port to listen on; 0 takes a free one.  [default: 8080]")
@click.option(
    "--go-on-at",
    type=click.Choice(["committed", "latest"]),
    help="Where to go on when the database was lost: behind the commands that it had taken over, or behind all.",
)
@click.option("--log-format", type=click.Choice(["auto", "json", "text"]), help="Log lines on standard error.")
def command(**given: Any) -> int:
    """Run the dispatcher: it sends what the workers decide, and tells them what became of it.

    A fleet has one; its database is the outbox and what `why`, `gateways` and `suppressions` read. POST /v1/messages
    takes messages that no rule sends, gateways call back at /v1/callbacks, GET /healthz and GET /metrics tell how it is.
    Every option can be given as TRIGGERS_KAFKA_… in the environment, too. Ctrl-C stops it; it goes on where it was.
    """
    from triggers.drivers.kafka.dispatch_settings import DispatchSettings  # noqa: PLC0415  --help needs none

    settings = made(DispatchSettings, given)
    set_up(settings.log_format)
    asyncio.run(_serve(settings))
    return 0


async def _serve(settings: Any) -> None:
    from triggers.drivers.kafka.dispatch_office import PostOffice  # noqa: PLC0415  `dispatcher --help` needs none of it

    office = PostOffice(settings)
    gc.collect()
    gc.freeze()  # what a start makes stays: to look through it again and again would hold messages up
    await office.serve()
