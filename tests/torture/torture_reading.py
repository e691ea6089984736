"""Reads what a torture leaves behind: the database, and the gateway's truth."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

from triggers.core.times import MINUTE

if TYPE_CHECKING:
    from pathlib import Path

COMMERCIAL = ("marketing", "member", "greeting")


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines; the last may be half written."""
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    return [json.loads(line) for line in whole.splitlines()]


def takes(line: dict[str, Any]) -> bool:
    """Whether the gateway took a message."""
    return line["fate"] == "ok" or line["fate"].endswith("taken")


def taken_twice(truth: Path) -> list[str]:
    """List the commands that must not come twice and did."""
    lines = [line for line in lines_of(truth) if takes(line) and line["klass"] in COMMERCIAL]
    return [name for name, count in Counter(line["command"] for line in lines).items() if count > 1]


def query(db: Path, sql: str) -> list[sqlite3.Row]:
    """Look into a database, also beside a service that runs."""
    with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(sql).fetchall()


def states(db: Path) -> dict[str, str]:
    """Give the state of each command."""
    return {row["command"]: row["state"] for row in query(db, "SELECT command, state FROM outbox")}


def open_rows(db: Path, now: int) -> int:
    """Count what could leave now or in a moment, and what is leaving."""
    still = f"state = 'sending' OR (state = 'queued' AND not_before < {now + MINUTE})"
    return int(query(db, f"SELECT count(*) AS n FROM outbox WHERE {still}")[0]["n"])  # noqa: S608  a number
