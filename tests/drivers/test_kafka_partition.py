from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from fleets import Fleet, Record, lines
from running import SAMPLE_RULES, write_shop_log
from scenes import HOUR, START, rule
from scenes import book as core_book

from triggers.core.decisions import Decision, Send, Verdict
from triggers.core.events import MessageSent
from triggers.core.intake import decode_many
from triggers.core.room import MOST_OF_A_RULE
from triggers.core.rulebook import Rulebook
from triggers.core.times import DAY
from triggers.drivers.kafka import bounds, people, playing
from triggers.drivers.kafka import partition as partition_module
from triggers.drivers.kafka.records import (
    OWN,
    TICK,
    Answered,
    Cancel,
    Sending,
    decode_command,
    decode_place,
    decode_state,
    encode_answered,
)
from triggers.errors import ServiceUnusable
from triggers.language import load
from triggers.replay.log import Log
from triggers.replay.replay import Replay
from triggers.store.decisions import row_of

if TYPE_CHECKING:
    from pathlib import Path

    from triggers.core.events import AnyEvent

AFTER_THE_END = 40 * DAY


@pytest.fixture(scope="module")
def shop_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop_log(tmp_path_factory.mktemp("log"), customers=400, events=6_000)


@pytest.fixture(scope="module")
def book() -> Rulebook:
    return sample_book()


def sample_book(**limits: Any) -> Rulebook:
    """The sample rules; all that share anything with the limits given."""
    loaded = load(SAMPLE_RULES)
    assert loaded.shop is not None
    rules = [replace(rule, limits=replace(rule.limits, **limits)) if limits else rule for rule in loaded.rules]
    return Rulebook(rules, loaded.shop, revision=loaded.revision, keep_all=True)


def bodies(path: Path) -> list[tuple[bytes, str, int]]:
    found = path.read_bytes().splitlines()
    events: list[Any] = decode_many(found)
    return sorted(
        ((line, event.customer, event.received_at) for line, event in zip(found, events, strict=True)),
        key=lambda each: each[2],
    )


def replayed(book: Rulebook, path: Path, until: int) -> tuple[list[Send], Counter[Any]]:
    sends: list[Send] = []
    rows: Counter[Any] = Counter()

    def take(decision: Decision) -> None:
        if isinstance(decision, Send) and not decision.withheld and not decision.shadow:
            sends.append(decision)
        if (row := row_of(decision, book.revision)) is not None:
            rows[row] += 1

    events = list(chain.from_iterable(Log([str(path)], order="received").read()))
    replay = Replay(book, take, clock=events[0].received_at - 1)  # type: ignore[operator]
    replay.play(events)
    replay.run_until(until)
    return sends, rows


def run(book: Rulebook, path: Path, partitions: int, seed: int, **options: Any) -> tuple[Fleet, int]:
    arrived = bodies(path)
    until = arrived[-1][2] + AFTER_THE_END
    fleet = Fleet(book, partitions, seed, **options)
    fleet.write(arrived, tick_at=until)
    fleet.run()
    return fleet, until


@pytest.mark.parametrize(("partitions", "crashes"), [(1, 0.0), (3, 0.0), (8, 0.1)])
def test_partitions_decide_as_a_replay(book: Rulebook, shop_log: Path, partitions: int, crashes: float) -> None:
    fleet, until = run(book, shop_log, partitions, partitions, crashes=crashes)
    sends, rows = replayed(book, shop_log, until)
    assert len({send.rule for send in sends}) >= 8
    assert lines(fleet.sends) == lines(sends)
    assert Counter(fleet.decided) == rows


def test_partitions_refuse_the_same_waits_of_a_crowded_customer_as_a_replay(tmp_path: Path) -> None:
    each = rule("each", when={"event": "order.created", "again": "each"}, wait="2h", send=FREE)
    per = rule("per", when={"event": "order.created", "per": "order_id"}, wait="1h", send=FREE, limits={"total": 900})
    crowded = core_book(each, per, revision="crowded")
    told = ["a", "b"] * (MOST_OF_A_RULE + 100) + ["c"] * 50
    path = tmp_path / "log.jsonl"
    path.write_bytes(
        b"".join(
            msgspec.json.encode(
                {"id": f"e{i}", "type": "order.created", "customer": who, "order_id": f"o{i}", "amount": 1}
                | {"at": START + i * 5_000, "received_at": START + i * 5_000}
            )
            + b"\n"
            for i, who in enumerate(told)
        )
    )
    fleet, until = run(crowded, path, 2, seed=3, crashes=0.02)
    sends, rows = replayed(crowded, path, until)
    assert lines(fleet.sends) == lines(sends)
    assert Counter(fleet.decided) == rows
    assert Counter(row.customer for row in fleet.decided if row.reason == "too many waits").keys() == {"a", "b"}


@pytest.mark.parametrize("seed", range(4))
def test_limits_that_run_out_are_given_to_the_same_customers(shop_log: Path, seed: int) -> None:
    book = sample_book(per_day=3, total=40)
    assert len(book.sharing) == len(book.rules)
    fleet, until = run(book, shop_log, 4, seed, crashes=0.05 * (seed % 2), most=60)
    sends, rows = replayed(book, shop_log, until)
    assert lines(fleet.sends) == lines(sends)
    assert Counter(fleet.decided) == rows
    assert {each.reason for each in fleet.decided} >= {"per day", "total"}
    kept = [event for event in kept_by(fleet) if not isinstance(event, MessageSent)]
    assert len(kept) > 1_000
    assert {event.received_at for event in kept} == {None}, "whether it was held for an answer or not"


def kept_by(fleet: Fleet) -> list[AnyEvent]:
    states = [decode_state(row) for rows in fleet.rows for key, row in rows.items() if key != OWN]
    return [event for state in states for events in state.customer.kept.values() for event in events]


FREE = {"text": "x", "window": ["00:00-24:00"]}
SHARING = core_book(rule("r", wait="1h", send=FREE, limits={"total": 1}), revision="sharing")
PLAIN = core_book(rule("r", wait="1h", send=FREE), revision="plain")


def order(customer: str, at: int) -> tuple[bytes, str, int]:
    body = {"id": f"{customer}{at}", "type": "order.created", "customer": customer, "order_id": "o", "amount": 1}
    return msgspec.json.encode(body | {"at": START + at}), customer, START + at


def test_who_asked_by_rules_that_shared_gets_an_answer_under_rules_that_do_not() -> None:
    fleet = Fleet(SHARING, 2, seed=1)
    fleet.write([order("a", 0), order("b", 0)], tick_at=START + 1)
    fleet.append(0, START + 3 * HOUR, None, TICK)  # the other one lags behind
    fleet.run()
    assert [each.waiting for each in fleet.partitions] == [1, 0]
    fleet.change(PLAIN)
    fleet.run()
    assert [each.waiting for each in fleet.partitions] == [0, 0]
    for number in (0, 1):
        fleet.append(number, START + 4 * HOUR, None, TICK)
    fleet.run()
    assert sorted(send.customer for send in fleet.sends) == ["a", "b"]


def test_a_slot_that_opened_for_who_waits_for_an_answer_is_not_lost_by_an_edit() -> None:
    daily = rule("daily", schedule={"every": "day", "at": "13:00"}, send=FREE)  # two hours after START
    before = core_book(rule("r", wait="1h", send=FREE, limits={"total": 1}), daily, revision="before")
    after = core_book(rule("r", wait="1h", send=FREE, limits={"total": 2}), daily, revision="after")
    fleet = Fleet(before, 2, seed=1)
    fleet.write([order("a", 0), order("b", 0)], tick_at=START + 1)
    fleet.append(0, START + 3 * HOUR, None, TICK)  # "a" asks, and waits for the other partition beyond the slot
    fleet.run()
    assert [each.waiting for each in fleet.partitions] == [1, 0]
    fleet.change(after)
    for number in (0, 1):
        fleet.append(number, START + 4 * HOUR, None, TICK)
    fleet.run()
    found = sorted((send.customer, send.rule, send.anchor - START) for send in fleet.sends)
    assert found == [("a", "daily", 2 * HOUR), ("a", "r", 0), ("b", "daily", 2 * HOUR), ("b", "r", 0)]


@pytest.mark.parametrize("anew", [False, True])
def test_who_comes_after_a_question_that_an_edit_voids_is_answered_by_what_came_of_that(*, anew: bool) -> None:
    limited = {"wait": "1h", "send": FREE, "limits": {"total": 1}}
    before = core_book(rule("r", **limited), revision="before")
    after = core_book(rule("r", audience={"where": "customer.orders_paid >= 1"}, **limited), revision="after")
    fleet = Fleet(before, 2, seed=1)
    paid = {"id": "p", "type": "order.paid", "customer": "b", "order_id": "o", "amount": 1, "at": START}
    fleet.put(msgspec.json.encode(paid), "b", START)
    fleet.write([order("a", 0)], tick_at=START + 1)
    fleet.append(1, START + 2 * HOUR, None, TICK)  # "a" asks
    fleet.run()
    assert [each.waiting for each in fleet.partitions] == [0, 1]
    fleet.change(after)
    if anew:
        fleet.begin_anew(1)
    visited = {"id": "v", "type": "store.visited", "customer": "a", "at": START + 2 * HOUR}
    fleet.put(msgspec.json.encode(visited), "a", START + 2 * HOUR)
    fleet.put(*order("b", 3 * HOUR))
    for number in (0, 1):
        fleet.append(number, START + 5 * HOUR, None, TICK)
        fleet.commit(number, fleet.partitions[number].take(fleet.logs[number][fleet.read[number] :]))
        fleet.read[number] = len(fleet.logs[number])
    fleet.run()  # both questions are answered at once where that is allowed
    assert [send.customer for send in fleet.sends] == ["b"]


def test_rules_that_come_to_share_are_kept_by_all_partitions() -> None:
    fleet = Fleet(PLAIN, 2, seed=1)
    fleet.write([order("a", HOUR), order("b", 0)], tick_at=START + HOUR)
    fleet.run()
    fleet.change(SHARING)
    fleet.append(1, START + 3 * HOUR, None, TICK)  # "a" asks, but "b" may have been earlier
    fleet.run()
    assert fleet.sends == []
    fleet.append(0, START + 3 * HOUR, None, TICK)
    fleet.run()
    assert [send.customer for send in fleet.sends] == ["b"]


def test_timers_that_a_lost_owner_left_behind_act_without_another_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_module, "CUSTOMERS_IN_A_TURN", 1)
    fleet = Fleet(PLAIN, 1, seed=1)
    fleet.write([order(f"c{number}", 0) for number in range(4)], tick_at=START + 1)
    fleet.run()
    fleet.append(0, START + 2 * HOUR, None, TICK)
    fleet.commit(0, islice(fleet.partitions[0].take(fleet.logs[0][-1:]), 2))
    assert len(fleet.sends) == 2
    assert decode_place(fleet.rows[0][OWN]).position == len(fleet.logs[0]) - 1
    fleet.begin_anew(0)
    assert len(fleet.sends) == 4


def test_wakes_that_are_put_off_again_and_again_are_not_all_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "SPARE_WAKES", 10)
    restarting = core_book(rule("r", when={"event": "order.created", "again": "restart"}, wait="1d", send=FREE))
    fleet = Fleet(restarting, 1, seed=1, most=1)
    fleet.write([order("a", number * 1000) for number in range(100)], tick_at=START + DAY // 2)
    fleet.run()
    assert len(fleet.partitions[0]._play.people._wakes) <= 12  # noqa: SLF001  memory shows nowhere else
    fleet.append(0, START + 2 * DAY, None, TICK)
    fleet.run()
    assert [send.at for send in fleet.sends] == [START + 99_000 + DAY]


def test_a_slot_that_is_for_nobody_gives_others_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_module, "CUSTOMERS_IN_A_TURN", 10)
    waves = [{"id": "w1", "at": "2026-08-30 12:00"}, {"id": "w2", "at": "2026-09-02 12:00"}]
    chain = rule("w", waves={"list": waves, "min_size": 1, "responded": ["order.paid"], "within": "5d"}, send=FREE)
    fleet = Fleet(core_book(chain, rule("r", wait="9d")), 1, seed=1)
    fleet.write([order(f"c{number}", 0) for number in range(35)], tick_at=START + 1)
    fleet.run()
    fleet.append(0, START + 2 * DAY, None, TICK)
    turns = list(fleet.partitions[0].take(fleet.logs[0][-1:]))
    assert (len(turns), [turn for turn in turns if turn.matters]) == (4, [])


def test_a_record_that_cannot_be_decided_on_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise ZeroDivisionError

    fleet = Fleet(PLAIN, 1, seed=1)
    fleet.write([order("a", 0), order("b", 0)], tick_at=START + 1)
    list(fleet.partitions[0].take(fleet.logs[0][:1]))
    monkeypatch.setattr(playing, "handle", fails)
    with pytest.raises(ZeroDivisionError) as caught:
        list(fleet.partitions[0].take(fleet.logs[0]))
    assert caught.value.__notes__ == ["at events/0/1"]


def test_answers_that_are_gone_are_told() -> None:
    fleet = Fleet(core_book(rule("r", limits={"total": 9}, wait="1min", send=FREE)), 1, seed=1)
    fleet.write([order("a", 0)], tick_at=START + DAY)
    list(fleet.partitions[0].take(fleet.logs[0]))
    assert fleet.partitions[0].waiting == 1
    late = Answered(3, "a", "", Verdict())
    record = Record("verdicts", 0, 7, 0, None, encode_answered(late))
    with pytest.raises(ServiceUnusable, match="answers 1 to 2 of the limits' owner to partition 0 are gone"):
        list(fleet.partitions[0].answer([record]))


def test_a_customer_with_many_waits_for_large_orders_stays_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_STATE", 60_000)
    each = rule("r", when={"event": "order.created", "again": "each"}, wait="1d", send=FREE)
    fleet = Fleet(core_book(each), 1, seed=1)
    items = [{"sku": "s" * 100, "name": "n" * 100}] * 50
    for number in range(40):
        body = {"id": f"e{number}", "type": "order.created", "customer": "a", "order_id": "o", "at": START}
        fleet.put(msgspec.json.encode(body | {"amount": 1, "items": items}), "a", START)
    fleet.append(0, START + 1, None, TICK)
    fleet.run()
    assert len(fleet.rows[0][b"a"]) <= bounds.MOST_STATE
    fleet.append(0, START + 2 * DAY, None, TICK)
    fleet.run()
    assert len(fleet.sends) == 40


def test_what_cancels_a_renamed_rules_message_names_both_rules() -> None:
    parts: dict[str, Any] = {
        "when": {"event": "order.created", "per": "order_id"}, "unless": [{"event": "order.paid"}], "wait": "1h",
        "send": FREE,
    }  # fmt: skip
    before = core_book(rule("unpaid", **parts), revision="1", recalls=True)
    after = core_book(rule("nudge", renamed_from="unpaid", **parts), revision="2", recalls=True)
    body, customer, at = order("c1", 0)
    paid = (
        body.replace(b"order.created", b"order.paid").replace(b"c10", b"paid").replace(b"%d" % at, b"%d" % (at + DAY))
    )
    partition = partition_module.Partition(0, before, {})
    for turn in partition.take(
        [Record("events", 0, 0, at, customer.encode(), body), Record("", 0, 1, at + DAY, None, TICK)]
    ):
        assert all(isinstance(decode_command(value), Sending) for _, value in turn.commands)
    list(partition.change(after))
    turns = list(partition.take([Record("events", 0, 2, at + DAY, customer.encode(), paid)]))
    told = [decode_command(value) for turn in turns for _, value in turn.commands]
    assert [(each.rule, each.identity) for each in told if isinstance(each, Cancel)] == [
        ("nudge", "o"),
        ("unpaid", "o"),
    ]
