"""What ends a process, and what is told of it."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
import structlog
from structlog.testing import capture_logs

from triggers.drivers.life import Life
from triggers.errors import OutputUnusable, ServiceUnusable


@pytest.fixture
def life() -> Life:
    return Life("service", structlog.get_logger("test"))


async def fails(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_and_nothing_is_wrong(life: Life, number: signal.Signals) -> None:
    async with asyncio.timeout(5):
        with life.lived():
            assert life.well
            os.kill(os.getpid(), number)
            await life.ended.wait()
            assert not life.well
    assert life.fault is None
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)


async def test_the_first_fault_ends_it_and_is_raised_behind_it(life: Life) -> None:
    async with asyncio.timeout(5):
        with pytest.raises(OutputUnusable, match="first"), life.lived():  # noqa: PT012  it is raised at the end of the block
            await life.task(fails(OutputUnusable("first")))
            await life.task(fails(OutputUnusable("second")))
            await life.ended.wait()


async def test_what_was_not_foreseen_is_logged_and_raised_as_a_service_that_cannot_be_used(life: Life) -> None:
    def fails_in_a_thread() -> None:
        raise SystemExit(3)

    with capture_logs() as logs:
        async with asyncio.timeout(5):
            with pytest.raises(ServiceUnusable, match=r"failed \(SystemExit\)"), life.lived():  # noqa: PT012  as above
                await asyncio.to_thread(life.thread("t", fails_in_a_thread).join)
                await life.ended.wait()
    assert [(each["event"], each["log_level"]) for each in logs] == [("a part of the service failed", "error")]


async def test_what_fails_before_it_is_lived_ends_it_at_once(life: Life) -> None:
    life.fail(OutputUnusable("early"))
    async with asyncio.timeout(5):
        with pytest.raises(OutputUnusable, match="early"), life.lived():
            await life.ended.wait()


async def test_nobody_is_told_once_it_is_over(life: Life) -> None:
    told: list[str] = []
    with life.lived():
        await asyncio.to_thread(life.on_loop, lambda: told.append("while"))
        await asyncio.sleep(0)
    life.on_loop(lambda: told.append("after"))
    await asyncio.sleep(0.01)
    assert told == ["while"]
