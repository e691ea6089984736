"""Opens the service's one SQLite file: checked, migrated, and locked against a second service."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, TextIO, TypeAlias

from triggers.errors import ServiceUnusable
from triggers.store.schema import APPLICATION_ID, MIGRATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Connection: TypeAlias = sqlite3.Connection
"""A connection, for those who only hand it on: nobody outside the store speaks SQL."""

BUSY_TIMEOUT_MS = 5_000
_PID_DIGITS = 20


class Lock:
    """Keeps a second service off a database, by a lock on a file beside it that ends with the process.

    ``service`` is the command that runs it.
    """

    def __init__(self, path: Path, service: str = "run") -> None:
        real = path.resolve()  # a link to the database is the same database
        self._file = _take(real.with_name(real.name + ".lock"), path, service)

    def release(self) -> None:
        """Let another service have the database."""
        self._file.close()


def _take(lock: Path, database: Path, service: str) -> TextIO:
    try:
        file = lock.open("a+")
    except OSError as error:
        raise ServiceUnusable(f"the database {database} cannot be used: {error.strerror} ({lock})") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        pid = file.read(_PID_DIGITS).strip() or "unknown"
        file.close()
        raise ServiceUnusable(
            f"the database {database} is in use by another `triggers {service}` (process {pid});"
            " stop it, or give --db another file"
        ) from error
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def open_database(path: Path) -> None:
    """Make the database if there is none, and bring an older one up to date.

    Raises ServiceUnusable for a path that cannot be used, a file that is not ours or one made by a newer version.
    """
    with saying(path), closing(connect(path)) as connection:
        _check(connection, path)
        _migrate(connection)


@contextmanager
def saying(path: Path) -> Iterator[None]:
    """Say in our words what is wrong with a database, damaged for example. Raises ServiceUnusable."""
    try:
        yield
    except sqlite3.Error as error:
        raise ServiceUnusable(f"the database {path} cannot be used: {error}") from error


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection that writes: write-ahead log, every commit synced, transactions begun by hand."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_MS / 1_000)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -65536")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open a connection that only reads, beside a service that may be writing.

    Raises ServiceUnusable if there is no such database.
    """
    if not path.is_file():
        raise ServiceUnusable(f"there is no database {path}; `triggers run`, or the dispatcher of a fleet, makes one")
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_MS / 1_000)
    try:
        connection.execute("PRAGMA query_only = ON")
        _check(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise ServiceUnusable(f"the database {path} cannot be read: {error}") from error
    except ServiceUnusable:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and owner != APPLICATION_ID:
        raise ServiceUnusable(f"{path} is a database of another program; give --db another file")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise ServiceUnusable(
            f"{path} was made by a newer version of triggers (its schema is {version}, this knows {len(MIGRATIONS)})"
        )


def _migrate(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {statements}; PRAGMA application_id = {APPLICATION_ID};"
            f" PRAGMA user_version = {number}; COMMIT;"
        )
