"""What a fleet's dispatcher keeps: a copy of the log, how far the engine has come, and its own events on their way."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from triggers.core.decisions import Send
from triggers.core.intake import decode
from triggers.store.claims import engine_is_behind
from triggers.store.contacts import Contacts, contact_of
from triggers.store.database import connect, open_database
from triggers.store.event_log import Arrival, events_of
from triggers.store.fleet import (
    Reached,
    Reading,
    decided_up_to,
    engine_reached,
    identity,
    is_of_a_fleet,
    partitions,
    read_to,
    readings,
)
from triggers.store.log_copy import LogCopy, Logged
from triggers.store.message_events import MessageEvents, count_leaving, gone, leaving_events
from triggers.store.outbox import claim, queue
from triggers.store.overdue import waiting_since
from triggers.store.replies import Answered, complaints, keep_reply
from triggers.store.states import Command, Hold

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

AT = 1_788_321_600_000
HOUR = 3_600_000


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    open_database(tmp_path / "t.db")
    with closing(connect(tmp_path / "t.db")) as connection:
        yield connection


def logged(offset: int, kind: str = "store.visited", customer: str = "c1", *, part: int = 0, **changes: Any) -> Logged:
    body = {"id": f"e{part}-{offset}", "type": kind, "customer": customer, "at": AT} | changes
    raw = json.dumps(body).encode()
    event = decode(raw, far_future_ok=True)
    return Logged(part, offset, AT + offset, raw, event)  # type: ignore[arg-type]  # it is a good one


def contacts() -> Contacts:
    return Contacts(lambda text: text)


def reached(connection: sqlite3.Connection, position: int, part: int = 0, **waiting: int) -> None:
    engine_reached(connection, Reached(part, position, AT, "r1", "w1", AT + 1, waiting))


def test_the_engine_is_behind_a_customer_until_it_has_come_to_their_last_event(connection: sqlite3.Connection) -> None:
    assert not engine_is_behind(connection, "c1")
    copy = LogCopy(contacts().heed)
    copy.take(connection, [logged(0), logged(7), logged(3, customer="c2", part=1)])
    assert engine_is_behind(connection, "c1")
    reached(connection, 6)
    assert engine_is_behind(connection, "c1")
    reached(connection, 7)
    assert not engine_is_behind(connection, "c1")
    assert engine_is_behind(connection, "c2")  # of another partition nothing was heard
    reached(connection, 3, part=1)
    assert not engine_is_behind(connection, "c2")


def test_it_is_behind_those_who_wait_for_an_answer_about_a_record_before(connection: sqlite3.Connection) -> None:
    LogCopy(contacts().heed).take(connection, [logged(4), logged(5, customer="c2"), logged(9, customer="c3")])
    reached(connection, 20, c1=3, c2=5)
    assert [engine_is_behind(connection, name) for name in ("c1", "c2", "c3")] == [True, False, False]
    reached(connection, 20, part=1)  # another partition's word changes nothing
    assert engine_is_behind(connection, "c1")
    reached(connection, 21)
    assert not engine_is_behind(connection, "c1")


def test_the_engine_of_one_machine_is_asked_as_before(connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT INTO events (seq, source, id, type, customer, occurred_at, received_at, body)"
        " VALUES (5, '', 'e', 'store.visited', 'c1', 1, 1, x'')"
    )
    assert engine_is_behind(connection, "c1")
    for position, behind in ((b"4", True), (b"5", False)):
        connection.execute("INSERT OR REPLACE INTO progress (key, value) VALUES ('position', ?)", (position,))
        assert engine_is_behind(connection, "c1") is behind


def test_all_is_decided_up_to_the_first_event_that_is_not(connection: sqlite3.Connection) -> None:
    assert decided_up_to(connection, 0) == 0
    copy = LogCopy(contacts().heed)
    copy.take(connection, [logged(0), logged(0, part=1), logged(1), logged(1, part=1)])
    assert decided_up_to(connection, 0) == 0
    reached(connection, 9)
    assert decided_up_to(connection, 0) == 1
    reached(connection, 0, part=1)
    assert decided_up_to(connection, 1) == 3
    reached(connection, 1, part=1)
    assert decided_up_to(connection, 3) == 4
    assert [each[:5] for each in partitions(connection)] == [(0, 9, AT, "r1", "w1"), (1, 1, AT, "r1", "w1")]


def test_an_event_is_copied_once_and_keeps_the_time_it_came_in(connection: sqlite3.Connection) -> None:
    copy = LogCopy(contacts().heed)
    first = logged(0, "customer.updated", phone="+8613800001234")
    again = first._replace(offset=5)
    other = logged(6, "customer.updated", id="e0-0", phone="+8613800009999")
    assert [each.result for each in copy.take(connection, [first, again, other])] == [
        "accepted",
        "duplicate",
        "conflict",
    ]
    (kept,) = events_of(connection, "c1")
    assert kept.received_at == AT
    assert contact_of(connection, "c1").phone == "+8613800001234"


def test_an_opt_out_counts_also_under_an_id_that_another_event_has(connection: sqlite3.Connection) -> None:
    copy = LogCopy(contacts().heed)
    copy.take(connection, [logged(0), logged(1, "customer.unsubscribed", "c2", id="e0-0")])
    assert contact_of(connection, "c2").unsubscribed


def test_an_event_from_the_far_future_happened_when_it_came_in(connection: sqlite3.Connection) -> None:
    copy = LogCopy(contacts().heed)
    (entry,) = copy.take(connection, [logged(0, "customer.unsubscribed", at=AT + 24 * HOUR)])
    assert entry.note
    copy.take(connection, [logged(HOUR, "customer.subscribed", at=AT + HOUR)])
    assert not contact_of(connection, "c1").unsubscribed


def test_how_far_a_topic_is_read_is_kept_by_partition_and_its_time_never_goes_back(
    connection: sqlite3.Connection,
) -> None:
    assert is_of_a_fleet(connection) is None
    read_to(connection, [Reading("t", 0, 5, 100), Reading("t", 1, 2)])
    read_to(connection, [Reading("t", 0, 7, 90), Reading("u", 0, 1)])
    assert set(readings(connection).values()) == {
        Reading("t", 0, 7, 100),
        Reading("t", 1, 2, -1),
        Reading("u", 0, 1, -1),
    }
    assert is_of_a_fleet(connection) is True


def test_a_database_of_another_service_is_known(connection: sqlite3.Connection) -> None:
    LogCopy(contacts().heed).take(connection, [logged(0)])
    assert is_of_a_fleet(connection) is False


def test_each_database_has_a_name_of_its_own(tmp_path: Path, connection: sqlite3.Connection) -> None:
    open_database(tmp_path / "u.db")
    with closing(connect(tmp_path / "u.db")) as other:
        assert identity(other) != identity(connection)
        assert len(identity(other)) == 32
        open_database(tmp_path / "u.db")
        assert identity(other) == identity(other)


def test_own_events_are_heeded_at_once_and_kept_in_their_order_until_they_are_gone(
    connection: sqlite3.Connection,
) -> None:
    events = MessageEvents(contacts().heed, lambda: AT)
    bodies = [logged(number, "customer.unsubscribed", f"c{number}").body for number in range(3)]
    arrivals = [Arrival(body, decode(body), "test") for body in [*bodies, b"{"]]
    assert [each.result for each in events.enter(connection, arrivals)] == [*["accepted"] * 3, "rejected"]
    assert contact_of(connection, "c1").unsubscribed
    assert connection.execute("SELECT count(*) FROM events").fetchone() == (0,)
    first, second = leaving_events(connection, 2)
    assert (first.customer, first.body) == ("c0", bodies[0])
    gone(connection, [first, second])
    assert [each.customer for each in leaving_events(connection, 9)] == ["c2"]
    assert count_leaving(connection) == 1
    copy = LogCopy(contacts().heed)
    copy.take(connection, [logged(9, "customer.subscribed", "c1", at=AT + 1)])
    copy.take(connection, [logged(1, "customer.unsubscribed", "c1")])  # back from the log, and older by now
    assert not contact_of(connection, "c1").unsubscribed


def test_it_is_told_since_when_a_message_waits_that_may_leave(connection: sqlite3.Connection) -> None:
    assert waiting_since(connection, ["marketing", "notice"], AT) is None
    sends = [command(str(number), klass) for number, klass in enumerate(("marketing", "notice", "marketing"))]
    for number, each in enumerate(sends):
        queue(connection, [Command(each, "+8613800001234")], AT - 100 * number)
    assert waiting_since(connection, ["marketing"], AT) == AT  # the first one in the queue
    assert waiting_since(connection, ["marketing", "notice"], AT) == AT - 100
    claim(connection, "notice", 9, AT, lambda _: Hold(AT + 50, "window"))
    assert waiting_since(connection, ["notice"], AT) is None
    assert waiting_since(connection, ["notice"], AT + 60) == AT + 50


def command(name: str, klass: str) -> Send:
    return Send(
        id=name, rule="r", customer="c1", identity=None, anchor=1, due=2, at=AT, withheld=False, shadow=False,
        variant=None, wave=None, coupon=None, text="hello", segments=1, cost=10, revision="x", klass=klass,
        expires=AT + HOUR,
    )  # fmt: skip


def test_complaints_are_counted(connection: sqlite3.Connection) -> None:
    for number, alarm in enumerate((True, False, True)):
        keep_reply(connection, Answered("main", str(number), "+8613800001234", "12321", "none", alarm, AT), AT)
    assert complaints(connection) == 2
