"""The dispatcher of a fleet: what the workers decide leaves once, allowed and on time, whatever happens to it."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer
from kafka_broker import Write
from played_workers import RULE, Fleet, now, send, until
from running import query

from triggers.drivers.kafka.records import COMMANDS, DECISIONS, EVENTS, Cancel, encode_command
from triggers.drivers.kafka.rule_notes import Switched, keep_files
from triggers.store.decisions import DecisionRow

if TYPE_CHECKING:
    from pathlib import Path

    from running import Running

    from triggers.core.decisions import Send


def states(running: Running) -> dict[str, int]:
    return dict(query(running.db, "SELECT state, count(*) FROM outbox GROUP BY state"))


async def test_commands_given_twice_and_a_kill_in_between_leave_once(fleet: Fleet) -> None:
    sends = [send(number, f"c{number}") for number in range(40)]
    running = fleet.start()
    await fleet.commands(*sends[:20])
    await until(lambda: len(fleet.sent()) == 20)
    running.kill()
    await fleet.commands(*sends)
    running = fleet.start()
    await until(lambda: len(fleet.sent()) == 40)
    await fleet.commands(*sends)
    await fleet.commands(last := send(99, "c99"))
    await until(lambda: any(each["command"] == last.id for each in fleet.sent()))
    sent = [each["command"] for each in fleet.sent()]
    assert sorted(sent) == sorted({each.id for each in [*sends, last]})
    assert running.signal(signal.SIGTERM) == 0
    found = states(running)
    assert (
        found.pop("accepted") + found.pop("unknown", 0) == 41
    )  # killed before it had noted the answer, it may not know
    assert found == {}


async def test_a_message_waits_while_the_engine_has_not_come_to_its_customers_last_event(fleet: Fleet) -> None:
    running = fleet.start()
    await fleet.event("favorite.added", product_id="p1")
    last = await fleet.event("favorite.added", product_id="p2")
    await fleet.come(last - 1)
    await fleet.commands(send(1), send(2, "c2"))
    await until(lambda: len(fleet.sent()) == 1)  # of the other customer there is no event
    await until(lambda: ("engine behind",) in query(running.db, "SELECT reason FROM outbox"))
    await fleet.come(last, waiting={"c1": last - 1})
    await asyncio.sleep(1)
    assert [each["command"] for each in fleet.sent()] == ["c2-2"]
    await fleet.come(last)
    await until(lambda: len(fleet.sent()) == 2)


async def test_a_cancel_takes_back_what_is_queued_and_leaves_alone_what_has_left(fleet: Fleet) -> None:
    running = fleet.start()
    left, kept = send(1, "c2"), send(2)
    await fleet.commands(left)
    await until(lambda: len(fleet.sent()) == 1)
    await fleet.event("favorite.added", product_id="p1")
    cancels = [Cancel(each.customer, each.rule, each.identity, each.anchor, "order.paid") for each in (left, kept)]
    await fleet.commands(kept, *cancels)
    await until(lambda: states(running) == {"accepted": 1, "cancelled": 1})
    assert query(running.db, "SELECT reason FROM outbox WHERE state = 'cancelled'") == [("by order.paid",)]
    _, numbers = running.get("/metrics")
    assert 'triggers_outbox{state="cancelled"} 1.0' in numbers
    assert 'triggers_outbox{state="queued"} 0.0' in numbers
    assert 'triggers_gateway_state{class="",gateway="main",state="closed"} 1.0' in numbers
    assert "triggers_dispatcher_confirmed 1.0" in numbers
    assert f'triggers_unread{{topic="{fleet.settings.topic(COMMANDS)}"}} 0.0' in numbers
    assert running.get("/nowhere")[0] == 404
    assert 'triggers_http_answers_total{status="404"} 1.0' in running.get("/metrics")[1]


async def test_no_message_leaves_between_the_word_that_its_customers_event_is_decided_on_and_the_cancel(
    fleet: Fleet,
) -> None:
    running = fleet.start()
    command = send(1)
    at = await fleet.event("favorite.added", product_id="p1")
    await fleet.commands(command)
    await until(lambda: ("engine behind",) in query(running.db, "SELECT reason FROM outbox"))
    cancel = encode_command(Cancel("c1", command.rule, command.identity, command.anchor, "order.paid"))
    async with AIOKafkaProducer(
        bootstrap_servers=fleet.settings.bootstrap, transactional_id=fleet.settings.app
    ) as worker:
        await worker.begin_transaction()
        topic = fleet.settings.topic(COMMANDS)
        await (await worker.send(topic, cancel, key=b"c1", partition=fleet.part("c1")))
        await fleet.come(at)  # the commit has come to this topic, and not yet to the other
        await asyncio.sleep(1.5)
        assert states(running) == {"queued": 1}
        await worker.commit_transaction()
    await until(lambda: states(running) == {"cancelled": 1})
    await asyncio.sleep(0.5)
    assert fleet.sent() == []


async def test_who_unsubscribes_gets_nothing_commercial_that_was_queued_before(fleet: Fleet) -> None:
    await fleet.event("favorite.added", product_id="p1")
    await fleet.commands(send(1), send(2, klass="notice"))
    running = fleet.start()
    await until(lambda: states(running) == {"queued": 2})
    await fleet.come(await fleet.event("customer.unsubscribed"))
    await until(lambda: states(running) == {"accepted": 1, "suppressed": 1})
    assert [each["class"] for each in fleet.sent()] == ["notice"]
    _, numbers = running.get("/metrics")
    assert 'triggers_not_sent_total{reason="unsubscribed",rule="wish"} 1.0' in numbers


async def test_what_is_no_record_of_ours_stops_nothing(fleet: Fleet) -> None:
    part = fleet.part("c1")
    junk = [Write(value, key, partition=part) for value in (b"{", None, b"", b"\xff") for key in (b"c1", b"c2")]
    await fleet.write(EVENTS, *junk, Write(b"{", None, partition=part))
    out = {"id": "x", "type": "customer.unsubscribed", "customer": "c1", "at": now()}
    await fleet.write(EVENTS, Write(json.dumps(out).encode(), b"c9", partition=part))  # under another's key
    await fleet.write(COMMANDS, *junk)
    await fleet.write(DECISIONS, *junk)
    last = await fleet.event("favorite.added", product_id="p1")
    await fleet.commands(send(1))
    running = fleet.start()
    await fleet.come(last)
    await until(lambda: len(fleet.sent()) == 1)
    assert query(running.db, "SELECT id, part, offset FROM events") == [("e1", part, last)]
    told = [json.loads(line) for line in running.err if "not understood" in line]
    assert {each["place"].split("/")[0] for each in told} == {
        fleet.settings.topic(COMMANDS),
        fleet.settings.topic(DECISIONS),
    }


async def test_kills_at_any_moment_lose_nothing_and_double_nothing(fleet: Fleet) -> None:
    chance = random.Random(7)  # noqa: S311  chance that a seed repeats
    sends = [send(number, f"c{number}") for number in range(600)]
    for begin in range(0, 600, 100):
        running = fleet.start()
        writing = asyncio.create_task(fleet.commands(*sends[begin : begin + 100], *sends[begin : begin + 10]))
        told = [decided(each) for each in sends[begin : begin + 100]]
        telling = asyncio.create_task(fleet.decided(*told))
        await asyncio.sleep(chance.random() * 0.8)
        running.kill()
        await asyncio.gather(writing, telling)
    running = fleet.start()
    await until(lambda: sum(states(running).values()) == 600 and "queued" not in states(running))
    await until(lambda: "sending" not in states(running))
    found = states(running)
    sent = [each["command"] for each in fleet.sent()]
    assert len(sent) == len(set(sent))
    assert set(found) <= {"accepted", "unknown"}
    assert 600 - found.get("unknown", 0) <= len(sent) <= 600
    decisions = "SELECT identity, count(*) FROM decisions GROUP BY identity"
    await until(lambda: query(running.db, "SELECT count(*) FROM decisions") == [(600,)])
    assert {count for _, count in query(running.db, decisions)} == {1}
    assert running.signal(signal.SIGTERM) == 0


def decided(send: Send) -> DecisionRow:
    times = (send.anchor, send.due, send.at)
    return DecisionRow("ended", send.customer, send.rule, send.identity, None, *times, None, "sent", "", "r1")


async def test_why_tells_a_customers_story_from_its_database(fleet: Fleet) -> None:
    running = fleet.start()
    last = await fleet.event("favorite.added", product_id="p1")
    command = send(1, identity="p1")
    told = ("wish", "p1", None, command.anchor, command.due, command.at)
    await fleet.decided(
        DecisionRow("armed", "c1", *told, None, "", "", "r1"), DecisionRow("ended", "c1", *told, None, "sent", "", "r1")
    )
    await fleet.commands(command)
    await fleet.come(last)
    await until(lambda: states(running) == {"accepted": 1})
    assert running.signal(signal.SIGTERM) == 0
    words = triggers("why", "c1", "--db", str(running.db), "--rules", str(fleet.rules)).stdout
    assert "favorite.added" in words
    assert "accepted" in words
    assert "your wish is here" in words
    assert triggers("gateways", "--db", str(running.db), "--delivery", str(fleet.delivery)).returncode == 0
    added = triggers("suppressions", "add", "+8613800001234", "--reason", "asked", "--db", str(running.db))
    assert added.returncode == 0


def triggers(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "triggers", *words], capture_output=True, text=True, check=False, timeout=60
    )


async def test_in_virtual_time_nothing_is_too_late_and_events_have_the_logs_time(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    fleet = Fleet(kafka, prefix, tmp_path, virtual=True)
    await fleet.topics()
    then = 1_577_836_800_000  # 2020-01-01
    running = fleet.running("--virtual")
    try:
        event = {"id": "e", "type": "store.visited", "customer": "c1", "at": then}
        await fleet.write(EVENTS, Write(json.dumps(event).encode(), b"c1", then + 5, fleet.part("c1")))
        await until(lambda: running.address() and query(running.db, "SELECT received_at FROM events") == [(then + 5,)])
        await fleet.commands(send(1, at=then, expires=then + 1))
        await until(lambda: len(fleet.sent()) == 1)
        assert fleet.sent()[0]["at"].startswith("2020-01-01T00:00:00")
        body = json.dumps({"class": "notice", "to": "13800001234", "text": "hello"}).encode()
        answer = running.ask("POST", "/v1/messages", body, Idempotency_Key="k1")
        assert answer[0] == 202
        await until(lambda: len(fleet.sent()) == 2)
        assert fleet.sent()[1]["at"].startswith("2020-01-01T00:00:00")
    finally:
        running.kill()


async def test_it_goes_by_the_rules_that_the_workers_have_in_use(fleet: Fleet) -> None:
    running = fleet.start(reload_s=0.2)
    before = json.loads(running.get("/healthz")[1])["rules"]
    files = {path.name: path.read_bytes() for path in fleet.rules.iterdir()}
    files["wish.yaml"] = files["wish.yaml"].replace(b"status: live", b"status: paused")
    await keep_files(fleet.settings, files, Switched("other", {}))
    await until(lambda: json.loads(running.get("/healthz")[1])["rules"] != before)
    await fleet.commands(send(1), send(2, rule="gone", klass="notice"))
    await until(lambda: len(fleet.sent()) == 1)
    await until(lambda: ("paused",) in query(running.db, "SELECT reason FROM outbox"))
    assert (fleet.rules / "wish.yaml").read_text() == RULE  # its own folder is as it was
    running.kill()
    running = fleet.start()
    assert json.loads(running.get("/healthz")[1])["rules"] != before
