from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec
import pytest

from triggers.core.decisions import Send
from triggers.errors import ServiceUnusable
from triggers.store.beside import beside, looking, transaction
from triggers.store.database import connect, open_database
from triggers.store.messages import leaving_to
from triggers.store.outbox import claim, queue
from triggers.store.schema import MIGRATIONS
from triggers.store.states import Command, Go
from triggers.store.suppressions import Suppression, allow, changes, suppress, suppression_of, suppressions
from triggers.store.writer import Writer

if TYPE_CHECKING:
    from pathlib import Path

    from triggers.store.database import Connection

ONE, TWO = "+8613800001234", "+8613800001235"
FIRST = Suppression(ONE, "complained", "mei", 10)
SEND = Send(
    id="1", rule="r", customer="c1", identity=None, anchor=1, due=2, at=3, withheld=False, shadow=False, variant=None,
    wave=None, coupon=None, text="hello", segments=1, cost=5_000, revision="x", klass="marketing", expires=9,
)  # fmt: skip


@pytest.fixture
def db(tmp_path: Path) -> Path:
    open_database(tmp_path / "t.db")
    return tmp_path / "t.db"


def test_a_number_is_listed_once_and_the_first_reason_stays(db: Path) -> None:
    with beside(db) as connection:
        assert suppress(connection, FIRST)
        assert not suppress(connection, FIRST._replace(reason="again", at=11))
        assert suppress(connection, Suppression(TWO, "reply", "gateway main", 9))
        assert suppression_of(connection, ONE) == "complained"
        assert list(suppressions(connection)) == [FIRST, Suppression(TWO, "reply", "gateway main", 9)]


def test_every_change_of_a_number_is_kept_in_order_and_what_changed_nothing_is_not(db: Path) -> None:
    off, again = Suppression(ONE, "asked", "li", 11), Suppression(ONE, "asked again", "mei", 5)
    with beside(db) as connection:
        assert not allow(connection, off)
        suppress(connection, FIRST)
        assert allow(connection, off)
        assert suppression_of(connection, ONE) is None
        suppress(connection, again)
        assert changes(connection, ONE) == [("added", FIRST), ("removed", off), ("added", again)]
        assert changes(connection, TWO) == []


def test_what_is_leaving_to_a_number_is_found_but_for_what_may_leave_anyway(db: Path) -> None:
    with beside(db) as connection:
        sends = [("m", "marketing", ONE), ("n", "notice", ONE), ("v", "verification", ONE), ("g", "greeting", ONE),
                 ("o", "marketing", TWO)]  # fmt: skip
        for name, klass, phone in sends:
            queue(connection, [Command(msgspec.structs.replace(SEND, id=name, klass=klass), phone)], 1)
        assert leaving_to(connection, ONE) == []
        for klass in ("marketing", "notice", "verification", "greeting"):
            claim(connection, klass, 9, 2, lambda queued: Go("main", queued.phone or "", 1, 9))
        assert leaving_to(connection, ONE) == [1, 4]


def test_a_transaction_that_fails_leaves_nothing_behind_and_holds_nothing(db: Path) -> None:
    def fail(connection: Connection) -> None:
        with transaction(connection):
            suppress(connection, FIRST)
            raise KeyError

    with beside(db) as connection:
        with pytest.raises(KeyError):
            fail(connection)
        assert suppression_of(connection, ONE) is None
        with transaction(connection):
            suppress(connection, FIRST)
    with looking(db) as connection:
        assert suppression_of(connection, ONE) == "complained"


def test_a_service_that_writes_all_the_time_and_a_command_beside_it_wait_for_each_other(db: Path) -> None:
    writer, over, written = Writer(db), threading.Event(), 0

    def write() -> None:
        nonlocal written
        while not over.is_set():
            phone = f"+86138{written:08}"
            writer.submit(lambda connection, at=phone: suppress(connection, FIRST._replace(phone=at))).result(10)
            written += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for number in range(30):
            with beside(db) as connection, transaction(connection):
                suppress(connection, FIRST._replace(phone=f"+86139{number:08}"))
                time.sleep(0.002)
    finally:
        over.set()
        thread.join()
        writer.close()
    with looking(db) as connection:
        assert len(list(suppressions(connection))) == written + 30


def test_nobody_else_writes_while_a_transaction_looks_before_it_writes(db: Path) -> None:
    with beside(db) as connection, transaction(connection):
        assert suppression_of(connection, ONE) is None
        with closing(sqlite3.connect(db, timeout=0)) as other, pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")


def test_nobody_writes_through_what_only_looks(db: Path) -> None:
    with pytest.raises(ServiceUnusable, match="readonly"), looking(db) as connection:
        suppress(connection, FIRST)


def test_a_database_that_is_not_there_or_not_of_this_version_is_not_touched(tmp_path: Path, db: Path) -> None:
    with pytest.raises(ServiceUnusable, match="there is no database"), beside(tmp_path / "no.db"):
        pass
    assert not (tmp_path / "no.db").exists()
    for version, words in ((len(MIGRATIONS) - 1, "older version"), (len(MIGRATIONS) + 1, "newer version")):
        with closing(connect(db)) as connection:
            connection.execute(f"PRAGMA user_version = {version}")
        with pytest.raises(ServiceUnusable, match=words), beside(db):
            pass
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE t (x)")
    with pytest.raises(ServiceUnusable, match="another program"), beside(tmp_path / "other.db"):
        pass
