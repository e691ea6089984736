"""The whole way with a real gateway: events in, messages out through Kannel, receipts and replies back."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import running
from kannel import NAME, PASSWORD, SECRET, Kannel, kannel  # noqa: F401  the fixture
from running import SAMPLE_RULES, Running, query, write_shop_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

eventually = partial(running.eventually, within_s=60.0)
DELIVERY = """
delivery: v1
public_url: {public_url}
consent: required
hours: {{CN: {{open: 00:00-24:00}}}}
routes: {{default: [{name}]}}
gateways:
  {name}:
    type: kannel
    url: {url}
    username: {username}
    password: "{password}"
    secret: {secret}
    price: 0.045
    rate: 2000
    at_once: 32
"""
SHOP = "shop: v1\nname: Test\ntimezone: Asia/Shanghai\nsignature: '[T] '\nopt_out: ' Reply R'\n"
WISH = """
rule: v1
id: wish
title: A wish
status: live
class: marketing
when: {event: favorite.added, per: product_id}
wait: 0min
send: {text: "{customer.name|dear}, your wish is here"}
"""
PAID = """
rule: v1
id: paid
title: An order was paid
status: live
class: notice
when: {event: order.paid, per: order_id}
wait: 0min
send: {text: "thank you"}
"""


@pytest.fixture
def serve(tmp_path: Path, kannel: Kannel) -> Iterator[Callable[..., Running]]:  # noqa: F811  the fixture
    """Start the service with Kannel as its gateway."""
    started: list[Running] = []
    delivery = tmp_path / "delivery.yaml"
    delivery.write_text(
        DELIVERY.format(
            public_url=kannel.public_url,
            name=NAME,
            url=kannel.url,
            username=kannel.username,
            password=PASSWORD,
            secret=SECRET,
        )
    )

    def start(*options: str, rules: Path) -> Running:
        running = Running(tmp_path, "--delivery", str(delivery), *options, rules=rules, port=kannel.public_port)
        started.append(running)
        running.address()
        return running

    yield start
    for each in started:
        if each.alive:
            each.kill()


@pytest.fixture
def own_rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    for name, text in {"_shop": SHOP, "wish": WISH, "paid": PAID}.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


class Shop:
    """Tells the service what happens, now."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.count = 0

    def tell(self, kind: str, customer: str, **fields: Any) -> None:
        self.count += 1
        event = {"id": f"e{self.count}", "type": kind, "customer": customer, "at": int(time.time() * 1_000), **fields}
        status, answer = self.running.post(json.dumps(event).encode())
        assert (status, answer["accepted"]) == (200, 1), answer

    def customer(self, customer: str, phone: str, **fields: Any) -> None:
        self.tell("customer.updated", customer, phone=phone, consent=True, **fields)

    def wishes(self, customer: str) -> None:
        self.tell("favorite.added", customer, product_id=f"p{self.count}")

    def pays(self, customer: str) -> None:
        self.tell("order.paid", customer, order_id=f"o{self.count}", amount=9)


def sends_of_replay(log: Path, out: Path) -> int:
    """Count what a replay of the log would send."""
    arguments = ["replay", str(log), "--rules", str(SAMPLE_RULES), "--order", "received", "--out", str(out), "--quiet"]
    subprocess.run([sys.executable, "-m", "triggers", *arguments], check=True, capture_output=True, timeout=60)
    return sum(not json.loads(line)["withheld"] for line in out.read_text().splitlines())


def no_secrets_in(lines: list[str], *secrets: str) -> None:
    log = "\n".join(lines)
    assert not [secret for secret in secrets if secret in log]


def test_the_sample_rules_send_through_kannel_and_receipts_come_back(
    serve: Callable[..., Running],
    kannel: Kannel,  # noqa: F811
    tmp_path: Path,
) -> None:
    log = write_shop_log(tmp_path, customers=60, events=1_200)
    expected = sends_of_replay(log, tmp_path / "sends.jsonl")
    before = len(kannel.received())
    running = serve("--input", str(log), "--speed", "0", rules=SAMPLE_RULES)
    ended = "SELECT count(*) FROM outbox WHERE state IN ('suppressed', 'delivered')"
    delivered = "SELECT phone, body ->> 'text' FROM outbox WHERE state = 'delivered'"
    eventually(lambda: query(running.db, ended) == [(expected,)], "not all receipts came back")
    assert query(running.db, "SELECT DISTINCT reason FROM outbox WHERE state = 'suppressed'") in ([], [("no consent",)])
    sent = sorted(query(running.db, delivered))
    eventually(lambda: len(kannel.received()) - before >= len(sent), "the handsets did not tell of all")
    assert sorted((got.phone, got.text) for got in kannel.received()[before:]) == sent
    told = query(running.db, "SELECT count(*) FROM events WHERE type = 'message.delivered'")
    assert told == [(len(sent),)]
    assert query(running.db, "SELECT count(DISTINCT rule) >= 3 FROM outbox WHERE state = 'delivered'") == [(1,)]
    assert running.signal(15) == 0
    names = [name for (name,) in query(running.db, "SELECT DISTINCT body ->> 'name' FROM events") if name]
    texts = [text for _, text in sent]
    no_secrets_in(running.err, *{phone for phone, _ in sent}, *names, *texts, SECRET, PASSWORD)


def test_a_reply_stops_the_next_marketing_message_and_no_notice(
    serve: Callable[..., Running],
    kannel: Kannel,  # noqa: F811
    own_rules: Path,
) -> None:
    running = serve("--settle", "0", rules=own_rules)
    shop = Shop(running)
    words = {"+8613800010001": "R", "+8613800010002": "退订", "+8613800010003": "STOP", "+8613800010004": "thank you"}
    for phone in words:
        shop.customer(phone[-4:], phone)
        shop.wishes(phone[-4:])
    eventually(lambda: all(kannel.received(phone) for phone in words), "the first messages did not arrive")
    for phone, word in words.items():
        kannel.reply(phone, word)
    eventually(lambda: query(running.db, "SELECT count(*) FROM replies") == [(4,)], "the replies were not heard")
    for phone in words:
        shop.wishes(phone[-4:])
        shop.pays(phone[-4:])
    thanked = "[T] thank you"
    eventually(
        lambda: all(any(got.text == thanked for got in kannel.received(phone)) for phone in words),
        "the notices did not arrive",
    )
    eventually(lambda: len(kannel.received("+8613800010004")) == 3, "who said thanks was stopped")
    ended = "SELECT customer, reason FROM decisions WHERE kind = 'ended' AND reason != 'sent' ORDER BY customer"
    assert query(running.db, ended) == [(name, "unsubscribed") for name in ("0001", "0002", "0003")]
    for phone in list(words)[:3]:
        assert [got.text.startswith("[T] dear") for got in kannel.received(phone)] == [True, False]
    assert [row[0] for row in query(running.db, "SELECT phone FROM suppressions ORDER BY 1")] == list(words)[:3]
    no_secrets_in(running.err, *words, "退订")


HOSTILE = [
    "=cmd|' /C calc'!A0",
    'Mei\n{"level": "error"}\x1b[2J',
    "Li&to=%2B8613800019999&text=free",
    "{customer.phone} {link} %d %s %%",
    "Bo\u202e\u200b\u0000'; DROP TABLE outbox; --",
    "@SUM(1+1)\t+1",
]


def test_hostile_names_change_nothing_but_their_own_field(
    serve: Callable[..., Running],
    kannel: Kannel,  # noqa: F811
    own_rules: Path,
) -> None:
    running = serve("--settle", "0", rules=own_rules)
    shop = Shop(running)
    phones = [f"+861380002000{number}" for number in range(len(HOSTILE))]
    before = len(kannel.received())
    for phone, name in zip(phones, HOSTILE, strict=True):
        shop.customer(phone[-4:], phone, name=name)
        shop.wishes(phone[-4:])
    rest = "SELECT count(*) FROM outbox WHERE state NOT IN ('delivered', 'suppressed')"
    everything = "SELECT count(*) FROM decisions WHERE kind = 'ended'"
    eventually(
        lambda: query(running.db, everything) == [(len(HOSTILE),)] and query(running.db, rest) == [(0,)], "not all left"
    )
    left = query(running.db, "SELECT phone, reason FROM outbox ORDER BY phone")
    assert [reason for _, reason in left if reason] == ["unresolved variable"]  # a name that looks like one of ours
    eventually(lambda: len(kannel.received()) - before == len(HOSTILE) - 1, "the handsets did not tell of all")
    for got in kannel.received()[before:]:
        assert got.phone in phones
        assert got.text.startswith("[T] ")
        assert got.text.endswith(", your wish is here Reply R")
        assert got.text.isprintable()
    assert all(len(kannel.received(phone)) <= 1 for phone in phones)
    assert all(json.loads(line) for line in running.err if line.startswith("{"))
    no_secrets_in(running.err, *phones, "calc", "DROP TABLE", "SUM(1+1)", "\x1b")


BAD_PHONES = [
    "=13800138000",
    "１３８００１３８０００",  # noqa: RUF001  full-width digits are the point
    "+8613800138000,+8613800138001",
    "+8613800138000\n",
    "+19005550123",
    "110",
    "+86138001380001234567",
]


def test_what_is_no_number_gets_nothing(serve: Callable[..., Running], kannel: Kannel, own_rules: Path) -> None:  # noqa: F811
    running = serve("--settle", "0", rules=own_rules)
    shop = Shop(running)
    before = len(kannel.received())
    for number, phone in enumerate(BAD_PHONES):
        shop.customer(f"c{number}", phone)
        shop.pays(f"c{number}")
    ended = [("suppressed", "phone not valid", len(BAD_PHONES))]
    counted = "SELECT state, reason, count(*) FROM outbox GROUP BY 1, 2"
    eventually(lambda: query(running.db, counted) == ended, "something left")
    assert len(kannel.received()) == before
