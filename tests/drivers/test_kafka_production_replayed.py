"""What a fleet sent in real time is what a replay of its exported log sends, to the millisecond."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer
from kafka_fleet import FleetProcesses

from triggers.drivers.kafka.settings import KafkaSettings
from triggers.replay.output import SendLine

if TYPE_CHECKING:
    from pathlib import Path

    from triggers.core.decisions import Send

SHOP = """shop: v1
name: Quick
timezone: Asia/Shanghai
price_per_message: 0.05
opt_out: " Reply R"
window: [00:00-24:00]
caps: {marketing: [3 / 1d]}
"""
UNPAID = """rule: v1
id: unpaid
title: Not paid within two seconds
status: live
class: notice
priority: 40
when: {event: order.created, per: order_id}
wait: 2s
unless: [{event: order.paid}]
recency: off
send: {text: "your order {event.order_id} waits"}
limits: {per_day: 25}
"""
WISH = """rule: v1
id: wish
title: A wish of three seconds ago
status: live
class: marketing
priority: 60
when: {event: favorite.added, per: product_id}
wait: 3s
unless: [{event: favorite.removed}]
recency: off
send: {text: "still here"}
limits: {total: 60, budget: 3}
"""
KINDS = ("order.created", "order.created", "order.paid", "favorite.added", "favorite.added", "favorite.removed")
EVENTS, CUSTOMERS, SECONDS = 400, 40, 6.0
SETTLE_S = 0.5


async def shop_events(settings: KafkaSettings) -> None:
    """Let a shop's events of some seconds come in through the shop's own topic."""
    chance = random.Random(3)  # noqa: S311  a made-up shop
    async with AIOKafkaProducer(bootstrap_servers=settings.bootstrap) as producer:
        for number in range(EVENTS):
            kind, customer = chance.choice(KINDS), f"c{chance.randrange(CUSTOMERS)}"
            body = {"id": f"e{number}", "type": kind, "customer": customer, "at": int(time.time() * 1_000)}
            if kind.startswith("order"):
                body |= {"order_id": f"o{customer}{chance.randrange(4)}", "amount": 10}
            else:
                body |= {"product_id": f"p{customer}{chance.randrange(4)}"}
            await producer.send(settings.sources[0], json.dumps(body).encode(), key=customer.encode())
            await asyncio.sleep(SECONDS / EVENTS)


async def test_a_replay_of_the_exported_log_sends_what_production_sent(kafka: str, prefix: str, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    for name, text in {"_shop": SHOP, "unpaid": UNPAID, "wish": WISH}.items():
        (rules / f"{name}.yaml").write_text(text)
    settings = KafkaSettings(
        bootstrap=kafka,
        prefix=prefix,
        app=prefix.rstrip("."),
        sources=(f"{prefix}orders",),
        partitions=4,
        rules=rules,
        settle_s=SETTLE_S,
        tick_s=0.5,
    )
    async with FleetProcesses(settings, tmp_path) as fleet:
        fleet.start(2)
        await fleet.shared_out()
        await shop_events(settings)
        await asyncio.sleep(3 + SETTLE_S + 2)  # until the last timer has acted, and is told
        await fleet.settled()
        sends = await fleet.sends()
        await fleet.stop()
    rules_that_sent = {send.rule for send in sends}
    assert rules_that_sent == {"unpaid", "wish"}
    limited = [row for row in await fleet.decided() if "total" in row or "per day" in row or "budget" in row]
    assert limited, "no limit was reached, so it was not seen who reached it"
    assert replayed(settings, tmp_path, sends) == sorted(SendLine().of(send, "").partition(b"\t")[2] for send in sends)


def replayed(settings: KafkaSettings, folder: Path, sends: list[Send]) -> list[bytes]:
    """Export the log and replay it until a second after the last send: the ticks are not in it."""
    log, out = folder / "log.jsonl", folder / "sends.jsonl"
    fleet = ["--bootstrap", settings.bootstrap, "--prefix", settings.prefix]
    triggers = [sys.executable, "-m", "triggers"]
    subprocess.run([*triggers, "export", *fleet, "--out", log], check=True)
    last = max(send.at for send in sends) + 1_000
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(last // 1_000 + 1))
    options = ["--rules", settings.rules, "--order", "received", "--settle", str(SETTLE_S), "--until", until]
    subprocess.run([*triggers, "replay", log, *options, "--out", out, "--quiet"], check=True)
    return sorted(out.read_bytes().splitlines(keepends=True))
