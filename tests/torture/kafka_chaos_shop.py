"""The customers of a fleet in chaos, and how what they do flows into the shop's topics all the while."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from kafka_chaos_rules import ASKING, DEAREST

from triggers.drivers.kafka.batches import Row, send_all
from triggers.drivers.kafka.keys import partition_of

if TYPE_CHECKING:
    from kafka_chaos_rules import Size

    from triggers.drivers.kafka.settings import KafkaSettings

SOURCES: Final = ("orders", "favorites", "registrations")
BEAT_S: Final = 0.1
_RECENT: Final = 400


class Made(NamedTuple):
    """An event that was made up, and the source topic that it goes to."""

    customer: str
    topic: str
    fields: dict[str, Any]


class Crowd:
    """The shop's customers: what they do is a function of the seed."""

    def __init__(self, seed: int, customers: int) -> None:
        self._chance = Random(f"crowd {seed}")  # noqa: S311  a seed repeats it
        self._customers = customers
        self._known: set[int] = set()
        self._orders: deque[tuple[str, str]] = deque(maxlen=_RECENT)
        self._recent: deque[Made] = deque(maxlen=_RECENT)
        self._next: list[Made] = []
        self._number = 0

    def event(self, now: int) -> Made:
        """Make up the next event, at ``now`` (epoch ms) or a little before; some come twice."""
        if self._next:
            return self._next.pop()
        chance = self._chance
        if self._recent and chance.random() < 0.02:
            return chance.choice(self._recent)
        who = int(self._customers * chance.random() ** 1.3)
        customer, at = f"c{who}", now - min(3_000, int(chance.expovariate(1 / 400)))
        if who not in self._known:
            self._known.add(who)
            phone = f"+86138{who:08}"
            self._next.append(self._made(customer, 2, at, type="customer.registered", channel="app"))
            return self._made(customer, 2, at, type="customer.updated", phone=phone, name="Mei")
        made = self._act(customer, at)
        self._recent.append(made)
        return made

    def _act(self, customer: str, at: int) -> Made:
        chance, kind = self._chance, self._chance.random()
        if kind < 0.25:
            return self._made(customer, 1, at, type="store.visited", page="/")
        if kind < 0.45:
            product, category = f"p{chance.randrange(50)}", "B" if chance.random() < ASKING else "A"
            return self._made(customer, 1, at, type="favorite.added", product_id=product, category=category)
        if kind < 0.75 or not self._orders:
            order = f"o{self._number}"
            self._orders.append((customer, order))
            return self._made(customer, 0, at, type="order.created", order_id=order, amount=chance.randint(1, DEAREST))
        customer, order = self._orders[chance.randrange(len(self._orders))]
        kind_of = "order.paid" if kind < 0.95 else "order.cancelled"
        return self._made(customer, 0, at, type=kind_of, order_id=order, amount=9)

    def _made(self, customer: str, source: int, at: int, **fields: Any) -> Made:
        self._number += 1
        return Made(customer, SOURCES[source], {"id": f"e{self._number}", "customer": customer, "at": at, **fields})


class Flow:
    """Writes the crowd's events to the shop's topics, at a rate, until all are acked; what may be lost is written again."""

    def __init__(self, settings: KafkaSettings, seed: int, size: Size) -> None:
        self.acked: set[str] = set()
        self.written = 0
        self.repeated = 0
        self._settings = settings
        self._size = size
        self._crowd = Crowd(seed, size.customers)

    @property
    def share(self) -> float:
        """How much has flowed, from 0 to 1."""
        return self.written / self._size.events

    async def run(self) -> None:
        """Let all flow."""
        producer: AIOKafkaProducer | None = None
        chunk: list[Made] = []
        due_s = time.monotonic()
        try:
            while self.written < self._size.events:
                if not chunk:
                    chunk = self._chunk()
                try:
                    producer = producer or await self._connected()
                    await self._write(producer, chunk)
                except (KafkaError, OSError, TimeoutError):
                    self.repeated += 1
                    if producer is not None:
                        await _closed(producer)
                    producer = None
                    await asyncio.sleep(0.2)
                    continue
                self.acked.update(made.fields["id"] for made in chunk)
                self.written += len(chunk)
                chunk = []
                due_s = max(due_s + BEAT_S, time.monotonic() - BEAT_S)  # an outage is not made up for
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        finally:
            if producer is not None:
                await _closed(producer)

    def _chunk(self) -> list[Made]:
        number = min(int(self._size.rate * BEAT_S), self._size.events - self.written)
        now = time.time_ns() // 1_000_000
        return [self._crowd.event(now) for _ in range(number)]

    async def _connected(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.bootstrap, enable_idempotence=True, request_timeout_ms=5_000
        )
        try:
            await producer.start()
        except BaseException:
            await _closed(producer)
            raise
        return producer

    async def _write(self, producer: AIOKafkaProducer, chunk: list[Made]) -> None:
        topics: dict[str, dict[int, list[Row]]] = {}
        for customer, topic, fields in chunk:
            rows = topics.setdefault(topic, {})
            key = customer.encode()
            part = partition_of(key, self._settings.partitions)
            rows.setdefault(part, []).append(Row(key, json.dumps(fields).encode()))
        async with asyncio.timeout(10):
            for topic, rows in topics.items():
                await send_all(producer, topic, rows)


async def _closed(producer: AIOKafkaProducer) -> None:
    with suppress(KafkaError, OSError, TimeoutError):
        await asyncio.wait_for(producer.stop(), 5)
