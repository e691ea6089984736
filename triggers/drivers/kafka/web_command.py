"""``triggers web``: takes events over HTTP into a fleet's log."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from triggers.drivers.kafka.options import made, takes
from triggers.log import set_up


@click.command()
@takes("bootstrap", "app", "prefix", "virtual")
@click.option("--host", help="The address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="The port to listen on; 0 takes a free one.  [default: 8080]")
@click.option("--log-format", type=click.Choice(["auto", "json", "text"]), help="Log lines on standard error.")
def command(**given: Any) -> int:
    """Take events over HTTP: POST /v1/events, one, an array of them, or one a line; flat JSON or CloudEvents.

    An answer means that the log has them. Whether one was there before is not known here: it is accepted, and counts
    once. The process keeps nothing; run as many as there are requests for. GET /healthz and GET /metrics tell how it is.
    Every option can be given as TRIGGERS_KAFKA_… in the environment, too.
    """
    from triggers.drivers.kafka.dispatch_settings import FaceSettings  # noqa: PLC0415  --help needs none

    settings = made(FaceSettings, given)
    set_up(settings.log_format)
    asyncio.run(_serve(settings))
    return 0


async def _serve(settings: Any) -> None:
    from triggers.drivers.kafka.web_process import WebProcess  # noqa: PLC0415  `web --help` needs none of it

    await WebProcess(settings).serve()
