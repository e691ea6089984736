"""A fleet without its workers: a test writes by hand what they would, and a dispatcher in a process reads it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from kafka_broker import Write, read_all, write
from running import Running

from triggers.core.decisions import Send
from triggers.drivers.kafka.keys import partition_of
from triggers.drivers.kafka.records import (
    COMMANDS,
    DECISIONS,
    EVENTS,
    MESSAGE_EVENTS,
    TICK,
    Cancel,
    Come,
    Sending,
    encode_command,
    encode_reported,
)
from triggers.drivers.kafka.settings import KafkaSettings
from triggers.drivers.kafka.topics import ensure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from triggers.store.decisions import DecisionRow

PARTITIONS = 2
PHONE = "+8613800001234"
SHOP = """
shop: v1
name: Test
timezone: Asia/Shanghai
opt_out: ' Reply R'
window: [00:00-24:00]
"""
RULE = """
rule: v1
id: wish
title: A wish
status: live
class: marketing
when: {event: favorite.added, per: product_id}
wait: 0min
send: {text: "your wish is here"}
"""
DAY = 86_400_000


def now() -> int:
    """The wall's time, epoch ms."""
    return time.time_ns() // 1_000_000


def send(number: int = 1, customer: str = "c1", **changes: Any) -> Send:
    """Make a message that may leave at once."""
    at = now()
    fields = {
        "id": f"{customer}-{number}", "rule": "wish", "customer": customer, "identity": str(number), "anchor": at,
        "due": at, "at": at, "withheld": False, "shadow": False, "variant": None, "wave": None, "coupon": None,
        "text": "your wish is here Reply R", "segments": 1, "cost": 5_000, "revision": "x", "klass": "marketing",
        "expires": at + DAY,
    }  # fmt: skip
    return Send(**(fields | changes))


class Fleet:
    """The topics of a fleet, and a folder for its processes, which end with it. Messages go into the file ``sent``."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path, *, virtual: bool = False) -> None:
        self.settings = KafkaSettings(
            bootstrap=bootstrap,
            prefix=prefix,
            app=prefix.rstrip("."),
            partitions=PARTITIONS,
            sources=(),
            virtual=virtual,
        )
        self.folder = folder
        self.rules = folder / "rules"
        self.rules.mkdir()
        (self.rules / "_shop.yaml").write_text(SHOP)
        (self.rules / "wish.yaml").write_text(RULE)
        self.sent_file = folder / "sent.jsonl"
        self.delivery = folder / "delivery.yaml"
        self.deliver({"main": {"type": "file", "path": str(self.sent_file), "rate": 5_000, "at_once": 100}})
        self._count = 0
        self._processes: list[Running] = []

    def close(self) -> None:
        """Kill what still runs."""
        for each in self._processes:
            if each.alive:
                each.kill()

    def deliver(self, gateways: dict[str, Any], **more: Any) -> None:
        """Write the delivery file."""
        hours = {"CN": {"open": "00:00-24:00"}}
        routes = {"default": list(gateways)}
        what = {"delivery": "v1", "consent": "assumed", "hours": hours, "gateways": gateways, "routes": routes}
        self.delivery.write_text(json.dumps(what | more))

    async def topics(self) -> None:
        """Make the topics."""
        await ensure(self.settings)

    def running(self, *options: str, name: str = "a", **settings: Any) -> Running:
        """Start a dispatcher; ``name`` is its own folder."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return self.process("dispatcher", "--delivery", str(self.delivery), *options, folder=folder, **settings)

    def start(self, *options: str, **settings: Any) -> Running:
        """Start a dispatcher, and wait until it listens."""
        running = self.running(*options, **settings)
        running.address()
        return running

    def process(self, service: str, *options: str, folder: Path | None = None, **settings: Any) -> Running:
        """Start any of the fleet's processes."""
        where = {"bootstrap": self.settings.bootstrap, "app": self.settings.app, "prefix": self.settings.prefix}
        given = {f"kafka_{key}": value for key, value in (where | settings).items()}
        self._processes.append(Running(folder or self.folder, *options, rules=self.rules, service=service, **given))
        return self._processes[-1]

    # What others write

    def part(self, customer: str) -> int:
        """The partition of a customer."""
        return partition_of(customer.encode(), PARTITIONS)

    async def event(self, kind: str, customer: str = "c1", **fields: Any) -> int:
        """Put an event into the log; gives its place in the customer's partition."""
        self._count += 1
        event = {"id": f"e{self._count}", "type": kind, "customer": customer, "at": now(), **fields}
        return await self.record(json.dumps(event).encode(), customer)

    async def record(self, value: bytes, customer: str) -> int:
        """Put anything into the log."""
        key = customer.encode()
        ((part, offset),) = await self.write(EVENTS, Write(value, key, partition=self.part(customer)))
        assert part == self.part(customer)
        return offset

    async def tick(self) -> None:
        """Let time pass in all partitions."""
        await self.write(EVENTS, *(Write(TICK, partition=part) for part in range(PARTITIONS)))

    async def commands(self, *commands: Send | Cancel) -> None:
        """Give commands."""
        told = [
            (each.customer, encode_command(Sending(each, PHONE) if isinstance(each, Send) else each))
            for each in commands
        ]
        await self.write(COMMANDS, *(Write(value, name.encode(), partition=self.part(name)) for name, value in told))

    async def decided(self, *decided: DecisionRow) -> None:
        """Tell decisions."""
        rows = [(each.customer, encode_reported(each)) for each in decided]
        await self.write(DECISIONS, *(Write(value, name.encode(), partition=self.part(name)) for name, value in rows))

    async def come(self, position: int, customer: str = "c1", waiting: dict[str, int] | None = None) -> None:
        """Tell that the engine has come to a place in a customer's partition."""
        part = self.part(customer)
        come = Come(part, position, now(), "r1", "w1", waiting or {})
        await self.write(DECISIONS, Write(encode_reported(come), partition=part))

    async def write(self, topic: str, *records: Write) -> list[tuple[int, int]]:
        """Write to one of the fleet's topics."""
        return await write(self.settings.bootstrap, self.settings.topic(topic), records)

    # What came of it

    def sent(self) -> list[dict[str, Any]]:
        """Read what was given to the gateway, in order."""
        lines = self.sent_file.read_text().splitlines() if self.sent_file.exists() else []
        return [json.loads(line) for line in lines]

    async def message_events(self) -> list[dict[str, Any]]:
        """Read what the dispatcher told the log."""
        records = await read_all(self.settings.bootstrap, self.settings.topic(MESSAGE_EVENTS))
        events = [json.loads(record.value) for record in records if record.value]
        assert [record.key for record in records] == [event["customer"].encode() for event in events]
        return events


async def until(holds: Callable[[], object], within_s: float = 20.0) -> None:
    """Wait until something holds, while the event loop goes on."""
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110  what is waited for is in a file or in another process
            await asyncio.sleep(0.02)
