"""``triggers worker``: one worker of a fleet on Kafka."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any, Final

import click

from triggers.drivers.kafka.options import settings_of, takes
from triggers.log import set_up

COLLECT_AT: Final = (50_000, 20, 200)
"""Collections look for cycles, and a customer is none: to look through all of them often takes a fifth of the time."""


@click.command()
@click.option("--rules", type=click.Path(path_type=Path), help="The folder of rules.  [default: rules]")
@takes("bootstrap", "app", "prefix", "sources", "partitions", "virtual")
@click.option("--host", help="The address for /healthz and /metrics.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Its port; 0 takes a free one.  [default: 0]")
@click.option(
    "--settle", "settle_s", type=float, help="Seconds after due before a try.  [default: 120; 0 if --virtual]"
)
@click.option("--log-format", type=click.Choice(["auto", "json", "text"]), default="auto", help="Log lines on stderr.")
def command(*, log_format: str, **given: Any) -> int:
    """Run a worker: it takes events in, decides, and hands commands to the dispatcher, for its share of the partitions.

    Start as many as there is work for, up to one a partition, on as many machines. `triggers topics` makes the topics.
    Every option can be given as TRIGGERS_KAFKA_… in the environment, too.
    """
    settings = settings_of(given)
    set_up(log_format)
    asyncio.run(_serve(settings))
    return 0


async def _serve(settings: Any) -> None:
    from triggers.drivers.kafka.worker import Worker  # noqa: PLC0415  `worker --help` needs none of it

    worker = Worker(settings)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AT)
    await worker.serve()
