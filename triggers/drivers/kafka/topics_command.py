"""``triggers topics``: sets up all topics of a fleet, and may be repeated."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from triggers.drivers.kafka.options import settings_of, takes


@click.command()
@takes("bootstrap", "prefix", "sources", "partitions", "replication", "virtual")
def command(**given: Any) -> int:
    """Make the fleet's topics that are missing, and set what differs; one line for each.

    Nothing is ever deleted, and the shop's own topics are only made where they are missing. Every option can be given
    as TRIGGERS_KAFKA_… in the environment, too.
    """
    from triggers.drivers.kafka.connection import hush  # noqa: PLC0415  --help needs none of this
    from triggers.drivers.kafka.topics import ensure  # noqa: PLC0415

    hush()
    for change in asyncio.run(ensure(settings_of(given))):
        click.echo(str(change))
    return 0
