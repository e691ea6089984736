from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from offices import NOON, Scripted, ScriptedSettings, send

from triggers.core.times import SECOND
from triggers.dispatch.breaker import State
from triggers.dispatch.gateway import Accepted, Barred, TryLater
from triggers.dispatch.promises import CLASSES
from triggers.dispatch.settings import Delivery
from triggers.dispatch.traffic import LOOK_AGAIN_S, Traffic

if TYPE_CHECKING:
    from collections.abc import Callable

    from offices import Office

    Opening = Callable[..., Office]

REFUSED = TryLater("refused", refused_connection=True)


def traffic(*names: str, routes: dict[str, tuple[str, ...]] | None = None, **settings: Any) -> Traffic:
    gateways = {name: Scripted(name) for name in names or ("main",)}
    found = {name: ScriptedSettings(gateway=each, **settings) for name, each in gateways.items()}
    delivery = Delivery(found, dict.fromkeys(CLASSES, tuple(gateways)) | (routes or {}))
    return Traffic(delivery, gateways, dict.fromkeys(gateways, 5))  # type: ignore[arg-type]


def trip(roads: Traffic, name: str, now: int = NOON) -> None:
    """Let a gateway refuse connections until it is given nothing."""
    for _ in range(5):
        roads.roads[name].leaving += 1
        roads.ended(name, REFUSED, now, now)
    assert roads.roads[name].breaker.state(now) is State.OPEN


def test_a_gateway_is_given_no_more_than_it_has_connections() -> None:
    roads = traffic(at_once=10)
    first = roads.ask("notice", 200, NOON)
    assert (first.permits, first.room) == ({"main": 10}, 10)
    assert roads.ask("notice", 200, NOON).room == 0
    roads.give_back(first, NOON)
    assert roads.ask("notice", 3, NOON).permits == {"main": 3}


def test_a_fifth_of_the_connections_is_for_what_is_urgent() -> None:
    roads = traffic(at_once=10)
    assert roads.ask("marketing", 200, NOON).room == 8
    assert roads.ask("member", 200, NOON).room == 0
    assert roads.ask("verification", 200, NOON).room == 2
    alone = traffic(at_once=1)
    assert alone.ask("marketing", 200, NOON).room == 1  # of one connection there is no fifth


def test_a_fifth_of_the_rate_is_for_what_is_urgent_too() -> None:
    roads = traffic(at_once=1_000, rate=100)
    assert roads.ask("marketing", 500, NOON).room == 80
    assert roads.ask("verification", 500, NOON).room == 20
    assert roads.ask("marketing", 500, NOON + 100).room == 0  # the reserve fills first
    assert roads.ask("notice", 500, NOON + 100).room == 10


def test_the_rate_holds_over_time_and_what_was_not_used_is_not_lost() -> None:
    roads = traffic(at_once=1_000, rate=10)
    given = roads.ask("notice", 500, NOON)
    assert given.room == 10
    given.permits["main"] = 4  # six were used
    roads.give_back(given, NOON)
    assert roads.roads["main"].leaving == 6
    assert roads.ask("notice", 500, NOON).room == 4
    assert roads.ask("notice", 500, NOON + SECOND).room == 10


def test_a_class_knows_when_to_look_again() -> None:
    roads = traffic(at_once=10, rate=10)
    assert roads.ready_in_s("notice", NOON) == 0.0
    given = roads.ask("notice", 500, NOON)
    assert roads.ready_in_s("notice", NOON) == LOOK_AGAIN_S  # until a connection is free
    given.permits["main"] = 0
    for _ in range(10):
        roads.ended("main", Accepted(None), NOON, NOON)
    assert roads.ready_in_s("notice", NOON) == pytest.approx(0.1)
    assert roads.ready_in_s("marketing", NOON) == pytest.approx(0.3)  # beside the reserve of two
    trip(roads, "main")
    assert roads.ready_in_s("notice", NOON) == LOOK_AGAIN_S
    assert not roads.works("notice", NOON)


def test_messages_wait_for_the_first_gateway_of_their_route_while_it_works() -> None:
    roads = traffic("first", "second", at_once=10)
    given = roads.ask("notice", 200, NOON)
    assert (given.permits, given.room) == ({"first": 10, "second": 10}, 10)
    roads.give_back(given._replace(permits={"second": 10}), NOON)  # the first is busy now
    busy = roads.ask("notice", 200, NOON)
    assert (busy.permits, busy.room) == ({"first": 0, "second": 10}, 0)


def test_a_gateway_that_refuses_is_left_out_and_the_next_one_is_asked() -> None:
    roads = traffic("first", "second", at_once=10)
    trip(roads, "first")
    given = roads.ask("notice", 200, NOON)
    assert (given.permits, given.room) == ({"second": 10}, 10)
    assert roads.works("notice", NOON)


def test_a_gateway_on_trial_is_given_a_few_beside_those_of_the_next() -> None:
    roads = traffic("first", "second", at_once=10)
    trip(roads, "first")
    later = NOON + 31 * SECOND
    given = roads.ask("notice", 200, later)
    assert (given.permits, given.room) == ({"first": 3, "second": 10}, 13)
    roads.give_back(given, later)
    assert roads.ask("notice", 5, later).room == 5


def test_a_gateway_that_bars_us_is_left_out_until_somebody_acts() -> None:
    roads = traffic("first")
    roads.roads["first"].leaving += 1
    assert roads.ended("first", Barred("no balance"), NOON, NOON) == (State.CLOSED, State.BARRED)
    assert roads.ask("notice", 200, NOON + 10_000_000).permits == {}
    roads.roads["first"].breaker.reset(NOON)
    assert roads.ask("notice", 200, NOON).room > 0


def test_a_demoted_gateway_gets_what_it_probes_and_all_where_there_is_no_other() -> None:
    roads = traffic("first", "second", at_once=10)
    roads.demoted.add(("first", "marketing"))
    given = roads.ask("marketing", 200, NOON)
    assert (given.demoted, given.room) == ({"first"}, 8)
    assert set(given.permits) == {"first", "second"}
    roads.give_back(given, NOON)
    assert roads.ask("notice", 200, NOON).demoted == set()
    trip(roads, "second")
    roads.roads["first"].leaving = 0
    assert roads.ask("marketing", 200, NOON).room == 8


def test_a_class_takes_nothing_from_gateways_off_its_route() -> None:
    roads = traffic("first", "second", routes={"notice": ("second",)})
    assert set(roads.ask("notice", 200, NOON).permits) == {"second"}


def test_asking_and_giving_back_leaves_everything_as_it_was() -> None:
    roads = traffic("first", "second", at_once=7, rate=30)
    before = [(road.leaving, road.bucket.ready_in_s(NOON)) for road in roads.roads.values()]
    for klass in CLASSES * 20:
        roads.give_back(roads.ask(klass, 200, NOON), NOON)
    assert [(road.leaving, road.bucket.ready_in_s(NOON)) for road in roads.roads.values()] == before
    assert roads.ask("notice", 200, NOON).permits == {"first": 7, "second": 7}


# The same with a dispatcher


async def test_a_gateway_that_refuses_connections_trips_and_messages_flow_through_the_second(office: Opening) -> None:
    first, second = Scripted("first", *[REFUSED] * 1_000), Scripted("second")
    here = office(first, second)
    here.put(*(send(f"{number}", customer=f"c{number}") for number in range(60)))
    for _ in range(20):
        await here.dispatch.dispatcher.drain()
        here.clock.at += SECOND
    assert here.states() == {"accepted": 60}
    assert here.rows("SELECT DISTINCT gateway FROM outbox") == [("second",)]
    assert len(second.got) == 60
    assert here.rows("SELECT gateway, class, old, new FROM gateway_changes") == [("first", "", "closed", "open")]
    taken = len(first.got)
    here.put(send("late"))
    await here.dispatch.dispatcher.drain()
    assert len(first.got) == taken  # it is not asked while it is open


async def test_a_gateway_that_works_again_is_tried_with_three_and_then_trusted(office: Opening) -> None:
    first, second = Scripted("first", *[REFUSED] * 5), Scripted("second")
    here = office(first, second, settings={"at_once": 5})
    here.put(*(send(f"{number}", customer=f"c{number}") for number in range(4)))
    here.put(send("urgent", klass="notice"))
    await here.dispatch.dispatcher.drain()
    here.clock.at += 31 * SECOND
    assert here.dispatch.traffic.roads["first"].breaker.state(here.clock.at) is State.HALF_OPEN
    here.put(*(send(f"new {number}", customer=f"d{number}") for number in range(10)))
    await here.dispatch.dispatcher.drain()
    assert here.dispatch.traffic.roads["first"].breaker.state(here.clock.at) is State.CLOSED
    changes = here.rows("SELECT old, new FROM gateway_changes ORDER BY seq")
    assert changes == [("closed", "open"), ("half-open", "closed")]
    assert here.states() == {"accepted": 15}
