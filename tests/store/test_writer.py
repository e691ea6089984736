from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from triggers.errors import ServiceUnusable
from triggers.store.database import connect, connect_reader, open_database
from triggers.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "t.db"
    open_database(path)
    return path


@pytest.fixture
def commits() -> list[float]:
    return []


@pytest.fixture
def writer(path: Path, commits: list[float]) -> Iterator[Writer]:
    writer = Writer(path, committed=commits.append)
    yield writer
    writer.close()


def note(key: str) -> Callable[[sqlite3.Connection], str]:
    def work(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO progress (key, value) VALUES (?, x'00')", (key,))
        return key

    return work


def noted(path: Path) -> set[str]:
    reader = connect_reader(path)
    try:
        return {key for (key,) in reader.execute("SELECT key FROM progress")}
    finally:
        reader.close()


def hold(writer: Writer) -> threading.Event:
    """Keep the writer busy until the event is set, so that what follows waits together."""
    begun, release = threading.Event(), threading.Event()

    def work(_connection: sqlite3.Connection) -> None:
        begun.set()
        release.wait(10)

    writer.submit(work)
    begun.wait(10)
    return release


def test_an_answer_comes_after_the_work_is_committed(writer: Writer, path: Path) -> None:
    assert writer.submit(note("a")).result(10) == "a"
    assert noted(path) == {"a"}


def test_what_waits_is_committed_together(writer: Writer, path: Path, commits: list[float]) -> None:
    release = hold(writer)
    futures = [writer.submit(note(f"k{number}")) for number in range(50)]
    assert noted(path) == set()
    release.set()
    assert [future.result(10) for future in futures] == [f"k{number}" for number in range(50)]
    assert len(commits) == 2


def test_a_piece_that_fails_is_undone_alone(writer: Writer, path: Path) -> None:
    def spoil(connection: sqlite3.Connection) -> None:
        note("half")(connection)
        raise ValueError("spoilt")

    release = hold(writer)
    before, bad, after = writer.submit(note("before")), writer.submit(spoil), writer.submit(note("after"))
    release.set()
    with pytest.raises(ValueError, match="spoilt"):
        bad.result(10)
    assert (before.result(10), after.result(10)) == ("before", "after")
    assert noted(path) == {"before", "after"}


def test_a_piece_that_breaks_a_constraint_is_undone_alone(writer: Writer, path: Path) -> None:
    release = hold(writer)
    first, again, after = (writer.submit(note(key)) for key in ("a", "a", "b"))
    release.set()
    assert first.result(10) == "a"
    with pytest.raises(sqlite3.IntegrityError):
        again.result(10)
    assert after.result(10) == "b"
    assert noted(path) == {"a", "b"}


def test_a_full_disk_ends_the_writer_with_a_clear_error_and_keeps_what_was_committed(path: Path) -> None:
    faults: list[ServiceUnusable] = []
    writer = Writer(path, failed=faults.append)

    def shrink(connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")

    def fill(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO progress (key, value) VALUES ('big', zeroblob(1000000))")

    writer.submit(note("kept")).result(10)
    writer.submit(shrink).result(10)
    release = hold(writer)
    neighbour, full = writer.submit(note("neighbour")), writer.submit(fill)
    release.set()
    with pytest.raises(ServiceUnusable, match="cannot be written: database or disk is full"):
        full.result(10)
    with pytest.raises(ServiceUnusable, match="disk is full"):
        neighbour.result(10)
    with pytest.raises(ServiceUnusable, match="disk is full"):
        writer.submit(note("later")).result(10)
    writer.close()
    assert len(faults) == 1
    assert noted(path) == {"kept"}


def test_closing_finishes_what_waits_and_takes_nothing_more(writer: Writer, path: Path) -> None:
    release = hold(writer)
    last = writer.submit(note("last"))
    threading.Timer(0.05, release.set).start()
    writer.close()
    assert last.result(0) == "last"
    assert noted(path) == {"last"}
    with pytest.raises(ServiceUnusable, match="closed"):
        writer.submit(note("later")).result(0)


@contextmanager
def another_process_writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Hold the write lock, as a shell does; roll back to let it go."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


def test_another_process_that_writes_is_waited_for_and_told_once(path: Path) -> None:
    faults: list[ServiceUnusable] = []
    writer = Writer(path, failed=faults.append, lock_wait_s=30, lock_try_ms=20)
    with capture_logs() as lines, another_process_writing(path) as other:
        first = writer.submit(note("first"))
        time.sleep(0.3)  # many tries
        second = writer.submit(note("second"))
        assert not first.done()
        other.rollback()
        assert (first.result(10), second.result(10)) == ("first", "second")
    writer.close()
    assert (noted(path), faults) == ({"first", "second"}, [])
    assert [(line["log_level"], line["event"].partition(";")[0]) for line in lines] == [
        ("warning", "another process is writing the database")
    ]


def test_each_wait_for_another_process_is_told(path: Path) -> None:
    writer = Writer(path, lock_wait_s=30, lock_try_ms=20)
    with capture_logs() as lines:
        for told, key in enumerate(("first", "second"), start=1):
            with another_process_writing(path) as other:
                future = writer.submit(note(key))
                latest_s = time.monotonic() + 10
                while len(lines) < told and time.monotonic() < latest_s:
                    time.sleep(0.01)
                other.rollback()
                assert future.result(10) == key
            assert len(lines) == told
    writer.close()


def test_a_lock_that_never_ends_ends_the_writer_and_names_the_mend(path: Path) -> None:
    faults: list[ServiceUnusable] = []
    writer = Writer(path, failed=faults.append, lock_wait_s=0.2, lock_try_ms=20)
    began = time.monotonic()
    with another_process_writing(path):
        future = writer.submit(note("lost"))
        with pytest.raises(ServiceUnusable, match=r"another process has kept it locked for .*; end what writes to it"):
            future.result(10)
        assert time.monotonic() - began >= 0.2
        writer.close()
    assert len(faults) == 1
    assert str(path) in str(faults[0])
    assert noted(path) == set()


def test_closing_does_not_wait_long_for_another_process(path: Path) -> None:
    writer = Writer(path, lock_wait_s=60, lock_try_ms=100)
    with another_process_writing(path):
        future = writer.submit(note("lost"))
        time.sleep(0.02)
        began = time.monotonic()
        writer.close()
        assert time.monotonic() - began < 5
    with pytest.raises(ServiceUnusable, match="another process"):
        future.result(0)


def test_a_writer_that_is_to_hurry_does_not_wait_long_for_another_process_and_works_on_without(path: Path) -> None:
    writer = Writer(path, lock_wait_s=60, lock_try_ms=100)
    writer.hurry()
    assert writer.submit(note("kept")).result(5) == "kept"
    with another_process_writing(path), pytest.raises(ServiceUnusable, match="another process"):
        writer.submit(note("lost")).result(5)
    writer.close()
    assert noted(path) == {"kept"}


def test_closing_still_gives_another_process_one_whole_try(path: Path) -> None:
    writer = Writer(path, lock_wait_s=60, lock_try_ms=1_000)
    with another_process_writing(path) as other:
        future = writer.submit(note("kept"))
        time.sleep(0.9)
        threading.Timer(0.5, other.rollback).start()
        writer.close()
    assert future.result(0) == "kept"
    assert noted(path) == {"kept"}


def test_what_is_no_lock_ends_the_writer_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def begun(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.execute("BEGIN")
        return connection

    monkeypatch.setattr("triggers.store.writer.connect", begun)
    writer = Writer(path, lock_wait_s=60, lock_try_ms=20)
    with capture_logs() as lines, pytest.raises(ServiceUnusable, match="cannot be written: cannot start a transaction"):
        writer.submit(note("never")).result(5)
    writer.close()
    assert lines == []
