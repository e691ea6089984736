"""``triggers gateways``: how the gateways of a service do, and a way to let one go on that was barred."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triggers.reports.gateways import Gateway, Known

FINDINGS: Final = 1
HOUR_MS: Final = 3_600_000
MOST_HOURS: Final = 24 * 400

_PATH = click.Path(path_type=Path)
_DB = click.option("--db", metavar="FILE", type=_PATH, help="The service's database.  [default: triggers.db]")
_DELIVERY = click.option(
    "--delivery", metavar="FILE", type=_PATH, help="The service's file of gateways, for prices and what is idle."
)


@click.group(invoke_without_command=True)
@_DB
@_DELIVERY
@click.option(
    "--hours", type=click.IntRange(1, MOST_HOURS), default=24, show_default=True, help="What left in the last hours."
)
@click.option("--json", "as_json", is_flag=True, help="For machines: a JSON array.")
@click.pass_context
def group(context: click.Context, db: Path | None, delivery: Path | None, hours: int, as_json: bool) -> int:  # noqa: FBT001
    """Show how each gateway does with each class: state, arrival, time to arrive, price, cost.

    Arrival is counted over messages with a receipt or older than half an hour, 'of valid' over those of them to numbers
    that exist. The state is 'good', or what the service holds against it: open or half-open (it fails), barred (a person
    must act), warned or demoted (too little arrives), reset (a person acted; the service has yet to see it).
    """
    if context.invoked_subcommand is not None:
        return 0
    from triggers.clock import wall_ms  # noqa: PLC0415  --help needs none of this
    from triggers.dispatch.upkeep import OLD_ENOUGH  # noqa: PLC0415
    from triggers.reports.gateways import gateways  # noqa: PLC0415
    from triggers.store.beside import looking  # noqa: PLC0415

    known, now = _known(delivery), wall_ms()
    with looking(_database(db)) as connection:
        rows = gateways(connection, since=now - hours * HOUR_MS, old_enough=now - OLD_ENOUGH, known=known)
    _show(rows, hours, as_json=as_json)
    return 0


@group.command()
@click.argument("name")
@_DB
@_DELIVERY
@click.pass_context
def reset(context: click.Context, name: str, db: Path | None, delivery: Path | None) -> int:
    """Let the gateway NAME go on that was barred or fails, since you mended what was wrong with it.

    A service that runs sees it within half a minute; one that starts knows nothing against any gateway anyway.
    """
    from triggers.clock import wall_ms  # noqa: PLC0415
    from triggers.language.findings import did_you_mean  # noqa: PLC0415
    from triggers.reports.gateways import CLOSED  # noqa: PLC0415
    from triggers.store.beside import beside, transaction  # noqa: PLC0415
    from triggers.store.gateway_log import RESET, Change, last_changes, note_change, took  # noqa: PLC0415

    above = context.parent.params if context.parent is not None else {}
    settings = _known(delivery or above.get("delivery"))
    with beside(_database(db or above.get("db"))) as connection, transaction(connection):
        changes = last_changes(connection)
        known = set(settings or ()) | {gateway for gateway, _ in (*changes, *took(connection, 0))}
        if name not in known:
            click.echo(f"nothing is known of a gateway '{name}'{did_you_mean(name, known)}", err=True)
            return FINDINGS
        last = changes.get((name, ""))
        if last is None or last.new == CLOSED:
            click.echo(f"{name} is given messages already; there is nothing to reset")
            return 0
        if last.new != RESET:
            note_change(connection, Change(wall_ms(), name, "", last.new, RESET, f"by {_user()}"))
    click.echo(f"{name} goes on; a service that runs sees it within half a minute")
    return 0


@group.command("addresses")
@_DELIVERY
@click.pass_context
def show_addresses(context: click.Context, delivery: Path | None) -> int:
    """Show where the gateways of a delivery file are to be told to call us, for receipts and replies.

    Each address holds a secret: who knows it can stop a customer's messages. For Kannel it is the get-url of its
    sms-service.
    """
    from triggers.dispatch.addresses import addresses  # noqa: PLC0415  --help needs none of this
    from triggers.dispatch.settings import load_delivery  # noqa: PLC0415

    above = context.parent.params if context.parent is not None else {}
    file = delivery or above.get("delivery")
    if file is None:
        raise click.UsageError("--delivery FILE is needed: it says which gateways there are")
    found = addresses(load_delivery(file))
    for each in found:
        click.echo(f"{each.gateway}  {each.kind}  {each.address}")
    if not found:
        click.echo("no gateway needs an address, or the file has no 'public_url', or they have no 'secret'", err=True)
    return 0 if found else FINDINGS


def _database(given: Path | None) -> Path:
    return given or Path("triggers.db")


def _known(delivery: Path | None) -> dict[str, Known] | None:
    """Read from the settings what the database does not say."""
    if delivery is None:
        return None
    from triggers.dispatch.settings import load_delivery  # noqa: PLC0415
    from triggers.dispatch.traffic import tells  # noqa: PLC0415
    from triggers.language.amounts import in_thousandths_of_fen  # noqa: PLC0415
    from triggers.reports.gateways import Known  # noqa: PLC0415

    told = load_delivery(delivery)
    return {
        name: Known(
            frozenset(klass for klass, names in told.routes.items() if name in names),
            tells(settings.open(name), reached=told.public_url is not None),
            None if settings.price is None else in_thousandths_of_fen(settings.price),
        )
        for name, settings in told.gateways.items()
    }


def _show(rows: Sequence[Gateway], hours: int, *, as_json: bool) -> None:
    from triggers.reports.gateways import HEADINGS, as_data, cells, plain  # noqa: PLC0415

    if as_json:
        import msgspec  # noqa: PLC0415

        click.echo(msgspec.json.format(msgspec.json.encode(as_data(rows)), indent=2))
    elif not rows:
        click.echo(f"nothing left in the last {hours} h, and nothing is held against a gateway")
    elif sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table(*HEADINGS, title=f"gateways, last {hours} h")
        for row in rows:
            table.add_row(*(Text(cell) for cell in cells(row)))
        Console().print(table)
    else:
        for line in plain(rows):
            click.echo(line)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user may have no name
        return "a person"
