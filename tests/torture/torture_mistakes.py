"""Runs a service with a mistake in it, aimed so that the mistake comes to light: the checks must find it."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from torture_lives import SHORT, Ended, bring_the_rest, introduce, live, queue, until
from torture_points import AT_RANDOM
from torture_reading import open_rows, taken_twice
from torture_senders import Senders
from torture_shop import people
from torture_world import World

from triggers.core.times import HOUR

if TYPE_CHECKING:
    from pathlib import Path


class Aim(NamedTuple):
    """What brings a mistake to light: faults, a point to be killed at, customers, a time of the day; and what is found.

    ``brought`` is how much else is brought to the life that is killed: where something commercial must be leaving then,
    nothing, since it might be a code that is.
    """

    faults: dict[str, float]
    point: str
    customers: int
    of_day: int
    finds: frozenset[str]
    brought: int = 0


MANY, FEW = 400, 40
"""With few customers most have enough messages, so that their caps are full; with many no cap holds one back."""
TWICE = frozenset({"sent twice", "asked again"})
AIMS = {
    "requeue after a crash": Aim({}, "send: answered, not settled", MANY, 10 * HOUR, TWICE),
    "a time-out is a failure": Aim({"hung, taken": 0.4}, AT_RANDOM, MANY, 10 * HOUR, TWICE),
    "a 5xx is a failure": Aim({"failed, taken": 0.5}, AT_RANDOM, MANY, 10 * HOUR, TWICE),
    "no last look": Aim(
        {},
        "opt-out: before it is answered",
        FEW,
        21 * HOUR,
        frozenset({"after opt out", "without consent", "outside the window", "above a cap"}),
        brought=SHORT.brought,
    ),
}
COMMANDS, WITHIN_S = 80, 20.0


async def provoke(folder: Path, seed: int, mutant: str) -> Ended:
    """Run a service with a mistake in it until what it is aimed at is found, or a time is over."""
    chance = Random(f"mutant {seed}")  # noqa: S311  a seed repeats it
    aim = AIMS[mutant]
    async with World(folder, {"seed": seed, "faults": aim.faults, "latency_ms": 40}) as world:
        ended = Ended(world, Senders(world, people(aim.customers), seed), {})
        world.time.leap(0, aim.of_day)
        await introduce(ended)
        queue(ended, COMMANDS, chance, ("left",))
        await live(ended, aim.point, replace(SHORT, brought=aim.brought), chance, mutant)
        pid = await world.start(mutant=mutant)
        await world.listens()
        await bring_the_rest(ended)
        os.kill(pid, signal.SIGKILL)
        await world.ended()
        queue(ended, COMMANDS, chance, ("left",))
        pid = await world.start(mutant=mutant)
        with suppress(TimeoutError):
            await until(lambda: taken_twice(world.truth) or not open_rows(world.db, world.time.now()), WITHIN_S)
        os.kill(pid, signal.SIGKILL)
        await world.ended()
    return ended
