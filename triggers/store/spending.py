"""The money of rules, by the shop's months: reserved for what is queued, spent on what may have left, or released again.

Amounts in 1/1000 fen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3


def pay(
    connection: sqlite3.Connection, rule: str, month: str, *, reserved: int = 0, spent: int = 0, released: int = 0
) -> None:
    """Add to the amounts of a rule in a month, as "2026-09"; what is below 0 is taken away."""
    if reserved or spent or released:
        connection.execute(
            "INSERT INTO spending (rule, month, reserved, spent, released) VALUES (?1, ?2, ?3, ?4, ?5)"
            " ON CONFLICT (rule, month) DO UPDATE SET reserved = reserved + ?3, spent = spent + ?4,"
            " released = released + ?5",
            (rule, month, reserved, spent, released),
        )


def rule_spent(connection: sqlite3.Connection, rule: str) -> int:
    """Tell what a rule's messages have cost so far, in 1/1000 fen."""
    return int(connection.execute("SELECT coalesce(sum(spent), 0) FROM spending WHERE rule = ?", (rule,)).fetchone()[0])


def month_spent(connection: sqlite3.Connection, month: str) -> int:
    """Tell what all messages of a month have cost so far, in 1/1000 fen."""
    return int(
        connection.execute("SELECT coalesce(sum(spent), 0) FROM spending WHERE month = ?", (month,)).fetchone()[0]
    )
