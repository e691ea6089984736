"""A thousand random sequences of answers, receipts, replies, opt-outs and crashes keep the promises of SMS.md section 1.

TRIGGERS_SEQUENCES says how many (1,000 by default), TRIGGERS_FIRST_SEQUENCE with which to begin.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from model_checks import check
from model_world import World, make_database

if TYPE_CHECKING:
    from pathlib import Path

SEQUENCES = int(os.environ.get("TRIGGERS_SEQUENCES", "1000"))
FIRST = int(os.environ.get("TRIGGERS_FIRST_SEQUENCE", "0"))
AT_A_TIME = 50


async def played(seed: int, path: Path) -> World:
    """Play a sequence to its end."""
    world = World(seed, path)
    try:
        await world.live(world.more())
        for _ in range(world.chance.randint(4, 10)):
            await world.step()
        await world.finish()
    except BaseException:
        world.close()
        raise
    return world


@pytest.fixture(scope="module")
def beginning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("beginning") / "t.db"
    make_database(path)
    return path


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEQUENCES, AT_A_TIME))
async def test_whatever_happens_the_promises_are_kept(first: int, beginning: Path, tmp_path: Path) -> None:
    for seed in range(first, min(first + AT_A_TIME, FIRST + SEQUENCES)):
        path = tmp_path / f"{seed}.db"
        shutil.copyfile(beginning, path)
        world = await played(seed, path)
        wrong = check(world)
        world.close()
        assert not wrong, f"sequence {seed}: {wrong}"
