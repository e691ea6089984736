"""``triggers dead-letters``: what could not be taken as an event, and why; once that is mended, sent again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from triggers.drivers.kafka.options import settings_of, takes

if TYPE_CHECKING:
    from triggers.drivers.kafka.dead_letters import Listed

FINDINGS: Final = 1
MOST_LISTED: Final = 10_000
SHOWN_BYTES: Final = 10_000

_ORIGINS = click.option(
    "--origin",
    "origins",
    metavar="PLACE",
    multiple=True,
    help="Only from TOPIC, TOPIC/PARTITION or TOPIC/PARTITION/OFFSET.",
)
_REASONS = click.option("--reason", "reasons", metavar="TEXT", multiple=True, help="Only for this reason.")


class Shown(msgspec.Struct, omit_defaults=True):
    """A letter for machines; ``at`` is an RFC 3339 time, ``value`` the beginning of it as text."""

    at: str
    origin: str
    reason: str
    message: str
    size: int
    cut: bool = False
    requeued: bool = False
    value: str | None = None

    def __str__(self) -> str:
        from triggers.log import printable  # noqa: PLC0415  --help needs none of this

        notes = "".join(f" ({words})" for words, so in (("cut", self.cut), ("sent again", self.requeued)) if so)
        words = f"{self.at}  {self.origin}  {self.reason}: {self.message}  {self.size} bytes{notes}"
        return printable(words if self.value is None else f"{words}  {self.value}")


@click.group()
def group() -> None:
    """Show what could not be taken as an event, and send it again once that is mended."""


@group.command("list")
@takes("bootstrap", "prefix")
@_ORIGINS
@_REASONS
@click.option(
    "--limit", type=click.IntRange(1, MOST_LISTED), default=100, show_default=True, help="Only the last so many."
)
@click.option("--requeued", is_flag=True, help="Those that were sent again, too.")
@click.option("--values", is_flag=True, help="Show what is in them: it may say much about people.")
@click.option("--json", "as_json", is_flag=True, help="For machines: one JSON object a line.")
@click.option(
    "--db", metavar="FILE", type=click.Path(path_type=Path), help="Those of `triggers run`, from its database."
)
def show(
    *,
    origins: tuple[str, ...],
    reasons: tuple[str, ...],
    limit: int,
    requeued: bool,
    values: bool,
    as_json: bool,
    db: Path | None,
    **given: Any,
) -> int:
    """Show when each came, from where, why it is no event, and how large it is; the latest last."""
    from triggers.replay.summary import counted  # noqa: PLC0415  --help needs none of this

    if db is not None:
        if origins or requeued:
            raise click.UsageError("--origin and --requeued are of a fleet's letters; leave them out with --db")
        shown, more = _stored(db, reasons, limit, values=values)
    else:
        from triggers.drivers.kafka.connection import hush  # noqa: PLC0415
        from triggers.drivers.kafka.dead_letters import Wanted, list_letters  # noqa: PLC0415

        hush()
        wanted = Wanted(origins, reasons)
        listed = asyncio.run(list_letters(settings_of(given), wanted, limit, requeued=requeued))
        shown, more = _of_fleet(listed, values=values), listed.more
    for letter in shown:
        click.echo(msgspec.json.encode(letter) if as_json else str(letter))
    if more:
        click.echo(f"{counted(more, 'earlier letter')} not shown; see --limit", err=True)
    if not shown:
        click.echo("no dead letters", err=True)
    return 0


@group.command()
@takes("bootstrap", "app", "prefix")
@_ORIGINS
@_REASONS
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--again", is_flag=True, help="Those that were sent again before, too.")
def requeue(*, origins: tuple[str, ...], reasons: tuple[str, ...], everything: bool, again: bool, **given: Any) -> int:
    """Send dead letters again to the topics that they came from, as they came.

    Do it once what kept them from being events is mended. What was sent again is not sent another time. The exit status
    is 1 where some could not be sent.
    """
    from triggers.drivers.kafka.connection import hush  # noqa: PLC0415
    from triggers.drivers.kafka.dead_letters import Wanted  # noqa: PLC0415
    from triggers.drivers.kafka.dead_letters import requeue as send_again  # noqa: PLC0415
    from triggers.replay.summary import counted  # noqa: PLC0415

    if everything is bool(origins or reasons):
        raise click.UsageError("say which: --origin and --reason, or --all")
    hush()
    sent = asyncio.run(send_again(settings_of(given), Wanted(origins, reasons), again=again))
    click.echo(f"{counted(sent.requeued, 'letter')} sent again")
    if sent.before:
        click.echo(f"{sent.before} had been sent again before; --again sends them another time")
    if sent.cut:
        click.echo(
            f"{sent.cut} were too large to be kept whole: they must be sent by whoever sent them first", err=True
        )
    if sent.homeless:
        click.echo(f"{sent.homeless} came from no topic that there is: mend the file, and load it again", err=True)
    return FINDINGS if sent.cut or sent.homeless else 0


def _of_fleet(listed: Listed, *, values: bool) -> list[Shown]:
    from triggers.core.times import iso  # noqa: PLC0415

    return [
        Shown(
            iso(letter.at),
            letter.origin,
            letter.reason,
            letter.message,
            letter.size,
            cut=letter.cut,
            requeued=requeued,
            value=_text(letter.value or b"") if values else None,
        )
        for letter, requeued in listed.letters
    ]


def _stored(db: Path, reasons: tuple[str, ...], limit: int, *, values: bool) -> tuple[list[Shown], int]:
    from triggers.core.times import iso  # noqa: PLC0415
    from triggers.store.beside import looking  # noqa: PLC0415
    from triggers.store.dead_letters import count_letters, last_letters  # noqa: PLC0415

    with looking(db) as connection:
        letters = last_letters(connection, limit, reasons)
        number = count_letters(connection, reasons)
    shown = [
        Shown(
            iso(each.at),
            each.origin,
            each.reason,
            each.message,
            each.size,
            value=_text(each.body[:SHOWN_BYTES]) if values else None,
        )
        for each in letters
    ]
    return shown, number - len(shown)


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
