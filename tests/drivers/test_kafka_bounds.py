"""No customer's record outgrows Kafka, whatever is told of one id, and as little as possible is lost by that."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from fleets import Fleet, lines
from scenes import HOUR, MINUTE, START, book, rule, shop

from triggers.core.events import EVENT_TYPES
from triggers.core.flaws import MAX_EVENT_BYTES, MAX_KEY
from triggers.core.room import MOST_OF_A_RULE
from triggers.core.times import DAY
from triggers.drivers.kafka import bounds
from triggers.drivers.kafka.records import TICK, Come, State, decode_reported, decode_state, encode_state

FREE = {"text": "x", "window": ["00:00-24:00"]}
SMALL = 60_000
LARGE = MAX_EVENT_BYTES - 2_000


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_STATE", SMALL)


def told(number: int, kind: str, at: int = 0, **fields: Any) -> bytes:
    return msgspec.json.encode(
        {"id": f"e{number:05}", "type": kind, "customer": "a", "at": START + at + number} | fields
    )


def ordered(number: int, at: int = 0, **fields: Any) -> bytes:
    return told(number, "order.created", at, order_id=f"o{number}", **{"amount": 1, **fields})


def each(kind: str, name: str = "r", **keys: Any) -> Any:
    return rule(name, **{"when": {"event": kind, "again": "each"}, "wait": "1d", "send": FREE, **keys})


def fleet_of(*rules: Any, bodies: list[bytes], apart: int = 0, keep_all: bool = True) -> Fleet:
    """Let a partition take the events of one customer, and nobody answer their questions."""
    fleet = Fleet(book(*rules, keep_all=keep_all), 1, seed=1)
    for number, body in enumerate(bodies):
        fleet.put(body, "a", START + number * apart)
    let_pass(fleet, MINUTE)
    return fleet


def let_pass(fleet: Fleet, at: int) -> dict[str, int]:
    """Let the partition go on to an instant; tells for whom it says that not all is decided, and up to where it is."""
    fleet.append(0, START + at, None, TICK)
    log = fleet.logs[0]
    turns = list(fleet.partitions[0].take(log[fleet.read[0] :]))
    fleet.commit(0, turns)
    fleet.read[0] = len(log)
    come = decode_reported(turns[-1].decisions[-1][1])
    assert isinstance(come, Come)
    return come.waiting


def row(fleet: Fleet) -> bytes:
    return fleet.rows[0][b"a"]


def state(fleet: Fleet) -> State:
    return decode_state(row(fleet))


def refused(fleet: Fleet) -> list[tuple[str | None, str]]:
    return [(made.identity, made.detail) for made in fleet.decided if made.reason == "too many waits"]


def test_a_flood_of_large_orders_stays_within_bounds_and_its_first_matches_go_on() -> None:
    items = [{"sku": "s" * 40, "name": "n" * 40}] * 150
    bodies = [ordered(number, items=items) for number in range(MOST_OF_A_RULE + 100)]
    assert sum(map(len, bodies)) > 2 * bounds.MOST_STATE
    per = rule("r", when={"event": "order.created", "per": "order_id"}, wait="1d", send=FREE)
    fleet = fleet_of(per, bodies=bodies)
    assert len(row(fleet)) <= bounds.MOST_STATE
    assert len(refused(fleet)) == 100
    let_pass(fleet, 2 * DAY)
    assert [send.identity for send in fleet.sends] == [f"o{number}" for number in range(MOST_OF_A_RULE)]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("order.paid", {"amount": 1, "items": [{"name": "n" * 1_000}] * 20}),
        ("order.created", {"amount": 1, "category": "c" * 20_000}),
        ("customer.updated", dict.fromkeys(("name", "phone", "city", "level"), "n" * 20_000)),
        ("store.visited", {"page": "/" * 20_000}),
        ("message.clicked", {"rule_id": "r" * 20_000}),
    ],
)
@pytest.mark.usefixtures("little_room")
def test_what_large_events_say_is_forgotten_before_any_wait_ends(kind: str, fields: dict[str, Any]) -> None:
    fields = fields | ({"order_id": "o"} if kind.startswith("order") else {})
    fleet = fleet_of(each(kind), bodies=[told(number, kind, **fields) for number in range(40)], apart=1)
    assert len(row(fleet)) <= SMALL
    let_pass(fleet, 2 * DAY)
    assert len(fleet.sends) == 40
    assert refused(fleet) == []


@pytest.mark.usefixtures("little_room")
def test_an_amount_of_nothing_but_zeros_is_written_anew_and_means_the_same() -> None:
    bodies = [ordered(number).replace(b'"amount":1', b'"amount":899.5' + b"0" * 20_000) for number in range(20)]
    fleet = fleet_of(each("order.created", audience={"where": "event.amount == 899.5"}), bodies=bodies)
    assert len(row(fleet)) <= SMALL
    assert {str(wait.trigger.amount) for wait in state(fleet).customer.waits.values()} == {"899.500000"}  # type: ignore[union-attr]
    let_pass(fleet, 2 * DAY)
    assert len(fleet.sends) == 20


@pytest.mark.usefixtures("little_room")
def test_further_matches_of_a_wait_go_before_it_does() -> None:
    per = rule("r", when={"event": "favorite.added", "per": "product_id"}, wait="1d", send=FREE)
    bodies = [told(number, "favorite.added", product_id=f"p{number % 20}") for number in range(2_000)]
    fleet = fleet_of(per, bodies=bodies, keep_all=False)
    assert len(row(fleet)) <= SMALL
    assert len(state(fleet).customer.waits) == 20
    assert not any(wait.later for wait in state(fleet).customer.waits.values())


@pytest.mark.usefixtures("little_room")
def test_events_stamped_ahead_count_early_before_their_customer_is_too_large() -> None:
    bodies = [
        told(number, "customer.updated", 4 * MINUTE, name=f"{number}" + "n" * 150, city="c" * 150)
        for number in range(200)
    ]
    fleet = fleet_of(each("order.created"), bodies=bodies)
    assert len(row(fleet)) <= SMALL
    assert state(fleet).customer.ahead == ()
    assert state(fleet).customer.facts.name == "199" + "n" * 150


@pytest.mark.usefixtures("little_room")
def test_of_very_many_sends_the_latest_are_kept_and_the_last_of_each_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_SENDS", 100)
    once = each("customer.registered", "once", limits={"per_customer": "once"}, wait="0min")
    flood = each("favorite.added", "flood", wait="0min")
    bodies = [told(0, "customer.registered")]
    bodies += [told(number, "favorite.added", product_id="p") for number in range(1, 3_000)]
    fleet = fleet_of(once, flood, bodies=bodies, apart=1)
    assert len(fleet.sends) == 3_000
    assert len(row(fleet)) <= SMALL
    sends = state(fleet).customer.sends
    assert (sends[0].rule, [sent.rule for sent in sends].count("once"), len(sends) >= 100) == ("once", 1, True)
    assert [sent.at for sent in sends] == sorted(sent.at for sent in sends)
    fleet.put(told(9_000, "customer.registered", HOUR), "a", START + HOUR)
    let_pass(fleet, 2 * HOUR)
    assert fleet.decided[-1].reason == "per customer"


@pytest.mark.usefixtures("little_room")
def test_whose_very_long_name_a_send_was_for_is_cut_before_a_send_is_forgotten() -> None:
    paged = rule("r", when={"event": "store.visited", "per": "page"}, wait="0min", send=FREE)
    bodies = [told(number, "store.visited", page=f"{number:02}" + "/" * 5_000) for number in range(40)]
    fleet = fleet_of(paged, bodies=bodies, apart=1)
    assert len(row(fleet)) <= SMALL
    assert len(fleet.sends) == len(state(fleet).customer.sends) == 40


@pytest.mark.usefixtures("little_room")
def test_waits_that_nothing_makes_smaller_end_the_last_ones_first() -> None:
    paged = rule("r", when={"event": "store.visited", "per": "page"}, wait="1d", send=FREE)
    bodies = [told(number, "store.visited", page=f"{number:02}" + "/" * 5_000) for number in range(32)]
    fleet = fleet_of(paged, bodies=bodies)
    assert len(row(fleet)) <= SMALL
    left = [wait.identity for wait in state(fleet).customer.waits.values()]
    assert left == [f"{number:02}" + "/" * 5_000 for number in range(len(left))]
    assert 0 < len(left) < 32
    assert len(refused(fleet)) == 32 - len(left)
    assert {detail for _, detail in refused(fleet)} == {"too large to be kept"}
    let_pass(fleet, 2 * DAY)
    assert [send.identity for send in fleet.sends] == left


def test_events_behind_a_question_are_met_early_where_they_are_too_many_and_none_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told_of = []
    for most in (bounds.MOST_STATE, SMALL):
        monkeypatch.setattr(bounds, "MOST_STATE", most)
        fleet = fleet_of(each("order.created", wait="1h", limits={"total": 9_999}), bodies=[ordered(0)])
        let_pass(fleet, 2 * HOUR)
        assert fleet.partitions[0].waiting == 1
        for number in range(1, 601):
            kind = "order.created" if number % 20 == 0 else "order.cancelled"
            body = told(number, kind, 2 * HOUR, order_id=f"o{number}", amount=1)
            fleet.put(body, "a", START + 3 * HOUR + number)
        waiting = let_pass(fleet, 4 * HOUR)
        assert len(row(fleet)) <= most
        assert waiting == {"a": state(fleet).behind[0][0] - 1}
        behind = [event.id for _, event in state(fleet).behind]
        assert behind == [f"e{number:05}" for number in range(1 if most > SMALL else 301, 601)]
        fleet.begin_anew(0)
        fleet.append(0, START + 2 * DAY, None, TICK)
        fleet.run()
        assert fleet.partitions[0].waiting == 0
        told_of.append((lines(fleet.sends), sorted(map(msgspec.json.encode, fleet.decided))))
    assert [len(told) for told in told_of[0]] == [31, 62]
    assert told_of[1] == told_of[0]


@pytest.mark.usefixtures("little_room")
def test_what_orders_behind_a_question_are_made_of_is_forgotten_before_any_is_met_early() -> None:
    fleet = fleet_of(each("order.created", wait="1h", limits={"total": 9_999}), bodies=[ordered(0)])
    let_pass(fleet, 2 * HOUR)
    for number in range(1, 41):
        fleet.put(ordered(number, 2 * HOUR, items=[{"name": "n" * 5_000}]), "a", START + 3 * HOUR)
    let_pass(fleet, 4 * HOUR)
    assert len(row(fleet)) <= SMALL
    assert len(state(fleet).behind) == 40


def test_who_met_all_events_early_may_ask_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    in_shop = shop(look_ahead="6h")
    low = each("order.created", "low", in_shop=in_shop, wait="1h", priority=10, limits={"total": 9})
    unless = [{"event": "favorite.removed", "match": "customer"}]
    high = each("favorite.added", "high", in_shop=in_shop, wait="2h", priority=90, unless=unless)
    fleet = Fleet(book(low, high, in_shop=in_shop), 1, seed=1)
    fleet.put(ordered(0), "a", START)
    fleet.put(told(1, "favorite.added", product_id="p"), "a", START + 1)
    let_pass(fleet, HOUR + MINUTE)
    asking = state(fleet)
    assert asking.ask is not None
    assert not asking.ask.reserve  # it yields
    while bounds.forget(asking):
        pass
    monkeypatch.setattr(bounds, "MOST_STATE", len(encode_state(asking, 0)) + 30)
    fleet.put(told(2, "favorite.removed", HOUR + MINUTE, product_id="p"), "a", START + HOUR + MINUTE)
    assert let_pass(fleet, 90 * MINUTE) == {}
    assert [made.reason for made in fleet.decided][-1] == "cancelled"
    fleet.append(0, START + DAY, None, TICK)
    fleet.run()
    assert fleet.partitions[0].waiting == 0
    assert [(send.rule, send.at - START) for send in fleet.sends] == [("low", HOUR)]


@pytest.mark.usefixtures("little_room")
def test_what_an_open_question_repeats_of_its_wait_is_forgotten_with_it() -> None:
    per = rule("r", when={"event": "store.visited"}, wait="1h", send=FREE, limits={"total": 9_999})
    fleet = fleet_of(
        per, bodies=[told(number, "store.visited", page="/" * 100) for number in range(90)], keep_all=False
    )
    let_pass(fleet, 2 * HOUR)
    read = state(fleet)
    assert read.ask is not None
    assert len(read.ask.wait.later or ()) == 89
    read.customer.facts.name = "n" * SMALL
    written = decode_state(bounds.within_bounds(read, lambda: False))
    assert written.ask is not None
    assert written.ask.wait.later is None


WORDS = sorted(
    (kind, field.name)
    for kind, cls in EVENT_TYPES.items()
    for field in msgspec.structs.fields(cls)
    if field.type in (str, str | None) and field.name not in ("id", "customer", "source")
)


def largest(number: int, kind: str, long: str) -> bytes:
    """Make the largest event of a type that intake lets through: a text as long as the line, or else all ids."""
    widest = f"{number:03}" + "\U0001f600" * (MAX_KEY - 3)
    ids = {"id": widest, "source": widest}
    ids |= {name: widest for named, name in WORDS if named == kind and name.endswith(("order_id", "product_id"))}
    fields: dict[str, Any] = ids | {"amount": 1} if kind.startswith("order") else ids
    if long not in fields:
        fields = fields | {long: f"{number:03}" + "x" * (LARGE - 8_000)}
    return told(number, kind, **fields)


@pytest.mark.parametrize(("kind", "long"), WORDS)
def test_the_largest_customer_that_intake_lets_through_fits_a_record(kind: str, long: str) -> None:
    """All that can be waited for by, at its largest, asking for limits, in the real bounds."""
    rules = [
        rule("each", when={"event": kind, "again": "each", "per": long}, wait="1d", send=FREE, limits={"total": 9_999}),
        rule("now", when={"event": kind, "per": long}, wait="0min", send=FREE, limits={"total": 9_999}),
        rule("one", when={"event": kind}, wait="2d", send=FREE),
    ]
    bodies = [largest(number, kind, long) for number in range(30)]
    assert max(map(len, bodies)) <= MAX_EVENT_BYTES
    fleet = fleet_of(*rules, bodies=bodies)
    assert fleet.letters == []
    assert len(row(fleet)) <= bounds.MOST_STATE
    fleet.append(0, START + 9 * DAY, None, TICK)
    fleet.run()
    assert len(row(fleet)) <= bounds.MOST_STATE
    assert fleet.partitions[0].waiting == 0
    assert {send.rule for send in fleet.sends} == {"each", "now", "one"}
