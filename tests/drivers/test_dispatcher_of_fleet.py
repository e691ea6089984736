"""The dispatcher of a fleet: what the workers decide leaves once, allowed and on time, whatever happens to it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
from played_workers import Fleet, send, until
from running import query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from running import Running


@pytest.fixture
async def fleet(kafka: str, prefix: str, tmp_path: Path) -> Fleet:
    made = Fleet(kafka, prefix, tmp_path)
    await made.topics()
    return made


@pytest.fixture
async def start(fleet: Fleet) -> AsyncIterator[Callable[..., Running]]:
    """Start dispatchers; what still runs at the end is killed."""
    started: list[Running] = []

    def begin(*options: str, **settings: Any) -> Running:
        started.append(fleet.running(*options, **settings))
        return started[-1]

    yield begin
    for each in started:
        if each.alive:
            each.kill()


def states(running: Running) -> dict[str, int]:
    return dict(query(running.db, "SELECT state, count(*) FROM outbox GROUP BY state"))


async def test_commands_given_twice_and_a_kill_in_between_leave_once(
    fleet: Fleet, start: Callable[..., Running]
) -> None:
    sends = [send(number, f"c{number}") for number in range(40)]
    running = start()
    running.address()
    await fleet.commands(*sends[:20])
    await until(lambda: len(fleet.sent()) == 20)
    running.kill()
    await fleet.commands(*sends)
    running = start()
    await until(lambda: len(fleet.sent()) == 40)
    await fleet.commands(*sends)
    await fleet.commands(last := send(99, "c99"))
    await until(lambda: any(each["command"] == last.id for each in fleet.sent()))
    sent = [each["command"] for each in fleet.sent()]
    assert sorted(sent) == sorted({each.id for each in [*sends, last]})
    assert running.signal(signal.SIGTERM) == 0
    assert states(running) == {"accepted": 41}
