from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from triggers.errors import ServiceUnusable
from triggers.store.database import Lock, connect, connect_reader, open_database
from triggers.store.event_log import read_place
from triggers.store.schema import APPLICATION_ID, MIGRATIONS

if TYPE_CHECKING:
    from pathlib import Path


def test_every_commit_is_synced_to_a_write_ahead_log(tmp_path: Path) -> None:
    open_database(tmp_path / "t.db")
    with closing(connect(tmp_path / "t.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


def test_opening_again_keeps_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    open_database(path)
    with closing(connect(path)) as connection:
        connection.execute("INSERT INTO inputs (path, offset) VALUES ('a', 7)")
    open_database(path)
    with closing(connect_reader(path)) as reader:
        assert read_place(reader, "a").offset == 7


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    open_database(tmp_path / "t.db")
    with (
        closing(connect_reader(tmp_path / "t.db")) as reader,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        reader.execute("DELETE FROM inputs")


def test_a_second_service_is_told_who_has_the_database(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "t.db")
    with pytest.raises(ServiceUnusable, match=rf"in use by another `triggers run` \(process {os.getpid()}\)"):
        Lock(tmp_path / "t.db")
    lock.release()
    Lock(tmp_path / "t.db").release()


def test_a_link_to_a_database_that_is_in_use_is_the_same_database(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "t.db")
    lock = Lock(tmp_path / "t.db")
    with pytest.raises(ServiceUnusable, match="in use"):
        Lock(tmp_path / "link.db")
    lock.release()


def test_a_database_of_the_first_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(MIGRATIONS[0])
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute("INSERT INTO inputs VALUES ('a', 7)")
        connection.commit()
    open_database(path)
    with closing(connect_reader(path)) as reader:
        assert read_place(reader, "a") == ("a", 7, b"")


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (words TEXT)")
    with pytest.raises(ServiceUnusable, match="another program"):
        open_database(path)
    with pytest.raises(ServiceUnusable, match="another program"):
        connect_reader(path)


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    open_database(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 999")
    with pytest.raises(ServiceUnusable, match="newer version"):
        open_database(path)


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    path.write_text("these are notes\n" * 100)
    with pytest.raises(ServiceUnusable, match="not a database"):
        open_database(path)
    assert path.read_text().startswith("these are notes")


def test_a_path_that_leads_nowhere_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "t.db"
    with pytest.raises(ServiceUnusable, match="No such file or directory"):
        Lock(path)
    with pytest.raises(ServiceUnusable, match="unable to open"):
        open_database(path)
    with pytest.raises(ServiceUnusable, match="there is no database"):
        connect_reader(path)
