"""How far the engine has come in the log and in time, the ledger of shared limits, and since when rules are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from triggers.core.times import DAY

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection


class Progress(NamedTuple):
    """Position and clock (epoch ms) of the engine, and its ledger, encoded; None before the first commit."""

    position: int
    clock: int | None
    ledger: bytes | None
    revision: str


def load_progress(connection: sqlite3.Connection) -> Progress:
    """Read how far the engine has come."""
    kept = dict(connection.execute("SELECT key, value FROM progress").fetchall())
    return Progress(
        int(kept.get("position", 0)),
        int(kept["clock"]) if "clock" in kept else None,
        kept.get("ledger"),
        kept.get("revision", b"").decode(),
    )


def save_progress(connection: sqlite3.Connection, progress: Progress) -> None:
    """Write how far the engine has come; a ledger of None is left as it is."""
    rows: list[tuple[str, bytes]] = [
        ("position", str(progress.position).encode()),
        ("clock", str(progress.clock or 0).encode()),
        ("revision", progress.revision.encode()),
    ]
    if progress.ledger is not None:
        rows.append(("ledger", progress.ledger))
    connection.executemany("INSERT OR REPLACE INTO progress (key, value) VALUES (?, ?)", rows)


class Register(NamedTuple):
    """Since when each rule is known (S31), and when each vanished one was first missed (S36); epoch ms."""

    since: dict[str, int]
    removed: dict[str, int]


def enrol(connection: sqlite3.Connection, ids: Collection[str], now: int, first: int) -> Register:
    """Note which rules there are now. ``first`` is what a rule of a new database is known since, else it is ``now``.

    A rule that comes back within 24 h goes on as if it had stayed; later it is a new one.
    """
    known = {
        rule: (since, removed)
        for rule, since, removed in connection.execute("SELECT id, since, removed FROM rules").fetchall()
    }
    new_since = now if known else first
    since = {}
    for rule in ids:
        old, removed = known.get(rule, (new_since, None))
        since[rule] = now if removed is not None and now - removed >= DAY else old
    removed = {rule: now if gone is None else gone for rule, (_, gone) in known.items() if rule not in since}
    connection.executemany(
        "INSERT OR REPLACE INTO rules (id, since, removed) VALUES (?, ?, ?)",
        [(rule, at, None) for rule, at in since.items()]
        + [(rule, known[rule][0], gone) for rule, gone in removed.items()],
    )
    return Register(since, removed)


def removed_rules(connection: sqlite3.Connection) -> dict[str, int]:
    """Tell which rules are gone, and since when, epoch ms."""
    return dict(connection.execute("SELECT id, removed FROM rules WHERE removed IS NOT NULL").fetchall())
