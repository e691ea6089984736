"""Lives of a tortured service: what is queued and brought in each, where it is killed, and how all comes to an end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from torture_points import AT_RANDOM, HEARING_POINTS, OPT_OUTS, POINTS, RECOVERY_POINTS, SENDING_POINTS
from torture_reading import open_rows, states
from torture_senders import Senders
from torture_shop import direct, people
from torture_world import World

from triggers.core.times import HOUR, MINUTE, SECOND
from triggers.store.states import ARROWS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from triggers.core.decisions import Send

FAULTS = {
    "throttled": 0.06,
    "refused": 0.02,
    "rejected": 0.02,
    "failed, lost": 0.03,
    "failed, taken": 0.05,
    "hung, lost": 0.02,
    "hung, taken": 0.03,
    "reset, lost": 0.02,
    "reset, taken": 0.03,
    "garbage, taken": 0.02,
}
"""30 % of what a gateway is asked."""
DAYTIMES = (
    (10 * HOUR + 58 * MINUTE + 57 * SECOND, "the window shuts"),
    (14 * HOUR + 59 * MINUTE + 58 * SECOND, "the window opens"),
    (20 * HOUR + 58 * MINUTE + 57 * SECOND, "the outer hours end"),
)
"""Where each day's clock is put, all a few seconds before something happens."""
RANDOM_LIFE_S = (0.15, 1.2)
LIFE_S = 2.5
DRAIN_S = 40.0
MOST_MISSED = 20
"""So many lives more for points that were not come to."""


@dataclass(frozen=True)
class Size:
    """How long to torture: lives, and in each of them commands, things brought, and passes of a point at most."""

    lives: int
    commands: int
    brought: int
    customers: int
    passes: int
    lives_at_a_daytime: int
    breath_s: float


SHORT = Size(lives=22, commands=30, brought=12, customers=220, passes=10, lives_at_a_daytime=4, breath_s=2.0)
LONG = Size(lives=140, commands=42, brought=30, customers=1_500, passes=60, lives_at_a_daytime=8, breath_s=6.0)


@dataclass
class Ended:
    """What was done, for the checks and the figures."""

    world: World
    senders: Senders
    queued: dict[str, Send]
    kills: Counter[str] = field(default_factory=Counter)
    lives: int = 0
    before_the_end: dict[str, str] = field(default_factory=dict)
    """The state of each command before the last leap in time."""


def points(size: Size, chance: Random) -> list[str]:
    """Say where each life is killed: at every point in any order, a recovery's where the life before left it something."""
    plain = [*SENDING_POINTS, *HEARING_POINTS, AT_RANDOM]
    found: list[str] = []
    while len(found) < size.lives:
        chance.shuffle(plain)
        recoveries = list(RECOVERY_POINTS)
        for point in plain:
            found.append(point)
            if recoveries and point in SENDING_POINTS[1:5]:
                found.append(recoveries.pop())
    return found[: size.lives]


async def torture(folder: Path, seed: int, size: Size, *, say: bool = False) -> Ended:
    """Run a service through its lives, then let it finish."""
    chance = Random(f"lives {seed}")  # noqa: S311  a seed repeats it
    plan = {"seed": seed, "faults": FAULTS, "latency_ms": 40, "notices_after": 3}
    async with World(folder, plan) as world:
        ended = Ended(world, Senders(world, people(size.customers), seed), {})
        world.time.leap(0, DAYTIMES[0][0] - HOUR)
        await introduce(ended)
        wanted = points(size, chance)
        while wanted and ended.lives < size.lives + MOST_MISSED:
            turn, rest = divmod(ended.lives, size.lives_at_a_daytime)
            if rest == 0:
                await _breathe(ended, size.breath_s)
                day, daytime = divmod(turn, len(DAYTIMES))
                world.time.leap(day, DAYTIMES[daytime][0])
            queue(ended, size.commands, chance)
            point = wanted.pop(0)
            await live(ended, point, size, chance)
            if not wanted:  # some points were not passed often enough
                wanted = [SENDING_POINTS[3], *missed] if (missed := set(POINTS) - set(ended.kills)) else []
            if say:
                print(f"\rlives {ended.lives}, kills {ended.kills.total()}  ", end="", flush=True)  # noqa: T201
        await _finish(ended, 1 + ended.lives // size.lives_at_a_daytime // len(DAYTIMES))
    return ended


async def introduce(ended: Ended) -> None:
    """A quiet life, in which the customers are told, and which ends as it should."""
    ended.senders.introduce()
    pid = await ended.world.start()
    await ended.world.listens()
    await bring_the_rest(ended)
    await _stop(ended, pid)


async def bring_the_rest(ended: Ended) -> None:
    """Bring what is not answered yet."""
    async with asyncio.timeout(DRAIN_S):
        while ended.senders.waiting:
            await ended.senders.bring(0, asyncio.Event(), opt_outs=False)


def queue(ended: Ended, count: int, chance: Random, rules: tuple[str, ...] = ("left", "left", "wish", "paid")) -> None:
    """Put commands into the outbox that the engine's own gates never saw: several at once, some to who opted out."""
    senders, at = ended.senders, ended.world.time.now()
    senders.recent.clear()
    commands = []
    for _ in range(count):
        person = chance.choice(senders.customers)
        send = direct(len(ended.queued), person, chance.choice(rules), at, chance)
        ended.queued[send.id] = send
        commands.append((send, person))
        if person.id not in senders.stopped_at:
            senders.recent.append(person)
    ended.world.queue(commands)


async def live(ended: Ended, point: str, size: Size, chance: Random, mutant: str | None = None) -> None:
    """Begin a life that ends by being killed at a point, or at random where it never comes there."""
    ended.lives += 1
    world, before = ended.world, ended.world.hits.stat().st_size
    at_random = point == AT_RANDOM
    pid = await world.start(None if at_random else point, chance.randint(1, _most_passes(point, size)), mutant)
    over = asyncio.Event()
    bringing = asyncio.create_task(ended.senders.bring(size.brought, over, opt_outs=point in OPT_OUTS))
    ending = asyncio.create_task(world.ended())
    life_s = chance.uniform(*RANDOM_LIFE_S) if at_random else LIFE_S
    await asyncio.wait([ending], timeout=life_s)
    with suppress(ProcessLookupError):
        if not ending.done():
            os.kill(pid, signal.SIGKILL)
    status = await ending
    over.set()
    await bringing
    assert status == -signal.SIGKILL, f"ended by itself with {status}: {world.log.read_text()[-3_000:]}"
    ended.kills[point if world.hits.stat().st_size > before else AT_RANDOM] += 1


async def _breathe(ended: Ended, breath_s: float) -> None:
    """A life in which what may leave does, as far as the gateway lets it, and which ends as it should."""
    world = ended.world
    pid = await world.start()
    await world.listens()
    with suppress(TimeoutError):
        await until(lambda: not open_rows(world.db, world.time.now()), breath_s)
    await _stop(ended, pid)


def _most_passes(point: str, size: Size) -> int:
    if point in RECOVERY_POINTS:
        return 1
    if point.startswith(("send", "settle", "callback")):
        return size.passes
    return size.brought // 5 if point.startswith("event") else 2


async def _stop(ended: Ended, pid: int) -> None:
    os.kill(pid, signal.SIGTERM)
    status = await ended.world.ended()
    assert status == 0, f"ended with {status}: {ended.world.log.read_text()[-3_000:]}"


async def _finish(ended: Ended, day: int) -> None:
    """Let the gateway work again and everything leave that may, on two days; then let all that is open grow old."""
    world = ended.world
    await world.plan(faults={})
    for later in range(2):
        world.time.leap(day + later, 10 * HOUR + MINUTE)
        pid = await world.start()
        await world.listens()
        await bring_the_rest(ended)
        await until(lambda: not open_rows(world.db, world.time.now()), DRAIN_S)
        await asyncio.sleep(1.0)  # receipts that are told late
        await _stop(ended, pid)
    ended.before_the_end = states(world.db)
    world.time.leap(day + 6, 10 * HOUR + MINUTE)
    pid = await world.start()
    await world.listens()
    await until(lambda: not set(states(world.db).values()) & set(ARROWS), DRAIN_S)
    await _stop(ended, pid)


async def until(over: Callable[[], object], within_s: float) -> None:
    """Wait for something that another process does. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while not over():  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0.05)
