from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from offices import NOON, PHONE, SEND, Scripted, rule, send, until

from triggers.core.times import HOUR, MINUTE, Zone
from triggers.dispatch.gateway import (
    Accepted,
    Answer,
    Barred,
    Fate,
    Heard,
    Outgoing,
    Receipt,
    Rejected,
    Reply,
    Template,
    TryLater,
    Unknown,
)
from triggers.dispatch.gateways.console import ConsoleGateway
from triggers.dispatch.promises import CLASSES
from triggers.store.database import connect_reader
from triggers.store.outbox import claim, counts
from triggers.store.states import Go, Hold

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from offices import Office
    from rich.text import Text

    Opening = Callable[..., Office]


class Watching(Scripted):
    """A gateway that looks what the disk says at the moment when it is given a message."""

    def __init__(self) -> None:
        super().__init__()
        self.path: Path | None = None
        self.states: list[dict[str, int]] = []

    async def send(self, message: Outgoing) -> Answer:
        assert self.path is not None
        with closing(connect_reader(self.path)) as reader:
            self.states.append(counts(reader))
        return await super().send(message)


def ids(gateway: Scripted) -> list[str]:
    return [message.command for message in gateway.got]


async def test_a_command_is_claimed_on_the_disk_before_it_leaves(office: Opening) -> None:
    gateway = Watching()
    here = office(gateway)
    gateway.path = here.path
    here.put(send("1"), send("2"))
    await here.dispatch.dispatcher.drain()
    assert ids(gateway) == ["1", "2"]
    assert gateway.states[0] == {"sending": 2}
    assert here.states() == {"accepted": 2}
    assert sorted(here.moves) == [("queued", "sending", 2), ("sending", "accepted", 1), ("sending", "accepted", 1)]


async def test_a_gateway_is_given_all_that_it_needs_to_know(office: Opening) -> None:
    gateway = Scripted()
    settings = {"templates": {"r": "T1", "r/b": "T2", "notice": "T3"}}
    here = office(gateway, settings=settings)
    here.put(
        send("1", params={"name": "Li"}),
        send("2", variant="b"),
        send("3", rule="", klass="notice", expires=NOON + HOUR),
        send("4", rule="other", params={"name": "Li"}),
    )
    await here.dispatch.dispatcher.drain()
    outgoing = {message.command: message for message in gateway.got}
    closes = NOON + 9 * HOUR  # 21:00 there, where marketing ends
    assert outgoing["1"] == Outgoing(
        "1", 1, PHONE, SEND.text, "marketing", closes, None, Template("T1", {"name": "Li"}), "r", NOON
    )
    assert outgoing["2"].template == Template("T2", {})
    assert (outgoing["3"].template, outgoing["3"].valid_until) == (Template("T3", {}), NOON + HOUR)
    assert outgoing["4"].template is None


@pytest.mark.parametrize(
    ("public_url", "secret", "receipts", "told"),
    [
        ("https://sms.example", "s3cret", True, True),
        (None, "s3cret", True, False),
        ("https://sms.example", None, True, False),
        ("https://sms.example", "s3cret", False, False),
    ],
)
async def test_a_gateway_that_calls_back_is_told_where_if_that_is_known(
    office: Opening, public_url: str | None, secret: str | None, *, receipts: bool, told: bool
) -> None:
    gateway = Scripted(receipts=receipts)
    here = office(gateway, settings={"secret": secret} if secret else None, public_url=public_url)
    here.put(send("1"))
    await here.dispatch.dispatcher.drain()
    (message,) = gateway.got
    if told:
        assert message.callback is not None
        assert message.callback.startswith("https://sms.example/")
        assert "s3cret" not in message.callback
    else:
        assert message.callback is None


@pytest.mark.parametrize("lost", [1, 2])
async def test_what_a_killed_service_was_sending_is_never_sent_again(office: Opening, lost: int) -> None:
    gateway = Scripted()
    here = office(gateway)
    here.put(send("1"), send("2"), send("3"))
    here.writer.submit(
        lambda connection: claim(connection, "marketing", lost, NOON, lambda _: Go("main", PHONE, 10, NOON + HOUR))
    ).result(10)
    assert here.dispatch.dispatcher.recover() == {"queued": 3 - lost, "unknown": lost}
    await here.dispatch.dispatcher.drain()
    assert ids(gateway) == ["1", "2", "3"][lost:]
    assert here.states() == {"accepted": 3 - lost, "unknown": lost}
    assert here.rows("SELECT DISTINCT reason, ambiguous, cost FROM outbox WHERE state = 'unknown'") == [
        ("killed", 1, 10)
    ]


async def test_a_notice_that_a_killed_service_was_sending_is_sent_again(office: Opening) -> None:
    gateway = Scripted()
    here = office(gateway)
    here.put(send("1", klass="notice"))
    here.writer.submit(
        lambda connection: claim(connection, "notice", 9, NOON, lambda _: Go("main", PHONE, 10, NOON + HOUR))
    ).result(10)
    assert here.dispatch.dispatcher.recover() == {"queued": 1}
    here.clock.at += MINUTE
    await here.dispatch.dispatcher.drain()
    assert [(message.command, message.attempt) for message in gateway.got] == [("1", 2)]


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (ValueError("broken"), ("unknown", "ValueError")),
        (Rejected("bad number"), ("rejected", "bad number")),
        (Unknown("reset"), ("unknown", "reset")),
    ],
)
async def test_a_gateway_that_fails_is_not_asked_again_for_what_must_not_come_twice(
    office: Opening, answer: Answer | Exception, state: tuple[str, str]
) -> None:
    gateway = Scripted("main", answer)
    here = office(gateway)
    here.put(send("1"))
    for _ in range(3):
        await here.dispatch.dispatcher.drain()
        here.clock.at += HOUR
    assert ids(gateway) == ["1"]
    assert here.rows("SELECT state, reason FROM outbox") == [state]


async def test_what_a_gateway_raises_is_told_by_its_kind_without_its_words(
    office: Opening, capsys: pytest.CaptureFixture[str]
) -> None:
    here = office(Scripted("main", ValueError(f"no route to {PHONE}")))
    here.put(send("1"))
    await here.dispatch.dispatcher.drain()
    printed = "".join(capsys.readouterr())
    assert "ValueError" in printed
    assert "8613800001234" not in printed
    assert here.rows("SELECT reason FROM outbox") == [("ValueError",)]


@pytest.mark.parametrize("answer", [TryLater("busy", after_s=60), Barred("no balance")])
async def test_what_did_not_leave_goes_through_another_gateway(office: Opening, answer: Answer) -> None:
    first, second = Scripted("first", answer), Scripted("second")
    here = office(first, second)
    here.put(send("1"))
    await here.dispatch.dispatcher.drain()
    here.clock.at += 61_000 + MINUTE
    await here.dispatch.dispatcher.drain()
    assert (ids(first), ids(second)) == (["1"], ["1"])
    assert here.rows("SELECT state, gateway, attempts, tried FROM outbox") == [("accepted", "second", 2, "first")]


async def test_a_class_does_not_wait_for_another(office: Opening) -> None:
    slow, fast = Scripted("slow"), Scripted("fast")
    slow.gate = asyncio.Event()
    here = office(
        slow, fast, routes=dict.fromkeys(("marketing", "member", "greeting"), ("slow",)) | {"verification": ("fast",)}
    )
    running = asyncio.create_task(here.dispatch.dispatcher.run())
    here.put(*(send(f"m{number}") for number in range(300)))
    here.dispatch.dispatcher.more("marketing")
    await until(lambda: slow.got)
    here.put(send("code", rule="", klass="verification"))
    here.dispatch.dispatcher.more("verification")
    await until(lambda: fast.got)
    assert here.rows("SELECT state FROM outbox WHERE command = 'code'") in ([("sending",)], [("accepted",)])
    assert len(slow.got) == 80  # of its hundred connections a fifth is for what is urgent
    slow.gate.set()
    here.dispatch.dispatcher.stop()
    await running


async def test_a_class_that_found_no_room_since_another_was_looking_is_told_at_once(
    office: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("triggers.dispatch.traffic.LOOK_AGAIN_S", 1_000.0)
    monkeypatch.setattr("triggers.dispatch.dispatcher.LONGEST_SLEEP_S", 1_000.0)
    gateway = Scripted()
    here = office(gateway, settings={"at_once": 2})
    here.put(*(send(klass, klass=klass, customer=klass) for klass in CLASSES))
    running = asyncio.create_task(here.dispatch.dispatcher.run())
    await until(lambda: here.states() == {"accepted": len(CLASSES)})
    here.dispatch.dispatcher.stop()
    await running


async def test_all_that_is_due_leaves_however_much_is_held_before_it(office: Opening) -> None:
    gateway = Scripted()
    rules = [rule("shut", send={"text": "x", "window": ["09:00-10:00"]}), rule("r")]
    here = office(gateway, rules=rules)
    here.put(*(send(f"h{number}", rule="shut") for number in range(250)), send("1"), send("2"))
    await here.dispatch.dispatcher.drain()
    assert ids(gateway) == ["1", "2"]
    assert here.states() == {"accepted": 2, "queued": 250}


async def test_a_slow_gateway_is_waited_for_at_the_end(office: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = Scripted()
    here = office(gateway, settings={"rate": 2.0})
    waited: list[float] = []

    async def pass_by(wait_s: float) -> None:
        waited.append(wait_s)
        here.clock.at += int(wait_s * 1_000) + 1

    monkeypatch.setattr("triggers.dispatch.dispatcher.asyncio.sleep", pass_by)
    here.put(*(send(f"{number}", customer=f"c{number}") for number in range(5)))
    await here.dispatch.dispatcher.drain()
    assert len(gateway.got) == 5
    assert sum(waited) >= 1.9  # of two tokens one is kept for what is urgent
    assert here.states() == {"accepted": 5}


async def test_a_gateway_that_works_no_more_is_not_waited_for_at_the_end(office: Opening) -> None:
    here = office(Scripted("main", Barred("no balance")))
    here.put(send("1"), send("2"))
    async with asyncio.timeout(10):
        await here.dispatch.dispatcher.drain()
    assert here.states()["queued"] >= 1


async def test_it_sends_what_comes_until_it_is_stopped(office: Opening) -> None:
    gateway = Scripted()
    here = office(gateway)
    running = asyncio.create_task(here.dispatch.dispatcher.run())
    for name in ("1", "2"):
        here.put(send(name))
        here.dispatch.dispatcher.more()
        await until(lambda name=name: name in ids(gateway))  # type: ignore[misc]
    here.dispatch.dispatcher.stop()
    async with asyncio.timeout(10):
        await running
    here.put(send("3"))
    assert ids(gateway) == ["1", "2"]
    assert here.states() == {"accepted": 2, "queued": 1}


async def test_what_is_under_way_is_waited_for_when_it_stops(office: Opening) -> None:
    gateway = Scripted()
    gateway.gate = asyncio.Event()
    here = office(gateway)
    here.put(send("1"))
    running = asyncio.create_task(here.dispatch.dispatcher.run())
    await until(lambda: gateway.got)
    here.dispatch.dispatcher.stop()
    await asyncio.sleep(0.05)
    assert not running.done()
    gateway.gate.set()
    async with asyncio.timeout(10):
        await running
    assert here.states() == {"accepted": 1}


async def test_a_held_message_leaves_by_itself_when_its_time_has_come(office: Opening) -> None:
    gateway = Scripted()
    here = office(gateway)
    here.put(send("1"))
    held = here.writer.submit(
        lambda connection: claim(connection, "marketing", 1, NOON, lambda _: Hold(NOON + 50, "window"))
    ).result(10)
    assert len(held.held) == 1
    running = asyncio.create_task(here.dispatch.dispatcher.run())
    await asyncio.sleep(0.02)
    assert gateway.got == []
    here.clock.at += 50
    await until(lambda: gateway.got)
    here.dispatch.dispatcher.stop()
    await running


async def test_a_broken_disk_ends_it(office: Opening) -> None:
    gateway = Scripted()
    gateway.gate = asyncio.Event()
    here = office(gateway)
    here.put(send("1"))
    running = asyncio.create_task(here.dispatch.dispatcher.run())
    await until(lambda: gateway.got)
    here.writer.close()
    gateway.gate.set()
    async with asyncio.timeout(10):
        with pytest.raises(Exception, match="database is closed"):
            await running


async def test_a_receipt_that_was_faster_than_the_answer_is_told_with_it(office: Opening) -> None:
    gateway = Scripted()
    gateway.gate = asyncio.Event()
    here = office(gateway)
    here.put(send("1"))
    draining = asyncio.create_task(here.dispatch.dispatcher.drain())
    await until(lambda: gateway.got)
    await here.dispatch.hearing.hear("main", Heard((Receipt(Fate.DELIVERED, "main-1", phone=PHONE),)))
    assert here.entries == []
    gateway.gate.set()
    await draining
    assert here.states() == {"delivered": 1}
    assert [(entry.result, entry.id) for entry in here.entries] == [("accepted", "delivered:1")]
    assert ("accepted", "delivered", 1) in here.moves


async def test_an_answer_of_the_blacklist_is_an_opt_out(office: Opening) -> None:
    here = office(Scripted("main", Rejected("listed", blacklisted=True)))
    here.tell("customer.updated", phone=PHONE)
    here.put(send("1"))
    await here.dispatch.dispatcher.drain()
    assert here.rows("SELECT phone, reason, author FROM suppressions") == [(PHONE, "blacklisted", "gateway main")]
    assert [entry.result for entry in here.entries] == ["accepted"]
    assert here.rows("SELECT type, customer FROM events ORDER BY seq DESC LIMIT 1") == [("customer.unsubscribed", "c1")]


async def test_an_opt_out_is_answered_when_what_is_leaving_to_the_number_has_left(office: Opening) -> None:
    gateway = Scripted()
    gateway.gate = asyncio.Event()
    here = office(gateway)
    here.put(send("1"))
    draining = asyncio.create_task(here.dispatch.dispatcher.drain())
    await until(lambda: gateway.got)
    heard = Heard(replies=(Reply(PHONE, "退订", "r1"),))
    answering = asyncio.create_task(here.dispatch.hearing.hear("main", heard))
    await until(lambda: here.rows("SELECT * FROM suppressions"))
    await asyncio.sleep(0.02)
    assert not answering.done()
    gateway.gate.set()
    async with asyncio.timeout(10):
        await answering
    await draining
    here.put(send("2"))
    await here.dispatch.dispatcher.drain()
    assert ids(gateway) == ["1"]


async def test_the_console_shows_the_shops_time_and_a_masked_number_and_nothing_that_moves_the_cursor() -> None:
    lines: list[Text] = []
    gateway = ConsoleGateway("console", lines.append, Zone("Asia/Shanghai", (), (8 * HOUR,)))
    hostile = 'Hi [bold]Li\x1b[2J\n{"level":"x"}\u202e'
    message = Outgoing("1", 1, PHONE, hostile, "marketing", 0, rule="r", at=1_788_000_000_000)
    assert await gateway.send(message) == Accepted(None)
    assert await gateway.send(Outgoing("2", 1, PHONE, "x", "verification", 0)) == Accepted(None)
    first, second = (line.plain for line in lines)
    assert first == '2026-08-29 18:40  sent  +86138****1234   r  Hi [bold]Li�[2J�{"level":"x"}�'
    assert "verification  x" in second
