"""The tables, as numbered migrations: each is applied once, in order, and never edited after a release."""

from __future__ import annotations

APPLICATION_ID = 0x74726967
"""Marks a database as ours ("trig")."""

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY,
        source TEXT NOT NULL,
        id TEXT NOT NULL,
        type TEXT NOT NULL,
        customer TEXT NOT NULL,
        occurred_at INTEGER NOT NULL,
        received_at INTEGER NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (source, id)
    ) STRICT;
    CREATE INDEX events_of_customer ON events (customer, seq);

    CREATE TABLE dead_letters (
        seq INTEGER PRIMARY KEY,
        origin TEXT NOT NULL,
        reason TEXT NOT NULL,
        message TEXT NOT NULL,
        body BLOB NOT NULL,
        received_at INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE customers (
        id TEXT PRIMARY KEY,
        wake INTEGER NOT NULL,
        state BLOB NOT NULL
    ) STRICT;

    CREATE TABLE decisions (
        seq INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        customer TEXT NOT NULL,
        rule TEXT NOT NULL,
        identity TEXT,
        slot TEXT,
        anchor INTEGER,
        due INTEGER,
        at INTEGER NOT NULL,
        until INTEGER,
        reason TEXT NOT NULL,
        detail TEXT NOT NULL,
        revision TEXT NOT NULL
    ) STRICT;
    CREATE INDEX decisions_of_customer ON decisions (customer, seq);

    CREATE TABLE outbox (
        seq INTEGER PRIMARY KEY,
        command TEXT NOT NULL UNIQUE,
        customer TEXT NOT NULL,
        rule TEXT NOT NULL,
        class TEXT NOT NULL,
        state TEXT NOT NULL,
        phone TEXT,
        at INTEGER NOT NULL,
        body BLOB NOT NULL,
        queued_at INTEGER NOT NULL,
        moved_at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX outbox_open ON outbox (state, seq) WHERE state IN ('queued', 'sending', 'unknown');

    CREATE TABLE inputs (
        path TEXT PRIMARY KEY,
        offset INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE rules (
        id TEXT PRIMARY KEY,
        since INTEGER NOT NULL,
        removed INTEGER
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE progress (
        key TEXT PRIMARY KEY,
        value BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    """
    ALTER TABLE inputs ADD COLUMN head BLOB NOT NULL DEFAULT x'';
    """,
)
