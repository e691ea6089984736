from __future__ import annotations

import json
import os
import signal
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from running import SAMPLE_RULES, Running, eventually, query, sends_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Start = Callable[..., Running]

SHOP = "shop: v1\nname: Test\ntimezone: Asia/Shanghai\n"
AT_ONCE = """
rule: v1
id: welcome
title: Welcome
owner: crm@yunque.example
status: live
class: notice
when: {event: customer.registered}
wait: 1s
send: {text: "Welcome, {customer.name|dear}"}
"""


@pytest.fixture
def quick_rules(tmp_path: Path) -> Path:
    """A rule that sends after a second."""
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "_shop.yaml").write_text(SHOP)
    (folder / "welcome.yaml").write_text(AT_ONCE)
    return folder


def event(key: str, kind: str = "store.visited", customer: str = "c1", **fields: Any) -> dict[str, Any]:
    return {"id": key, "type": kind, "customer": customer, "at": int(time.time() * 1_000)} | fields


def posted(running: Running, *events: dict[str, Any]) -> list[str]:
    status, answer = running.post(json.dumps(events).encode())
    assert status in (200, 422)
    return [each["result"] for each in answer["results"]]


def test_an_event_over_http_becomes_a_message_on_the_console_as_time_passes(run: Start, quick_rules: Path) -> None:
    running = run("--settle", "0", rules=quick_rules)
    known = event("a", "customer.updated", name="Mei", phone="+8613800001234")
    assert posted(running, known, event("b", "customer.registered")) == ["accepted", "accepted"]
    eventually(lambda: any("  sent  " in line for line in running.out))
    (line,) = (line for line in running.out if "  sent  " in line)
    assert line.rstrip().endswith("sent  +86138****1234   welcome  Welcome, Mei")
    (send,) = sends_of(running.db).values()
    ((received_at,),) = query(running.db, "SELECT received_at FROM events WHERE id = 'b'")
    assert send["due"] - send["anchor"] == 1_000
    assert send["at"] == max(send["due"], received_at)  # a busy machine may take the event in after it is due
    status, health = running.get("/healthz")
    assert (status, json.loads(health)["position"], json.loads(health)["lag_s"]) == (200, 2, 0.0)
    metrics = running.get("/metrics")[1]
    assert 'triggers_events_total{result="accepted"} 2.0' in metrics
    assert 'triggers_decisions_total{reason="sent",rule="welcome"} 1.0' in metrics
    eventually(lambda: 'triggers_outbox{state="accepted"} 1.0' in running.get("/metrics")[1])
    assert running.signal(signal.SIGTERM) == 0
    assert not any("13800001234" in line or "Mei" in line for line in running.err)


def test_a_wait_outlives_a_restart_and_a_kill_and_is_sent_once(run: Start, quick_rules: Path) -> None:
    first = run("--settle", "2", rules=quick_rules)
    phones = [event(f"p{name}", "customer.updated", name, phone="+8613800001234") for name in ("c1", "c2")]
    assert posted(first, *phones, event("b", "customer.registered")) == ["accepted"] * 3
    assert first.signal(signal.SIGINT) == 0
    second = run("--settle", "2", rules=quick_rules)
    assert posted(second, event("c", "customer.registered", customer="c2")) == ["accepted"]
    second.kill()
    third = run("--settle", "2", rules=quick_rules)
    third.address()
    eventually(lambda: sum("  sent  " in line for line in third.out) == 2)
    assert third.signal(signal.SIGTERM) == 0
    assert len(sends_of(third.db)) == 2
    assert not any("  sent  " in line for line in (*first.out, *second.out))


def test_who_has_no_number_gets_nothing_and_that_is_told(run: Start, quick_rules: Path) -> None:
    running = run("--settle", "0", rules=quick_rules)
    assert posted(running, event("b", "customer.registered")) == ["accepted"]
    eventually(lambda: query(running.db, "SELECT state, reason FROM outbox") == [("suppressed", "no phone")])
    counted = 'triggers_not_sent_total{reason="no phone",rule="welcome"} 1.0'
    eventually(lambda: counted in running.get("/metrics")[1])
    assert running.signal(signal.SIGTERM) == 0
    assert not any("  sent  " in line for line in running.out)


def test_an_acknowledged_event_outlives_a_kill(run: Start) -> None:
    running = run()
    names = [f"e{number}" for number in range(50)]
    for name in names:
        assert posted(running, event(name)) == ["accepted"]
    running.kill()
    assert query(running.db, "SELECT id FROM events ORDER BY seq") == [(name,) for name in names]
    assert posted(run(), event("e7", page="/")) == ["conflict"]


def test_a_second_service_on_a_database_is_refused_with_the_first_ones_number(run: Start) -> None:
    first = run()
    first.address()
    second = run()
    assert second.wait() == 2
    assert f"in use by another `triggers run` (process {first.pid})" in second.err[-1]
    assert first.get("/healthz")[0] == 200


def test_a_port_in_use_is_a_clear_error(run: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        running = run(port=taken.getsockname()[1])
        assert running.wait() == 2
        assert f"cannot listen on 127.0.0.1 port {taken.getsockname()[1]}" in running.err[-1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rules", "nowhere"], "no such folder of rules"),
        (["--db", "nowhere/t.db"], "No such file or directory"),
        (["--input", "nowhere.jsonl"], "the input nowhere.jsonl cannot be read"),
        (["--speed", "5"], "need --input"),
        (["--speed", "-1"], "--speed: Input should be greater than or equal to 0"),
        (["--port", "70000"], "--port: Input should be less than or equal to 65535"),
    ],
)
def test_what_cannot_be_used_is_said_and_nothing_starts(run: Start, options: list[str], words: str) -> None:
    running = run(*options)
    assert running.wait() == 2
    assert words in "".join(running.err)
    assert "Traceback" not in "".join(running.err)


def test_a_broken_rule_file_is_told_and_the_others_work(run: Start, quick_rules: Path) -> None:
    (quick_rules / "broken.yaml").write_text("rule: v1\nid: broken\nwiat: 3d\n")
    running = run(rules=quick_rules)
    assert json.loads(running.get("/healthz")[1])["rules"]["count"] == 1
    assert any("broken.yaml:3:1: error: unknown key 'wiat'" in line for line in running.err)


def test_a_log_in_virtual_time_shows_what_leaves_and_what_is_held_back(run: Start, small_log: Path) -> None:
    running = run("--input", str(small_log), "--speed", "2000000", "--exit-at-end")
    assert running.wait() == 0, running.err
    states = dict(query(running.db, "SELECT state, count(*) FROM outbox GROUP BY state"))
    assert set(states) == {"accepted", "suppressed"}
    assert len([line for line in running.out if "  sent  " in line]) == states["accepted"] > 50
    reasons = dict(query(running.db, "SELECT reason, count(*) FROM outbox WHERE state = 'suppressed' GROUP BY reason"))
    assert set(reasons) - {"unsubscribed"} == {"no consent"}  # an opt-out may come in before a message has left
    assert f"no consent {reasons['no consent']}" in running.out[-1]
    assert any("  not sent  " in line for line in running.out)
    assert running.out[-1].startswith("— 2026-")
    assert "not in audience" in running.out[-1]
    late = "SELECT count(*) FROM outbox WHERE at > (SELECT max(received_at) FROM events)"
    assert query(running.db, late) == [(0,)]


def test_stopped_and_started_in_virtual_time_it_sends_what_one_run_sends(
    run: Start, small_log: Path, tmp_path: Path
) -> None:
    (tmp_path / "whole").mkdir()
    whole = run("--input", str(small_log), "--speed", "0", "--exit-at-end", folder=tmp_path / "whole")
    parts = run("--input", str(small_log), "--speed", "400000")
    parts.address()
    time.sleep(1)
    assert parts.signal(signal.SIGTERM) == 0
    rest = run("--input", str(small_log), "--speed", "0", "--exit-at-end")
    assert (rest.wait(), whole.wait()) == (0, 0)
    assert sends_of(rest.db) == sends_of(whole.db)
    counted = "SELECT kind, rule, reason, count(*) FROM decisions GROUP BY 1, 2, 3"
    assert query(rest.db, counted) == query(whole.db, counted)


def test_when_nobody_reads_the_screen_any_more_it_stops_with_a_clear_error(run: Start, small_log: Path) -> None:
    nobody, screen = os.pipe()
    running = run("--input", str(small_log), "--speed", "400000", screen=screen)
    os.close(nobody)
    os.close(screen)
    assert running.wait() == 2
    assert "the screen cannot be written" in running.err[-1]


def test_the_samples_are_what_the_service_reads(run: Start) -> None:
    health = json.loads(run(rules=SAMPLE_RULES).get("/healthz")[1])
    assert (health["rules"]["count"], health["status"]) == (len(list(SAMPLE_RULES.glob("[!_]*.yaml"))), "ok")
