"""A database that an earlier version made, with messages on their way, is brought up to date without losing anything."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from triggers.core.decisions import Send
from triggers.core.intake import decode
from triggers.store.contacts import Contact, Contacts, contact_of
from triggers.store.database import connect, open_database
from triggers.store.event_log import Arrival, EventLog, read_events
from triggers.store.messages import send_of
from triggers.store.outbox import being_sent, claim, counts, queue, settle
from triggers.store.schema import APPLICATION_ID, MIGRATIONS
from triggers.store.states import Command, Go, Settled
from triggers.store.writer import Writer

if TYPE_CHECKING:
    from pathlib import Path

    from triggers.store.database import Connection

BEFORE = 2
AT = 1_788_000_000_000  # 2026-08-29
SEND = Send(
    id="", rule="r", customer="c1", identity=None, anchor=1, due=2, at=AT, withheld=False, shadow=False, variant=None,
    wave=None, coupon=None, text="hello", segments=2, cost=10_000, revision="x", klass="marketing", expires=9,
)  # fmt: skip
STATES = ("queued", "sending", "accepted", "rejected", "unknown", "expired")
PHONE = "+8613800001234"
EVENTS = [
    {"type": "customer.updated", "phone": "138-0000-1234", "consent": True},
    {"type": "order.paid", "order_id": "o1", "amount": 9},
    {"type": "customer.unsubscribed"},
    {"type": "customer.registered", "customer": "c2"},
]


def body_of(send: Send) -> bytes:
    """Write a command down as the earlier version did: it knew no parameters."""
    fields = msgspec.to_builtins(send)
    del fields["params"]
    return msgspec.json.encode(fields)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Make a database as it was: messages in every state, and a log."""
    path = tmp_path / "old.db"
    with closing(connect(path)) as connection:
        for statements in MIGRATIONS[:BEFORE]:
            connection.executescript(statements)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {BEFORE}")
        for number, state in enumerate(STATES):
            send = msgspec.structs.replace(SEND, id=state, rule="q" if state == "unknown" else "r")
            connection.execute(
                "INSERT INTO outbox (command, customer, rule, class, state, phone, at, body, queued_at, moved_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (state, "c1", send.rule, send.klass, state, PHONE, AT, body_of(send), AT + number, AT + 10 + number),
            )
        for number, fields in enumerate(EVENTS):
            event = {"id": f"e{number}", "customer": "c1", "at": AT + number} | fields
            connection.execute(
                "INSERT INTO events (source, id, type, customer, occurred_at, received_at, body)"
                " VALUES ('', ?, ?, ?, ?, ?, ?)",
                (event["id"], event["type"], event["customer"], AT, AT + 9, msgspec.json.encode(event)),
            )
    return path


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(connect(path)) as connection:
        return connection.execute(sql).fetchall()


def test_every_message_and_every_event_is_kept_as_it_was(old: Path) -> None:
    kept = "SELECT seq, command, customer, rule, class, state, phone, at, body, queued_at, moved_at FROM outbox"
    log = "SELECT seq, source, id, type, customer, occurred_at, received_at, body FROM events"
    before, events = rows(old, kept), rows(old, log)
    open_database(old)
    assert rows(old, kept) == before
    assert rows(old, log) == events
    assert rows(old, "SELECT DISTINCT part, offset FROM events") == [(None, None)]
    assert rows(old, "PRAGMA user_version") == [(len(MIGRATIONS),)]
    assert rows(old, "PRAGMA foreign_key_check") == []
    assert rows(old, "PRAGMA integrity_check") == [("ok",)]
    open_database(old)
    assert rows(old, kept) == before


def test_money_goes_on_as_if_it_had_always_been_counted(old: Path) -> None:
    open_database(old)
    spent = dict(rows(old, "SELECT command, cost FROM outbox"))
    assert spent == {"queued": 0, "sending": 10_000, "accepted": 10_000, "rejected": 0, "unknown": 10_000, "expired": 0}
    assert rows(old, "SELECT * FROM spending ORDER BY rule") == [
        ("q", "2026-08", 0, 10_000, 0),
        ("r", "2026-08", 10_000, 20_000, 20_000),
    ]
    assert rows(old, "SELECT DISTINCT parts, month FROM outbox") == [(2, "2026-08")]
    with closing(connect(old)) as connection:
        claim(connection, "marketing", 9, AT, lambda _: Go("main", PHONE, 8_000, 99))
        (row,) = connection.execute("SELECT reserved, spent, released FROM spending WHERE rule = 'r'").fetchall()
        assert row == (0, 28_000, 20_000)


def test_what_left_counts_as_having_left_and_what_did_not_does_not(old: Path) -> None:
    open_database(old)
    left = dict(rows(old, "SELECT command, left_at FROM outbox"))
    assert left == dict.fromkeys(STATES) | {"sending": AT, "accepted": AT, "unknown": AT}


def test_the_outbox_goes_on_working(old: Path) -> None:
    open_database(old)
    with closing(connect(old)) as connection:
        assert send_of(connection, "queued") == msgspec.structs.replace(SEND, id="queued")
        assert queue(connection, [Command(msgspec.structs.replace(SEND, id="accepted"), PHONE)], AT) == 0
        (lost,) = being_sent(connection)
        settle(connection, lost, Settled("unknown", "killed", ambiguous=True), AT)
        (leaving,) = claim(connection, "marketing", 9, AT, lambda _: Go("main", PHONE, 1, 99)).leaving
        settle(connection, leaving, Settled("accepted", "", "p1"), AT)
        assert counts(connection) == {"accepted": 2, "rejected": 1, "unknown": 2, "expired": 1}


def test_contacts_are_taken_from_the_log_once_and_kept_with_it_from_then_on(old: Path) -> None:
    open_database(old)
    contacts = Contacts(lambda text: "+86" + text.replace("-", ""))
    writer = Writer(old)
    try:
        assert writer.submit(contacts.catch_up).result(10) == 3
        assert writer.submit(contacts.catch_up).result(10) == 0
        known: dict[str, Contact] = writer.submit(
            lambda connection: {name: contact_of(connection, name) for name in ("c1", "c2")}
        ).result(10)
        assert known == {
            "c1": Contact(PHONE, consent=True, unsubscribed=True),
            "c2": Contact(registered=True),
        }
        log = EventLog(writer, lambda: AT + 100, heed=contacts.heed)
        told = msgspec.json.encode({"id": "new", "type": "customer.subscribed", "customer": "c1", "at": AT + 90})
        log.append([Arrival(told, decode(told), "test")]).result(10)
        assert not writer.submit(lambda connection: contact_of(connection, "c1")).result(10).unsubscribed
        assert writer.submit(lambda connection: len(read_events(connection, 0, 99))).result(10) == len(EVENTS) + 1
    finally:
        writer.close()


def test_a_new_database_has_nothing_to_catch_up_with(tmp_path: Path) -> None:
    open_database(tmp_path / "new.db")
    with closing(connect(tmp_path / "new.db")) as connection:
        assert Contacts(lambda text: text).catch_up(connection) == 0
        assert done(connection)


def done(connection: Connection) -> bool:
    return connection.execute("SELECT 1 FROM progress WHERE key = 'contacts'").fetchone() is not None


def test_a_database_with_an_empty_outbox_has_no_spending(tmp_path: Path) -> None:
    open_database(tmp_path / "new.db")
    assert rows(tmp_path / "new.db", "SELECT * FROM spending") == []
