"""The list of suppressed numbers, as people keep it from the command line."""

from __future__ import annotations

import csv
import getpass
import io
import stat
import sys
import threading
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from triggers import cli
from triggers.core.decisions import Send
from triggers.drivers.embedded import suppressions_command
from triggers.store.beside import beside, looking, transaction
from triggers.store.database import open_database
from triggers.store.outbox import claim, queue, settle
from triggers.store.states import Command, Go, Settled
from triggers.store.suppressions import Suppression, changes, suppress, suppressions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from triggers.store.states import Leaving

    Triggers = Callable[..., tuple[int, str, str]]

ONE, TWO = "+8613800001234", "+8613800001235"
SEND = Send(
    id="1", rule="r", customer="c1", identity=None, anchor=1, due=2, at=3, withheld=False, shadow=False, variant=None,
    wave=None, coupon=None, text="hello", segments=1, cost=5_000, revision="x", klass="marketing", expires=9,
)  # fmt: skip


@pytest.fixture
def db(tmp_path: Path) -> Path:
    open_database(tmp_path / "t.db")
    return tmp_path / "t.db"


@pytest.fixture
def triggers(db: Path, capsys: pytest.CaptureFixture[str]) -> Triggers:
    """Run ``triggers suppressions``; gives the exit status, and what it wrote on both outputs."""

    def run(name: str, *arguments: str) -> tuple[int, str, str]:
        status = cli.main(["suppressions", name, "--db", str(db), *arguments])
        written = capsys.readouterr()
        return status, written.out, written.err

    return run


def rows(db: Path) -> list[tuple[str, str, str]]:
    with looking(db) as connection:
        return [(row.phone, row.reason, row.author) for row in suppressions(connection)]


def test_a_number_is_added_and_taken_off_with_reason_author_and_time(triggers: Triggers, db: Path) -> None:
    began = time.time_ns() // 1_000_000
    assert triggers("add", "138 0000 1234", "--reason", "complained", "--author", "mei") == (
        0, "the number is on the list\n", "",
    )  # fmt: skip
    assert rows(db) == [(ONE, "complained", "mei")]
    assert triggers("remove", ONE, "--reason", "asked", "--author", "li")[:2] == (0, "the number is off the list\n")
    assert rows(db) == []
    with looking(db) as connection:
        (_, added), (_, removed) = changes(connection, ONE)
    assert (added[:3], removed[:3]) == ((ONE, "complained", "mei"), (ONE, "asked", "li"))
    assert began <= added.at <= removed.at <= time.time_ns() // 1_000_000
    status, out, _ = triggers("list", ONE)
    assert status == 0
    assert [line.split("  ", 1)[1] for line in out.splitlines()] == [
        "added     complained  by mei", "removed   asked  by li",
    ]  # fmt: skip


def test_the_author_is_whoever_is_logged_in(triggers: Triggers, db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    triggers("add", ONE, "--reason", "x")
    assert rows(db) == [(ONE, "x", getpass.getuser())]

    def nobody() -> str:
        raise KeyError

    monkeypatch.setattr(getpass, "getuser", nobody)
    triggers("add", TWO, "--reason", "x")
    assert rows(db)[1][2].startswith("user ")


def test_what_changes_nothing_is_said(triggers: Triggers, db: Path) -> None:
    triggers("add", ONE, "--reason", "first")
    status, out, _ = triggers("add", ONE, "--reason", "second")
    assert (status, "before" in out) == (0, True)
    assert [reason for _, reason, _ in rows(db)] == ["first"]
    assert triggers("remove", TWO, "--reason", "x") == (1, "", "the number is not on the list\n")
    assert triggers("list", TWO) == (1, "", "this number was never on the list\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "+86138", "--reason", "x"], "no number"),
        (["add", f"{ONE}\n", "--reason", "x"], "no number"),
        (["add", f"{ONE},{TWO}", "--reason", "x"], "no number"),
        (["add", ONE], "--reason"),
        (["add", ONE, "--reason", " "], "--reason is empty"),
        (["add", ONE, "--reason", "x" * 201], "--reason is longer than 200 characters"),
        (["add", ONE, "--reason", "a\nb"], "--reason has characters that cannot be shown"),
        (["remove", ONE, "--reason", "x", "--author", "\x1b"], "--author has characters that cannot be shown"),
        (["import", "nowhere.csv"], "nowhere.csv cannot be read: No such file"),
        (["import", "."], "cannot be read: Is a directory"),
        (["export", "--out", "nowhere/x.csv"], "cannot be written: No such file"),
    ],
)
def test_what_cannot_be_used_is_said_and_changes_nothing(
    triggers: Triggers, db: Path, arguments: list[str], words: str
) -> None:
    status, _, err = triggers(*arguments)
    assert (status, words in err) == (2, True)
    assert "1380000" not in err
    assert rows(db) == []


def test_without_a_database_none_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["suppressions", "add", ONE, "--reason", "x", "--db", str(tmp_path / "no.db")]) == 2
    assert "there is no database" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def leave(db: Path, *commands: Command) -> list[Leaving]:
    """Let messages begin to leave, as a service does."""
    with beside(db) as connection, transaction(connection):
        queue(connection, commands, 1)
        return claim(connection, "marketing", 9, 2, lambda queued: Go("main", queued.phone or "", 1, 9)).leaving


def test_it_waits_for_what_was_leaving_and_for_nothing_else(triggers: Triggers, db: Path) -> None:
    first, second, _other = leave(
        db, *(Command(msgspec.structs.replace(SEND, id=name), phone)
              for name, phone in (("1", ONE), ("2", ONE), ("3", TWO)))
    )  # fmt: skip
    settled: list[float] = []

    def answer() -> None:
        for leaving in (first, second):
            time.sleep(0.3)
            with beside(db) as connection, transaction(connection):
                settle(connection, leaving, Settled("accepted"), 3)
            settled.append(time.monotonic())

    thread = threading.Thread(target=answer)
    thread.start()
    status, out, _ = triggers("add", ONE, "--reason", "complained")
    ended = time.monotonic()
    thread.join()
    assert status == 0
    assert out.splitlines() == [
        "the number is on the list", "2 messages were leaving to it right now",
        "nothing commercial leaves to it any more",
    ]  # fmt: skip
    assert settled[1] <= ended < settled[1] + 5


def test_the_number_is_on_the_list_before_it_waits(
    triggers: Triggers, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(db, Command(SEND, ONE))
    seen: list[list[tuple[str, str, str]]] = []
    monkeypatch.setattr(suppressions_command, "LEFT_WITHIN_S", 0.3)
    monkeypatch.setattr(time, "sleep", lambda _seconds: seen.append(rows(db)))
    status, _, err = triggers("add", ONE, "--reason", "x", "--author", "mei")
    assert (status, err) == (1, "1 message was still leaving after 0.3 s\n")
    assert seen[0] == [(ONE, "x", "mei")]


def test_a_file_is_taken_but_for_its_bad_lines(triggers: Triggers, db: Path, tmp_path: Path) -> None:
    triggers("add", ONE, "--reason", "first", "--author", "mei")
    path = tmp_path / "list.csv"
    path.write_text(f"phone,reason,author\n{ONE},again,x\nnonsense,,\n{TWO},complained,li\n13800001236,,\n{TWO},,\n")
    status, out, err = triggers("import", str(path), "--reason", "from the old shop", "--author", "wang")
    assert (status, out) == (1, "2 added, 2 on the list before; 1 bad line left out\n")
    assert err == "line 3: no number of a handset\n"
    assert rows(db) == [
        (ONE, "first", "mei"), (TWO, "complained", "li"), ("+8613800001236", "from the old shop", "wang"),
    ]  # fmt: skip
    assert triggers("import", str(path))[1].startswith("0 added, 4 on the list before")


def test_one_number_a_line_comes_in_through_a_pipe(
    triggers: Triggers, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = io.TextIOWrapper(io.BytesIO(f"{ONE}\n{TWO}\n".encode()))
    monkeypatch.setattr(sys, "stdin", pipe)
    assert triggers("import", "-", "--author", "mei") == (0, "2 added, 0 on the list before\n", "")
    assert rows(db) == [(ONE, "imported", "mei"), (TWO, "imported", "mei")]


def test_a_list_in_parts_is_taken_whole(triggers: Triggers, db: Path, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("".join(f"+8613800{number:06}\n" for number in range(2_500)) + "bad\n" * 150)
    status, out, err = triggers("import", str(path))
    assert (status, out) == (1, "2500 added, 0 on the list before; 150 bad lines left out\n")
    assert len(rows(db)) == 2_500
    assert (len(err.splitlines()), err.splitlines()[-1]) == (101, "… and more")


def test_what_is_exported_is_harmless_and_comes_back_in(triggers: Triggers, db: Path, tmp_path: Path) -> None:
    given = [(ONE, "=cmd|' /C calc'!A0", "@mei"), (TWO, "投诉, twice", "-li")]
    with beside(db) as connection, transaction(connection):
        for row in given:
            suppress(connection, Suppression(*row, 10))
    path = tmp_path / "out.csv"
    assert triggers("export", "--out", str(path)) == (0, "2 written\n", "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(b"\xef\xbb\xbfphone,")  # or a spreadsheet takes it for another encoding
    cells = [cell for row in csv.reader(io.StringIO(path.read_text("utf-8-sig"))) for cell in row]
    assert [cell for cell in cells if cell[:1] in "=+-@"] == []
    assert triggers("export")[1] == path.read_text("utf-8-sig")
    for phone, _, _ in given:
        triggers("remove", phone, "--reason", "test")
    assert triggers("import", str(path))[:2] == (0, "2 added, 0 on the list before\n")
    assert rows(db) == given


def test_the_database_is_not_written_over(triggers: Triggers, db: Path, tmp_path: Path) -> None:
    triggers("add", ONE, "--reason", "x")
    (tmp_path / "link").symlink_to(db)
    for path in (db, tmp_path / "link"):
        status, _, err = triggers("export", "--out", str(path))
        assert (status, "is the database" in err) == (2, True)
    assert len(rows(db)) == 1


def test_the_list_is_shown_without_what_moves_a_cursor_and_cut_off(
    triggers: Triggers, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with beside(db) as connection, transaction(connection):
        for number in range(4):
            suppress(connection, Suppression(f"+8613800001{number:03}", "a\x1b[2J", "mei", 1_788_321_600_000))
    monkeypatch.setattr(suppressions_command, "MOST_LISTED", 3)
    status, out, _ = triggers("list")
    assert status == 0
    assert out.splitlines()[0] == "2026-09-02T04:00:00.000Z  +8613800001000    a�[2J  by mei"
    assert out.splitlines()[3:] == ["… and 1 more; 'export' writes all"]
