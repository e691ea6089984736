from __future__ import annotations

from dataclasses import replace
from itertools import chain, count
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from running import SAMPLE_RULES

import triggers.drivers.embedded.driver
import triggers.store.customers
from triggers.clock import FastClock
from triggers.core.decisions import Ask, Decision, Send
from triggers.core.history import qualified
from triggers.core.intake import decode_many
from triggers.core.rulebook import Rulebook
from triggers.core.times import DAY, Duration
from triggers.drivers.embedded.driver import Driver, Outcome
from triggers.drivers.embedded.shelf import Limit
from triggers.language import load
from triggers.language.folder import build_rule, build_shop
from triggers.replay.log import Log
from triggers.replay.replay import Replay
from triggers.store.customers import LONG_PAST, all_ids, load_customer
from triggers.store.decisions import DecisionRow, row_of
from triggers.store.event_log import Arrival, EventLog
from triggers.store.progress import load_progress

if TYPE_CHECKING:
    from pathlib import Path

    from triggers.core.customer import Customer
    from triggers.core.ledger import Ledger
    from triggers.store.database import Connection
    from triggers.store.writer import Writer

PLENTY = Limit(10_000, 10**9)
START = 1_788_000_000_000


@pytest.fixture(scope="module")
def book() -> Rulebook:
    loaded = load(SAMPLE_RULES)
    assert loaded.shop is not None
    return Rulebook(loaded.rules, loaded.shop, revision=loaded.revision, keep_all=True)


@pytest.fixture(scope="module")
def arrivals(small_log: Path) -> list[tuple[Arrival, int]]:
    lines = small_log.read_bytes().splitlines()
    found = []
    for line, event in zip(lines, decode_many(lines), strict=True):
        assert not isinstance(event.received_at, str)  # type: ignore[union-attr]
        found.append((Arrival(line, event, "test"), event.received_at))  # type: ignore[union-attr]
    return found  # type: ignore[return-value]


@pytest.fixture(scope="module")
def expected(book: Rulebook, small_log: Path) -> tuple[dict[str, Send], dict[str, Any], Ledger, list[DecisionRow]]:
    sends: dict[str, Send] = {}
    rows: list[DecisionRow] = []

    def take(decision: Decision) -> None:
        if (row := row_of(decision, book.revision)) is not None:
            rows.append(row)
        if isinstance(decision, Send) and not decision.withheld and not decision.shadow:
            sends[decision.id] = decision

    events = list(chain.from_iterable(Log([str(small_log)], order="received").read()))
    replay = Replay(book, take, clock=events[0].received_at - 1)  # type: ignore[operator]
    replay.play(events)
    return sends, replay.customers, replay.ledger, rows


def driver_of(
    book: Rulebook, writer: Writer, reader: Connection, log: EventLog, clock: FastClock, **more: Any
) -> Driver:
    options: dict[str, Any] = {"told": lambda _outcome: None, "in_memory": PLENTY} | more
    return Driver(book, reader, writer, log, load_progress(reader), clock=clock, now=lambda: 1, **options)


def play(
    book: Rulebook, writer: Writer, reader: Connection, arrivals: list[tuple[Arrival, int]], **more: Any
) -> Driver:
    clock = FastClock(arrivals[0][1], 0)
    log = EventLog(writer, clock.now)
    log.append([arrival for arrival, _ in arrivals], stamps=[stamp for _, stamp in arrivals]).result(60)
    clock.hold(arrivals[-1][1])
    driver = driver_of(book, writer, reader, log, clock, **more)
    while driver.turn():
        pass
    return driver


def all_customers(reader: Connection) -> dict[str, Customer]:
    found = (load_customer(reader, name) for some in all_ids(reader) for name in some)
    return {customer.id: customer for customer in found if customer is not None}


def sends(reader: Connection) -> dict[str, Send]:
    rows = reader.execute("SELECT body FROM outbox").fetchall()
    return {send.id: send for send in (msgspec.json.decode(body, type=Send) for (body,) in rows)}


def test_it_decides_what_the_replay_decides(
    book: Rulebook, writer: Writer, reader: Connection, arrivals: list[tuple[Arrival, int]], expected: Any
) -> None:
    driver = play(book, writer, reader, arrivals)
    assert len(expected[0]) > 50
    assert sends(reader) == expected[0]
    assert driver.ledger == expected[2]
    columns = ", ".join(DecisionRow.__struct_fields__)
    rows = reader.execute(f"SELECT {columns} FROM decisions ORDER BY seq").fetchall()  # noqa: S608  our own names
    assert [DecisionRow(*row) for row in rows] == expected[3]  # with their reasons, in their order
    assert len({(row.kind, row.reason) for row in expected[3]}) > 8
    ids = [name for some in all_ids(reader) for name in some]
    assert ids == sorted(expected[1])
    assert {name: load_customer(reader, name).waits for name in ids} == {  # type: ignore[union-attr]
        name: customer.waits for name, customer in expected[1].items()
    }


def test_with_few_customers_in_memory_it_decides_the_same(
    book: Rulebook, writer: Writer, reader: Connection, arrivals: list[tuple[Arrival, int]], expected: Any
) -> None:
    outcomes: list[Outcome] = []
    driver = play(book, writer, reader, arrivals, in_memory=Limit(7, 10**9), told=outcomes.append)
    assert sends(reader) == expected[0]
    assert driver.ledger == expected[2]
    assert len(driver.customers) <= 8
    assert not any(isinstance(decision, Ask) for outcome in outcomes for decision, _ in outcome.decisions)


def test_with_few_kept_events_in_memory_it_decides_the_same(
    book: Rulebook, writer: Writer, reader: Connection, arrivals: list[tuple[Arrival, int]], expected: Any
) -> None:
    most = 0

    def told(_outcome: Outcome) -> None:
        nonlocal most
        most = max(most, sum(len(each) for one in dict.values(driver.customers) for each in one.kept.values()))

    clock = FastClock(arrivals[0][1], 0)
    log = EventLog(writer, clock.now)
    log.append([arrival for arrival, _ in arrivals], stamps=[stamp for _, stamp in arrivals]).result(60)
    clock.hold(arrivals[-1][1])
    driver = driver_of(book, writer, reader, log, clock, in_memory=Limit(10_000, 100), told=told)
    while driver.turn():
        pass
    assert sends(reader) == expected[0]
    assert driver.ledger == expected[2]
    largest = max(sum(map(len, customer.kept.values())) for customer in expected[1].values())
    assert most <= 100 + largest


def test_the_past_of_customers_that_is_not_in_their_rows_comes_back_from_the_log(
    book: Rulebook,
    writer: Writer,
    reader: Connection,
    arrivals: list[tuple[Arrival, int]],
    expected: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(triggers.store.customers, "LONG_PAST", 1)
    driver = play(book, writer, reader, arrivals, in_memory=Limit(7, 10**9))
    assert sends(reader) == expected[0]
    assert driver.ledger == expected[2]
    orders = 0
    for name, customer in expected[1].items():
        again = load_customer(reader, name)
        assert again is not None
        assert (again.kept, again.facts, again.sends) == (customer.kept, customer.facts, customer.sends)
        assert set(again.seen) >= {qualified(event) for events in customer.kept.values() for event in events}
        orders = max(orders, len(again.facts.orders))
    assert orders > 1


def test_a_customer_with_a_long_past_is_written_as_fast_as_one_without(
    book: Rulebook, writer: Writer, reader: Connection
) -> None:
    clock = FastClock(START, 0)
    log = EventLog(writer, clock.now)
    driver = driver_of(book, writer, reader, log, clock)
    written: list[int] = []
    for start in range(0, 3 * LONG_PAST, 50):
        kinds = ("store.visited", "order.paid")
        bodies = [
            b'{"id":"e%d","type":"%s","customer":"guest","at":%d,"order_id":"o%d","amount":9}'
            % (number, kinds[number % 2].encode(), START - 9_999 + number, number)
            for number in range(start, start + 50)
        ]
        events = decode_many(bodies)
        log.append([Arrival(body, event, "test") for body, event in zip(bodies, events, strict=True)]).result(10)
        while driver.turn():
            pass
        written.append(reader.execute("SELECT length(state) FROM customers").fetchone()[0])
    assert max(written) < 150 * LONG_PAST
    assert written[-1] < max(written) / 2
    again = load_customer(reader, "guest")
    assert again is not None
    assert sum(map(len, again.kept.values())) == 3 * LONG_PAST
    assert len(again.facts.orders) == again.facts.orders_paid == 3 * LONG_PAST / 2


class PowerCut(Exception):  # noqa: N818  the name reads as the sentence
    """The process dies after a commit."""


def test_killed_while_customers_are_moved_over_to_edited_rules_the_rest_are_moved_over_at_the_next_start(
    book: Rulebook, writer: Writer, reader: Connection, arrivals: list[tuple[Arrival, int]]
) -> None:
    play(book, writer, reader, arrivals[:1_000])
    before = {name: customer.waits for name, customer in all_customers(reader).items() if customer.waits}
    longer = Duration(days=30)
    edited = Rulebook(
        [replace(rule, wait=longer) for rule in book.rules.values()], book.shop, revision="edited", keep_all=True
    )
    clock = FastClock(arrivals[999][1], 0)
    log = EventLog(writer, clock.now)

    def cut(_outcome: Outcome) -> None:
        raise PowerCut

    first = driver_of(edited, writer, reader, log, clock, told=cut, in_memory=Limit(5, 10**9))
    assert not first.settled
    with pytest.raises(PowerCut):
        first.change(edited)
    second = driver_of(edited, writer, reader, log, clock, in_memory=Limit(5, 10**9))
    assert not second.settled
    second.change(edited)
    assert second.settled
    after = all_customers(reader)
    waits = [(name, key) for name, waits in before.items() for key in waits if not waits[key].slot]
    assert len(waits) > 20
    for name, key in waits:
        wait = after[name].waits[key]
        assert wait.due == book.shop.zone.add(wait.anchor, longer)
    assert driver_of(edited, writer, reader, log, clock).settled


@pytest.mark.parametrize(("in_memory", "every", "least"), [(40, 4, 15), (10_000, 1, 6)])
def test_killed_after_commits_it_decides_the_same(
    book: Rulebook,
    writer: Writer,
    reader: Connection,
    arrivals: list[tuple[Arrival, int]],
    expected: Any,
    in_memory: int,
    every: int,
    least: int,
) -> None:
    clock = FastClock(arrivals[0][1], 0)
    log = EventLog(writer, clock.now)
    log.append([arrival for arrival, _ in arrivals], stamps=[stamp for _, stamp in arrivals]).result(60)
    clock.hold(arrivals[-1][1])
    lives, telling = 0, count(1)

    def cut(outcome: Outcome) -> None:
        if outcome.decisions and next(telling) % every == 0:
            raise PowerCut

    while True:
        driver = driver_of(book, writer, reader, log, clock, told=cut, in_memory=Limit(in_memory, 10**9))
        try:
            while driver.turn():
                pass
            break
        except PowerCut:
            lives += 1
    assert lives >= least
    assert sends(reader) == expected[0]
    assert driver.ledger == expected[2]
    (written,) = reader.execute("SELECT count(*) FROM decisions WHERE kind = 'ended' AND reason = 'sent'").fetchone()
    assert written == len(expected[0])


def test_the_number_known_when_a_message_is_decided_goes_with_it(
    book: Rulebook, writer: Writer, reader: Connection, arrivals: list[tuple[Arrival, int]]
) -> None:
    play(book, writer, reader, arrivals)
    (known,) = reader.execute("SELECT count(*) FROM outbox WHERE phone LIKE '+86%'").fetchone()
    (unknown,) = reader.execute("SELECT count(*) FROM outbox WHERE phone IS NULL").fetchone()
    assert known > 10 * unknown


def test_an_event_that_enters_while_the_driver_looks_for_events_acts_before_the_timers_that_it_cancels(
    writer: Writer, reader: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load(SAMPLE_RULES)
    assert loaded.shop is not None
    book = Rulebook(loaded.rules, loaded.shop, keep_all=True)
    clock = FastClock(START, 0)
    log = EventLog(writer, clock.now)
    order = f'"customer":"c1","order_id":"o1","amount":899,"at":{START}'
    created, paid = (f'{{"id":"{name}","type":"order.{name}",{order}}}'.encode() for name in ("created", "paid"))
    log.append([Arrival(created, decode_many([created])[0], "test")], stamps=[START]).result(60)
    driver = driver_of(book, writer, reader, log, clock)
    assert driver.turn()
    look = triggers.drivers.embedded.driver.read_events

    def look_too_early(*arguments: Any) -> Any:
        found = look(*arguments)
        monkeypatch.undo()
        log.append([Arrival(paid, decode_many([paid])[0], "test")], stamps=[START + 1]).result(60)
        return found

    monkeypatch.setattr(triggers.drivers.embedded.driver, "read_events", look_too_early)
    clock.hold(START + 3 * DAY)
    while driver.turn():
        pass
    assert sends(reader) == {}
    reasons = reader.execute("SELECT reason FROM decisions WHERE kind = 'ended' AND rule LIKE 'abandoned%'").fetchall()
    assert reasons == [("cancelled",)]


class HeldWallClock(FastClock):
    """A service's time, which a test moves on."""

    virtual = False


def test_what_cancels_a_renamed_rules_message_finds_it_under_its_former_name(
    writer: Writer, reader: Connection
) -> None:
    shop = build_shop({"shop": "v1", "name": "Test", "timezone": "Asia/Shanghai", "opt_out": ""})
    parts = {
        "rule": "v1", "title": "Unpaid", "status": "live", "class": "marketing", "recency": "off", "wait": "1d",
        "when": {"event": "order.created", "per": "order_id"}, "unless": [{"event": "order.paid"}],
        "send": {"text": "x", "window": ["00:00-24:00"]},
    }  # fmt: skip
    before = Rulebook([build_rule({**parts, "id": "unpaid"}, shop)], shop, recalls=True, keep_all=True)
    after = Rulebook(
        [build_rule({**parts, "id": "nudge", "renamed_from": "unpaid"}, shop)], shop, recalls=True, keep_all=True
    )
    clock = HeldWallClock(START, 0)
    log = EventLog(writer, clock.now)

    def tell(kind: str, at: int) -> None:
        body = f'{{"id":"{kind}","type":"order.{kind}","customer":"c1","order_id":"o1","amount":9,"at":{at}}}'.encode()
        log.append([Arrival(body, decode_many([body])[0], "test")], stamps=[at]).result(60)
        clock.hold(at)

    tell("created", START)
    driver = driver_of(before, writer, reader, log, clock)
    clock.hold(START + 2 * DAY)
    while driver.turn():
        pass
    assert reader.execute("SELECT rule, state FROM outbox").fetchall() == [("unpaid", "queued")]
    driver.change(after)
    tell("paid", START + 2 * DAY)
    while driver.turn():
        pass
    assert reader.execute("SELECT state, reason FROM outbox").fetchall() == [("cancelled", "by order.paid")]
