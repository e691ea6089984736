from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from offices import NOON, PHONE, SEND, Scripted, rule, send

from triggers.core.times import DAY, HOUR, MINUTE
from triggers.dispatch.gateway import Accepted, Fate, Heard, Receipt, Rejected, TryLater, Unknown
from triggers.dispatch.hours import Span
from triggers.store.claims import pause, resume
from triggers.store.outbox import cancel, claim
from triggers.store.states import Go

if TYPE_CHECKING:
    from collections.abc import Callable

    from offices import Office

    Opening = Callable[..., Office]

FRENCH, AMERICAN = "+33612345678", "+12025550123"
SUNDAY = NOON + 4 * DAY
CLOSES = NOON + 9 * HOUR  # 21:00 in China
NEW_YORK = Span(9 * HOUR, 20 * HOUR, zone="America/New_York")
COMMERCIAL = ("marketing", "member", "greeting")
ASKED_FOR = ("notice", "verification")


async def drain(here: Office, at: int | None = None) -> None:
    here.clock.at = here.clock.at if at is None else at
    await here.dispatch.dispatcher.drain()


def row(here: Office, name: str = "1") -> tuple[Any, ...]:
    """Tell a command's state, reason, and when it is looked at again."""
    (found,) = here.rows("SELECT state, reason, not_before FROM outbox WHERE command = ?", name)
    return found


def state(here: Office, name: str = "1") -> tuple[str, str]:
    return row(here, name)[:2]


# Whether the engine and the clock allow it


async def test_a_message_waits_until_the_engine_has_decided_on_all_events_of_its_customer(office: Opening) -> None:
    gateway = Scripted()
    here = office(gateway)
    here.tell("store.visited")
    here.writer.submit(lambda connection: connection.execute("DELETE FROM progress")).result(10)
    here.put(send("1"), send("2", customer="c2"), send("3", klass="notice"), send("4", rule="", klass="notice"))
    await drain(here)
    assert sorted(message.command for message in gateway.got) == ["2", "4"]
    assert row(here, "1") == row(here, "3") == ("queued", "engine behind", NOON + 100)
    await drain(here, NOON + 99)
    assert row(here) == ("queued", "engine behind", NOON + 100)
    here.decided()
    await drain(here, NOON + 100)
    assert state(here) == state(here, "3") == ("accepted", "")


async def test_what_an_event_cancels_meanwhile_does_not_leave(office: Opening) -> None:
    here = office(Scripted())
    here.tell("store.visited")
    here.writer.submit(lambda connection: connection.execute("DELETE FROM progress")).result(10)
    here.put(send("1"))
    await drain(here)
    here.writer.submit(lambda connection: cancel(connection, "c1", ("r", None, 1), "by order.paid", NOON)).result(10)
    here.decided()
    await drain(here, NOON + HOUR)
    assert state(here) == ("cancelled", "by order.paid")


async def test_what_an_event_cancels_while_its_gateway_refuses_it_does_not_leave_later(office: Opening) -> None:
    gateway = Scripted("main", TryLater("busy"))
    gateway.gate = asyncio.Event()
    here = office(gateway)
    here.put(send("1"))
    sending = asyncio.create_task(here.dispatch.dispatcher.drain())
    async with asyncio.timeout(10):
        await gateway.came.wait()
    here.writer.submit(lambda connection: cancel(connection, "c1", ("r", None, 1), "by order.paid", NOON)).result(10)
    gateway.gate.set()
    await sending
    await drain(here, NOON + HOUR)
    assert len(gateway.got) == 1
    assert state(here) == ("cancelled", "by order.paid")
    assert here.moves == [("queued", "sending", 1), ("sending", "queued", 1), ("queued", "cancelled", 1)]


async def test_what_an_event_cancels_while_the_service_is_killed_with_it_does_not_leave_later(office: Opening) -> None:
    gateway = Scripted()
    here = office(gateway)
    here.put(send("1", klass="notice"))
    go = Go("main", PHONE, 5, NOON + HOUR)
    here.writer.submit(lambda connection: claim(connection, "notice", 9, NOON, lambda _: go)).result(10)
    here.writer.submit(lambda connection: cancel(connection, "c1", ("r", None, 1), "by order.paid", NOON)).result(10)
    assert here.dispatch.dispatcher.recover() == {"cancelled": 1}
    await drain(here, NOON + HOUR)
    assert gateway.got == []
    assert state(here) == ("cancelled", "by order.paid")


@pytest.mark.parametrize(("at", "wanted"), [(-1, ("accepted", "")), (0, ("expired", "expired"))])
async def test_what_is_too_late_does_not_leave(office: Opening, at: int, wanted: tuple[str, str]) -> None:
    here = office(Scripted())
    here.put(send("1", expires=NOON + 2 * HOUR))
    await drain(here, NOON + 2 * HOUR + at)
    assert state(here) == wanted
    assert here.ended == ([] if at else [("r", "expired")])


async def test_in_virtual_time_nothing_is_late_shut_or_capped(office: Opening) -> None:
    gateway = Scripted()
    shop = {"caps": {"marketing": ["1 / 30d"]}, "window": ["11:00-13:00"]}
    here = office(gateway, virtual=True, shop=shop, rules=[rule("r")])
    here.tell("store.visited")
    here.writer.submit(lambda connection: connection.execute("DELETE FROM progress")).result(10)
    here.put(send("1", expires=NOON), send("2", expires=NOON))
    await drain(here, NOON + 12 * HOUR)
    assert here.states() == {"accepted": 2}
    assert gateway.got[0].at == NOON
    assert gateway.got[0].valid_until == NOON + 13 * HOUR  # an hour from now at least


async def test_in_virtual_time_a_pause_is_looked_at_again_after_a_while(office: Opening) -> None:
    here = office(Scripted(), virtual=True, rules=[rule("r", status="paused")])
    here.put(send("1", expires=NOON - DAY))
    await drain(here)
    assert row(here) == ("queued", "paused", NOON + MINUTE)


# Whether the rule may


@pytest.mark.parametrize("by", ["file", "numbers"])
async def test_messages_of_a_paused_rule_wait_and_leave_when_it_goes_on(office: Opening, by: str) -> None:
    here = office(Scripted(), rules=[rule("r", status="paused" if by == "file" else "live"), rule("q")])
    if by == "numbers":
        here.writer.submit(lambda connection: pause(connection, "r", "60%", NOON)).result(10)
    here.put(send("1"), send("2", rule="q"))
    await drain(here)
    assert row(here) == ("queued", "paused", NOON + MINUTE)
    assert state(here, "2") == ("accepted", "")
    if by == "numbers":
        here.writer.submit(lambda connection: resume(connection, "r", NOON)).result(10)
    else:
        here.use(rule("r"), rule("q"))
    await drain(here, NOON + MINUTE)
    assert state(here) == ("accepted", "")


async def test_a_pause_that_lasts_too_long_is_told_as_the_reason(office: Opening) -> None:
    here = office(Scripted(), rules=[rule("r", status="paused")])
    here.put(send("1", expires=NOON + 90_000))
    await drain(here)
    await drain(here, NOON + MINUTE)
    assert row(here) == ("queued", "paused", NOON + 90_000)
    await drain(here, NOON + 90_000)
    assert state(here) == ("expired", "paused")


async def test_a_pause_holds_notices_of_the_rule_but_not_messages_of_no_rule(office: Opening) -> None:
    here = office(Scripted(), rules=[rule("r", status="paused", **{"class": "notice"})])
    here.put(send("1", klass="notice"), send("2", klass="notice", rule=""))
    await drain(here)
    assert (state(here)[0], state(here, "2")[0]) == ("queued", "accepted")


@pytest.mark.parametrize("status", ["draft", "shadow"])
async def test_what_a_rule_decided_does_not_leave_while_it_is_not_live(office: Opening, status: str) -> None:
    here = office(Scripted(), rules=[rule("r", status=status)])
    here.put(send("1"))
    await drain(here)
    assert row(here) == ("queued", "paused", NOON + MINUTE)
    here.use(rule("r"))
    await drain(here, NOON + MINUTE)
    assert state(here) == ("accepted", "")


async def test_what_a_pause_held_stays_held_where_the_rule_is_removed(office: Opening) -> None:
    here = office(Scripted(), rules=[rule("r", status="paused")])
    here.put(send("1", expires=NOON + 2 * MINUTE))
    await drain(here)
    here.use(rule("q"))
    await drain(here, NOON + MINUTE)
    assert state(here) == ("queued", "paused")
    await drain(here, NOON + 2 * MINUTE)
    assert state(here) == ("expired", "paused")


@pytest.mark.parametrize(("status", "end"), [("paused", ("queued", "paused")), ("live", ("accepted", ""))])
async def test_what_a_renamed_rule_decided_goes_by_its_new_name(
    office: Opening, status: str, end: tuple[str, str]
) -> None:
    here = office(Scripted(), rules=[rule("r", status="paused")])
    here.put(send("1"))
    await drain(here)
    here.use(rule("n", renamed_from="r", status=status))
    await drain(here, NOON + MINUTE)
    assert state(here) == end


# Whom it goes to


async def test_without_a_number_nothing_leaves(office: Opening) -> None:
    here = office(Scripted())
    here.put(send("1"), phone=None)
    here.tell("customer.updated", "c2", phone="landline 5")
    here.put(send("2", customer="c2"), phone="landline 5")
    await drain(here)
    assert state(here) == ("suppressed", "no phone")
    assert state(here, "2") == ("suppressed", "phone not valid")
    assert sorted(here.ended) == [("r", "no phone"), ("r", "phone not valid")]


async def test_it_goes_to_the_number_of_now_and_what_no_rule_sends_to_the_one_it_was_posted_for(
    office: Opening,
) -> None:
    gateway = Scripted()
    here = office(gateway)
    here.put(send("1"), send("2", rule="", klass="notice"))
    here.tell("customer.updated", phone="139 0000 5678")
    await drain(here)
    assert {message.command: message.phone for message in gateway.got} == {"1": "+8613900005678", "2": PHONE}


@pytest.mark.parametrize("klass", [*COMMERCIAL, *ASKED_FOR])
@pytest.mark.parametrize("how", ["event", "number"])
async def test_who_opted_out_gets_nothing_but_what_they_asked_for(office: Opening, klass: str, how: str) -> None:
    here = office(Scripted())
    here.tell("customer.updated", phone=PHONE)
    if how == "event":
        here.tell("customer.unsubscribed")
    else:
        await here.dispatch.hearing.stop(PHONE, "letter", "ann")
        here.tell("customer.subscribed", at=NOON + 1)  # the number stays on the list all the same
    here.put(send("1", klass=klass))
    await drain(here)
    assert state(here) == (("suppressed", "unsubscribed") if klass in COMMERCIAL else ("accepted", ""))


@pytest.mark.parametrize(
    ("policy", "said", "registered", "leaves"),
    [
        ("required", True, False, True),
        ("required", None, True, False),
        ("required", None, False, False),
        ("required", False, True, False),
        ("registration", True, False, True),
        ("registration", None, True, True),
        ("registration", None, False, False),
        ("registration", False, True, False),
        ("assumed", True, False, True),
        ("assumed", None, False, True),
        ("assumed", False, True, False),
    ],
)
@pytest.mark.parametrize("klass", ["marketing", "notice"])
async def test_consent_is_asked_for_by_policy(
    office: Opening, policy: str, klass: str, *, said: bool | None, registered: bool, leaves: bool
) -> None:
    here = office(Scripted(), consent=policy)
    if said is not None:
        here.tell("customer.updated", consent=said)
    if registered:
        here.tell("customer.registered")
    here.put(send("1", klass=klass))
    await drain(here)
    assert state(here) == (("accepted", "") if leaves or klass == "notice" else ("suppressed", "no consent"))


# What it says


@pytest.mark.parametrize(
    ("klass", "text", "wanted"),
    [
        ("marketing", SEND.text, ""),
        ("marketing", "[Test] hello", "no opt-out text"),
        ("marketing", "hello Reply R", "no signature"),
        ("marketing", "[Test] {customer.name} Reply R", "unresolved variable"),
        ("marketing", "[Test] \u202ehello Reply R", "control character"),
        ("marketing", "[Test] free casino Reply R", "banned word"),
        ("marketing", f"[Test] {'x' * 300} Reply R", "too long"),
        ("notice", "[Test] hello", ""),
        ("verification", "[Test] 1234", ""),
        ("verification", "1234", "no signature"),
    ],
)
async def test_a_text_is_looked_at_a_last_time(office: Opening, klass: str, text: str, wanted: str) -> None:
    here = office(Scripted(), shop={"copy": {"banned": ["casino"], "max_segments": 2}})
    here.put(send("1", klass=klass, text=text))
    await drain(here)
    assert state(here) == (("suppressed", wanted) if wanted else ("accepted", ""))


# When


@pytest.mark.parametrize(
    ("at", "wanted"),
    [
        (CLOSES - 61_000, ("accepted", "", 0)),
        (CLOSES - MINUTE, ("queued", "window", CLOSES + 12 * HOUR)),  # the last minute is too late to arrive
        (CLOSES, ("queued", "window", CLOSES + 12 * HOUR)),
        (CLOSES + 12 * HOUR - 1, ("queued", "window", CLOSES + 12 * HOUR)),
        (CLOSES + 12 * HOUR, ("accepted", "", 0)),
    ],
)
@pytest.mark.parametrize("klass", COMMERCIAL)
async def test_commercial_messages_keep_the_hours_of_the_country(
    office: Opening, klass: str, at: int, wanted: tuple[Any, ...]
) -> None:
    here = office(Scripted())
    here.put(send("1", klass=klass))
    await drain(here, at)
    assert row(here) == wanted


@pytest.mark.parametrize("klass", ASKED_FOR)
async def test_what_was_asked_for_leaves_at_any_hour(office: Opening, klass: str) -> None:
    here = office(Scripted(), shop={"window": ["10:00-11:00"]})
    here.put(send("1", klass=klass, rule="gone" if klass == "notice" else ""))
    await drain(here, NOON + 14 * HOUR)
    assert here.states() == {"accepted": 1}


@pytest.mark.parametrize(
    ("phone", "at", "opens"),
    [
        (FRENCH, NOON, NOON + 4 * HOUR),  # 06:00 in Paris
        (FRENCH, SUNDAY + 5 * HOUR, SUNDAY + 28 * HOUR),  # on Sundays never
        (AMERICAN, NOON, NOON + 9 * HOUR),  # 00:00 in New York, where all of its customers are
        ("+6591234567", NOON + 8 * HOUR, NOON + 21 * HOUR),  # Singapore: until 20:00, from 09:00
    ],
)
async def test_the_hours_are_those_of_the_numbers_country(office: Opening, phone: str, at: int, opens: int) -> None:
    here = office(Scripted(), hours={"US": NEW_YORK})
    here.put(send("1", expires=NOON + 9 * DAY), phone=phone)
    await drain(here, at)
    assert row(here) == ("queued", "window", opens)
    await drain(here, row(here)[2])
    assert state(here) == ("accepted", "")


async def test_both_the_window_of_the_rule_and_the_hours_of_the_country_must_be_open(office: Opening) -> None:
    rules = [
        rule("r", send={"text": "x", "window": ["08:00-09:30"]}),
        rule("q", send={"text": "x", "window": ["20:30-23:00"]}),
    ]
    gateway = Scripted()
    here = office(gateway, rules=rules)
    here.put(send("1"), send("2", rule="q"))
    await drain(here)
    assert row(here) == ("queued", "window", NOON + 21 * HOUR)  # 09:00, when both are
    assert row(here, "2") == ("queued", "window", NOON + 8 * HOUR + HOUR // 2)
    await drain(here, NOON + 8 * HOUR + HOUR // 2)
    await drain(here, NOON + 21 * HOUR)
    assert here.states() == {"accepted": 2}
    assert [message.valid_until for message in gateway.got] == [CLOSES, NOON + 21 * HOUR + HOUR // 2]


async def test_an_opening_that_is_too_short_to_arrive_in_is_passed_over(office: Opening) -> None:
    spans = ["12:30-12:31", "13:00-13:02"]
    here = office(Scripted(), rules=[rule("r", send={"text": "x", "window": spans})])
    here.put(send("1"))
    await drain(here)
    assert row(here) == ("queued", "window", NOON + HOUR)


async def test_a_window_that_opens_too_late_ends_the_message(office: Opening) -> None:
    here = office(Scripted())
    here.put(send("1", expires=CLOSES + 12 * HOUR), send("2", expires=CLOSES + 12 * HOUR + 1))
    await drain(here, CLOSES)
    assert state(here) == ("expired", "expired")
    assert state(here, "2") == ("queued", "window")


async def test_a_gateway_is_told_until_when_the_message_may_arrive(office: Opening) -> None:
    gateway = Scripted()
    here = office(gateway, rules=[rule("r", valid={"until": "2026-09-02T18:30"}), rule("q")])
    here.put(
        send("valid"),
        send("hours", rule="q"),
        send("expires", rule="q", expires=NOON + HOUR),
        send("removed", rule="gone"),
        send("notice", rule="q", klass="notice", expires=NOON + 30 * HOUR),
    )
    await drain(here)
    assert {message.command: message.valid_until for message in gateway.got} == {
        "valid": NOON + 6 * HOUR + HOUR // 2,
        "hours": CLOSES,
        "expires": NOON + HOUR,
        "removed": CLOSES,
        "notice": NOON + 30 * HOUR,
    }


async def test_a_removed_rules_message_keeps_the_shops_window(office: Opening) -> None:
    here = office(Scripted(), shop={"window": ["15:00-16:00"]})
    here.put(send("1", rule="gone"), send("2", rule="gone", klass="notice"))
    await drain(here)
    assert row(here) == ("queued", "window", NOON + 3 * HOUR)
    assert state(here, "2") == ("accepted", "")


@pytest.mark.parametrize(
    ("periods", "opens"),
    [
        ({"not_during": "fair"}, NOON + 2 * HOUR),
        ({"during": "sale"}, NOON + 3 * HOUR),
    ],
)
async def test_a_rules_periods_hold_until_it_leaves(office: Opening, periods: dict[str, str], opens: int) -> None:
    shop = {
        "periods": {
            "fair": {"from": "2026-09-02T10:00", "until": "2026-09-02T14:00"},
            "sale": {"from": "2026-09-02T15:00", "until": "2026-09-02T16:00"},
        }
    }
    gateway = Scripted()
    here = office(gateway, shop=shop, rules=[rule("r", **periods)])
    here.put(send("1"))
    await drain(here)
    assert row(here) == ("queued", "window", opens)
    await drain(here, opens)
    (message,) = gateway.got
    assert message.valid_until == (NOON + 4 * HOUR if "during" in periods else CLOSES)


async def test_a_wave_with_a_window_of_its_own_keeps_that(office: Opening) -> None:
    waves = {
        "responded": ["message.clicked"],
        "within": "48h",
        "list": [
            {"id": "w1", "at": "2026-09-01 10:00"},
            {"id": "w2", "after": "1d", "send": {"text": "x", "window": ["14:00-15:00"]}},
        ],
    }
    gateway = Scripted()
    here = office(gateway, rules=[rule("r", when=None, wait=None, waves=waves)])
    here.put(send("1", wave="w1"), send("2", wave="w2"), send("3", wave="w9"))
    await drain(here)
    assert [state(here, name)[0] for name in "123"] == ["accepted", "queued", "accepted"]
    assert row(here, "2") == ("queued", "window", NOON + 2 * HOUR)
    await drain(here, NOON + 2 * HOUR)
    assert gateway.got[-1].valid_until == NOON + 3 * HOUR


# How often


async def test_a_full_cap_holds_a_message_until_it_frees(office: Opening) -> None:
    here = office(Scripted(), shop={"caps": {"marketing": ["2 / 3d"]}})
    for number in range(3):
        here.put(send(f"{number}", expires=NOON + 9 * DAY))
        await drain(here, NOON + number * HOUR)
    here.put(send("other customer", customer="c2"), send("other class", klass="member"), send("notice", klass="notice"))
    await drain(here)
    assert row(here, "2") == ("queued", "capped", NOON + 3 * DAY)
    assert here.states() == {"accepted": 5, "queued": 1}
    await drain(here, NOON + 3 * DAY)
    assert state(here, "2") == ("accepted", "")


async def test_the_cap_over_all_counts_every_commercial_class_and_no_other(office: Opening) -> None:
    here = office(Scripted(), shop={"caps": {"all": ["2 / 1d"]}})
    here.put(send("1", klass="notice"), send("2", klass="verification"), send("3", klass="member"))
    await drain(here)
    here.put(send("4"), send("5", klass="greeting"))
    await drain(here, NOON + HOUR)
    assert sorted(state(here, name) for name in "45") == [("accepted", ""), ("queued", "capped")]
    assert here.states() == {"accepted": 4, "queued": 1}
    assert here.rows("SELECT not_before FROM outbox WHERE state = 'queued'") == [(NOON + DAY,)]


async def test_of_two_messages_claimed_at_once_one_fills_the_cap(office: Opening) -> None:
    here = office(Scripted(), shop={"caps": {"marketing": ["1 / 30d"]}})
    here.put(send("1"), send("2"))
    await drain(here)
    assert state(here) == ("accepted", "")
    assert state(here, "2") == ("suppressed", "capped")  # it frees when it is too late


async def test_a_cap_of_nothing_lets_nothing_leave(office: Opening) -> None:
    here = office(Scripted(), shop={"caps": {"greeting": ["0 / 1d"]}})
    here.put(send("1", klass="greeting"), send("2"))
    await drain(here)
    assert (state(here), state(here, "2")) == (("suppressed", "capped"), ("accepted", ""))


@pytest.mark.parametrize(
    ("answer", "counts"),
    [
        (Accepted("x"), True),
        (Unknown("reset"), True),
        (Rejected("no"), False),
        (TryLater("busy", after_s=3_600), False),
    ],
)
async def test_a_cap_counts_what_left_or_may_have(office: Opening, answer: Any, *, counts: bool) -> None:
    here = office(Scripted("main", answer), shop={"caps": {"marketing": ["1 / 30d"]}})
    here.put(send("1"))
    await drain(here)
    here.put(send("2"))
    await drain(here)
    assert state(here, "2") == (("suppressed", "capped") if counts else ("accepted", ""))


# What it costs


async def test_the_budget_of_a_rule_holds_by_what_its_messages_really_cost(office: Opening) -> None:
    limits = {"limits": {"budget": Decimal("0.20")}}
    here = office(Scripted(), rules=[rule("r", **limits), rule("q")], settings={"price": Decimal("0.05")})
    here.put(send("1", segments=2), send("2", segments=2), send("3"), send("4", rule="q"))
    await drain(here)
    assert [state(here, name)[0] for name in "1234"] == ["accepted", "accepted", "suppressed", "accepted"]
    assert state(here, "3") == ("suppressed", "budget")
    assert here.rows("SELECT spent, released FROM spending WHERE rule = 'r'") == [(20_000, 5_000)]


async def test_what_did_not_leave_costs_nothing(office: Opening) -> None:
    limits = {"limits": {"budget": Decimal("0.05")}}
    answers = [Rejected("no"), TryLater("busy")]
    here = office(Scripted("main", *answers), rules=[rule("r", **limits)], settings={"price": Decimal("0.05")})
    for name in "12":
        here.put(send(name))
        await drain(here)
    assert (state(here)[0], state(here, "2")[0]) == ("rejected", "queued")
    assert here.rows("SELECT spent, reserved, released FROM spending") == [(0, 5_000, 5_000)]
    await drain(here, NOON + MINUTE)
    assert state(here, "2") == ("accepted", "")


async def test_the_budget_of_the_month_is_for_all_messages_and_stops_those_that_nobody_asked_for(
    office: Opening,
) -> None:
    here = office(Scripted(), month_budget=20_000, settings={"price": Decimal("0.05")})
    here.put(send("1", klass="notice"), send("2", klass="verification", rule=""))
    here.put(*(send(name, rule=name) for name in "345"))
    await drain(here)
    assert state(here, "5") == ("suppressed", "budget of the month")
    assert here.states() == {"accepted": 4, "suppressed": 1}
    here.put(send("6", klass="notice"), send("7", klass="verification", rule=""))
    await drain(here)
    assert here.states() == {"accepted": 6, "suppressed": 1}


async def test_a_message_costs_its_parts_at_the_price_of_its_gateway_or_of_the_shop(office: Opening) -> None:
    here = office(Scripted(), shop={"price_per_message": Decimal("0.07")})
    here.put(send("1", segments=3, cost=1))
    await drain(here)
    assert here.rows("SELECT cost, parts FROM outbox") == [(21_000, 3)]


# Which gateway


async def test_it_leaves_through_the_first_gateway_of_its_route(office: Opening) -> None:
    first, second = Scripted("first"), Scripted("second")
    here = office(first, second, routes={"notice": ("second", "first")})
    here.put(send("1"), send("2", klass="notice"))
    await drain(here)
    assert [message.command for message in first.got] == ["1"]
    assert [message.command for message in second.got] == ["2"]


@pytest.mark.parametrize("klass", ASKED_FOR)
async def test_a_second_attempt_goes_elsewhere_for_a_code_only(office: Opening, klass: str) -> None:
    first, second = Scripted("first", Unknown("reset")), Scripted("second")
    here = office(first, second)
    here.put(send("1", klass=klass, rule=""))
    await drain(here)
    await drain(here, NOON + 30_000)
    assert (len(first.got), len(second.got)) == ((1, 1) if klass == "verification" else (2, 0))


async def test_a_code_that_may_have_left_never_returns_to_that_gateway_while_there_is_another(office: Opening) -> None:
    first, second = Scripted("first", Unknown("reset")), Scripted("second", TryLater("busy"))
    here = office(first, second)
    here.put(send("1", klass="verification", rule=""))
    for seconds in (0, 5, 20):
        await drain(here, NOON + seconds * 1_000)
    assert (len(first.got), len(second.got)) == (1, 2)
    assert here.rows("SELECT state, gateway, ambiguous FROM outbox") == [("accepted", "second", 1)]


async def test_a_code_is_not_sent_again_when_a_minute_has_passed(office: Opening) -> None:
    first, second = Scripted("first", Unknown("reset")), Scripted("second")
    here = office(first, second)
    here.put(send("1", klass="verification", rule=""))
    await drain(here)
    assert state(here) == ("queued", "reset")
    await drain(here, NOON + MINUTE)
    assert second.got == []
    assert state(here) == ("expired", "too late for another attempt")


async def test_what_arrived_by_an_earlier_attempt_is_not_sent_again(office: Opening) -> None:
    gateway = Scripted("main", Unknown("reset"))
    here = office(gateway)
    here.put(send("1", klass="notice"))
    await drain(here)
    await here.dispatch.hearing.hear("main", Heard((Receipt(Fate.DELIVERED, "p1", command="1"),)))
    await drain(here, NOON + MINUTE)
    assert len(gateway.got) == 1
    assert state(here) == ("cancelled", "delivered by an earlier attempt")


async def test_a_notice_passes_everything_that_a_commercial_message_does_not(office: Opening) -> None:
    shop = {"window": ["15:00-16:00"], "caps": {"all": ["0 / 1d"]}}
    here = office(Scripted(), shop=shop, month_budget=0, consent="required", settings={"price": Decimal("0.05")})
    here.tell("customer.updated", phone=PHONE, consent=False)
    here.tell("customer.unsubscribed")
    await here.dispatch.hearing.stop(PHONE, "letter", "ann")
    here.decided()
    here.put(send("1", klass="notice", text="[Test] hello"), send("2", klass="verification", rule="", text="[Test] 1"))
    await drain(here, NOON + 12 * HOUR)
    assert here.states() == {"accepted": 2}
