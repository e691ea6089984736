"""Chunks from the real broker: nothing is lost, skipped or out of order, whoever joins, leaves, stalls, dies or fails."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError
from chunk_worker import SESSION_S, Note, Worker
from kafka_broker import Write, create_topics, write

from triggers.drivers.kafka.faust_app import make_app, on_chunks, run
from triggers.drivers.kafka.settings import KafkaSettings
from triggers.errors import ServiceUnusable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from aiokafka import ConsumerRecord

    from triggers.drivers.kafka.transport import Consumer

    Start = Callable[..., Worker]

PARTITIONS = 8
WAIT_S = 30.0


class Shop:
    """A topic with events ``partition-number``, and the group that reads it."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.bootstrap = bootstrap
        self.topic = f"{prefix}events"
        self.group = f"{prefix}group"
        self.written: list[list[str]] = [[] for _ in range(PARTITIONS)]

    @property
    def values(self) -> set[str]:
        return {value for values in self.written for value in values}

    async def sell(self, number: int) -> None:
        """Write to each partition so many events."""
        records = []
        for _ in range(number):
            for partition, values in enumerate(self.written):
                values.append(f"{partition}-{len(values)}")
                records.append(Write(values[-1].encode(), partition=partition))
        await write(self.bootstrap, self.topic, records)

    async def sell_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.sell(20)
            await asyncio.sleep(0.02)


@pytest.fixture
async def shop(kafka: str, prefix: str) -> Shop:
    shop = Shop(kafka, prefix)
    await create_topics(kafka, {shop.topic: PARTITIONS})
    return shop


@pytest.fixture
def start(shop: Shop, tmp_path: Path) -> Iterator[Start]:
    workers: list[Worker] = []

    def start(name: str, *options: str) -> Worker:
        workers.append(Worker(tmp_path, name, shop.bootstrap, shop.group, shop.topic, *options))
        return workers[-1]

    yield start
    for worker in workers:
        worker.end()


async def until(true: Callable[[], bool], *workers: Worker, within_s: float = WAIT_S) -> None:
    began = time.monotonic()
    while not true():
        if time.monotonic() > began + within_s:
            pytest.fail(
                "\n".join(["not in time", *(f"{w.path.stem}: {w.owned()} {w.errors[-2_000:]}" for w in workers)])
            )
        await asyncio.sleep(0.02)


def all_owned(*workers: Worker) -> bool:
    return sorted(p for worker in workers for p in worker.owned()) == list(range(PARTITIONS))


def by_partition(*workers: Worker) -> dict[int, list[Note]]:
    notes: dict[int, list[Note]] = defaultdict(list)
    for note in sorted(note for worker in workers for note in worker.notes("handled")):
        notes[note.partition].append(note)
    return notes


def skipped(*workers: Worker) -> list[Note]:
    """Chunks handled although not all before them were, anywhere in the fleet."""
    found = []
    for notes in by_partition(*workers).values():
        reached = -1
        for note in notes:
            if note.first > reached + 1:
                found.append(note)
            reached = max(reached, note.last)
    return found


async def committed(shop: Shop) -> tuple[dict[int, int], dict[int, int]]:
    """Where the group stands, and where the topic ends."""
    tps = [TopicPartition(shop.topic, partition) for partition in range(PARTITIONS)]
    async with AIOKafkaConsumer(
        bootstrap_servers=shop.bootstrap, group_id=shop.group, enable_auto_commit=False
    ) as consumer:
        consumer.assign(tps)
        ends = await consumer.end_offsets(tps)
        return {tp.partition: await consumer.committed(tp) or 0 for tp in tps}, {
            tp.partition: o for tp, o in ends.items()
        }


async def test_all_is_handled_in_order_and_only_once_where_nothing_happens(shop: Shop, start: Start) -> None:
    await shop.sell(500)
    worker = start("a", "max_chunk=64")
    await until(lambda: len(worker.handled()) >= PARTITIONS * 500, worker)
    await shop.sell(20)
    await until(lambda: len(worker.handled()) >= PARTITIONS * 520, worker)
    for partition, notes in by_partition(worker).items():
        assert [value for note in notes for value in note.values] == shop.written[partition]
        assert all(note.last - note.first < 64 for note in notes)
    worker.signal(signal.SIGTERM)
    assert worker.process.wait(10) == 0
    assert await committed(shop) == (dict.fromkeys(range(PARTITIONS), 520),) * 2


async def test_a_fleet_loses_and_skips_nothing(shop: Shop, start: Start) -> None:
    stop = asyncio.Event()
    selling = asyncio.create_task(shop.sell_until(stop))
    a, b = start("a", "max_chunk=50"), start("b", "max_chunk=50")
    await until(lambda: all_owned(a, b) and len(a.owned()) == len(b.owned()), a, b)
    before = a.owned(), b.owned()
    c = start("c", "max_chunk=50")
    await until(lambda: bool(c.owned()) and all_owned(a, b, c), a, b, c)
    assert (a.owned() < before[0], b.owned() < before[1]) == (True, True)  # they gave up, and got nothing else
    a.signal(signal.SIGKILL)
    await until(lambda: all_owned(b, c), b, c)
    b.signal(signal.SIGSTOP)
    await until(lambda: c.owned() == set(range(PARTITIONS)), c)
    b.signal(signal.SIGCONT)
    await until(lambda: all_owned(b, c), b, c)
    stop.set()
    await selling
    await until(lambda: shop.values <= {*a.handled(), *b.handled(), *c.handled()}, b, c)
    assert skipped(a, b, c) == []
    assert {*a.handled(), *b.handled(), *c.handled()} == shop.values
    for worker in (b, c):
        worker.signal(signal.SIGTERM)
        assert worker.process.wait(10) == 0
    places, ends = await committed(shop)
    assert places == ends


async def test_who_stops_hands_over_at_once(shop: Shop, start: Start) -> None:
    a, b = start("a"), start("b")
    await until(lambda: all_owned(a, b) and bool(a.owned()) and bool(b.owned()), a, b)
    await shop.sell(10)
    await until(lambda: {*a.handled(), *b.handled()} == shop.values, a, b)
    stopped_at = time.time()
    a.signal(signal.SIGTERM)
    await until(lambda: b.owned() == set(range(PARTITIONS)), a, b)
    taken_over = max(note.at for note in b.notes("gained"))
    assert taken_over - stopped_at < SESSION_S  # it left the group; nobody waited for its session to end
    assert a.process.wait(10) == 0
    assert max(note.at for note in a.notes("lost")) < taken_over
    await shop.sell(5)
    await until(lambda: {*a.handled(), *b.handled()} == shop.values, b)
    assert len(a.handled()) + len(b.handled()) == len(shop.values)  # what was handled had been committed


async def test_a_chunk_that_cannot_be_handled_ends_the_worker_and_comes_again(shop: Shop, start: Start) -> None:
    await shop.sell(30)
    worker = start("a", "max_chunk=8")
    await until(lambda: len(worker.handled()) == len(shop.values), worker)
    await write(shop.bootstrap, shop.topic, [Write(b"poison", partition=3)])
    await shop.sell(1)
    assert worker.process.wait(15) == 1
    assert "ValueError: poison" in worker.errors
    assert not {"poison", "3-30"} & set(worker.handled())
    worker.path.with_suffix(".cured").touch()
    again = start("a", "max_chunk=8")
    await until(lambda: shop.values | {"poison"} <= set(again.handled()), again)
    assert skipped(again) == []


async def test_what_was_aborted_is_not_seen_and_nobody_waits_for_it(shop: Shop, start: Start) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=shop.bootstrap, transactional_id=f"{shop.group}.0")
    expected = []
    async with producer:
        for number in range(12):
            await producer.begin_transaction()
            for partition in range(PARTITIONS):
                await producer.send_and_wait(shop.topic, b"%d-%d" % (partition, number), partition=partition)
            if number % 3:
                await producer.commit_transaction()
                expected += [f"{partition}-{number}" for partition in range(PARTITIONS)]
            else:
                await producer.abort_transaction()
        worker = start("a", "max_chunk=3")
        await until(lambda: len(worker.handled()) >= len(expected), worker)
        await producer.begin_transaction()
        await producer.send_and_wait(shop.topic, b"aborted", partition=5)
        await producer.abort_transaction()
    await asyncio.sleep(1.5)  # a commit comes each second
    assert sorted(worker.handled()) == sorted(expected)
    places, ends = await committed(shop)
    assert ends == {partition: 24 + 2 * (partition == 5) for partition in range(PARTITIONS)}
    assert places == ends  # past the ends of transactions, which no reader is shown


async def test_a_record_larger_than_what_is_fetched_at_once_gets_through(shop: Shop, start: Start) -> None:
    worker = start("a")
    await until(lambda: all_owned(worker), worker)
    sizes = (2_000_000, 6_000_000)
    for size in sizes:
        large = [Write(b"%d-%d" % (size, p) + b" " * size, partition=p) for p in (1, 2, 3)]
        await shop.sell(3)
        await write(shop.bootstrap, shop.topic, large)
    await shop.sell(3)
    wanted = {f"{size}-{p}" for size in sizes for p in (1, 2, 3)} | shop.values
    await until(lambda: wanted <= {value.strip() for value in worker.handled()}, worker)
    assert skipped(worker) == []


async def test_who_loads_longer_than_its_session_stays_in_the_group(shop: Shop, start: Start) -> None:
    await shop.sell(3)
    a = start("a", f"loading_s={SESSION_S * 1.5}")
    await until(lambda: len(a.handled()) >= len(shop.values), a)
    assert len(a.notes("gained")) == PARTITIONS
    assert len(a.handled()) == len(shop.values)


async def test_a_slow_chunk_is_ended_before_its_partition_goes(shop: Shop, start: Start) -> None:
    a = start("a", "slow_s=0.7", "max_chunk=2")
    await until(lambda: all_owned(a), a)
    await shop.sell(12)
    await until(lambda: len(a.notes("begun")) >= PARTITIONS, a)
    b = start("b")
    await until(lambda: all_owned(a, b) and bool(b.owned()), a, b)
    await until(lambda: shop.values == {*a.handled(), *b.handled()}, a, b)
    for note in b.notes("begun"):
        before = [other for other in a.notes("begun") if other.partition == note.partition and other.at < note.at]
        ended = {
            other.last for other in a.notes("handled") if other.partition == note.partition and other.at <= note.at
        }
        assert {other.last for other in before} <= ended
    assert skipped(a, b) == []
    assert len(a.handled()) + len(b.handled()) == len(shop.values)


class Here:
    """A worker in this process."""

    def __init__(self, shop: Shop, handle: Callable[[int, list[Any]], Awaitable[None]] | None = None) -> None:
        self.handled: list[str] = []
        self.app = make_app(KafkaSettings(bootstrap=shop.bootstrap, app=shop.group, max_chunk=5))
        self.stop = asyncio.Event()
        on_chunks(self.app, shop.topic, handle or self.handle)
        self.consumer = cast("Consumer", self.app.consumer)

    async def handle(self, _partition: int, records: list[ConsumerRecord[bytes, bytes]]) -> None:
        self.handled += [(record.value or b"").decode() for record in records]

    async def run_until(self, true: Callable[[], bool]) -> None:
        running = asyncio.create_task(run(self.app, self.stop))
        await until(lambda: true() or running.done())
        self.stop.set()
        async with asyncio.timeout(10):
            await running


@pytest.mark.parametrize("followed", [False, True])
async def test_a_chunk_that_faust_loses_ends_the_worker_and_is_not_skipped(shop: Shop, *, followed: bool) -> None:
    await shop.sell(5)
    worker, lost = Here(shop), []
    hand_over = worker.consumer.callback

    async def lose(chunk: Any) -> None:
        if chunk.partition == 2 and not lost:
            lost.append(chunk)
            if followed:
                await shop.sell(1)
            return
        await hand_over(chunk)

    worker.consumer.callback = lose
    with pytest.raises(ServiceUnusable, match=f"{shop.topic}/2: chunk"):
        await worker.run_until(lambda: False)
    assert not any(value.startswith("2-") for value in worker.handled)
    again = Here(shop)
    await again.run_until(lambda: {*again.handled, *worker.handled} == shop.values)
    assert [value for value in again.handled if value.startswith("2-")] == shop.written[2]


async def test_a_partition_without_a_committed_place_is_read_again_from_its_beginning(shop: Shop, start: Start) -> None:
    stuck = asyncio.Event()

    async def sticking(partition: int, records: list[ConsumerRecord[bytes, bytes]]) -> None:
        if partition == 2 and not stuck.is_set():
            stuck.set()
            await asyncio.Event().wait()
        await worker.handle(partition, records)

    worker = Here(shop, sticking)
    await shop.sell(30)
    others: list[Worker] = []

    def ready() -> bool:
        if stuck.is_set() and not others:
            others.append(start("b"))  # it joins; what sticks is cancelled, and its partition stays here
        return {*worker.handled, *(value for other in others for value in other.handled())} == shop.values

    await worker.run_until(ready)
    assert [value for value in worker.handled if value.startswith("2-")] == shop.written[2]


async def test_a_worker_ends_at_once_where_it_is_told_so_before_it_is_ready(shop: Shop) -> None:
    await shop.sell(1)
    worker = Here(shop)
    await worker.run_until(lambda: True)
    assert worker.handled == []


async def test_a_worker_told_to_stop_in_the_midst_of_a_rebalance_ends_without_an_error(shop: Shop) -> None:
    await shop.sell(1)
    worker = Here(shop)

    def rebalancing() -> bool:
        worker.app.rebalancing = worker.app.rebalancing or set(worker.handled) == shop.values
        return worker.app.rebalancing and bool(worker.handled)

    await worker.run_until(rebalancing)


async def test_a_worker_without_a_broker_says_so(shop: Shop) -> None:
    shop.bootstrap = "127.0.0.1:9"
    with pytest.raises(KafkaConnectionError, match="Unable to bootstrap"):
        await Here(shop).run_until(lambda: False)
