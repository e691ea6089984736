"""`triggers simulate`: the event log of a made-up shop, the same for the same arguments, down to the byte."""

from __future__ import annotations

import gzip
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, cast

import click
import msgspec

from triggers.errors import InputUnusable, OutputUnusable
from triggers.simulate.people import MAX_CUSTOMERS
from triggers.simulate.rhythm import epoch_ms
from triggers.simulate.shop import Shop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

DAYS = 90
CUSTOMERS = 500
SEED = 7
START = epoch_ms(2026, 9, 1)
"""The defaults: from September to the end of November, so that every sample rule has its day."""

MAX_DAYS = 3_650
YEARS = (1975, 2080)
BATCH = 1_000


def simulate(
    days: int = DAYS, customers: int = CUSTOMERS, seed: int = SEED, start: int | None = None
) -> Iterator[dict[str, object]]:
    """Hand out the shop's events in the order in which they were received.

    ``days`` 1 to 3,650; ``customers`` 1 to 1,000,000, of whom six in ten were there before the start; ``start`` is the
    instant at which the shop opens, epoch ms. Raises InputUnusable outside these.
    """
    opens = START if start is None else start
    if not 1 <= days <= MAX_DAYS:
        raise InputUnusable(f"days must be 1 to {MAX_DAYS}, not {days}")
    if not 1 <= customers <= MAX_CUSTOMERS:
        raise InputUnusable(f"customers must be 1 to {MAX_CUSTOMERS}, not {customers}")
    if not epoch_ms(YEARS[0], 1, 1) <= opens < epoch_ms(YEARS[1], 1, 1):
        raise InputUnusable(f"the start must lie in the years {YEARS[0]} to {YEARS[1] - 1}")
    return Shop(days, customers, seed, opens).log()


def write(
    out: IO[bytes], days: int = DAYS, customers: int = CUSTOMERS, seed: int = SEED, start: int | None = None
) -> int:
    """Write the log as JSON lines; say how many. Raises InputUnusable as ``simulate`` does, and OSError."""
    encode = msgspec.json.Encoder().encode_lines
    written = 0
    batch: list[dict[str, object]] = []
    for event in simulate(days, customers, seed, start):
        batch.append(event)
        if len(batch) == BATCH:
            out.write(encode(batch))
            written += len(batch)
            batch.clear()
    out.write(encode(batch))
    return written + len(batch)


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    """Open what ``--out`` names: ``-`` is standard output, and a name that ends in .gz is compressed."""
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with open(path, "wb") as raw:  # noqa: PTH123  the argument may be a device
        if not path.endswith(".gz"):
            yield raw
            return
        with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:  # no name, no time: the same bytes each run
            yield cast("IO[bytes]", packed)


@click.command(name="simulate")
@click.option("--days", type=click.IntRange(1, MAX_DAYS), default=DAYS, show_default=True, help="How long it goes on.")
@click.option(
    "--customers",
    type=click.IntRange(1, MAX_CUSTOMERS),
    default=CUSTOMERS,
    show_default=True,
    help="How many there are at the end; six in ten were there before the start.",
)
@click.option("--seed", type=int, default=SEED, show_default=True, help="Another seed is another shop.")
@click.option(
    "--start",
    type=click.DateTime(["%Y-%m-%d"]),
    default="2026-09-01",
    show_default=True,
    help="The day on which the shop opens (Asia/Shanghai).",
)
@click.option("--out", metavar="FILE", default="-", show_default=True, help="Where to write: .jsonl, .jsonl.gz or -.")
def command(days: int, customers: int, seed: int, start: datetime, out: str) -> None:
    """Write a made-up shop's event log, in the order in which the events were received."""
    opens = epoch_ms(start.year, start.month, start.day)
    try:
        with _opened(out) as file:
            lines = write(file, days, customers, seed, opens)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputUnusable(f"cannot write {out}: {error.strerror or error}") from error
    if out != "-":
        click.echo(f"{lines:,} events of {customers:,} customers in {days} days written to {out}", err=True)
