from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from offices import NOON, PHONE, Scripted, rule, send, until
from structlog.testing import capture_logs

from triggers.core.times import HOUR
from triggers.dispatch.gateway import Fate, Heard, Receipt, Rejected, Reply, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from offices import Office

    Opening = Callable[..., Office]

OTHER = "+8613900005678"
AMERICAN = "+12025550123"
ARRIVED = Receipt(Fate.DELIVERED, "main-1", phone=PHONE, code="ok", at=NOON + 5)


async def heard(here: Office, *told: Receipt | Reply, gateway: str = "main") -> None:
    receipts = tuple(each for each in told if isinstance(each, Receipt))
    replies = tuple(each for each in told if isinstance(each, Reply))
    await here.dispatch.hearing.hear(gateway, Heard(receipts, replies))


async def accepted(here: Office, *names: str, **changes: Any) -> None:
    here.put(*(send(name, **changes) for name in names))
    await here.dispatch.dispatcher.drain()


def events(here: Office) -> list[dict[str, Any]]:
    """List what delivery brought into the log."""
    rows = here.rows("SELECT body FROM events WHERE source = 'triggers.dispatch' ORDER BY seq")
    return [json.loads(body) for (body,) in rows]


def suppressed(here: Office) -> list[tuple[Any, ...]]:
    return here.rows("SELECT phone, reason, author FROM suppressions ORDER BY phone")


def unsubscribed(here: Office) -> list[str]:
    return [row[0] for row in here.rows("SELECT customer FROM contacts WHERE unsubscribed = 1 ORDER BY customer")]


# Receipts


@pytest.mark.parametrize("fate", [Fate.DELIVERED, Fate.UNDELIVERED])
async def test_a_receipt_becomes_an_event_of_the_log(office: Opening, fate: Fate) -> None:
    here = office(Scripted())
    await accepted(here, "1", wave="w1", variant="b")
    here.clock.at += HOUR
    await heard(here, ARRIVED._replace(fate=fate))
    assert here.states() == {str(fate): 1}
    assert events(here) == [
        {
            "id": f"{fate}:1",
            "type": f"message.{fate}",
            "customer": "c1",
            "rule_id": "r",
            "wave": "w1",
            "variant": "b",
            "source": "triggers.dispatch",
            "at": NOON + HOUR,
        }
    ]
    assert [(entry.result, entry.id) for entry in here.entries] == [("accepted", f"{fate}:1")]
    assert here.moves[-1] == ("accepted", str(fate), 1)


async def test_a_receipt_of_a_message_that_no_rule_sent_is_no_event(office: Opening) -> None:
    here = office(Scripted())
    await accepted(here, "1", rule="", klass="verification", customer="")
    await heard(here, ARRIVED)
    assert here.states() == {"delivered": 1}
    assert (events(here), here.entries) == ([], [])


async def test_a_receipt_told_twice_is_one_event(office: Opening) -> None:
    here = office(Scripted())
    await accepted(here, "1")
    await heard(here, ARRIVED, ARRIVED)
    await heard(here, ARRIVED, ARRIVED._replace(fate=Fate.UNDELIVERED))
    assert [event["type"] for event in events(here)] == ["message.delivered"]


async def test_the_event_and_the_move_are_in_one_transaction(office: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    here = office(Scripted())
    await accepted(here, "1")

    def fail(*_: object) -> None:
        raise RuntimeError("no log")

    monkeypatch.setattr(here.log, "enter", fail)
    with pytest.raises(RuntimeError, match="no log"):
        await heard(here, ARRIVED)
    assert here.states() == {"accepted": 1}
    assert here.rows("SELECT * FROM receipts") == []
    assert here.moves[-1] == ("sending", "accepted", 1)
    monkeypatch.undo()
    await heard(here, ARRIVED)  # as the gateway tells it again
    assert (here.states(), len(events(here))) == ({"delivered": 1}, 1)


@pytest.mark.parametrize(
    "phone", ["+8613800001234", "8613800001234", "13800001234", "008613800001234", "+86 138 0000 1234", None]
)
async def test_the_number_of_a_receipt_is_read_however_the_gateway_writes_it(
    office: Opening, phone: str | None
) -> None:
    here = office(Scripted())
    await accepted(here, "1")
    await heard(here, ARRIVED._replace(phone=phone))
    assert here.states() == {"delivered": 1}


async def test_a_receipt_for_another_number_is_not_ours(office: Opening) -> None:
    here = office(Scripted())
    await accepted(here, "1")
    await heard(here, ARRIVED._replace(phone=OTHER))
    assert here.states() == {"accepted": 1}
    assert here.rows("SELECT phone, message FROM receipts") == [(OTHER, None)]


async def test_word_that_a_message_is_on_its_way_settles_one_that_may_have_left(office: Opening) -> None:
    here = office(Scripted("main", Unknown("reset")))
    await accepted(here, "1")
    early = ARRIVED._replace(provider_id="p9")
    await heard(here, early)  # we do not know yet what the gateway calls it
    assert here.states() == {"unknown": 1}
    await heard(here, Receipt(Fate.ON_ITS_WAY, "p9", command="1"))
    assert here.states() == {"delivered": 1}
    history = here.rows("SELECT old, new, reason FROM transitions ORDER BY seq")[2:]
    assert history == [("unknown", "accepted", "on its way"), ("accepted", "delivered", "")]
    assert here.moves[-2:] == [("unknown", "accepted", 1), ("accepted", "delivered", 1)]


async def test_word_that_a_message_is_on_its_way_ends_nothing(office: Opening) -> None:
    here = office(Scripted())
    await accepted(here, "1")
    await heard(here, ARRIVED._replace(fate=Fate.ON_ITS_WAY))
    assert (here.states(), here.rows("SELECT * FROM receipts"), events(here)) == ({"accepted": 1}, [], [])


@pytest.mark.parametrize(("billing", "spent"), [("delivered", 0), ("submitted", 12_000)])
@pytest.mark.parametrize("fate", [Fate.DELIVERED, Fate.UNDELIVERED])
async def test_what_is_billed_when_delivered_costs_nothing_when_not(
    office: Opening, billing: str, spent: int, fate: Fate
) -> None:
    here = office(Scripted(), settings={"billing": billing}, shop={"price_per_message": Decimal("0.12")})
    await accepted(here, "1", cost=12_000)
    await heard(here, ARRIVED._replace(fate=fate))
    cost = 12_000 if fate is Fate.DELIVERED else spent
    assert here.rows("SELECT cost FROM outbox") == [(cost,)]
    assert here.rows("SELECT reserved, spent, released FROM spending") == [(0, cost, 12_000 - cost)]


async def test_a_receipt_of_the_blacklist_is_an_opt_out(office: Opening) -> None:
    here = office(Scripted())
    here.tell("customer.updated", phone=PHONE)
    await accepted(here, "1")
    await heard(here, ARRIVED._replace(fate=Fate.UNDELIVERED, blacklisted=True))
    assert suppressed(here) == [(PHONE, "blacklisted", "gateway main")]
    assert [event["type"] for event in events(here)] == ["customer.unsubscribed", "message.undelivered"]
    assert unsubscribed(here) == ["c1"]


@pytest.mark.parametrize(
    "hostile",
    [
        {"code": "x" * 5_000},
        {"code": "\ud800"},
        {"at": 1 << 70},
        {"at": -5},
        {"at": 1 << 63},
        {"provider_id": "main-1", "phone": "x" * 10_000},
        {"phone": "1" * 30},
        {"phone": "=1+1"},
    ],
)
async def test_what_a_receipt_says_is_bounded(office: Opening, hostile: dict[str, Any]) -> None:
    here = office(Scripted())
    await accepted(here, "1")
    await heard(here, ARRIVED._replace(**hostile))
    assert here.states() == {"delivered": 1}
    ((code, arrived_at),) = here.rows("SELECT r.code, o.arrived_at FROM receipts r JOIN outbox o ON o.seq = r.message")
    assert len(code) <= 120
    assert arrived_at in (NOON, NOON + 5)


@pytest.mark.parametrize("ids", [{"provider_id": "\ud800"}, {"provider_id": "x" * 5_000}, {"command": "\udfff"}])
async def test_an_id_that_cannot_be_kept_names_nothing(office: Opening, ids: dict[str, str]) -> None:
    here = office(Scripted())
    await accepted(here, "1")
    await heard(here, ARRIVED._replace(**{"provider_id": None, **ids}))
    assert here.states() == {"accepted": 1}


# Replies


@pytest.mark.parametrize("text", ["R", "退订", "stop", "TD"])
async def test_an_opt_out_holds_for_the_number_and_for_every_customer_who_has_it(office: Opening, text: str) -> None:
    here = office(Scripted())
    for customer, phone in (("c1", PHONE), ("c2", "138 0000 1234"), ("c3", OTHER)):
        here.tell("customer.updated", customer, phone=phone)
    await heard(here, Reply(PHONE, text, "a"))
    assert suppressed(here) == [(PHONE, "reply", "gateway main")]
    assert unsubscribed(here) == ["c1", "c2"]
    assert [(event["type"], event["customer"]) for event in events(here)] == [
        ("customer.unsubscribed", "c1"),
        ("customer.unsubscribed", "c2"),
    ]
    assert [entry.result for entry in here.entries] == ["accepted", "accepted"]
    here.decided()
    await accepted(here, "1", "2", customer="c2")
    assert here.rows("SELECT DISTINCT state, reason FROM outbox") == [("suppressed", "unsubscribed")]


async def test_a_notice_and_a_code_still_go_to_who_opted_out(office: Opening) -> None:
    gateway = Scripted()
    here = office(gateway)
    await heard(here, Reply(PHONE, "R"))
    here.put(send("1", klass="notice"), send("2", klass="verification", rule=""), send("3"))
    await here.dispatch.dispatcher.drain()
    assert sorted(message.command for message in gateway.got) == ["1", "2"]


async def test_an_opt_out_of_a_number_that_nobody_has_holds_for_whoever_gets_it(office: Opening) -> None:
    here = office(Scripted())
    await heard(here, Reply(PHONE, "R"))
    assert (events(here), suppressed(here)) == ([], [(PHONE, "reply", "gateway main")])
    here.tell("customer.updated", phone=PHONE)
    await accepted(here, "1")
    assert here.states() == {"suppressed": 1}


async def test_a_number_that_may_be_two_is_stopped_as_both(office: Opening) -> None:
    here = office(Scripted())
    digits = "13802138000"  # a handset in China, and one in Ohio
    await heard(here, Reply(digits, "R"))
    assert [row[0] for row in suppressed(here)] == ["+13802138000", "+8613802138000"]


async def test_what_is_no_opt_out_stops_nobody_and_is_kept(office: Opening) -> None:
    here = office(Scripted())
    here.tell("customer.updated", phone=PHONE)
    await heard(here, Reply(PHONE, "Thanks!", "a", at=NOON + 1), Reply(PHONE, "帮助", "b"))
    assert (suppressed(here), events(here)) == ([], [])
    kept = here.rows("SELECT gateway, id, phone, text, meaning, alarm, at, received_at FROM replies ORDER BY seq")
    assert kept == [
        ("main", "a", PHONE, "Thanks!", "other", 0, NOON + 1, NOON),
        ("main", "b", PHONE, "帮助", "help", 0, None, NOON),
    ]


@pytest.mark.parametrize(("phone", "again"), [(AMERICAN, True), (PHONE, False)])
async def test_start_subscribes_again_but_not_in_china(office: Opening, phone: str, *, again: bool) -> None:
    here = office(Scripted())
    here.tell("customer.updated", phone=phone)
    await heard(here, Reply(phone, "STOP", "a"))
    here.clock.at += 1
    await heard(here, Reply(phone, "START", "b"))
    assert (suppressed(here) == []) is again
    assert (unsubscribed(here) == []) is again
    if again:
        assert events(here)[-1]["type"] == "customer.subscribed"
        changes = here.rows("SELECT change, reason, author FROM suppression_changes ORDER BY seq")
        assert changes == [("added", "reply", "gateway main"), ("removed", "reply", "gateway main")]
        here.clock.at += 1
        await heard(here, Reply(phone, "STOP", "c"))
        assert unsubscribed(here) == ["c1"]


@pytest.mark.parametrize("reason", ["complaint by letter", "blacklisted"])
async def test_start_takes_back_only_what_the_person_asked_for(office: Opening, reason: str) -> None:
    here = office(Scripted())
    here.tell("customer.updated", phone=AMERICAN)
    await here.dispatch.hearing.stop(AMERICAN, reason, "mei")
    before = events(here)
    here.clock.at += 1
    with capture_logs() as lines:
        await heard(here, Reply(AMERICAN, "STOP", "a"), Reply(AMERICAN, "START", "b"))
    assert suppressed(here) == [(AMERICAN, reason, "mei")]
    assert unsubscribed(here) == ["c1"]
    assert [event["type"] for event in events(here)[len(before) :]] == ["customer.unsubscribed"]
    assert [(line["event"], line["gateway"]) for line in lines] == [
        ("a START changes nothing: others put the number on the list", "main")
    ]
    assert "5550123" not in str(lines)
    assert here.rows("SELECT meaning FROM replies ORDER BY seq") == [("stop",), ("start",)]


async def test_start_subscribes_a_customer_again_whose_number_is_not_on_the_list(office: Opening) -> None:
    here = office(Scripted())
    here.tell("customer.updated", phone=AMERICAN)
    here.tell("customer.unsubscribed")
    assert unsubscribed(here) == ["c1"]
    here.clock.at += 1
    await heard(here, Reply(AMERICAN, "START", "a"))
    assert (unsubscribed(here), events(here)[-1]["type"]) == ([], "customer.subscribed")


async def test_a_reply_told_twice_counts_once_and_without_an_id_each_time(office: Opening) -> None:
    here = office(Scripted())
    here.tell("customer.updated", phone=PHONE)
    for _ in range(2):
        await heard(here, Reply(PHONE, "R", "a"))
    assert len(events(here)) == 1
    for _ in range(2):
        await heard(here, Reply(PHONE, "R"))
    assert len(here.rows("SELECT * FROM replies")) == 3
    assert len(suppressed(here)) == 1
    assert len({event["id"] for event in events(here)}) == 3
    await heard(here, Reply(PHONE, "R", "a"), gateway="other")
    assert len(here.rows("SELECT * FROM replies")) == 4  # another gateway's ids are its own


async def test_a_complaint_is_an_opt_out_and_raises_an_alarm_without_its_words(
    office: Opening, capsys: pytest.CaptureFixture[str]
) -> None:
    here = office(Scripted())
    await heard(here, Reply(PHONE, "再发就投诉你们 Mei", "a"))
    printed = "".join(capsys.readouterr())
    assert "complaint" in printed
    assert not any(secret in printed for secret in ("13800001234", "投诉", "Mei"))
    assert suppressed(here) == [(PHONE, "reply", "gateway main")]
    assert here.rows("SELECT alarm FROM replies") == [(1,)]


async def test_a_reply_from_what_is_no_number_is_told_and_left(
    office: Opening, capsys: pytest.CaptureFixture[str]
) -> None:
    here = office(Scripted())
    await heard(here, Reply("BANK", "R"), Reply(PHONE, "R"))
    assert "no number" in "".join(capsys.readouterr())
    assert [row[0] for row in suppressed(here)] == [PHONE]


async def test_a_hostile_reply_changes_nothing_but_its_own_row(office: Opening) -> None:
    here = office(Scripted())
    here.tell("customer.updated", phone=PHONE)
    texts = ["\ud800 退订", "x" * 100_000, "\x00'); DROP TABLE outbox; --", "=cmd|' /C calc'!A0"]
    await heard(here, *(Reply(PHONE, text, "i" * 600, at=1 << 70) for text in texts))
    kept = here.rows("SELECT id, length(text), at FROM replies ORDER BY seq")
    assert [row[0] for row in kept] == [None] * 4
    assert all(length <= 1_000 and at is None for _, length, at in kept)
    assert unsubscribed(here) == ["c1"]


async def test_a_customer_whose_name_is_as_long_as_may_be_is_unsubscribed_too(office: Opening) -> None:
    here = office(Scripted())
    names = [letter * 200 for letter in "ab"]
    for name in names:
        here.tell("customer.updated", name, phone=PHONE)
    await heard(here, Reply(PHONE, "R"))
    assert unsubscribed(here) == names
    assert here.rows("SELECT * FROM dead_letters") == []


async def test_who_opts_out_waits_only_for_what_is_leaving_to_them(office: Opening) -> None:
    gateway = Scripted()
    gateway.gate = asyncio.Event()
    here = office(gateway)
    here.tell("customer.updated", "c2", phone=OTHER)
    here.put(send("1"))
    draining = asyncio.create_task(here.dispatch.dispatcher.drain())
    await until(lambda: gateway.got)
    async with asyncio.timeout(10):
        await heard(here, Reply(OTHER, "R"))
    waiting = asyncio.create_task(here.dispatch.hearing.stop(PHONE, "asked by phone", "ann"))
    await until(lambda: len(suppressed(here)) == 2)
    await asyncio.sleep(0.02)
    assert not waiting.done()
    gateway.gate.set()
    async with asyncio.timeout(10):
        await waiting
    await draining
    assert suppressed(here)[0] == (PHONE, "asked by phone", "ann")


async def test_a_number_put_on_the_list_by_hand_unsubscribes_its_customers_once(office: Opening) -> None:
    here = office(Scripted())
    here.tell("customer.updated", phone=PHONE)
    await here.dispatch.hearing.stop(PHONE, "letter", "ann")
    await here.dispatch.hearing.stop(PHONE, "another letter", "bob")
    assert suppressed(here) == [(PHONE, "letter", "ann")]
    assert [event["id"] for event in events(here)] == [f"customer.unsubscribed:c1:letter-{NOON}"]


async def test_an_answer_of_the_blacklist_to_a_notice_is_an_opt_out_from_marketing(office: Opening) -> None:
    here = office(Scripted("main", Rejected("listed", blacklisted=True)))
    await accepted(here, "1", klass="notice")
    assert suppressed(here) == [(PHONE, "blacklisted", "gateway main")]


async def test_receipts_and_replies_of_one_call_are_kept_together(office: Opening) -> None:
    here = office(Scripted(), rules=[rule("r")])
    await accepted(here, "1", "2")
    await heard(here, ARRIVED, Reply(PHONE, "ok"), ARRIVED._replace(provider_id="main-2"))
    assert here.states() == {"delivered": 2}
    assert len(here.rows("SELECT * FROM replies")) == 1
