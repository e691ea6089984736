"""Works on the database beside a service that may be running: short transactions, and nothing held in between."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from triggers.errors import ServiceUnusable
from triggers.store.database import connect, connect_reader, saying
from triggers.store.schema import MIGRATIONS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def looking(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database to read, that is there and of this version. Raises ServiceUnusable."""
    with saying(path), closing(connect_reader(path)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version < len(MIGRATIONS):
            raise ServiceUnusable(
                f"{path} was made by an older version of triggers; `triggers run` of this one brings it up to date"
            )
        yield connection


@contextmanager
def beside(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database to write, that is there and of this version. Raises ServiceUnusable."""
    with looking(path):
        pass
    with saying(path), closing(connect(path)) as connection:
        yield connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Do what follows in one transaction, on the disk at the end; a service that writes is waited for."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
