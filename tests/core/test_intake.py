"""What enters: good lines in every form, and every way in which a line can be bad."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from triggers.core.events import CustomerRegistered, Event, OrderCreated, OrderPaid, StoreVisited
from triggers.core.intake import (
    MAX_EVENT_BYTES,
    Malformed,
    bodies_of,
    decode,
    decode_chunk,
    decode_many,
    decode_whole,
    epoch_ms,
    stamp,
)

AT = 1_788_229_800_000  # 2026-09-01T10:30:00+08:00
PAID = {"id": "e1", "type": "order.paid", "customer": "c1", "at": AT, "order_id": "o1", "amount": 899}


def line(**changes: object) -> bytes:
    return json.dumps(PAID | changes).encode()


def without(*names: str) -> bytes:
    return json.dumps({key: value for key, value in PAID.items() if key not in names}).encode()


def event(data: bytes) -> Event:
    read = decode(data)
    assert isinstance(read, Event), read
    return read


def malformed(data: bytes) -> Malformed:
    """Decode a bad line both alone and in a chunk between good ones: neither may let it through."""
    read = decode(data)
    assert isinstance(read, Malformed), read
    assert decode_chunk(line() + b"\n" + data + b"\n" + line() + b"\n") is None
    assert decode_many([line(), data, line()]) == [event(line()), read, event(line())]
    return read


def test_a_flat_object_becomes_its_event_with_exact_money() -> None:
    read = event(b'{"id":"e1","type":"order.paid","customer":"c1","at":1788229800000,"order_id":"o1","amount":0.1}')
    assert read == OrderPaid(id="e1", customer="c1", at=AT, order_id="o1", amount=Decimal("0.1"))


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (AT, AT),
        ("2026-09-01T10:30:00+08:00", AT),
        ("2026-09-01T02:30:00Z", AT),
        ("2026-09-01t02:30:00z", AT),
        ("2026-09-01T02:30:00.123456789Z", AT + 123),
        ("2026-08-31T22:30:00.9999-04:00", AT + 999),
        ("2000-01-01T00:00:00Z", 946_684_800_000),
        ("2049-12-31T23:59:59.999Z", 2_524_607_999_999),
    ],
)
def test_a_time_is_rfc_3339_with_an_offset_or_epoch_milliseconds(at: object, expected: int) -> None:
    assert event(line(at=at)).at == expected
    assert [read.at for read in decode_chunk(line(at=at)) or []] == [expected]


@pytest.mark.parametrize(
    ("at", "reason", "says"),
    [
        ("2026-09-01T10:30:00", "time not understood", "has no offset"),
        ("yesterday", "time not understood", "'yesterday' is not an RFC 3339 time"),
        ("2026-02-30T10:30:00Z", "time not understood", "is not an RFC 3339 time"),
        ("", "time not understood", "is not an RFC 3339 time"),
        (0, "time out of range", "at is 1970-01-01T00:00:00.000Z; a time from 2000 to 2049 is expected"),
        ("1970-01-02T00:00:00Z", "time out of range", "at is 1970-01-02"),
        (AT // 1000, "time out of range", "looks like epoch seconds: epoch milliseconds are expected"),
        (AT * 1000, "time out of range", "looks like epoch microseconds: epoch milliseconds are expected"),
        (AT * 1_000_000, "time out of range", "looks like epoch nanoseconds: epoch milliseconds are expected"),
        (-(10**30), "time out of range", "a huge number"),
        (10**30, "time out of range", "a huge number"),
        ("2050-01-01T00:00:00Z", "time out of range", "at is 2050-01-01"),
        ("2090-01-01T00:00:00Z", "time out of range", "at is 2090-01-01"),
        ("1999-12-31T23:59:59.999Z", "time out of range", "at is 1999-12-31"),
        (True, "wrong field", "at: an RFC 3339 time or epoch milliseconds is expected, found true"),
        (AT + 0.5, "wrong field", "found the number 1788229800000.5"),
        (None, "missing field", "order.paid needs 'at'"),
    ],
)
def test_a_time_of_no_use_is_refused_with_what_is_expected(at: object, reason: str, says: str) -> None:
    read = malformed(line(at=at))
    assert (read.reason, says in read.message) == (reason, True), read


def test_an_event_from_2090_is_let_through_to_a_caller_with_a_clock_and_then_happened_when_received() -> None:
    read = decode(line(at="2090-01-01T00:00:00Z"), far_future_ok=True)
    assert isinstance(read, OrderPaid)
    assert stamp(read, AT) is True
    assert (read.at, read.received_at) == (AT, AT)
    assert isinstance(decode(line(at=AT * 1000), far_future_ok=True), Malformed)


def test_five_minutes_ahead_is_kept_and_one_millisecond_more_is_moved() -> None:
    near, far = event(line(at=AT + 300_000)), event(line(at=AT + 300_001))
    assert (stamp(near, AT), near.at, near.received_at) == (False, AT + 300_000, AT)
    assert (stamp(far, AT), far.at, far.received_at) == (True, AT, AT)


def test_a_recorded_receipt_is_read_and_lets_the_far_future_be_judged_by_it() -> None:
    read = event(line(at="2090-01-01T00:00:00Z", received_at="2026-09-01T02:30:00Z"))
    assert read.received_at == AT
    assert malformed(line(received_at=5)).message.startswith("received_at is 1970-01-01")
    assert malformed(line(received_at="soon")).message == "received_at: 'soon' is not an RFC 3339 time"


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_what_is_no_amount_is_refused_as_a_bare_word_and_as_a_text(amount: str) -> None:
    assert malformed(line(amount=amount)).reason == "bad amount"
    assert malformed(line().replace(b"899", amount.encode())).reason in ("not JSON", "bad amount")


def test_a_bare_nan_is_named() -> None:
    assert malformed(line(amount=float("nan"))).message == "NaN is not JSON; leave the field out"


@pytest.mark.parametrize(
    ("amount", "says"),
    [
        (b"1000000000000", "out of range"),
        (b"-1000000000000", "out of range"),
        (b"1e999999999", "out of range"),
        (b"1" * 5000, "out of range"),
        (b"1e99999999999999999999", "too large to be read"),
        (b"0.1234567", "more than 6 decimals"),
        (b"1e-999999", "more than 6 decimals"),
        (b"999999999999.9999999", "more than 6 decimals"),
    ],
)
def test_an_amount_has_at_most_twelve_digits_and_six_decimals(amount: bytes, says: str) -> None:
    read = malformed(line().replace(b"899", amount))
    assert (read.reason, says in read.message) == ("bad amount", True), read
    read = malformed(line(items=[{"price": 899}], amount=1).replace(b"899", amount))
    assert (read.reason, says in read.message) == ("bad amount", True), read
    read = malformed(
        json.dumps({**PAID, "type": "favorite.added", "product_id": "p", "price": 899}).encode().replace(b"899", amount)
    )
    assert read.reason == "bad amount"


@pytest.mark.parametrize(
    "amount", [b"999999999999.999999", b"-999999999999.999999", b"0.10000000000", b"-0.0", b"1.5e3"]
)
def test_the_largest_and_finest_amounts_pass(amount: bytes) -> None:
    data = line().replace(b"899", amount)
    assert decode_chunk(data) == [event(data)]
    assert event(data).amount == Decimal(amount.decode())  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["id", "customer", "order_id"])
@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "is empty"),
        ("x" * 201, "has 201 characters"),
        ("a\x00b", "control character (U+0000)"),
        ("a\nb", "control character (U+000A)"),
        ("a\x7fb", "control character (U+007F)"),
        ("a\x85b", "control character (U+0085)"),
    ],
)
def test_a_key_is_short_and_visible(name: str, value: str, says: str) -> None:
    for data in (line(**{name: value}), json.dumps(PAID | {name: value}, ensure_ascii=False).encode()):
        if b"\n" not in data:
            read = malformed(data)
            assert read.message.startswith(f"{name} ") or read.reason == "not JSON"
            assert says in read.message or read.reason == "not JSON"


def test_names_in_any_script_pass() -> None:
    data = json.dumps(PAID | {"customer": "王小美 🎁", "order_id": "é£" * 100}, ensure_ascii=False).encode()
    assert decode_chunk(data) == [event(data)]
    assert event(data).customer == "王小美 🎁"


@pytest.mark.parametrize(
    ("data", "reason", "message"),
    [
        (without("order_id"), "missing field", "order.paid needs 'order_id'"),
        (without("order_id", "amount"), "missing field", "order.paid needs 'order_id' and 'amount'"),
        (without("type"), "missing field", "an event needs 'type'"),
        (line(type="order.payed"), "unknown type", "unknown type 'order.payed'; did you mean 'order.paid'?"),
        (line(type=7), "unknown type", "unknown type 7"),
        (line(order_id=5), "wrong field", "order_id: a text is expected, found the number 5"),
        (line(amount="much"), "wrong field", "amount: a number is expected, found the text 'much'"),
        (
            line(items=[{"price": 1}, {"name": 3}]),
            "wrong field",
            "items[1].name: a text is expected, found the number 3",
        ),
        (line(items={}), "wrong field", "items: a list is expected, found an object"),
        (line(items=[{}] * 1001), "too many items", "1001 items; at most 1000 are expected"),
        (b"[" + line() + b"]", "not an object", "one JSON object a line is expected, found a list"),
        (b"17", "not an object", "one JSON object a line is expected, found the number 17"),
        (line()[:-1], "not JSON", "not JSON: Input data was truncated"),
        (line() + b" x", "not JSON", "not JSON: trailing characters (byte 108)"),
        (line(order_id="\ud800"), "not JSON", "a text holds half of a surrogate pair"),
        (line().replace(b"o1", b"o\xff"), "not UTF-8", "byte 0xff is not UTF-8"),
        (
            line(x=1).replace(b"1}", b"[" * 100_000 + b"]" * 100_000 + b"}"),
            "nested too deeply",
            "nested too deeply to be read",
        ),
        (b"[" * 10_000, "nested too deeply", "nested too deeply to be read"),
        (
            line(note="x" * MAX_EVENT_BYTES),
            "too large",
            f"{len(line(note='x' * MAX_EVENT_BYTES))} bytes; an event has at most 262144",
        ),
        (b'{"type":"order.paid",' + line()[1:], "wrong field", "x"),
    ],
)
def test_a_bad_line_is_named_by_reason_and_place(data: bytes, reason: str, message: str) -> None:
    if data.startswith(b'{"type":"order.paid",'):  # a repeated key that says the same is no harm
        assert event(data) == event(line())
        return
    assert malformed(data) == Malformed(reason, message)


def test_two_objects_on_a_line_are_refused() -> None:
    assert malformed(line() + line()).reason == "not JSON"


def test_many_lines_give_as_many_results_in_order() -> None:
    lines = [line(id=f"e{i}") for i in range(100)]
    assert [read.id for read in decode_many(lines) if isinstance(read, Event)] == [f"e{i}" for i in range(100)]
    lines[50] = b"{"
    assert [type(read) for read in decode_many(lines)] == [OrderPaid] * 50 + [Malformed] + [OrderPaid] * 49


def test_a_chunk_of_a_megabyte_with_one_line_too_long_is_not_taken_whole() -> None:
    long = line(note="x" * MAX_EVENT_BYTES)
    longest = line(note="x" * (MAX_EVENT_BYTES - len(line(note=""))))
    assert len(longest) == MAX_EVENT_BYTES
    for before in (0, 1, 700, 2_500, 5_000):
        chunk = (line() + b"\n") * before + longest + b"\n"
        assert len(decode_chunk(chunk) or []) == before + 1
        assert decode_chunk((line() + b"\n") * before + long + b"\n" + (line() + b"\n") * 3_000) is None


ENVELOPE = {
    "specversion": "1.0",
    "id": "e1",
    "source": "/shop",
    "type": "order.created",
    "subject": "c1",
    "time": "2026-09-01T10:30:00+08:00",
}


def test_a_cloudevents_envelope_means_the_same_as_the_flat_form() -> None:
    data = json.dumps(
        ENVELOPE | {"datacontenttype": "application/json", "data": {"order_id": "o1", "amount": 0.1, "id": "not this"}}
    ).encode()
    assert event(data) == OrderCreated(
        id="e1", source="/shop", customer="c1", at=AT, order_id="o1", amount=Decimal("0.1")
    )
    bare = json.dumps(ENVELOPE | {"type": "store.visited"}).encode()
    assert event(bare) == StoreVisited(id="e1", source="/shop", customer="c1", at=AT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subject": None}, "a CloudEvents envelope needs 'subject'"),
        ({"specversion": "0.3"}, "specversion: CloudEvents '1.0' is expected, found the text '0.3'"),
        ({"data": [1]}, "data: an object with the event's fields is expected, found a list"),
        ({"data": {"amount": 1}}, "order.created needs 'order_id'"),
        ({"data": {"order_id": 1, "amount": 1}}, "order_id: a text is expected, found the number 1"),
    ],
)
def test_a_bad_envelope_is_named_in_its_own_words(changes: dict[str, object], message: str) -> None:
    assert malformed(json.dumps(ENVELOPE | changes).encode()).message == message


def test_unknown_extra_fields_and_a_byte_order_mark_are_ignored() -> None:
    assert event(b"\xef\xbb\xbf" + line(utm={"a": [1, 2]})) == event(line())


def test_an_event_without_fields_of_its_own_needs_only_the_common_ones() -> None:
    read = event(b'{"id":"1","type":"customer.registered","customer":"c","at":"2026-09-01T10:30:00+08:00"}')
    assert read == CustomerRegistered(id="1", customer="c", at=AT)


def test_epoch_ms_keeps_whole_milliseconds_whole() -> None:
    for second in range(0, 60, 7):
        for ms in range(1000):
            assert epoch_ms(f"2026-09-01T10:30:{second:02d}.{ms:03d}+08:00") == AT + second * 1000 + ms


@pytest.mark.parametrize(
    ("changes", "just_so"),
    [({}, True), ({"source": "shop"}, True), ({"at": "2026-09-01T02:30:00Z"}, False), ({"received_at": AT}, False)],
)
def test_a_chunk_says_all_of_its_events_where_no_time_was_turned_into_another(
    *, changes: dict[str, object], just_so: bool
) -> None:
    data = line() + b"\n" + line(**changes) + b"\n" + line() + b"\n"
    assert decode_whole(data) == ([event(line()), event(line(**changes)), event(line())], just_so)


def test_the_bodies_of_a_chunk_are_its_lines_without_braces() -> None:
    lines = [line(id="1"), line(id="2", items=[{"sku": "a"}, {"sku": "}{"}]), line(id="3")]
    assert bodies_of(b"\n".join(lines) + b"\n", 3) == [text[1:-1] for text in lines]


@pytest.mark.parametrize(
    "data",
    [
        line() + b"\n" + line(),
        line() + b"\r\n" + line() + b"\r\n",
        b" " + line() + b"\n" + line() + b"\n",
        line()[:-1] + b',"more":{}\n}' + line() + b"\n",
        line()[:-1] + b',"more":[{}\n,{}]}' + line() + b"\n",
    ],
)
def test_a_chunk_of_two_events_has_no_bodies_unless_each_fills_a_line(data: bytes) -> None:
    assert bodies_of(data, 2) is None


@pytest.mark.parametrize(
    "lines",
    [
        [line(id="1") + line(id="2"), b""],
        [line(id="1") + b"\n" + line(id="2"), b""],
        [line(id="1") + line(id="2"), line(id="3")[:20], line(id="3")[20:]],
    ],
)
def test_two_events_on_a_line_are_not_taken_for_one_on_each_of_two(lines: list[bytes]) -> None:
    assert all(isinstance(read, Malformed) for read in decode_many(lines))
