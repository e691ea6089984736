from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from offices import NOON, PHONE, Office, Scripted, rule, send

from triggers.core.rules import Stop
from triggers.core.times import DAY, HOUR, MINUTE, SECOND
from triggers.dispatch.gateway import Accepted, Fate, Heard, Receipt, Rejected, Sought, TryLater, Unknown
from triggers.dispatch.upkeep import ASKED_AT, exceeded
from triggers.store.claims import Pause, pauses, resume
from triggers.store.gateway_log import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    Opening = Callable[..., Office]

BAD = [{"delivered_below": "90%", "after_sends": 10}]
WARNING = [{"delivered_below": "90%", "after_sends": 10, "only": "warn"}]
ANNOYING = [{"unsubscribed_above": "20%", "after_sends": 10}]


class Settling(Scripted):
    """A gateway that can be asked, and answers as a test says; then it knows nothing."""

    def __init__(self, *told: Receipt | Rejected | Exception | None, name: str = "main", leaves: Any = None) -> None:
        super().__init__(name, *([Unknown("reset")] if leaves is None else leaves))
        self.told = list(told)
        self.asked: list[Sought] = []

    async def settle(self, sought: Sought) -> Receipt | Rejected | None:
        self.asked.append(sought)
        told = self.told.pop(0) if self.told else None
        if isinstance(told, Exception):
            raise told
        return told


async def turn(here: Office, at: int | None = None) -> None:
    here.clock.at = here.clock.at if at is None else at
    await here.dispatch.upkeep.turn()


async def deliver(here: Office, *names: str, arrived: int | None = None, gateway: str = "main", **changes: Any) -> None:
    """Let messages leave, each to another customer, and so many of them arrive; None: nothing is told of any."""
    here.put(*(send(name, **{"customer": f"c-{name}", "expires": here.clock.at + DAY, **changes}) for name in names))
    await here.dispatch.dispatcher.drain()
    if arrived is not None:
        told = tuple(
            Receipt(Fate.DELIVERED if number < arrived else Fate.UNDELIVERED, None, command=name)
            for number, name in enumerate(names)
        )
        await here.dispatch.hearing.hear(gateway, Heard(told))


def names(word: str, count: int) -> list[str]:
    return [f"{word}{number}" for number in range(count)]


def standings(here: Office) -> list[tuple[Any, ...]]:
    return here.rows("SELECT gateway, class, old, new FROM gateway_changes ORDER BY seq")


# What is overdue


@pytest.mark.parametrize(("after", "state"), [(DAY, "unknown"), (DAY + 1, "unknown_final")])
async def test_what_nothing_is_heard_of_is_given_up_after_a_day(office: Opening, after: int, state: str) -> None:
    here = office(Scripted("main", Unknown("reset")), settings={"price": Decimal("0.05")})
    await deliver(here, "1")
    await turn(here, NOON + after)
    assert here.states() == {state: 1}
    if state == "unknown_final":
        assert here.rows("SELECT new, reason FROM transitions ORDER BY seq DESC LIMIT 1") == [
            ("unknown_final", "no word within 24 h")
        ]
        assert here.moves[-1] == ("unknown", "unknown_final", 1)
    assert here.rows("SELECT spent FROM spending") == [(5_000,)]  # it may have left


@pytest.mark.parametrize(
    ("after", "receipts", "state"),
    [(72 * HOUR, True, "accepted"), (72 * HOUR + 1, True, "expired"), (900 * HOUR, False, "accepted")],
)
async def test_what_no_receipt_comes_for_expires_after_three_days_where_receipts_come_at_all(
    office: Opening, after: int, state: str, *, receipts: bool
) -> None:
    here = office(Scripted(receipts=receipts))
    await deliver(here, "1")
    await turn(here, NOON + after)
    assert here.states() == {state: 1}
    if state == "expired":
        assert here.moves[-1] == ("accepted", "expired", 1)


async def test_what_has_its_end_and_what_waits_is_left_alone(office: Opening) -> None:
    here = office(Scripted("main", Accepted("a"), Rejected("no"), TryLater("busy", after_s=3_600)))
    await deliver(here, "1", arrived=1)
    await deliver(here, "2")
    await deliver(here, "3")
    before = here.rows("SELECT command, state, reason FROM outbox")
    await turn(here, NOON + 100 * DAY)
    assert here.rows("SELECT command, state, reason FROM outbox") == before


# Asking


async def test_a_gateway_is_asked_for_what_may_have_left_and_its_word_counts(office: Opening) -> None:
    gateway = Settling(None, Receipt(Fate.DELIVERED, "p1", at=NOON + 5))
    here = office(gateway)
    await deliver(here, "1")
    await turn(here, NOON + MINUTE - 1)
    assert gateway.asked == []
    await turn(here, NOON + MINUTE)
    assert gateway.asked == [Sought("1", None, PHONE, NOON)]
    assert here.states() == {"unknown": 1}
    await turn(here, NOON + 5 * MINUTE - 1)
    assert len(gateway.asked) == 1
    await turn(here, NOON + 5 * MINUTE)
    assert here.states() == {"delivered": 1}
    assert here.rows("SELECT arrived_at FROM outbox") == [(NOON + 5,)]
    await turn(here, NOON + DAY)
    assert len(gateway.asked) == 2


@pytest.mark.parametrize(
    ("told", "state"),
    [
        (Receipt(Fate.UNDELIVERED, "p1", code="MK:0001"), ("undelivered", "MK:0001")),
        (Receipt(Fate.ON_ITS_WAY, "p1"), ("accepted", "on its way")),
        (Rejected("never seen"), ("undelivered", "never seen")),
        (None, ("unknown", "reset")),
        (ConnectionError("no route to 13800001234"), ("unknown", "reset")),
    ],
)
async def test_whatever_a_gateway_answers_is_taken_for_the_message_that_was_asked_for(
    office: Opening, told: Any, state: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    here = office(Settling(told))
    await deliver(here, "1")
    await deliver(here, "2")
    await turn(here, NOON + MINUTE)
    assert here.rows("SELECT state, reason FROM outbox WHERE command = '1'") == [state]
    assert here.rows("SELECT state FROM outbox WHERE command = '2'") == [("accepted",)]
    assert "13800001234" not in "".join(capsys.readouterr())


async def test_what_was_learnt_by_asking_is_matched_by_the_receipt_that_follows(office: Opening) -> None:
    here = office(Settling(Receipt(Fate.ON_ITS_WAY, "p1")))
    await deliver(here, "1")
    await turn(here, NOON + MINUTE)
    await here.dispatch.hearing.hear("main", Heard((Receipt(Fate.DELIVERED, "p1"),)))
    assert here.states() == {"delivered": 1}


async def test_a_refusal_by_the_blacklist_that_is_found_by_asking_is_an_opt_out(office: Opening) -> None:
    here = office(Settling(Rejected("listed", blacklisted=True)))
    await deliver(here, "1")
    await turn(here, NOON + MINUTE)
    assert here.rows("SELECT phone, reason FROM suppressions") == [(PHONE, "blacklisted")]


async def test_a_gateway_is_asked_only_so_often(office: Opening) -> None:
    gateway = Settling()
    here = office(gateway)
    await deliver(here, "1")
    for minute in range(0, 24 * 60, 10):
        await turn(here, NOON + minute * MINUTE)
    assert len(gateway.asked) == len(ASKED_AT)


async def test_one_gateway_that_cannot_be_asked_stops_no_other(office: Opening) -> None:
    broken = Settling(ConnectionError(), name="broken")
    other = Settling(Receipt(Fate.DELIVERED, "p1"), name="other")
    here = office(broken, other, routes={"notice": ("broken",), "marketing": ("other",)})
    here.put(send("1"))
    await here.dispatch.dispatcher.drain()
    here.put(send("2", klass="member"))
    await here.dispatch.dispatcher.drain()
    assert here.states() == {"unknown": 2}
    await turn(here, NOON + MINUTE)
    assert here.states() == {"unknown": 1, "delivered": 1}


# Gateways


async def test_a_gateway_that_gets_worse_is_demoted_within_a_day_and_its_messages_go_through_the_next(
    office: Opening,
) -> None:
    main, second = Scripted("main"), Scripted("second")
    here = office(main, second)
    await here.dispatch.upkeep.begin()
    for hour in range(6):
        await deliver(here, *names(f"good{hour}-", 100), arrived=97)
        await turn(here, here.clock.at + HOUR)
    assert standings(here) == []
    here.clock.at += 18 * HOUR  # the night
    began = here.clock.at
    for hour in range(6):
        await deliver(here, *names(f"bad{hour}-", 50), arrived=30)
        await turn(here, here.clock.at + HOUR)
        if here.dispatch.traffic.demoted:
            break
    assert standings(here) == [("main", "marketing", "good", "warned"), ("main", "marketing", "warned", "demoted")]
    assert here.clock.at - began <= DAY
    await deliver(here, *names("after", 100))
    assert len(second.got) >= 90
    assert [name for name in ids(main) if name.startswith("after")]  # a few show whether it is better again


def ids(gateway: Scripted) -> list[str]:
    return [message.command for message in gateway.got]


async def demoted(here: Office) -> None:
    await here.dispatch.upkeep.begin()
    await deliver(here, *names("bad", 200), arrived=120)
    await turn(here, here.clock.at + SECOND)
    assert standings(here) == [("main", "marketing", "good", "demoted")]
    assert here.dispatch.traffic.demoted == {("main", "marketing")}


async def test_a_demoted_gateway_is_restored_by_what_it_probes_and_what_was_before_counts_no_more(
    office: Opening,
) -> None:
    main, second = Scripted("main"), Scripted("second")
    here = office(main, second)
    await demoted(here)
    here.clock.at += MINUTE
    for number in range(8):
        here.put(*(send(f"{number}-{each}", customer=f"{number}-{each}") for each in range(250)))
        await here.dispatch.dispatcher.drain()
        for gateway, old in ((main, "main"), (second, "second")):
            told = tuple(
                Receipt(Fate.DELIVERED, None, command=name) for name in ids(gateway) if not name.startswith("bad")
            )
            await here.dispatch.hearing.hear(old, Heard(told))
        probes = len([name for name in ids(main) if not name.startswith("bad")])
        await turn(here, here.clock.at + SECOND)
        assert (len(standings(here)) == 2) is (probes >= 45), probes
    assert standings(here)[-1] == ("main", "marketing", "demoted", "good")
    assert here.dispatch.traffic.demoted == set()
    for _ in range(3):
        await turn(here, here.clock.at + MINUTE)
    assert len(standings(here)) == 2  # it does not go to and fro


async def test_a_demotion_is_for_one_class_and_outlives_a_restart(office: Opening) -> None:
    here = office(Scripted("main"), Scripted("second"))
    await demoted(here)
    await deliver(here, "notice", klass="notice")
    assert here.rows("SELECT gateway FROM outbox WHERE command = 'notice'") == [("main",)]
    again = Office(here.path, Scripted("main"), Scripted("second"), clock=here.clock)
    try:
        await again.dispatch.upkeep.begin()
        assert again.dispatch.traffic.demoted == {("main", "marketing")}
        await turn(again)
        assert len(standings(again)) == 1
    finally:
        again.close()


async def test_too_few_messages_and_numbers_that_do_not_exist_say_nothing_of_a_gateway(office: Opening) -> None:
    here = office(Scripted("main"), Scripted("second"))
    await deliver(here, *names("a", 199), arrived=0)
    await turn(here)
    assert standings(here) == []
    here.put(*(send(f"b{number}", customer=f"b{number}", klass="member") for number in range(300)))
    await here.dispatch.dispatcher.drain()
    told = tuple(
        Receipt(Fate.UNDELIVERED if number < 120 else Fate.DELIVERED, None, f"b{number}", invalid_number=number < 120)
        for number in range(300)
    )
    await here.dispatch.hearing.hear("main", Heard(told))
    await turn(here)
    assert standings(here) == []


async def test_messages_without_a_receipt_count_against_a_gateway_when_they_are_old_enough(office: Opening) -> None:
    here = office(Scripted("main"), Scripted("second"))
    await deliver(here, *names("a", 250))
    await turn(here, NOON + 30 * MINUTE)
    assert standings(here) == []
    await turn(here, NOON + 30 * MINUTE + 1)
    assert standings(here) == [("main", "marketing", "good", "demoted")]


async def test_what_left_more_than_a_day_ago_counts_no_more(office: Opening) -> None:
    here = office(Scripted("main"), Scripted("second"))
    await deliver(here, *names("a", 250), arrived=0)
    await turn(here, NOON + DAY + 1)
    assert standings(here) == []


async def test_a_gateway_that_tells_nothing_is_not_judged(office: Opening) -> None:
    here = office(Scripted("main", receipts=False))
    await deliver(here, *names("a", 250))
    await turn(here, NOON + HOUR)
    assert standings(here) == []


async def test_a_change_is_told_in_the_log_with_its_numbers(
    office: Opening, capsys: pytest.CaptureFixture[str]
) -> None:
    here = office(Scripted("main"), Scripted("second"))
    await demoted(here)
    printed = "".join(capsys.readouterr())
    assert "a gateway changed" in printed
    assert "120 of 200 arrived (60.0%)" in printed
    assert here.rows("SELECT why FROM gateway_changes") == [("120 of 200 arrived (60.0%)",)]


# Rules


@pytest.mark.parametrize("where", ["rule", "shop"])
async def test_a_rule_whose_messages_do_not_arrive_is_paused_until_somebody_lets_it_go_on(
    office: Opening, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = [rule("r", stop_if=BAD if where == "rule" else None), rule("q")]
    here = office(Scripted(), rules=rules, shop={"safety": BAD} if where == "shop" else None)
    await here.dispatch.upkeep.begin()
    await deliver(here, *names("a", 10), arrived=8)
    await deliver(here, *names("b", 10), arrived=10, rule="q")
    await turn(here)
    why = "80.0% of 10 messages arrived, below 90.0%"
    assert here.writer.submit(pauses).result(10) == [Pause("r", why, NOON, None)]
    assert here.pauses == 1
    assert why in "".join(capsys.readouterr())
    await turn(here)
    assert here.pauses == 1
    await deliver(here, "held")
    assert here.states()["queued"] == 1

    here.writer.submit(lambda connection: resume(connection, "r", NOON + MINUTE)).result(10)
    await turn(here, NOON + 2 * MINUTE)
    assert here.pauses == 2  # the engine is told
    await turn(here)
    assert here.pauses == 2
    await here.dispatch.dispatcher.drain()
    assert "queued" not in here.states()  # its numbers are counted afresh, so it is not paused again at once
    await deliver(here, *names("c", 10), arrived=0)
    await turn(here)
    assert here.writer.submit(pauses).result(10)[0].resumed_at is None


async def test_a_rule_that_only_warns_goes_on_and_is_told_once_a_day(
    office: Opening, capsys: pytest.CaptureFixture[str]
) -> None:
    here = office(Scripted(), rules=[rule("r", stop_if=WARNING)])
    await deliver(here, *names("a", 10), arrived=0)
    for hours in (0, 1, 23):
        await turn(here, NOON + hours * HOUR)
    assert "".join(capsys.readouterr()).count("do badly") == 1
    await turn(here, NOON + 24 * HOUR)
    assert "".join(capsys.readouterr()).count("do badly") == 1
    assert (here.pauses, here.writer.submit(pauses).result(10)) == (0, [])


async def test_a_rule_that_makes_people_leave_is_paused(office: Opening) -> None:
    here = office(Scripted(), rules=[rule("r", stop_if=ANNOYING)])
    await deliver(here, *names("a", 10))
    here.clock.at += MINUTE
    for number in (0, 1, 1):  # one of them says so twice
        here.tell("customer.unsubscribed", f"c-a{number}")
    await turn(here)
    assert here.pauses == 0
    here.tell("customer.unsubscribed", "c-a2")
    await turn(here)
    assert [each.reason for each in here.writer.submit(pauses).result(10)] == [
        "3 of 10 people opted out (30.0%), above 20.0%"
    ]


async def test_what_others_left_or_what_left_long_ago_pauses_no_rule(office: Opening) -> None:
    here = office(Scripted(), rules=[rule("r", stop_if=BAD), rule("q", stop_if=BAD)])
    await deliver(here, *names("a", 10), arrived=0)
    await turn(here, NOON + 31 * DAY)
    assert here.pauses == 0


async def test_a_rule_without_such_a_part_is_never_paused(office: Opening) -> None:
    here = office(Scripted(), rules=[rule("r", limits={"budget": Decimal(100)})])
    await deliver(here, *names("a", 100), arrived=0)
    await turn(here)
    assert here.pauses == 0


@pytest.mark.parametrize(
    ("stop", "seen", "said"),
    [
        (Stop(0.9, None, 10), Response(100, 10, 8, 0), "80.0% of 10"),
        (Stop(0.9, None, 10), Response(100, 10, 9, 0), ""),
        (Stop(0.9, None, 10), Response(100, 9, 0, 0), ""),  # too few were judged
        (Stop(None, 0.05, 10), Response(20, 0, 0, 1), ""),
        (Stop(None, 0.05, 10), Response(20, 0, 0, 2), "2 of 20"),
        (Stop(None, 0.05, 10), Response(9, 9, 9, 9), ""),
        (Stop(0.9, 0.05, 10), Response(20, 20, 20, 2), "2 of 20"),
        (Stop(None, None, 1), Response(20, 20, 0, 20), ""),
    ],
)
def test_shares_are_compared_only_when_enough_messages_left(stop: Stop, seen: Response, said: str) -> None:
    found = exceeded(stop, seen)
    assert found.startswith(said) if said else not found


async def test_it_looks_after_everything_again_and_again(office: Opening) -> None:
    here = office(Scripted("main", Unknown("reset")))
    await deliver(here, "1")
    running = asyncio.create_task(here.dispatch.upkeep.run(0.01))
    await asyncio.sleep(0.05)
    assert here.states() == {"unknown": 1}
    here.clock.at += DAY + 1
    async with asyncio.timeout(10):
        while here.states() != {"unknown_final": 1}:  # noqa: ASYNC110  the state is in the database
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
