"""Lists of suppressed numbers in files: CSV as spreadsheets have it, or one number a line.

Spreadsheets take what begins with =, +, - or @ for a formula and run it, and a number in E.164 begins with +. So such a
cell is written behind an apostrophe, which shows it as a text, and one apostrophe in front is dropped when it is read.
"""

from __future__ import annotations

import csv
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, TextIO

from triggers.core.times import iso
from triggers.dispatch.phones import read_phone
from triggers.store.beside import transaction
from triggers.store.suppressions import suppress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from triggers.store.database import Connection
    from triggers.store.suppressions import Suppression

COLUMNS: Final = ("phone", "reason", "author")
WRITTEN: Final = (*COLUMNS, "at")
MOST_WORDS: Final = 200
"""Characters of a reason, and of an author."""
MOST_LINE: Final = 2_000
"""Bytes of a line."""
IN_A_TRANSACTION: Final = 1_000

_FORMULAS = tuple("=+-@＝＋－＠'\t\r\n")  # noqa: RUF001  spreadsheets take the wide ones, too
_DELIMITERS = ",;\t"
_BOM = b"\xef\xbb\xbf"


class Listed(NamedTuple):
    """A number of a file, in E.164; ``reason`` and ``author`` are empty where it names none."""

    phone: str
    reason: str
    author: str


class BadLine(NamedTuple):
    """A line that cannot be taken, counted from 1, and why; without what is in it."""

    line: int
    why: str


def read_list(file: BinaryIO, country: str) -> Iterator[Listed | BadLine]:
    """Read a file. Numbers without a country code are of ``country``; columns are named in the first line, or in order.

    A line is read by itself, so that a quote which is not closed spoils no other.
    """
    form: _Form | None = None
    for number, line in _lines(file):
        text = line if isinstance(line, BadLine) else _decoded(number, line)
        if isinstance(text, BadLine):
            yield text
            continue
        if not text:
            continue
        if form is None:
            form = _form(text)
            if form.named:
                continue
        yield _listed(number, text, form, country)


def write_list(file: TextIO, rows: Iterable[Suppression]) -> int:
    """Write a list with the names of its columns; tells how many numbers it has."""
    writer, count = csv.writer(file, lineterminator="\n"), 0
    writer.writerow(WRITTEN)
    for count, row in enumerate(rows, start=1):  # noqa: B007  it is what is told
        writer.writerow([_guarded(cell) for cell in (row.phone, row.reason, row.author, iso(row.at))])
    return count


def take_list(
    connection: Connection,
    rows: Iterator[Listed | BadLine],
    default: Suppression,
    told: Callable[[BadLine, int], None],
) -> tuple[int, int, int]:
    """Put the numbers of a file on the list: how many were added, were there before, and were bad lines.

    Some at a time, so that a running service is never kept waiting. ``default`` has the reason and the author of those
    that have none; ``told`` is given each bad line, and how many there were before.
    """
    added = known = bad = 0
    while group := list(islice(rows, IN_A_TRANSACTION)):
        with transaction(connection):
            for row in group:
                if isinstance(row, BadLine):
                    told(row, bad)
                    bad += 1
                    continue
                reason, author = row.reason or default.reason, row.author or default.author
                new = suppress(connection, default._replace(phone=row.phone, reason=reason, author=author))
                added, known = added + new, known + (not new)
    return added, known, bad


def unfit_words(words: str) -> str:
    """Say what is wrong with a reason or an author; empty where nothing is."""
    if len(words) > MOST_WORDS:
        return f"longer than {MOST_WORDS} characters"
    return "" if words.isprintable() else "has characters that cannot be shown"


class _Form(NamedTuple):
    """How the lines of a file are read: where each column is, and whether the first line named them."""

    delimiter: str
    places: dict[str, int]
    named: bool


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes | BadLine]]:
    number = 0
    while line := file.readline(MOST_LINE + 1):
        number += 1
        if len(line) > MOST_LINE and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = file.readline(MOST_LINE + 1)
            yield number, BadLine(number, f"longer than {MOST_LINE} bytes")
        else:
            yield number, line.removeprefix(_BOM) if number == 1 else line


def _decoded(number: int, line: bytes) -> str | BadLine:
    try:
        return line.decode("utf-8").strip("\r\n ")
    except UnicodeDecodeError:
        return BadLine(number, "not UTF-8; save the file as CSV UTF-8")


def _form(first: str) -> _Form:
    """Find out from the first line how a file is written."""
    delimiter = next((each for each in _DELIMITERS if each in first), ",")
    names = [cell.lower() for cell in _cells(first, delimiter) or []]
    if "phone" in names:
        return _Form(delimiter, {column: names.index(column) for column in COLUMNS if column in names}, named=True)
    return _Form(delimiter, {column: place for place, column in enumerate(COLUMNS)}, named=False)


def _listed(number: int, text: str, form: _Form, country: str) -> Listed | BadLine:
    cells = _cells(text, form.delimiter)
    if cells is None:
        return BadLine(number, "a quote is not closed, or stands in the middle of a cell")
    told = {column: cells[place] if place < len(cells) else "" for column, place in form.places.items()}
    phone = read_phone(told["phone"], country)
    if phone is None:
        return BadLine(number, "no number of a handset")
    reason, author = told.get("reason", ""), told.get("author", "")
    for column, words in (("reason", reason), ("author", author)):
        if why := unfit_words(words):
            return BadLine(number, f"the {column} is {why}" if why.startswith("longer") else f"the {column} {why}")
    return Listed(phone.e164, reason, author)


def _cells(text: str, delimiter: str) -> Sequence[str] | None:
    try:
        (cells,) = csv.reader([text], delimiter=delimiter, strict=True)
    except (csv.Error, ValueError):
        return None
    return [cell.strip().removeprefix("'") for cell in cells]


def _guarded(cell: str) -> str:
    return f"'{cell}" if cell.lstrip().startswith(_FORMULAS) else cell
