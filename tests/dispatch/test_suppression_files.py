from __future__ import annotations

import csv
import io

import pytest

from triggers.dispatch.suppression_files import BadLine, Listed, read_list, unfit_words, write_list
from triggers.store.suppressions import Suppression

ONE, TWO = "+8613800001234", "+8613800001235"
AT = 1_788_321_600_000


def read(content: str | bytes, country: str = "CN") -> list[Listed | BadLine]:
    return list(read_list(io.BytesIO(content.encode() if isinstance(content, str) else content), country))


def one(phone: str = ONE, reason: str = "", author: str = "") -> Listed:
    return Listed(phone, reason, author)


@pytest.mark.parametrize(
    ("content", "listed"),
    [
        (f"{ONE}\n{TWO}\n", [one(), one(TWO)]),
        ("13800001234\n\n  \n138 0000 1235", [one(), one(TWO)]),
        ("8613800001234\r\n", [one()]),
        (f"phone\n{ONE}\n", [one()]),
        (f"{ONE},complained,mei\n", [one(ONE, "complained", "mei")]),
        (f"Phone,Author,Reason\n{ONE},mei,complained\n", [one(ONE, "complained", "mei")]),
        (f"id,reason,phone\n7,complained,{ONE}\n", [one(ONE, "complained")]),
        (f"phone;reason;author\n{ONE};a, b;mei\n", [one(ONE, "a, b", "mei")]),
        (f"phone\treason\n{ONE}\tcomplained\n", [one(ONE, "complained")]),
        (f'phone,reason\n"{ONE}","said ""no"", twice"\n', [one(ONE, 'said "no", twice')]),
        (f"phone,reason\n'{ONE},'=SUM(A1)\n", [one(ONE, "=SUM(A1)")]),
        (f"\ufeffphone,reason\n{ONE},投诉\n", [one(ONE, "投诉")]),
        (f"\ufeff{ONE}\n", [one()]),
        (f"phone,reason,author\n{ONE}\n{TWO},complained\n", [one(), one(TWO, "complained")]),
        ("", []),
        ("\n\n", []),
    ],
)
def test_lists_are_understood_however_they_are_written(content: str, listed: list[Listed]) -> None:
    assert read(content) == listed


def test_numbers_without_a_country_code_are_of_the_country_that_is_named() -> None:
    assert read("2015550123\n", "US") == [one("+12015550123")]
    assert read("2015550123\n") == [BadLine(1, "no number of a handset")]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"hello", "no number of a handset"),
        (b"+8613800001234 +8613800001235", "no number of a handset"),
        (b"=13800001234", "no number of a handset"),
        (
            b'=HYPERLINK("http://x.example","+8613800001234")',
            "a quote is not closed, or stands in the middle of a cell",
        ),
        (b"''+8613800001234", "no number of a handset"),
        (b"8.6138E+12", "no number of a handset"),
        (b'"+8613800001234', "a quote is not closed, or stands in the middle of a cell"),
        (b"+8613800001234\x00", "no number of a handset"),
        (b"+8613800001234," + b"x" * 201, "the reason is longer than 200 characters"),
        (b"+8613800001234,x," + b"x" * 201, "the author is longer than 200 characters"),
        (b"+8613800001234,a\x1b[2Jb", "the reason has characters that cannot be shown"),
        ("+8613800001234,a\u202eb".encode(), "the reason has characters that cannot be shown"),
        ("+8613800001234,投诉".encode("gbk"), "not UTF-8; save the file as CSV UTF-8"),
        (b"+8613800001234," + b"x" * 5_000, "longer than 2000 bytes"),
        (b"x" * 2_001, "longer than 2000 bytes"),
    ],
)
def test_a_bad_line_is_named_and_spoils_no_other(line: bytes, why: str) -> None:
    assert read(b"+8613800001235\n" + line + b"\n+8613800001236\n") == [
        one(TWO), BadLine(2, why), one("+8613800001236"),
    ]  # fmt: skip
    assert why not in line.decode(errors="replace")


def test_what_is_written_a_spreadsheet_does_not_run_and_is_read_back_as_it_was() -> None:
    reasons = [
        "plain",
        "=cmd|' /C calc'!A0",
        "+1",
        "-1",
        "@SUM(A1)",
        "'quoted",
        "＝1+1",  # noqa: RUF001  as it says
        "a,b;c",
        " =1",
        'say "no"',
        "投诉",
    ]
    rows = [Suppression(f"+86138000{number:05}", reason, f"={reason}", AT) for number, reason in enumerate(reasons)]
    file = io.StringIO()
    assert write_list(file, rows) == len(rows)
    cells = [cell for row in csv.reader(io.StringIO(file.getvalue())) for cell in row]
    assert [cell for cell in cells if cell.lstrip()[:1] in tuple("=+-@＝＋－＠\t\r\n")] == []  # noqa: RUF001
    assert file.getvalue().splitlines()[0] == "phone,reason,author,at"
    assert file.getvalue().splitlines()[1].endswith("2026-09-02T04:00:00.000Z")
    assert read(file.getvalue()) == [Listed(row.phone, row.reason, row.author) for row in rows]


def test_an_empty_list_has_the_names_of_its_columns() -> None:
    file = io.StringIO()
    assert write_list(file, []) == 0
    assert file.getvalue() == "phone,reason,author,at\n"


def test_a_file_of_many_lines_is_read_as_it_goes() -> None:
    numbers = b"".join(b"+8613800%06d\n" % number for number in range(3_000))
    assert len({row.phone for row in read(numbers) if isinstance(row, Listed)}) == 3_000


@pytest.mark.parametrize(("words", "unfit"), [("x" * 200, False), ("x" * 201, True), ("a\nb", True), ("好 b", False)])
def test_words_are_bounded_and_can_be_shown(words: str, unfit: bool) -> None:  # noqa: FBT001
    assert bool(unfit_words(words)) is unfit
