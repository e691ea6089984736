"""Messages that no rule sends, what a gateway tells of them, and the commands that work beside the service."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from running import ROOT, Running, eventually, query
from stub_gateway import stub_settings

from triggers.dispatch.callbacks import call_url, callback_url
from triggers.store.beside import beside, transaction
from triggers.store.claims import pause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Start = Callable[..., Running]

PHONE = "+8613800004321"
CODE, TOKEN, SECRET = "739154", "let-me-in-let-me-in", "of these tests alone"
SHOP = "shop: v1\nname: Test\ntimezone: Asia/Shanghai\nsignature: '[T] '\nopt_out: ' Reply R'\nsend: {}\n"
WISH = """
rule: v1
id: wish
title: A wish
status: live
class: marketing
when: {event: favorite.added, per: product_id}
wait: 0min
send: {text: "your wish is here"}
"""


class Shop:
    """A service with a stub for a gateway, and what the stub took."""

    def __init__(self, folder: Path, url: str, start: Start) -> None:
        self.folder, self.truth, self._start = folder, folder / "truth.jsonl", start
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.public_url = f"http://127.0.0.1:{self.port}"
        delivery = {
            "delivery": "v1", "public_url": self.public_url, "consent": "assumed",
            "hours": {"CN": {"open": "00:00-24:00"}}, "routes": {"default": ["main"]},
            "gateways": {"main": stub_settings(url, secret=SECRET, rate=1_000)},
        }  # fmt: skip
        (folder / "delivery.yaml").write_text(json.dumps(delivery))
        (folder / "rules").mkdir()
        (folder / "rules" / "_shop.yaml").write_text(SHOP.replace("send: {}\n", ""))
        (folder / "rules" / "wish.yaml").write_text(WISH)
        self.service = self.start()

    def start(self) -> Running:
        self.service = self._start(
            "--delivery", str(self.folder / "delivery.yaml"), "--settle", "0", rules=self.folder / "rules",
            port=self.port,
        )  # fmt: skip
        self.service.address()
        return self.service

    def post(self, text: str, key: str, klass: str = "verification") -> tuple[int, dict[str, Any]]:
        body = json.dumps({"class": klass, "to": PHONE, "text": text, "customer": "c1"}).encode()
        status, answer = self.service.ask(
            "POST", "/v1/messages", body, Idempotency_Key=key, Authorization=f"Bearer {TOKEN}"
        )
        return status, json.loads(answer)

    def get(self, command: str) -> dict[str, Any]:
        status, answer = self.service.ask("GET", f"/v1/messages/{command}", Authorization=f"Bearer {TOKEN}")
        assert status == 200
        told: dict[str, Any] = json.loads(answer)
        return told

    def tell(self, kind: str, **fields: Any) -> None:
        at = int(time.time() * 1_000)
        told = {"id": f"{kind}-{at}", "type": kind, "customer": "c1", "at": at, **fields}
        status, _ = self.service.ask("POST", "/v1/events", json.dumps(told).encode(), Authorization=f"Bearer {TOKEN}")
        assert status == 200

    def wish(self, product: str) -> str:
        """Have the rule decide on a message, and wait for what becomes of it."""
        self.tell("favorite.added", product_id=product)
        states: dict[str, str] = {}

        def over() -> bool:
            rows = query(self.service.db, "SELECT json_extract(body, '$.identity'), state FROM outbox")
            states.update(rows)
            return states.get(product, "queued") not in ("queued", "sending", "accepted")

        eventually(over)
        return states[product]

    def took(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.truth.read_bytes().splitlines()]


@pytest.fixture
def shop(tmp_path: Path, run: Start, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setenv("TRIGGERS_API_TOKEN", TOKEN)
    port, truth = tmp_path / "port", tmp_path / "truth.jsonl"
    stub = ROOT / "tests" / "dispatch" / "stub_gateway.py"
    with subprocess.Popen([sys.executable, str(stub), "--port-file", str(port), "--truth", str(truth)]) as process:
        eventually(port.exists)
        yield Shop(tmp_path, f"http://127.0.0.1:{port.read_text()}/send", run)
        process.terminate()


def triggers(shop: Shop, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command beside the service."""
    command = [sys.executable, "-m", "triggers", *arguments, "--db", str(shop.service.db)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=shop.folder)


def test_a_receipt_for_a_message_nobody_sent_is_counted(shop: Shop) -> None:
    assert "triggers_receipts_unmatched 0.0" in shop.service.get("/metrics")[1]
    address = callback_url("", "main", SECRET, "0" * 64)
    assert shop.service.ask("POST", address, b'{"status": "delivered", "id": "m-1"}')[0] == 200
    assert "triggers_receipts_unmatched 1.0" in shop.service.get("/metrics")[1]


def test_a_code_leaves_at_once_and_its_receipt_comes_back(shop: Shop) -> None:
    began = time.monotonic()
    status, posted = shop.post(f"Your code is {CODE}", "login-1")
    assert (status, posted["state"]) == (202, "queued")
    eventually(lambda: bool(shop.get(posted["id"])["state"] == "delivered"))
    assert time.monotonic() - began < 5
    (taken,) = shop.took()
    assert (taken["phone"], taken["text"], taken["command"]) == (PHONE, f"[T] Your code is {CODE}", posted["id"])
    assert [move["to"] for move in shop.get(posted["id"])["history"]] == ["sending", "accepted", "delivered"]
    assert shop.post(f"Your code is {CODE}", "login-1") == (200, posted)
    assert shop.post("Your code is 000000", "login-1")[0] == 409
    metrics = shop.service.get("/metrics")[1]
    assert 'triggers_outbox{state="delivered"} 1.0' in metrics
    assert 'triggers_outbox{state="queued"} 0.0' in metrics
    (line,) = json.loads(triggers(shop, "gateways", "--json").stdout)
    assert (line["gateway"], line["class"], line["sent"], line["arrival"]) == ("main", "verification", 1, 1.0)
    assert shop.service.signal(signal.SIGTERM) == 0
    logged = "\n".join((*shop.service.err, *shop.service.out))
    assert not any(word in logged for word in (PHONE[1:], PHONE[3:], CODE, TOKEN, SECRET, "mac="))


def test_without_the_token_nobody_is_served(shop: Shop) -> None:
    body = json.dumps({"class": "notice", "to": PHONE, "text": "x"}).encode()
    assert shop.service.ask("POST", "/v1/messages", body, Idempotency_Key="k")[0] == 401
    assert shop.service.ask("POST", "/v1/events", b"{}")[0] == 401
    assert shop.service.ask("GET", "/v1/messages/" + "0" * 64)[0] == 401
    assert shop.service.get("/healthz")[0] == 200
    assert query(shop.service.db, "SELECT count(*) FROM outbox") == [(0,)]


def test_a_message_that_was_acknowledged_outlives_a_kill(shop: Shop) -> None:
    answers = [shop.post(f"Your parcel {number} is here", f"parcel-{number}", "notice") for number in range(20)]
    shop.service.kill()
    assert {status for status, _ in answers} == {202}
    shop.start()
    final = ("delivered", "cancelled")  # the latter: its receipt came before it was tried again
    eventually(lambda: all(shop.get(answer["id"])["state"] in final for _, answer in answers))
    taken = {each["text"] for each in shop.took()}
    assert taken == {f"[T] Your parcel {number} is here" for number in range(20)}
    assert shop.post("Your parcel 7 is here", "parcel-7", "notice") == (200, answers[7][1])


def test_a_reply_stops_marketing_and_notices_go_out(shop: Shop) -> None:
    shop.tell("customer.updated", phone=PHONE, consent=True)
    assert shop.wish("p1") == "delivered"
    reply = {"from": PHONE[1:], "to": "10690", "text": "TD", "id": "r1", "at": int(time.time() * 1_000)}
    address = call_url(shop.public_url, "main", SECRET, "replies").removeprefix(shop.public_url)
    assert shop.service.ask("POST", address.replace("mac=", "mac=0"), json.dumps(reply).encode())[0] == 403
    assert shop.wish("p2") == "delivered"
    assert shop.service.ask("POST", address, json.dumps(reply).encode())[0] == 200
    listed = triggers(shop, "suppressions", "list").stdout
    assert (PHONE in listed, "reply  by gateway main" in listed) == (True, True)
    shop.tell("favorite.added", product_id="p3")
    ended = "SELECT identity FROM decisions WHERE reason = 'unsubscribed'"
    eventually(lambda: query(shop.service.db, ended) == [("p3",)])
    _, posted = shop.post("Your parcel is here", "parcel", "notice")
    eventually(lambda: bool(shop.get(posted["id"])["state"] == "delivered"))
    assert [each["klass"] for each in shop.took()] == ["marketing", "marketing", "notice"]


def test_the_list_holds_for_a_service_that_runs(shop: Shop) -> None:
    shop.tell("customer.updated", phone=PHONE, consent=True)
    added = triggers(shop, "suppressions", "add", PHONE, "--reason", "complained", "--author", "mei")
    assert (added.returncode, added.stdout) == (0, "the number is on the list\n")
    assert shop.wish("p1") == "suppressed"
    assert shop.took() == []
    removed = triggers(shop, "suppressions", "remove", PHONE, "--reason", "a mistake", "--author", "mei")
    assert removed.returncode == 0
    assert shop.wish("p2") == "delivered"


def test_a_rule_that_was_paused_goes_on_when_a_person_says_so(shop: Shop) -> None:
    assert triggers(shop, "rules", "resume", "wish").returncode == 1
    shop.service.kill()
    with beside(shop.service.db) as connection, transaction(connection):
        assert pause(connection, "wish", "too few arrive", 1)
    wrong = triggers(shop, "rules", "resume", "wsih")
    assert (wrong.returncode, wrong.stderr) == (1, "'wsih' is not paused for its numbers; did you mean 'wish'?\n")
    ran = triggers(shop, "rules", "resume", "wish")
    assert (ran.returncode, ran.stdout) == (0, "wish goes on\n")
    assert triggers(shop, "rules", "resume", "wish").returncode == 1
    shop.start()
    shop.tell("customer.updated", phone=PHONE, consent=True)
    assert shop.wish("p1") == "delivered"


def test_in_virtual_time_a_message_leaves_in_the_shops_time(run: Start, tmp_path: Path) -> None:
    (tmp_path / "shop.jsonl").write_text(
        '{"id":"a","type":"store.visited","customer":"c1","at":"2026-09-01T04:00:00Z"}\n'
        '{"id":"b","type":"store.visited","customer":"c1","at":"2030-09-01T04:00:00Z"}\n'
    )
    running = run("--input", "shop.jsonl", "--speed", "60")
    body = json.dumps({"class": "notice", "to": PHONE, "text": "Your parcel is here"}).encode()
    status, answer = running.ask("POST", "/v1/messages", body, Idempotency_Key="k")
    assert status == 202
    eventually(lambda: any("sent  +86138****4321   notice  [Yunque] Your parcel" in line for line in running.out))
    told = json.loads(running.ask("GET", f"/v1/messages/{json.loads(answer)['id']}")[1])
    assert told["expires_at"].startswith("2026-09-02T0")


@pytest.mark.parametrize("token", ["", "short", "x" * 501, "é" * 20, "x" * 20 + "\n"])
def test_a_token_that_is_none_is_refused_at_start(run: Start, monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("TRIGGERS_API_TOKEN", token)
    running = run()
    assert running.wait() == 2
    assert "TRIGGERS_API_TOKEN has 16 to 500 printable characters" in "".join(running.err)
    assert not token or token not in "".join(running.err)
