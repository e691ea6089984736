"""A whole service under load beside the gateway that keeps the truth: how soon an opt-out is answered, and if it holds."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1] / "torture"))

from torture_checks import after_opt_out
from torture_lives import Ended, introduce, until
from torture_reading import open_rows
from torture_record import Record
from torture_senders import Senders
from torture_shop import SECRETS, direct, people
from torture_world import World

from triggers.core.times import HOUR

LOADED, OPT_OUTS = 4_000, 40
DONE_WITHIN_S = 60.0


async def opt_outs(folder: Path) -> tuple[float, list[float]]:
    """Opt out while marketing leaves from a whole service, by event and by reply, over HTTP.

    Gives the messages a second, and the seconds from each opt-out until it was answered; nothing leaves after that.
    """
    plan = {"receipts": dict.fromkeys(SECRETS, ""), "latency_ms": 2}
    async with World(folder, plan) as world:
        senders = Senders(world, people(LOADED), 1)
        ended = Ended(world, senders, {})
        world.time.leap(0, 10 * HOUR)
        await introduce(ended)
        at, chance = world.time.now(), Random(1)  # noqa: S311  names of commands
        world.queue([(direct(number, each, "left", at, chance), each) for number, each in enumerate(senders.customers)])
        await world.start()
        await world.listens()
        began, taken = time.perf_counter(), []
        for person in senders.customers[LOADED // 4 :: LOADED // OPT_OUTS]:
            post, asked = senders.opt_out(person), time.perf_counter()
            assert await senders.brought(post)
            taken.append(time.perf_counter() - asked)
            await asyncio.sleep(0.01)
        await until(lambda: not open_rows(world.db, world.time.now()), DONE_WITHIN_S)
        took = time.perf_counter() - began
    record = Record(ended)
    assert len(record.senders.stopped_at) == len(taken)
    assert not after_opt_out(record), "a message left after an opt-out was answered"
    return len(record.truth) / took, taken
