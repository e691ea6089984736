"""``triggers why``: why a customer got or did not get a message, from a recorded log or the service's database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from triggers.errors import InputUnusable

if TYPE_CHECKING:
    from triggers.core.rulebook import Rulebook
    from triggers.reports.story import Story, Unknown

NOT_FOUND = 1
RULES = Path("rules")
DATABASE = Path("triggers.db")
_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("customer")
@click.option("--rule", metavar="ID", help="Only what this rule decided.")
@click.option("--log", "logs", metavar="LOG", multiple=True, help="Decide this recorded log; may be given again.")
@click.option("--rules", "folder", metavar="DIR", type=_PATH, help="The folder of rules.  [default: rules]")
@click.option("--db", "database", metavar="FILE", type=_PATH, help="The service's database.  [default: triggers.db]")
@click.option(
    "--order",
    type=click.Choice(["occurred", "received"]),
    default="occurred",
    show_default=True,
    help="Play a log's events when they happened, or when they were received.",
)
@click.option("--json", "as_json", is_flag=True, help="For machines: one JSON object.")
def command(
    *,
    customer: str,
    rule: str | None,
    logs: tuple[str, ...],
    folder: Path | None,
    database: Path | None,
    order: str,
    as_json: bool,
) -> int:
    """Tell why CUSTOMER got or did not get messages: events, waits and decisions in the order of time.

    With --log a recorded log is decided once more; otherwise the service's database is read. What is still waited for
    stands at the end.
    """
    if logs and database is not None:
        raise click.UsageError("give --log or --db, not both")
    book = _rulebook(folder, needed=bool(logs))
    if rule is not None and book is not None and rule not in book.rules:
        return _no_such_rule(rule, book)
    found = _replayed(customer, logs, book, order) if logs and book is not None else _stored(customer, database, book)
    return _show(found, rule, book, as_json=as_json)


def _rulebook(folder: Path | None, *, needed: bool) -> Rulebook | None:
    if folder is None and not needed and not RULES.is_dir():
        return None
    from triggers.reports.replayed import rulebook  # noqa: PLC0415  --help needs none of this

    return rulebook(folder or RULES)


def _replayed(customer: str, logs: tuple[str, ...], book: Rulebook, order: str) -> Story | Unknown:
    from triggers.replay.log import Log  # noqa: PLC0415
    from triggers.replay.progress import shown  # noqa: PLC0415
    from triggers.reports.replayed import replayed  # noqa: PLC0415

    with shown(quiet=False) as report:
        return replayed(customer, Log(logs, order=order), book, report)


def _stored(customer: str, database: Path | None, book: Rulebook | None) -> Story | Unknown:
    from triggers.reports.stored import NO_RULES, stored  # noqa: PLC0415

    if database is None and not DATABASE.is_file():
        raise InputUnusable(f"there is no {DATABASE} here; give --db FILE, or --log LOG and --rules DIR")
    return stored(customer, database or DATABASE, book or NO_RULES)


def _show(found: Story | Unknown, rule: str | None, book: Rulebook | None, *, as_json: bool) -> int:
    import msgspec  # noqa: PLC0415

    from triggers.reports.story import Unknown  # noqa: PLC0415
    from triggers.reports.telling import tell  # noqa: PLC0415

    if isinstance(found, Unknown):
        close = found.close()
        guess = f"; did you mean {', '.join(close)}?" if close else ""
        click.echo(f"nothing is known of the customer '{found.customer}'{guess}", err=True)
        return NOT_FOUND
    story = found if rule is None else found.of_rule(rule, book)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(story.as_data()), indent=2))
    else:
        click.echo("\n".join(tell(story)))
    return 0


def _no_such_rule(rule: str, book: Rulebook) -> int:
    from triggers.language.findings import did_you_mean  # noqa: PLC0415

    click.echo(f"there is no rule '{rule}'{did_you_mean(rule, book.rules)}", err=True)
    return NOT_FOUND
