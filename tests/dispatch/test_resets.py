from __future__ import annotations

from typing import TYPE_CHECKING

from offices import Scripted, send

from triggers.dispatch.gateway import Barred, TryLater
from triggers.store.gateway_log import RESET, Change, note_change

if TYPE_CHECKING:
    from collections.abc import Callable

    from offices import Office

    Begin = Callable[..., Office]

STATES = "SELECT gateway, old, new FROM gateway_changes WHERE class = '' ORDER BY seq"


def say(office: Office, gateway: str, new: str, klass: str = "") -> None:
    """Write a change into the database, as a command beside the service does."""
    change = Change(office.clock(), gateway, klass, "x", new, "by mei")
    office.writer.submit(lambda connection: note_change(connection, change)).result(10)


async def test_a_gateway_that_was_barred_is_given_messages_again_when_a_person_says_so(office: Begin) -> None:
    gateway = Scripted("main", Barred("no balance"))
    shop = office(gateway)
    await shop.dispatch.upkeep.begin()
    shop.put(send("1", klass="notice", text="[Test] hello"))
    await shop.dispatch.dispatcher.drain()
    await shop.dispatch.upkeep.turn()
    shop.clock.at += 120_000
    await shop.dispatch.dispatcher.drain()
    assert len(gateway.got) == 1
    assert shop.states() == {"queued": 1}
    say(shop, "main", RESET)
    await shop.dispatch.upkeep.turn()
    shop.clock.at += 120_000
    await shop.dispatch.dispatcher.drain()
    assert len(gateway.got) == 2
    assert shop.states() == {"accepted": 1}
    assert shop.rows(STATES) == [("main", "closed", "barred"), ("main", "x", "reset"), ("main", "reset", "closed")]


async def test_a_reset_is_done_once_and_one_that_other_changes_follow_is_not_lost(office: Begin) -> None:
    gateway = Scripted("main", *[TryLater("refused", refused_connection=True)] * 5)
    shop = office(gateway)
    await shop.dispatch.upkeep.begin()
    road = shop.dispatch.traffic.roads["main"]
    for _ in range(5):
        road.breaker.note(TryLater("refused", refused_connection=True), shop.clock())
    say(shop, "main", RESET)
    say(shop, "main", "open")
    await shop.dispatch.upkeep.turn()
    assert road.breaker.state(shop.clock()) == "closed"
    road.breaker.note(Barred("no balance"), shop.clock())
    await shop.dispatch.upkeep.turn()
    assert road.breaker.state(shop.clock()) == "barred"


async def test_a_service_that_starts_knows_nothing_against_a_gateway_and_says_so(office: Begin) -> None:
    shop = office(Scripted("main"), Scripted("spare"), Scripted("fine"))
    for name, new in (("main", "barred"), ("spare", RESET), ("fine", "closed"), ("gone", "open")):
        say(shop, name, new)
    say(shop, "fine", "demoted", "marketing")
    await shop.dispatch.upkeep.begin()
    await shop.dispatch.upkeep.turn()
    assert shop.rows(STATES)[4:] == [("main", "barred", "closed"), ("spare", "reset", "closed")]


async def test_a_reset_of_a_gateway_that_is_not_there_stops_nothing(office: Begin) -> None:
    shop = office(Scripted("main", Barred("no balance")))
    await shop.dispatch.upkeep.begin()
    shop.dispatch.traffic.roads["main"].breaker.note(Barred("no balance"), shop.clock())
    say(shop, "gone", RESET)
    say(shop, "main", RESET)
    await shop.dispatch.upkeep.turn()
    assert shop.dispatch.traffic.roads["main"].breaker.state(shop.clock()) == "closed"
