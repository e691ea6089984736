"""A customer's record is the same to the last byte, whatever of it was encoded before and whatever became of it since."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec
import pytest
from fleets import Fleet
from scenes import START, book, event, rule
from test_kafka_partition import order

from triggers.core.customer import Customer, Sent
from triggers.drivers.kafka import bounds, pasts, people
from triggers.drivers.kafka.pasts import Past
from triggers.drivers.kafka.records import OWN, State, decode_state, encode_state

if TYPE_CHECKING:
    from triggers.core.events import AnyEvent

KINDS = ("order.created", "favorite.added")


def plain(state: State) -> bytes:
    return encode_state(state, state.customer.wake)


def something(chance: random.Random, kept: dict[str, list[AnyEvent]], number: int) -> None:
    """Do what the core does to kept events: append, put in one that is late, forget the oldest, begin a new list."""
    kind = chance.choice(KINDS)
    made = event(kind, at=number, id=f"e{number}")
    events = kept.setdefault(kind, [])
    what = chance.randrange(9)
    if what == 0:
        del events[: chance.randrange(len(events) + 1)]
    elif what == 1:
        kept[kind] = events[len(events) // 2 :]
    elif what == 2:
        events.insert(chance.randrange(len(events) + 1), made)
    elif what == 3:
        kept.pop(kind)
    else:
        events.append(made)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_becomes_of_the_past_the_record_is_as_if_it_was_encoded_anew(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  chance that a seed repeats
    state = State(Customer(id="c1"))
    state.customer.kept = {}
    past = Past()
    for number in range(200):
        for _ in range(chance.randrange(4)):
            something(chance, state.customer.kept, number)
        state.customer.sends = [Sent("r", "notice", START, START)] * chance.randrange(3)
        kept = state.customer.kept
        assert past.record(state) == plain(state)
        assert state.customer.kept is kept


@pytest.mark.parametrize("count", [1, 15, 16, 17, 65_535, 65_536])
def test_a_list_of_any_length_is_written_as_messagepack_has_it(count: int) -> None:
    one = event("order.created", id="e")
    state = State(Customer(id="c1", kept={"order.created": [one] * (count - 1)}))
    past = Past()
    past.record(state)
    state.customer.kept["order.created"].append(event("order.created", at=1, id="f"))
    row = past.record(state)
    assert row == plain(state)
    assert len(decode_state(row).customer.kept["order.created"]) == count


def test_what_was_written_before_is_not_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(pasts, "_encode", lambda each: made.append(each) or msgspec.msgpack.encode(each))
    state = State(Customer(id="c1", kept={"order.created": [event("order.created", at=at) for at in range(50)]}))
    past = Past()
    past.record(state)
    state.customer.kept["order.created"].append(late := event("order.created", at=50))
    past.record(state)
    assert made[50:] == [late]


def test_a_partition_writes_long_pasts_as_it_writes_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    written, usual = [], people.LONG_PAST
    for long in (usual, 10**9):
        monkeypatch.setattr(people, "LONG_PAST", long)
        fleet = Fleet(book(rule("r", wait="1h"), revision="v1"), 1, seed=1)
        for at in range(150):
            fleet.write([order("a", at * 1_000), order(f"b{at}", at * 1_000)], tick_at=START + at * 1_000)
            fleet.run()
        written.append({key: row for key, row in fleet.rows[0].items() if key != OWN})
    assert len(written[0][b"a"]) > 2 * usual
    assert written[0] == written[1]


def test_a_past_that_was_cut_down_to_fit_is_written_as_it_is_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "LONG_PAST", 0)
    monkeypatch.setattr(bounds, "MOST_STATE", 20_000)
    fleet = Fleet(book(rule("r", wait="1h"), revision="v1"), 1, seed=1)
    for at in range(400):
        fleet.write([order("a", at * 1_000)], tick_at=START + at * 1_000)
        fleet.run()
        row = fleet.rows[0][b"a"]
        assert len(row) <= 20_000
        assert row == plain(decode_state(row))
        kept = decode_state(row).customer.kept["order.created"]
        assert kept[-1].id == f"a{at * 1_000}"
    assert len(kept) < 400
