"""Intake of a fleet: what becomes an event of the one log, and what a dead letter, with which reason."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest
from kafka_broker import Write, read_all, write

from triggers.core.events import Event
from triggers.core.intake import MAX_EVENT_BYTES, decode
from triggers.drivers.kafka import letters as letters_module
from triggers.drivers.kafka.intake import Forward, Intake, Skip, check, events_in, read, read_many
from triggers.drivers.kafka.keys import partition_of
from triggers.drivers.kafka.letters import Letter, bury, read_letter
from triggers.drivers.kafka.settings import KafkaSettings
from triggers.drivers.kafka.topics import ensure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

AT = 1_788_229_800_000
TWO_MB = 2 * 1024 * 1024


class Came(NamedTuple):
    """A record as a consumer gives it."""

    value: bytes | None
    key: bytes | None = b"k"
    headers: tuple[tuple[str, bytes], ...] = ()
    topic: str = "orders"
    partition: int = 0
    offset: int = 7
    timestamp: int = AT


def event(number: int = 1, customer: str = "c1", **more: object) -> bytes:
    fields = {"id": f"e{number}", "type": "store.visited", "customer": customer, "at": AT} | more
    return json.dumps(fields).encode()


def cloud_event(**changes: object) -> bytes:
    fields = {
        "specversion": "1.0",
        "id": "e1",
        "source": "shop",
        "type": "order.paid",
        "subject": "c1",
        "time": "2026-09-01T10:30:00+08:00",
        "data": {"order_id": "o1", "amount": 12.50},
    }
    return json.dumps({key: value for key, value in (fields | changes).items() if value is not None}).encode()


IN_HEADERS = (
    ("ce_specversion", b"1.0"),
    ("ce_id", b"e1"),
    ("ce_source", b"shop"),
    ("ce_type", b"order.paid"),
    ("ce_subject", b"c1"),
    ("ce_time", b"2026-09-01T10:30:00+08:00"),
    ("content-type", b"application/json"),
)
PAID = decode(
    b'{"id":"e1","type":"order.paid","source":"shop","customer":"c1","at":1788229800000,"order_id":"o1","amount":12.5}'
)


def forwarded(came: Came) -> Forward:
    found = read(came)
    assert isinstance(found, Forward), found
    assert read_many([came]) == [found], "a chunk of it says the same"
    return found


def refused(came: Came) -> Letter:
    found = read(came)
    assert isinstance(found, Letter), found
    good = Came(event(9, "c9"))
    assert read_many([good, came, good]) == [read(good), found, read(good)], "it takes nothing else with it"
    return found


def test_flat_json_goes_into_the_log_byte_for_byte_under_its_customers_key() -> None:
    value = b'{"id":"e1", "type":"store.visited","customer":"c\xc3\xa9","at":"2026-09-01T10:30:00+08:00","more":[1]}'
    assert forwarded(Came(value, key=b"whatever")) == Forward("cé".encode(), value, AT)


@pytest.mark.parametrize(
    "came",
    [
        Came(cloud_event()),
        Came(cloud_event(data={"order_id": "o1", "amount": 12.50, "id": "another", "customer": "another"})),
        Came(json.dumps(json.loads(cloud_event()), indent=2).encode()),
        Came(b'{"order_id":"o1","amount":12.50}', None, IN_HEADERS),
        Came(b'{"order_id":"o1","amount":12.50,"id":"another"}', None, IN_HEADERS),
    ],
)
def test_a_cloud_event_becomes_flat_json_whether_it_is_in_the_value_or_in_headers(came: Came) -> None:
    key, value, _ = forwarded(came)
    assert (key, decode(value)) == (b"c1", PAID)
    assert events_in([value]) == [PAID], "the engine reads it fast"


def test_a_cloud_event_without_data_is_one_of_a_type_that_needs_none() -> None:
    visited = tuple((name, b"store.visited" if name == "ce_type" else held) for name, held in IN_HEADERS)
    for came in (Came(None, None, visited), Came(cloud_event(type="store.visited", data=None))):
        found = decode(forwarded(came).value)
        assert isinstance(found, Event)
        assert (found.id, found.customer) == ("e1", "c1")


@pytest.mark.parametrize(
    ("came", "reason", "words"),
    [
        (Came(b"\x00poison"), "not JSON", ""),
        (Came(b"[1]"), "not an object", ""),
        (Came(event(type="order.eaten")), "unknown type", "order.eaten"),
        (Came(event(1)[:-1] + b',"page":"' + b"x" * TWO_MB + b'"}'), "too large", str(MAX_EVENT_BYTES)),
        (Came(cloud_event(subject=None)), "missing field", "a CloudEvents envelope needs 'subject'"),
        (Came(cloud_event(data={"amount": 1})), "missing field", "order_id"),
        (Came(cloud_event(specversion="0.3")), "wrong field", "specversion"),
        (Came(b'{"order_id":"o1","amount":1},"subject":"c2"', None, IN_HEADERS), "not JSON", ""),
        (Came(event() + event(2)), "not JSON", ""),
        (Came(event() + b"\n" + event(2)), "not JSON", ""),
        (Came(b""), "not JSON", ""),
    ],
)
def test_what_is_no_event_is_refused_with_its_reason(came: Came, reason: str, words: str) -> None:
    letter = refused(came)
    assert letter.reason == reason
    assert words in letter.message


def test_a_tombstone_of_a_source_is_skipped() -> None:
    assert read(Came(None)) == Skip("tombstone")
    assert read_many([Came(event()), Came(None)]) == [read(Came(event())), Skip("tombstone")]


def test_two_events_in_one_value_are_not_taken_for_those_of_two_records() -> None:
    third = event(3)
    for chunk in (
        [event(1) + event(2), third[:20], third[20:]],
        [event(1) + b"\n" + event(2), b"", third[:20]],
    ):
        assert [type(each) for each in read_many([Came(value) for value in chunk])] == [Letter] * 3


def test_a_bad_record_in_a_large_chunk_is_found_at_its_place() -> None:
    chunk = [Came(event(i, f"c{i}"), offset=i) for i in range(1_000)]
    chunk[617] = Came(b"{")
    found = read_many(chunk)
    assert [i for i, each in enumerate(found) if not isinstance(each, Forward)] == [617]
    assert [each.key for each in found if isinstance(each, Forward)] == [
        f"c{i}".encode() for i in range(1_000) if i != 617
    ]


@pytest.mark.parametrize(
    ("came", "reason"),
    [
        (Came(event(), b"c1"), None),
        (Came(cloud_event(), b"c1"), None),
        (Came(b"tick", None), None),
        (Came(b"tick", b"c1"), "not JSON"),
        (Came(event(), b"c2"), "wrong key"),
        (Came(event(), None), "wrong key"),
        (Came(None, b"c1"), "tombstone"),
        (Came(None, None), "tombstone"),
        (Came(b"\xff", b"c1"), "not UTF-8"),
        (Came(event(type="order.eaten"), b"c1"), "unknown type"),
        (Came(event(1)[:-1] + b',"page":"' + b"x" * TWO_MB + b'"}', b"c1"), "too large"),
    ],
)
def test_a_record_of_the_log_is_decided_on_or_refused_with_a_reason(came: Came, reason: str | None) -> None:
    letter = check(came)
    assert (letter and letter.reason) == reason


def test_the_partition_of_a_key_is_every_clients() -> None:
    # as Kafka's own client places them
    assert [partition_of(key, 8) for key in (b"21", b"foobar", b"a-little-bit-long-string")] == [
        ((value & 0xFFFFFFFF) & 0x7FFFFFFF) % 8 for value in (-973932308, -790332482, -985981536)
    ]


def test_a_dead_letter_keeps_the_record_and_says_why() -> None:
    came = Came(b"\x00poison", b"key", (("trace", b"1"),), "orders", 3, 14, AT)
    row = bury(came, Letter("not JSON", "no"), AT + 5)
    kept = read_letter(Came(row.value, row.key, tuple(row.headers), "letters", 1, 2, AT + 9))
    assert kept is not None
    assert (kept.origin, kept.reason, kept.message) == ("orders/3/14", "not JSON", "no")
    assert (kept.at, kept.time, kept.size, kept.cut) == (AT + 5, AT, 7, False)
    assert (kept.key, kept.value, kept.headers) == (b"key", b"\x00poison", (("trace", b"1"),))


@pytest.mark.parametrize(
    "came",
    [
        Came(b"x" * (letters_module.KEPT_BYTES + 1)),
        Came(b"x", b"k" * (letters_module.KEPT_KEY_BYTES + 1)),
        Came(b"x", b"k", (("h", b"h" * letters_module.KEPT_HEADERS_BYTES),)),
    ],
)
def test_what_is_too_large_to_be_kept_is_cut_and_said_to_be(came: Came) -> None:
    row = bury(came, Letter("too large", "much"), AT)
    assert len(row.value or b"") <= letters_module.KEPT_BYTES
    assert len(row.key or b"") <= letters_module.KEPT_KEY_BYTES
    kept = read_letter(Came(row.value, row.key, tuple(row.headers)))
    assert kept is not None
    assert (kept.cut, kept.size) == (True, len(came.value or b""))
    whole = bury(Came(b"x" * letters_module.KEPT_BYTES), Letter("too large", "much"), AT)
    assert "cut" not in dict(whole.headers)


# On a broker


@asynccontextmanager
async def intake_of(fleet: KafkaSettings) -> AsyncIterator[Intake]:
    await ensure(fleet)
    intake = Intake(fleet)
    await intake.start()
    try:
        yield intake
    finally:
        await intake.stop()


def fleet_of(kafka: str, prefix: str, **more: object) -> KafkaSettings:
    given = {"bootstrap": kafka, "prefix": prefix, "sources": (f"{prefix}orders",), "partitions": 3}
    return KafkaSettings(**{**given, **more})  # type: ignore[arg-type]


async def test_a_chunk_is_in_the_log_and_its_bad_records_are_letters_when_it_is_taken(kafka: str, prefix: str) -> None:
    fleet = fleet_of(kafka, prefix)
    bad: list[tuple[bytes | None, str]] = [
        (b"\x00poison", "not JSON"),
        (event(type="order.eaten"), "unknown type"),
        (event(1)[:-1] + b',"page":"' + b"x" * TWO_MB + b'"}', "too large"),
        (None, "tombstone"),
    ]
    async with intake_of(fleet) as intake:
        values = [event(i, f"c{i % 50}") for i in range(2_000)]
        for place, (value, _) in zip((3, 700, 701, 1_900), bad, strict=True):
            values.insert(place, value)  # type: ignore[arg-type]  # a tombstone
        await write(kafka, f"{prefix}orders", [Write(value, b"of the shop", partition=0) for value in values])
        records = await read_all(kafka, f"{prefix}orders")
        taken = await intake.take(f"{prefix}orders", records)
        logged = await read_all(kafka, f"{prefix}events")
        buried = await read_all(kafka, f"{prefix}dead-letters")
    assert taken.forwarded == 2_000
    assert taken.letters == Counter(reason for value, reason in bad if value is not None)
    assert taken.skipped == Counter(["tombstone"])
    assert {record.offset: (record.value, dict(record.headers)["reason"].decode()) for record in buried} == {
        i: (value, reason) for i, (value, reason) in enumerate(bad[:3])
    }
    assert [dict(record.headers)["origin"].decode() for record in buried] == [
        f"{prefix}orders/0/{place}" for place in (3, 700, 701)
    ]
    assert {record.partition for record in logged} == {0, 1, 2}
    for record in logged:
        assert check(record) is None
        assert record.partition == partition_of(record.key, 3)
    for customer in range(50):
        mine = [json.loads(r.value)["id"] for r in logged if r.key == f"c{customer}".encode()]
        assert mine == [f"e{i}" for i in range(2_000) if i % 50 == customer], "in their order"


async def test_in_virtual_time_an_event_keeps_its_records_time(kafka: str, prefix: str) -> None:
    async with intake_of(fleet_of(kafka, prefix, virtual=True)) as intake:
        await intake.take("orders", [Came(event(1), timestamp=AT + 5), Came(event(2), timestamp=AT + 9)])
    assert [record.timestamp for record in await read_all(kafka, f"{prefix}events")] == [AT + 5, AT + 9]


async def test_what_is_taken_in_the_end_stands_behind_what_was_taken_before(kafka: str, prefix: str) -> None:
    large = [Came(event(i, "c1", page="x" * 200_000)) for i in range(12)]  # more than one batch
    async with intake_of(fleet_of(kafka, prefix)) as intake:
        for _ in range(2):
            await intake.take("orders", large)
    logged = await read_all(kafka, f"{prefix}events")
    assert [json.loads(record.value)["id"] for record in logged] == [f"e{i}" for i in range(12)] * 2


async def test_our_partition_of_a_key_is_the_clients_own(kafka: str, prefix: str) -> None:
    await ensure(fleet_of(kafka, prefix))
    keys = [f"customer-{i}".encode() for i in range(40)]
    places = await write(kafka, f"{prefix}events", [Write(event(1), key) for key in keys])
    assert [partition for partition, _ in places] == [partition_of(key, 3) for key in keys]
