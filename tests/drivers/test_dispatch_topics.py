"""What the records that a fleet's dispatcher reads do, one batch at a time."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from played_workers import PHONE, send

from triggers.drivers.kafka.dispatch_topics import CommandTaker, DecisionTaker, LogTaker
from triggers.drivers.kafka.records import TICK, Cancel, Come, Sending, decode_reported, encode_command, encode_reported
from triggers.store.contacts import Contacts
from triggers.store.database import Connection, connect, open_database
from triggers.store.decisions import DecisionRow
from triggers.store.log_copy import LogCopy
from triggers.store.progress import load_progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from triggers.core.decisions import Send

AT = 1_788_321_600_000


class Record(NamedTuple):
    value: bytes | None
    key: bytes | None = None
    offset: int = 0
    timestamp: int = AT
    topic: str = "t"
    partition: int = 0


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    open_database(tmp_path / "t.db")
    with closing(connect(tmp_path / "t.db")) as connection:
        yield connection


def event(offset: int, timestamp: int, kind: str = "store.visited", customer: str = "c1", key: str = "") -> Record:
    body = {"id": f"e{offset}", "type": kind, "customer": customer, "at": AT}
    return Record(json.dumps(body).encode(), (key or customer).encode(), offset, timestamp)


def tick(offset: int, timestamp: int) -> Record:
    return Record(TICK, None, offset, timestamp)


def log_taker(**clocks: int) -> LogTaker:
    known = {int(part[1:]): at for part, at in clocks.items()}
    return LogTaker(LogCopy(Contacts(lambda text: text).heed), known, lambda _: None)


def take(taker: Any, connection: Connection, *records: Record, part: int = 0) -> Any:
    return taker.work({part: list(records)})(connection)


def test_a_partitions_time_never_goes_back_and_ticks_move_it(connection: Connection) -> None:
    taker = log_taker(p0=AT + 5)
    copied = take(taker, connection, event(0, AT), tick(1, AT + 9), event(2, AT + 7), tick(3, AT + 20))
    assert [each.id for each in copied.entries] == ["e0", "e2"]
    received = connection.execute("SELECT received_at, part, offset FROM events ORDER BY seq").fetchall()
    assert received == [(AT + 5, 0, 0), (AT + 9, 0, 2)]
    assert (taker.clock(0), taker.clock(1), taker.now()) == (AT + 20, -1, AT + 20)
    take(taker, connection, event(9, AT + 30, customer="c2"), part=1)
    assert (taker.clock(0), taker.clock(1), taker.now()) == (AT + 20, AT + 30, AT + 30)


def test_of_the_opt_outs_of_a_batch_the_first_place_in_each_partition_is_told(connection: Connection) -> None:
    out = "customer.unsubscribed"
    records = {
        0: [event(3, AT), event(4, AT, out, "c4"), event(6, AT, out, "c6"), event(7, AT, out, "c7", key="other")],
        1: [event(9, AT)],
    }
    copied = log_taker().work(records)(connection)  # type: ignore[arg-type]  # as aiokafka reads them
    assert copied.opted_out == {"c4", "c6"}
    assert copied.opt_outs == {0: 4}


def command(given: Send | Cancel) -> Record:
    return Record(encode_command(Sending(given, PHONE) if not isinstance(given, Cancel) else given))


def test_commands_take_effect_in_their_order(connection: Connection) -> None:
    taker = CommandTaker(lambda _: "2026-09", lambda _: None)
    first, second = send(1), send(2)
    cancels = [Cancel("c1", each.rule, each.identity, each.anchor, "order.paid") for each in (first, second)]
    ordered = take(taker, connection, command(first), *map(command, cancels), command(second), command(first))
    assert ordered == (2, 1)
    assert connection.execute("SELECT command, state, month FROM outbox ORDER BY seq").fetchall() == [
        ("c1-1", "cancelled", "2026-09"),
        ("c1-2", "queued", "2026-09"),
    ]


def test_what_must_never_leave_is_not_even_queued(connection: Connection) -> None:
    taker = CommandTaker(lambda _: "", lambda _: None)
    ordered = take(taker, connection, command(send(1, withheld=True)), command(send(2, shadow=True)))
    assert ordered == (0, 0)
    assert connection.execute("SELECT count(*) FROM outbox").fetchone() == (0,)


def test_a_decision_is_written_as_it_always_was() -> None:
    written = b'["decided","ended","c1","r","o1",null,1,2,3,null,"cancelled","order.paid e1","x"]'
    row = DecisionRow("ended", "c1", "r", "o1", None, 1, 2, 3, None, "cancelled", "order.paid e1", "x")
    assert decode_reported(written) == row
    assert encode_reported(row) == written


async def nothing(_parts: Any) -> None:
    pass


def test_the_last_word_on_a_partition_counts_and_rules_are_named_where_all_have_the_same(
    connection: Connection,
) -> None:
    log = log_taker()
    take(log, connection, event(0, AT), event(1, AT, customer="c2"))
    take(log, connection, event(5, AT, customer="c3"), part=1)
    taker = DecisionTaker(nothing, 0)
    decided = DecisionRow("armed", "c1", "r", None, None, 1, 2, 3, None, "", "", "x")
    told = [Come(0, 0, AT + 1, "x", "w"), decided, Come(0, 1, AT + 3, "x", "w", {"c2": 0})]
    taker.done(take(taker, connection, *(Record(encode_reported(each)) for each in told)))
    assert connection.execute("SELECT part, position, clock FROM partitions").fetchall() == [(0, 1, AT + 3)]
    assert connection.execute("SELECT customer, offset FROM waiting").fetchall() == [("c2", 0)]
    assert connection.execute("SELECT count(*) FROM decisions").fetchone() == (1,)
    assert load_progress(connection)[:2] == (2, AT + 3)
    taker.done(take(taker, connection, Record(encode_reported(Come(1, 5, AT + 2, "y", "w")))))
    progress = load_progress(connection)
    assert (progress.position, progress.clock, progress.revision) == (3, AT + 2, "")
    take(taker, connection, Record(encode_reported(Come(0, 2, AT + 4, "y", "w"))))
    assert load_progress(connection).revision == "y"
    assert connection.execute("SELECT count(*) FROM waiting").fetchone() == (0,)
