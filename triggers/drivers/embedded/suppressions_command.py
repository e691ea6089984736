"""``triggers suppressions``: the numbers that get nothing but notices and codes, worked on beside a running service.

A number on the list gets nothing commercial from the next claim on: a claim looks at the list itself. No
``customer.unsubscribed`` is written to the log for it, since the service may be stopped; the rules go on deciding for
that customer, and each of their messages ends as suppressed.
"""

from __future__ import annotations

import getpass
import os
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import click

from triggers.drivers.beside_option import DATABASE
from triggers.errors import InputUnusable, OutputUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from triggers.dispatch.suppression_files import BadLine
    from triggers.store.database import Connection
    from triggers.store.suppressions import Suppression

FINDINGS: Final = 1
LEFT_WITHIN_S: Final = 15.0
LOOK_AGAIN_S: Final = 0.1
MOST_LISTED: Final = 1_000
MOST_BAD_LINES: Final = 100

_PATH = click.Path(path_type=Path)
_COUNTRY = click.option(
    "--country",
    metavar="CC",
    default="CN",
    show_default=True,
    callback=lambda _context, _option, country: country.upper(),
    help="Whose numbers those without a country code are.",
)
_AUTHOR = click.option("--author", metavar="NAME", help="Who wants it.  [default: whoever is logged in]")


@click.group()
def group() -> None:
    """Keep the list of numbers that get nothing but notices and codes.

    What is added holds from the next message on, whether the service runs or not. A reply such as STOP adds by itself.
    """


@group.command("list")
@click.argument("phone", required=False)
@DATABASE
@_COUNTRY
def show(phone: str | None, db: Path, country: str) -> int:
    """Show the list, or what happened to PHONE on it."""
    from triggers.store.beside import looking  # noqa: PLC0415  --help needs none of this
    from triggers.store.suppressions import changes, suppressions  # noqa: PLC0415

    number = None if phone is None else _number(phone, country)
    with looking(db) as connection:
        if number is None:
            return _show_all(suppressions(connection))
        happened = changes(connection, number)
    for change, suppression in happened:
        click.echo(_line(suppression, f"{change:<8}"))
    if not happened:
        click.echo("this number was never on the list", err=True)
    return 0 if happened else FINDINGS


@group.command()
@click.argument("phone")
@click.option("--reason", metavar="TEXT", required=True, help="Why; it is kept.")
@_AUTHOR
@DATABASE
@_COUNTRY
def add(phone: str, reason: str, author: str | None, db: Path, country: str) -> int:
    """Put PHONE on the list, and wait until nothing commercial that had begun to leave to it is leaving any more.

    The exit status is 1 where something still was after 15 s. The list is looked at by each message itself; no
    customer.unsubscribed event is written, since the service may be stopped.
    """
    from triggers.store.beside import beside, transaction  # noqa: PLC0415
    from triggers.store.messages import leaving_to  # noqa: PLC0415
    from triggers.store.suppressions import suppress  # noqa: PLC0415

    suppression = _suppression(_number(phone, country), reason, author)
    with beside(db) as connection:
        with transaction(connection):
            added = suppress(connection, suppression)
            leaving = leaving_to(connection, suppression.phone)
        click.echo("the number is on the list" if added else "the number was on the list before, with its own reason")
        return _wait(connection, suppression.phone, leaving)


@group.command()
@click.argument("phone")
@click.option("--reason", metavar="TEXT", required=True, help="Why; it is kept.")
@_AUTHOR
@DATABASE
@_COUNTRY
def remove(phone: str, reason: str, author: str | None, db: Path, country: str) -> int:
    """Take PHONE off the list.

    A customer who has unsubscribed stays so: only customer.subscribed, or a reply such as START, changes that.
    """
    from triggers.store.beside import beside, transaction  # noqa: PLC0415
    from triggers.store.suppressions import allow  # noqa: PLC0415

    suppression = _suppression(_number(phone, country), reason, author)
    with beside(db) as connection, transaction(connection):
        removed = allow(connection, suppression)
    click.echo("the number is off the list" if removed else "the number is not on the list", err=not removed)
    return 0 if removed else FINDINGS


@group.command("import")
@click.argument("file", metavar="FILE")
@click.option("--reason", metavar="TEXT", default="imported", show_default=True, help="For lines that name none.")
@_AUTHOR
@DATABASE
@_COUNTRY
def take(file: str, reason: str, author: str | None, db: Path, country: str) -> int:
    """Put the numbers of FILE on the list: CSV with columns phone, reason and author, or one number a line.

    FILE may be '-'. What 'export' wrote can be read; other columns are left out. Bad lines are named, the others taken;
    the exit status is then 1.
    """
    from triggers.dispatch.suppression_files import read_list, take_list  # noqa: PLC0415
    from triggers.store.beside import beside  # noqa: PLC0415

    default = _suppression("", reason, author)
    with _open(file) as source, beside(db) as connection:
        added, known, bad = take_list(connection, read_list(source, country), default, _tell_bad)
    words = f"{added} added, {known} on the list before"
    click.echo(words if not bad else f"{words}; {bad} bad line{'' if bad == 1 else 's'} left out")
    return FINDINGS if bad else 0


@group.command()
@click.option("--out", metavar="FILE", type=_PATH, help="Where to.  [default: standard output]")
@DATABASE
def export(out: Path | None, db: Path) -> int:
    """Write the list as CSV that spreadsheets can open: what they would take for a formula is behind an apostrophe."""
    from triggers.dispatch.suppression_files import write_list  # noqa: PLC0415
    from triggers.store.beside import looking  # noqa: PLC0415
    from triggers.store.suppressions import suppressions  # noqa: PLC0415

    if out is not None and out.resolve() == db.resolve():
        raise OutputUnusable(f"{out} is the database; write to another file")
    with looking(db) as connection:
        if out is None:
            write_list(sys.stdout, suppressions(connection))
            return 0
        try:  # a list of people: nobody else is to read it
            place = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(place, "w", encoding="utf-8-sig", newline="") as file:
                count = write_list(file, suppressions(connection))
        except OSError as error:
            raise OutputUnusable(f"{out} cannot be written: {error.strerror or error}") from error
    click.echo(f"{count} written")
    return 0


def _number(phone: str, country: str) -> str:
    from triggers.dispatch.phones import read_phone  # noqa: PLC0415  its tables take their time

    found = read_phone(phone, country)
    if found is None:
        raise click.UsageError("PHONE is no number of a handset; write it with its country code")
    return found.e164


def _suppression(phone: str, reason: str, author: str | None) -> Suppression:
    from triggers.clock import wall_ms  # noqa: PLC0415
    from triggers.dispatch.suppression_files import unfit_words  # noqa: PLC0415
    from triggers.store.suppressions import Suppression  # noqa: PLC0415

    name = _user() if author is None else author
    for option, words in (("--reason", reason), ("--author", name)):
        why = unfit_words(words) if words.strip() else "is empty"
        if why:
            raise click.UsageError(f"{option} {'is ' if why.startswith('longer') else ''}{why}")
    return Suppression(phone, reason.strip(), name.strip(), wall_ms())


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user may have no name
        return f"user {os.getuid()}"


def _show_all(rows: Iterator[Suppression]) -> int:
    more = 0
    for number, row in enumerate(rows):
        if number < MOST_LISTED:
            click.echo(_line(row, f"{row.phone:<16}"))
        else:
            more += 1
    if more:
        click.echo(f"… and {more} more; 'export' writes all")
    return 0


def _line(row: Suppression, begin: str) -> str:
    from triggers.core.times import iso  # noqa: PLC0415
    from triggers.log import printable  # noqa: PLC0415

    return f"{iso(row.at)}  {begin}  {printable(row.reason)}  by {printable(row.author)}"


def _wait(connection: Connection, phone: str, leaving: list[int]) -> int:
    """Wait for the messages that were leaving when the number came onto the list; no other begins to leave since."""
    from triggers.store.messages import leaving_to  # noqa: PLC0415

    if not leaving:
        return 0
    click.echo(f"{_counted(len(leaving))} leaving to it right now")
    end = time.monotonic() + LEFT_WITHIN_S
    while still := leaving_to(connection, phone):
        if time.monotonic() >= end:
            click.echo(f"{_counted(len(still))} still leaving after {LEFT_WITHIN_S:g} s", err=True)
            return FINDINGS
        time.sleep(LOOK_AGAIN_S)
    click.echo("nothing commercial leaves to it any more")
    return 0


def _counted(messages: int) -> str:
    return f"{messages} {'message was' if messages == 1 else 'messages were'}"


def _tell_bad(bad: BadLine, before: int) -> None:
    """Name a bad line, where not too many were named before."""
    if before < MOST_BAD_LINES:
        click.echo(f"line {bad.line}: {bad.why}", err=True)
    elif before == MOST_BAD_LINES:
        click.echo("… and more", err=True)


def _open(file: str) -> AbstractContextManager[BinaryIO]:
    try:
        return nullcontext(sys.stdin.buffer) if file == "-" else Path(file).open("rb")
    except OSError as error:
        raise InputUnusable(f"{file} cannot be read: {error.strerror or error}") from error
