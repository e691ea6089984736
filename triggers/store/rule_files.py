"""The files of the rules in use, so that a broken one keeps its last good version over a restart (S37), and held edits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping


class HeldEdit(NamedTuple):
    """An edit that makes so many waits due at once, and is not taken up until somebody says what becomes of them (S38).

    ``file`` and ``digest`` name what was edited, and ``overdue`` is what was said: send, spread or drop. Epoch ms.
    """

    rule: str
    file: str
    digest: str
    due: int
    at: int
    overdue: str | None = None


def rule_files(connection: sqlite3.Connection) -> dict[str, bytes]:
    """Read the files that were used last, by name; none before the first start."""
    return dict(connection.execute("SELECT name, content FROM rule_files").fetchall())


def keep_rule_files(connection: sqlite3.Connection, contents: Mapping[str, bytes]) -> None:
    """Keep the files that are used from now on, and no others."""
    known = rule_files(connection)
    connection.executemany(
        "DELETE FROM rule_files WHERE name = ?", [(name,) for name in known.keys() - contents.keys()]
    )
    connection.executemany(
        "INSERT OR REPLACE INTO rule_files (name, content) VALUES (?, ?)",
        [(name, content) for name, content in contents.items() if known.get(name) != content],
    )


def held_edits(connection: sqlite3.Connection) -> list[HeldEdit]:
    """List the edits that are not taken up, and those that are since somebody said so."""
    return [
        HeldEdit(*row)
        for row in connection.execute(
            "SELECT rule, file, digest, due, at, overdue FROM held_edits ORDER BY rule"
        ).fetchall()
    ]


def hold_edits(connection: sqlite3.Connection, edits: Iterable[HeldEdit]) -> None:
    """Note that edits are not taken up; what was said of an earlier edit of the same rule does not hold for these."""
    connection.executemany(
        "INSERT OR REPLACE INTO held_edits (rule, file, digest, due, at, overdue) VALUES (?, ?, ?, ?, ?, ?)", edits
    )


def decide_edit(connection: sqlite3.Connection, rule: str, overdue: str) -> bool:
    """Say what becomes of the waits that a held edit makes due; False if no edit of this rule is held."""
    return connection.execute("UPDATE held_edits SET overdue = ? WHERE rule = ?", (overdue, rule)).rowcount > 0


def drop_held_edits(connection: sqlite3.Connection, rules: Iterable[str]) -> None:
    """Forget edits that are taken up, or are there no more."""
    connection.executemany("DELETE FROM held_edits WHERE rule = ?", [(rule,) for rule in rules])
