from __future__ import annotations

import asyncio
import threading

from triggers.dispatch.inflight import InFlight


async def is_over(inflight: InFlight, *keys: str) -> bool:
    """Tell whether nothing need be waited for."""
    waiting = asyncio.create_task(inflight.over(keys))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    done = waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    return done


async def test_there_is_nothing_to_wait_for_where_nothing_leaves() -> None:
    inflight = InFlight()
    inflight.begin(1, ("+1", "c1"))
    assert await is_over(inflight, "+2", "c2")
    assert await is_over(inflight)


async def test_each_of_a_messages_keys_is_waited_for() -> None:
    inflight = InFlight()
    inflight.begin(1, ("+1", "c1"))
    for key in ("+1", "c1"):
        assert not await is_over(inflight, key)
    inflight.finish(1, ("+1", "c1"))
    for key in ("+1", "c1"):
        assert await is_over(inflight, key)


async def test_all_that_leaves_to_a_key_is_waited_for() -> None:
    inflight = InFlight()
    for message in (1, 2, 3):
        inflight.begin(message, ("+1",))
    waiting = asyncio.create_task(inflight.over({"+1"}))
    for message in (2, 1):
        inflight.finish(message, ("+1",))
        await asyncio.sleep(0.01)
        assert not waiting.done()
    inflight.finish(3, ("+1",))
    async with asyncio.timeout(10):
        await waiting


async def test_what_begins_later_is_not_waited_for() -> None:
    inflight = InFlight()
    inflight.begin(1, ("+1",))
    waiting = asyncio.create_task(inflight.over({"+1"}))
    await asyncio.sleep(0)
    inflight.begin(2, ("+1",))
    inflight.finish(1, ("+1",))
    async with asyncio.timeout(10):
        await waiting
    assert not await is_over(inflight, "+1")


async def test_several_wait_at_once_each_for_its_own() -> None:
    inflight = InFlight()
    inflight.begin(1, ("+1",))
    inflight.begin(2, ("+2",))
    first, second, both = (asyncio.create_task(inflight.over(keys)) for keys in (["+1"], ["+2"], ["+1", "+2"]))
    await asyncio.sleep(0)
    inflight.finish(1, ("+1",))
    async with asyncio.timeout(10):
        await first
    assert not second.done()
    assert not both.done()
    inflight.finish(2, ("+2",))
    async with asyncio.timeout(10):
        await asyncio.gather(second, both)


async def test_a_message_may_begin_again() -> None:
    inflight = InFlight()
    for _ in range(2):
        inflight.begin(1, ("+1",))
        assert not await is_over(inflight, "+1")
        inflight.finish(1, ("+1",))
    assert await is_over(inflight, "+1")
    inflight.finish(1, ("+1", "unknown"))  # twice is once
    assert await is_over(inflight, "+1", "unknown")


async def test_messages_begin_on_another_thread_while_the_loop_waits() -> None:
    inflight = InFlight()

    def begin() -> None:
        for message in range(1_000):
            inflight.begin(message, ("+1", f"c{message % 7}"))

    thread = threading.Thread(target=begin)
    thread.start()
    while thread.is_alive():
        assert await is_over(inflight, "+2")
    thread.join()
    waiting = asyncio.create_task(inflight.over({"c3"}))
    await asyncio.sleep(0)
    for message in range(1_000):
        inflight.finish(message, ("+1", f"c{message % 7}"))
    async with asyncio.timeout(10):
        await waiting
    assert await is_over(inflight, "+1", "c0")
