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
    """
    ALTER TABLE outbox RENAME TO outbox_before;
    DROP INDEX outbox_open;
    CREATE TABLE outbox (
        seq INTEGER PRIMARY KEY,
        command TEXT NOT NULL UNIQUE,
        customer TEXT NOT NULL,
        rule TEXT NOT NULL,
        class TEXT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL DEFAULT '',
        phone TEXT,
        at INTEGER NOT NULL,
        body BLOB NOT NULL,
        queued_at INTEGER NOT NULL,
        moved_at INTEGER NOT NULL,
        month TEXT NOT NULL DEFAULT '',
        parts INTEGER NOT NULL DEFAULT 1,
        not_before INTEGER NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0,
        ambiguous INTEGER NOT NULL DEFAULT 0,
        tried TEXT NOT NULL DEFAULT '',
        gateway TEXT,
        provider_id TEXT,
        left_at INTEGER,
        cost INTEGER NOT NULL DEFAULT 0,
        arrived_at INTEGER,
        invalid INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    INSERT INTO outbox (
        seq, command, customer, rule, class, state, phone, at, body, queued_at, moved_at, month, parts, left_at, cost
    )
        SELECT seq, command, customer, rule, class, state, phone, at, body, queued_at, moved_at,
            strftime('%Y-%m', at / 1000, 'unixepoch'),
            CAST(body AS TEXT) ->> '$.segments',
            CASE WHEN state IN ('sending', 'accepted', 'unknown') THEN at END,
            CASE WHEN state IN ('sending', 'accepted', 'unknown') THEN CAST(body AS TEXT) ->> '$.cost' ELSE 0 END
        FROM outbox_before;
    DROP TABLE outbox_before;
    CREATE INDEX outbox_queued ON outbox (class, not_before, seq) WHERE state = 'queued';
    CREATE INDEX outbox_open ON outbox (state, moved_at) WHERE state IN ('sending', 'unknown', 'accepted');
    CREATE INDEX outbox_codes ON outbox (phone, queued_at) WHERE class = 'verification';
    CREATE INDEX outbox_of_customer ON outbox (customer, seq);
    CREATE INDEX outbox_of_provider ON outbox (gateway, provider_id) WHERE provider_id IS NOT NULL;
    CREATE INDEX outbox_left ON outbox (gateway, class, left_at) WHERE left_at IS NOT NULL;
    CREATE INDEX outbox_of_rule ON outbox (rule, left_at) WHERE left_at IS NOT NULL;

    CREATE TABLE transitions (
        seq INTEGER PRIMARY KEY,
        message INTEGER NOT NULL REFERENCES outbox (seq),
        at INTEGER NOT NULL,
        old TEXT NOT NULL,
        new TEXT NOT NULL,
        reason TEXT NOT NULL,
        gateway TEXT,
        attempt INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX transitions_of_message ON transitions (message, seq);

    CREATE TABLE spending (
        rule TEXT NOT NULL,
        month TEXT NOT NULL,
        reserved INTEGER NOT NULL DEFAULT 0,
        spent INTEGER NOT NULL DEFAULT 0,
        released INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (rule, month)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO spending (rule, month, reserved, spent, released)
        SELECT rule, month,
            sum(CASE WHEN state = 'queued' THEN CAST(body AS TEXT) ->> '$.cost' ELSE 0 END),
            sum(cost),
            sum(CASE WHEN state IN ('rejected', 'expired') THEN CAST(body AS TEXT) ->> '$.cost' ELSE 0 END)
        FROM outbox GROUP BY rule, month;

    CREATE TABLE contacts (
        customer TEXT PRIMARY KEY,
        phone TEXT,
        phone_at INTEGER NOT NULL DEFAULT -1,
        consent INTEGER,
        consent_at INTEGER NOT NULL DEFAULT -1,
        consent_by TEXT NOT NULL DEFAULT '',
        registered INTEGER NOT NULL DEFAULT 0,
        unsubscribed INTEGER NOT NULL DEFAULT 0,
        unsubscribed_at INTEGER NOT NULL DEFAULT -1
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX contacts_of_phone ON contacts (phone) WHERE phone IS NOT NULL;

    CREATE TABLE opt_outs (
        seq INTEGER PRIMARY KEY,
        customer TEXT NOT NULL,
        rule TEXT,
        at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX opt_outs_of_rule ON opt_outs (rule, at) WHERE rule IS NOT NULL;

    CREATE TABLE suppressions (
        phone TEXT PRIMARY KEY,
        reason TEXT NOT NULL,
        author TEXT NOT NULL,
        at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE suppression_changes (
        seq INTEGER PRIMARY KEY,
        phone TEXT NOT NULL,
        change TEXT NOT NULL,
        reason TEXT NOT NULL,
        author TEXT NOT NULL,
        at INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE receipts (
        seq INTEGER PRIMARY KEY,
        gateway TEXT NOT NULL,
        provider_id TEXT,
        command TEXT,
        phone TEXT,
        fate TEXT NOT NULL,
        code TEXT NOT NULL,
        at INTEGER,
        received_at INTEGER NOT NULL,
        invalid INTEGER NOT NULL,
        blacklisted INTEGER NOT NULL,
        message INTEGER REFERENCES outbox (seq),
        note TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE INDEX receipts_open_by_id ON receipts (gateway, provider_id)
        WHERE message IS NULL AND provider_id IS NOT NULL;
    CREATE INDEX receipts_open_by_command ON receipts (command) WHERE message IS NULL AND command IS NOT NULL;
    CREATE INDEX receipts_of_message ON receipts (message) WHERE message IS NOT NULL;

    CREATE TABLE replies (
        seq INTEGER PRIMARY KEY,
        gateway TEXT NOT NULL,
        id TEXT,
        phone TEXT NOT NULL,
        text TEXT NOT NULL,
        meaning TEXT NOT NULL,
        alarm INTEGER NOT NULL,
        at INTEGER,
        received_at INTEGER NOT NULL,
        UNIQUE (gateway, id)
    ) STRICT;

    CREATE TABLE gateway_changes (
        seq INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        gateway TEXT NOT NULL,
        class TEXT NOT NULL,
        old TEXT NOT NULL,
        new TEXT NOT NULL,
        why TEXT NOT NULL
    ) STRICT;
    CREATE INDEX gateway_changes_of ON gateway_changes (gateway, class, seq);

    CREATE TABLE rule_pauses (
        rule TEXT PRIMARY KEY,
        reason TEXT NOT NULL,
        at INTEGER NOT NULL,
        resumed_at INTEGER
    ) STRICT, WITHOUT ROWID;
    """,
    """
    DROP INDEX outbox_open;
    CREATE INDEX outbox_open ON outbox (state, gateway, moved_at) WHERE state IN ('sending', 'unknown', 'accepted');
    """,
    """
    ALTER TABLE events ADD COLUMN part INTEGER;
    ALTER TABLE events ADD COLUMN offset INTEGER;

    CREATE TABLE identity (
        database TEXT NOT NULL
    ) STRICT;
    INSERT INTO identity (database) VALUES (lower(hex(randomblob(16))));

    CREATE TABLE readings (
        topic TEXT NOT NULL,
        part INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        clock INTEGER NOT NULL DEFAULT -1,
        PRIMARY KEY (topic, part)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE partitions (
        part INTEGER PRIMARY KEY,
        position INTEGER NOT NULL,
        clock INTEGER NOT NULL,
        revision TEXT NOT NULL,
        worker TEXT NOT NULL,
        heard_at INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE waiting (
        customer TEXT PRIMARY KEY,
        part INTEGER NOT NULL,
        offset INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX waiting_of_part ON waiting (part);

    CREATE TABLE message_events (
        seq INTEGER PRIMARY KEY,
        customer TEXT NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    """,
    """
    CREATE TABLE rule_files (
        name TEXT PRIMARY KEY,
        content BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE held_edits (
        rule TEXT PRIMARY KEY,
        file TEXT NOT NULL,
        digest TEXT NOT NULL,
        due INTEGER NOT NULL,
        at INTEGER NOT NULL,
        overdue TEXT
    ) STRICT, WITHOUT ROWID;
    """,
    """
    ALTER TABLE outbox ADD COLUMN recalled TEXT;
    """,
)
