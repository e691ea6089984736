"""Runs a fleet in chaos: two workers, a dispatcher and a broker, events that flow, and a supervisor."""

from __future__ import annotations

import asyncio
import re
import signal
from contextlib import AsyncExitStack
from random import Random
from typing import TYPE_CHECKING, Final

from kafka_broker import Cluster, create_topics
from kafka_chaos_deeds import SESSION_S, Chaos, do_all, now_ms
from kafka_chaos_left import read_what_is_left
from kafka_chaos_rules import Size, write_delivery, write_rules
from kafka_chaos_shop import SOURCES, Flow
from kafka_chaos_watch import Watch

from triggers.drivers.kafka.dispatch_settings import DispatchSettings
from triggers.drivers.kafka.records import COMMANDS
from triggers.drivers.kafka.settings import KafkaSettings
from triggers.drivers.kafka.topics import ensure

if TYPE_CHECKING:
    from pathlib import Path

    from fleet_process import FleetProcess

LONG: Final = Size(events=200_000, rate=1_000, customers=20_000, gap_s=20.0)
SHORT: Final = Size(events=9_000, rate=250, customers=900, gap_s=1.5, pace=4.0, slots=False, bounded=False)
SETTLE_S: Final = 0.5
PARTITIONS: Final = 8
APP: Final = "chaos"
BEGINS_WITHIN_S: Final = 120.0
LAST_WORDS: Final = 3_000
AGAIN_S: Final = 0.5
"""How long a supervisor takes to start again what has ended."""
SETTLES_WITHIN_S: Final = 120.0


async def play(jars: Path, folder: Path, seed: int, size: Size, *, say: bool = False) -> Chaos:
    """Let events flow through a fleet while everything happens to it, then let all that waits come to its end."""
    began = now_ms()
    rules = write_rules(folder / "rules", began, size)
    (folder / "kafka").mkdir()
    with Cluster(jars, folder / "kafka") as cluster:
        settings = KafkaSettings(
            bootstrap=cluster.bootstrap,
            app=APP,
            prefix=f"{APP}.",
            sources=SOURCES,
            partitions=PARTITIONS,
            rules=rules,
            settle_s=SETTLE_S,
            session_timeout_s=SESSION_S,
        )
        commands = {settings.topic(COMMANDS): PARTITIONS}
        await create_topics(cluster.bootstrap, commands, {"message.timestamp.type": "LogAppendTime"})
        await ensure(settings)
        async with Watch(settings) as watch, AsyncExitStack() as opened:
            chaos = Chaos(settings, folder, size, Flow(settings, seed, size), watch, began)
            await _begin(chaos, opened)
            await _play(chaos, cluster, seed, say=say)
            await _end(chaos)
            await watch.read_to_the_end()
            chaos.left = await read_what_is_left(settings)
    return chaos


async def _begin(chaos: Chaos, opened: AsyncExitStack) -> None:
    """Start two workers and the dispatcher, and wait until all partitions have been taken over."""
    delivery = write_delivery(chaos.folder / "delivery.yaml", chaos.ledger)
    common = chaos.settings.model_dump(exclude={"port"})
    chaos.open_office(DispatchSettings(**common, port=0, db=chaos.database, delivery=delivery))
    opened.callback(chaos.close)
    both = [chaos.hire(), chaos.hire()]
    supervisor = asyncio.create_task(_supervise(chaos))
    try:
        async with asyncio.timeout(BEGINS_WITHIN_S):
            while not all("partition taken over" in place.process.said for place in both):  # noqa: ASYNC110  they log it
                await asyncio.sleep(0.1)
            while not all(chaos.watch.came(part) for part in range(PARTITIONS)):
                await chaos.watch.read()
    except TimeoutError:
        said = [f"{place.name} ({place.process.status}): {place.process.said[-LAST_WORDS:]}" for place in chaos.places]
        raise AssertionError("\n".join(["the fleet did not begin", *map(str, chaos.notes), *said])) from None
    finally:
        supervisor.cancel()
        await asyncio.gather(supervisor, return_exceptions=True)


async def _play(chaos: Chaos, cluster: Cluster, seed: int, *, say: bool) -> None:
    beside = [asyncio.create_task(each) for each in (chaos.watch.run(), _supervise(chaos))]
    deeds = asyncio.create_task(do_all(chaos, cluster, Random(f"deeds {seed}")))  # noqa: S311  a seed repeats them
    going_on = {asyncio.create_task(chaos.flow.run()), deeds}
    try:
        while going_on:
            done, _ = await asyncio.wait({*going_on, *beside}, timeout=1, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            going_on -= done
            if say:
                told = chaos.notes[-1][1] if chaos.notes else ""
                print(f"\r{chaos.flow.share:4.0%} {told:60.60}", end="", flush=True)  # noqa: T201
        chaos.note("all events are written")
        await _settle(chaos)
    finally:
        for task in (*going_on, *beside):
            task.cancel()
        await asyncio.gather(*going_on, *beside, return_exceptions=True)


async def _supervise(chaos: Chaos) -> None:
    """Start again what has ended, as any supervisor does; why it ended is counted."""
    while True:
        for place in chaos.places:
            if place.wanted and not place.runs:
                await asyncio.sleep(AGAIN_S)
                if place.killed:
                    place.killed = False
                else:
                    why = why_of(place.process)
                    chaos.ended[why] += 1
                    chaos.note(f"{place.name} ended with {place.process.status}: {why}")
                place.fill()
        await asyncio.sleep(0.1)


def why_of(process: FleetProcess) -> str:
    """Read why a process says it ended, without what is of this one only."""
    lines = process.said.strip().splitlines() or ["without a word"]
    words = next((line for line in reversed(lines) if line.startswith("triggers: ")), lines[-1])
    return re.sub(r"\d+", "N", words.removeprefix("triggers: "))[:160]


async def _settle(chaos: Chaos) -> None:
    """Wait until nothing waits any more, and every partition has come past that."""
    await asyncio.sleep(chaos.size.longest_wait_s)
    over, watch = now_ms(), chaos.watch
    try:
        async with asyncio.timeout(SETTLES_WITHIN_S):
            while watch.slowest() < over or watch.open_questions():  # noqa: ASYNC110  another task reads on
                await asyncio.sleep(0.2)
        chaos.settled = True
    except TimeoutError:
        chaos.note(f"not settled: {watch.slowest() - over} ms, {watch.open_questions()} questions open")


async def _end(chaos: Chaos) -> None:
    """End all as a deployment does."""
    places = [place for place in chaos.places if place.wanted]
    for place in places:
        place.process.signal(signal.SIGTERM)
    for place in places:
        chaos.ended[f"at the end, with {await place.process.ended()}"] += 1
