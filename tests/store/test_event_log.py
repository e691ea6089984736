from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from triggers.core.intake import decode
from triggers.store.database import connect_reader, open_database
from triggers.store.event_log import Arrival, EventLog, Place, events_of, oldest_after, read_events, read_place
from triggers.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from triggers.store.database import Connection

NOON = 1_788_000_000_000


class SetClock:
    def __init__(self) -> None:
        self.at = NOON

    def now(self) -> int:
        return self.at


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    open_database(tmp_path / "t.db")
    return tmp_path / "t.db"


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    writer = Writer(path)
    yield writer
    writer.close()


@pytest.fixture
def log(writer: Writer, clock: SetClock) -> EventLog:
    return EventLog(writer, clock.now)


@pytest.fixture
def reader(path: Path) -> Iterator[Connection]:
    with closing(connect_reader(path)) as reader:
        yield reader


def paid(name: str, **fields: Any) -> Arrival:
    event = {"id": name, "type": "order.paid", "customer": "c1", "at": NOON, "order_id": "o1", "amount": 9} | fields
    return arrival(json.dumps(event).encode())


def arrival(body: bytes) -> Arrival:
    return Arrival(body, decode(body, far_future_ok=True), "test")


def results(log: EventLog, *arrivals: Arrival, **more: Any) -> list[str]:
    return [entry.result for entry in log.append(arrivals, **more).result(10)]


def letters(reader: Connection) -> list[tuple[str, bytes]]:
    return reader.execute("SELECT reason, body FROM dead_letters ORDER BY seq").fetchall()


def test_an_event_is_taken_once_also_within_one_batch(log: EventLog, reader: Connection) -> None:
    assert results(log, paid("a"), paid("b"), paid("a")) == ["accepted", "accepted", "duplicate"]
    assert results(log, paid("b"), paid("c")) == ["duplicate", "accepted"]
    assert [(each.seq, each.event.id) for each in read_events(reader, 0, 10)] == [(1, "a"), (2, "b"), (3, "c")]
    assert letters(reader) == []


def test_the_same_id_of_another_source_is_another_event(log: EventLog) -> None:
    assert results(log, paid("a"), paid("a", source="till")) == ["accepted", "accepted"]


def test_the_same_event_written_otherwise_is_a_duplicate(log: EventLog) -> None:
    envelope = {
        "specversion": "1.0", "id": "a", "source": "till", "type": "order.paid", "subject": "c1",
        "time": "2026-08-29T08:00:00Z", "data": {"amount": 9, "order_id": "o1"},
    }  # fmt: skip
    flat = paid("a", source="till", at=1_787_990_400_000, colour="red")
    assert results(log, flat, arrival(json.dumps(envelope).encode())) == ["accepted", "duplicate"]


def test_the_same_id_with_other_content_is_kept_as_a_dead_letter_and_the_first_counts(
    log: EventLog, reader: Connection
) -> None:
    other = paid("a", amount=10)
    (first,) = log.append([paid("a")]).result(10)
    (second,) = log.append([other]).result(10)
    assert (first.result, second.result, second.id) == ("accepted", "conflict", "a")
    assert "other content" in second.message
    assert letters(reader) == [("conflict", other.body)]
    assert [each.event.amount for each in read_events(reader, 0, 10)] == [9]  # type: ignore[attr-defined]


def test_what_is_no_event_is_kept_with_its_reason_and_stops_nothing_else(log: EventLog, reader: Connection) -> None:
    bad = arrival(b'{"id":"x"')
    assert results(log, paid("a"), bad, paid("b")) == ["accepted", "rejected", "accepted"]
    assert letters(reader) == [("not JSON", b'{"id":"x"')]


def test_stamps_never_go_back_when_the_clock_does_nor_over_a_restart(
    log: EventLog, reader: Connection, clock: SetClock, writer: Writer
) -> None:
    results(log, paid("a"))
    clock.at = NOON - 60_000
    results(log, paid("b"))
    restarted = EventLog(writer, clock.now)
    results(restarted, paid("c"))
    clock.at = NOON + 5
    results(restarted, paid("d"))
    assert [each.received_at for each in read_events(reader, 0, 10)] == [NOON, NOON, NOON, NOON + 5]


def test_after_a_horizon_nothing_is_stamped_before_it(log: EventLog, reader: Connection, clock: SetClock) -> None:
    results(log, paid("a"))
    clock.at = NOON + 1_000
    horizon = log.horizon().result(10)
    assert horizon == (NOON + 1_000, 1)
    clock.at = NOON + 10
    results(log, paid("b"))
    results(log, paid("c"), stamps=[NOON + 20])
    assert [each.received_at for each in read_events(reader, 1, 10)] == [NOON + 1_000, NOON + 1_000]


def test_a_horizon_never_goes_back_when_the_clock_does(log: EventLog, reader: Connection, clock: SetClock) -> None:
    assert log.horizon().result(10).at == NOON
    clock.at = NOON - 60_000
    assert log.horizon().result(10).at == NOON
    log.append([paid("a")]).result(10)
    assert [each.received_at for each in read_events(reader, 0, 10)] == [NOON]


def test_recorded_stamps_are_kept_as_they_are_in_order(log: EventLog, reader: Connection) -> None:
    results(log, paid("a"), paid("b"), paid("c"), stamps=[NOON - 500, NOON - 400, NOON - 450])
    assert [each.received_at for each in read_events(reader, 0, 10)] == [NOON - 500, NOON - 400, NOON - 400]


def test_an_event_from_the_future_is_told_and_happens_when_it_is_received(log: EventLog, reader: Connection) -> None:
    entries = log.append(
        [paid("a", at=NOON + 300_000), paid("b", at=NOON + 300_001), paid("c", at="2090-01-01T00:00:00Z")]
    )
    assert [bool(entry.note) for entry in entries.result(10)] == [False, True, True]
    assert [each.event.at for each in read_events(reader, 0, 10)] == [NOON + 300_000, NOON, NOON]
    (kept,) = reader.execute("SELECT occurred_at FROM events WHERE id = 'b'").fetchone()
    assert kept == NOON + 300_001


def test_the_place_in_an_input_is_kept_with_its_events(log: EventLog, reader: Connection) -> None:
    assert read_place(reader, "log.jsonl") == ("log.jsonl", 0, b"")
    results(log, paid("a"), read_to=Place("log.jsonl", 120, b"{"))
    results(log, paid("b"), read_to=Place("log.jsonl", 240, b"{"))
    assert read_place(reader, "log.jsonl") == ("log.jsonl", 240, b"{")


def test_a_failing_append_leaves_no_gap(log: EventLog, reader: Connection) -> None:
    broken = paid("b")._replace(body="text is no blob")  # type: ignore[arg-type]
    with pytest.raises(Exception, match="cannot store TEXT"):
        log.append([paid("a"), broken]).result(10)
    assert results(log, paid("c")) == ["accepted"]
    assert [(each.seq, each.event.id) for each in read_events(reader, 0, 10)] == [(1, "c")]


def test_a_pretty_printed_event_can_be_read_back(log: EventLog, reader: Connection) -> None:
    pretty = arrival(json.dumps(json.loads(paid("a").body), indent=2).encode())
    assert results(log, pretty, paid("b")) == ["accepted", "accepted"]
    assert [each.event.id for each in read_events(reader, 0, 10)] == ["a", "b"]


def test_the_last_events_of_one_customer_are_found_in_order(log: EventLog, reader: Connection) -> None:
    results(log, paid("a"), paid("b", customer="c2"), paid("c"), paid("d"))
    assert [each.event.id for each in events_of(reader, "c1")] == ["a", "c", "d"]
    assert [each.event.id for each in events_of(reader, "c1", limit=2)] == ["c", "d"]
    assert oldest_after(reader, 3) == NOON
    assert oldest_after(reader, 4) is None
