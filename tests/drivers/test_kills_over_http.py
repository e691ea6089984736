"""Killed while several senders post batches, the service keeps all that it answered, and decides on it once.

TRIGGERS_HTTP_KILLS sets how often (8 by default): TERM now and then, KILL else, also while it starts.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from running import Running, query

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KILLS = int(os.environ.get("TRIGGERS_HTTP_KILLS", "8"))
SENDERS = 4
CUSTOMERS = 200
RULE = """rule: v1
id: {id}
title: Test
owner: crm@yunque.example
status: live
class: notice
when: {{event: {event}, per: {per}}}
wait: 1s
{more}
send: {{text: "Hello"}}
"""


class Senders:
    """Post batches until told to stop; what was not answered is posted again, as a shop's outbox would."""

    def __init__(self) -> None:
        self.answered: set[str] = set()
        self.wrong: list[dict[str, Any]] = []
        self._open: list[list[dict[str, Any]]] = []
        self._lock = threading.Lock()
        self._number = 0

    def introduce(self, running: Running) -> None:
        """Tell the number of each customer, without which nothing leaves."""
        status, answer = running.post(json.dumps([self._customer(number) for number in range(CUSTOMERS)]).encode())
        assert (status, {each["result"] for each in answer["results"]}) == (200, {"accepted"})
        self.answered |= {each["id"] for each in answer["results"]}

    @staticmethod
    def _customer(number: int) -> dict[str, Any]:
        phone = f"+861380000{number:04}"
        return {"id": f"c{number}", "type": "customer.updated", "customer": f"c{number}", "phone": phone} | {
            "at": int(time.time() * 1_000)
        }

    def post_until(self, stop: threading.Event, running: Running) -> None:
        while not stop.is_set():
            self.post_one(running)

    def post_one(self, running: Running) -> None:
        batch = self._next()
        try:
            status, answer = running.post(json.dumps(batch).encode())
        except (OSError, AssertionError, json.JSONDecodeError):
            status, answer = 0, {}
        with self._lock:
            if status != 200:
                self._open.append(batch)
                return
            self.answered |= {each["id"] for each in answer["results"]}
            self.wrong += [each for each in answer["results"] if each["result"] not in ("accepted", "duplicate")]

    def post_rest(self, running: Running) -> None:
        while self._open:
            self.post_one(running)

    def _next(self) -> list[dict[str, Any]]:
        with self._lock:
            if self._open:
                return self._open.pop()
            start = self._number
            self._number += 30
        return [self._event(number) for number in range(start, start + 30)]

    @staticmethod
    def _event(number: int) -> dict[str, Any]:
        base = {"id": f"e{number}", "customer": f"c{number // 3 % CUSTOMERS}", "at": int(time.time() * 1_000)}
        if number % 3 == 2:
            return base | {"type": "favorite.added", "product_id": f"p{number}"}
        kind = ("order.created", "order.paid")[number % 3]
        return base | {"type": kind, "order_id": f"o{number // 6 * 6 + number % 3}", "amount": 9}


def write_rules(folder: Path) -> Path:
    """Two rules that send a second after, one of which a payment cancels."""
    folder.mkdir()
    (folder / "_shop.yaml").write_text("shop: v1\nname: Test\ntimezone: Asia/Shanghai\n")
    order = RULE.format(id="order", event="order.created", per="order_id", more="unless: [{event: order.paid}]")
    (folder / "order.yaml").write_text(order)
    (folder / "wish.yaml").write_text(RULE.format(id="wish", event="favorite.added", per="product_id", more=""))
    return folder


def test_killed_under_load_it_loses_no_answered_event_and_decides_on_each_once(
    run: Callable[..., Running], tmp_path: Path
) -> None:
    rules, senders, chance = write_rules(tmp_path / "rules"), Senders(), random.Random(3)  # noqa: S311  repeatable
    printed: list[str] = []
    for life in range(KILLS):
        running = run("--settle", "0", rules=rules)
        stop = threading.Event()
        if life % 4 == 3:
            time.sleep(chance.uniform(0.3, 0.9))  # while it starts, perhaps
        else:
            running.address()
        if life == 0:
            senders.introduce(running)
        threads = [threading.Thread(target=senders.post_until, args=(stop, running)) for _ in range(SENDERS)]
        for thread in threads if life % 4 != 3 else ():
            thread.start()  # what starts is not posted to
        time.sleep(chance.uniform(0.1, 1.5))
        assert running.signal(signal.SIGTERM if life % 4 == 1 else signal.SIGKILL) in (0, -signal.SIGKILL)
        stop.set()
        for thread in threads:
            with suppress(RuntimeError):  # never started
                thread.join()
        printed += running.out

    last = run("--settle", "0", rules=rules)
    senders.post_rest(last)
    pending = "SELECT count(*) FROM outbox WHERE state IN ('queued', 'sending')"
    waiting = "SELECT count(*) FROM customers WHERE wake < 4000000000000"
    end = time.monotonic() + 60
    while True:
        health = json.loads(last.get("/healthz")[1])
        if health["position"] == health["events"] and not query(last.db, pending)[0][0] + query(last.db, waiting)[0][0]:
            break
        assert time.monotonic() < end, health
        time.sleep(0.2)
    assert last.signal(signal.SIGTERM) == 0
    printed += last.out
    check(last.db, senders, sum("  sent  " in line for line in printed))


def check(db: Path, senders: Senders, printed: int) -> None:
    """Everything answered is in the log; every trigger in it has one wait, one end, and one command if it was sent."""
    assert senders.wrong == []
    log = [json.loads(body) for (body,) in query(db, "SELECT body FROM events ORDER BY seq")]
    assert {event["id"] for event in log} == senders.answered
    assert len(log) == len(senders.answered) > 1_000
    back = "SELECT count(*) FROM (SELECT received_at AS at, lag(received_at) OVER (ORDER BY seq) AS before FROM events)"
    assert query(db, f"{back} WHERE at < before") == [(0,)]
    wanted = sorted(
        (event["type"], event.get("order_id") or event.get("product_id"))
        for event in log
        if event["type"] in ("order.created", "favorite.added")
    )
    kinds = {"order": "order.created", "wish": "favorite.added"}
    for kind in ("armed", "ended"):
        found = query(db, "SELECT kind, rule, identity FROM decisions")
        assert sorted((kinds[rule], identity) for each, rule, identity in found if each == kind) == wanted, kind
    sent = query(db, "SELECT rule, identity FROM decisions WHERE reason = 'sent' ORDER BY 1, 2")
    commands = query(db, "SELECT rule, body ->> 'identity' FROM outbox ORDER BY 1, 2")
    assert sent == commands
    assert len(sent) > 100
    states = dict(query(db, "SELECT state, count(*) FROM outbox GROUP BY state"))
    assert set(states) <= {"accepted", "unknown", "cancelled"}  # a payment may come just before the message leaves
    ((attempts, most),) = query(db, "SELECT sum(attempts), max(attempts) FROM outbox")
    assert states["accepted"] <= printed <= attempts
    assert most <= 3  # a notice that may have left when the service was killed
