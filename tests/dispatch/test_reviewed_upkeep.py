"""What a gateway that is gone, or does not answer, may not keep from happening."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from offices import NOON, Office, Scripted, send

from triggers.core.times import DAY, HOUR, MINUTE
from triggers.dispatch.gateway import Fate, Heard, Receipt, Rejected, Sought, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    Opening = Callable[..., Office]


class Silent(Scripted):
    """A gateway that is asked and never answers."""

    def __init__(self) -> None:
        super().__init__("silent", Unknown("reset"), Unknown("reset"))
        self.asked = asyncio.Event()

    async def settle(self, sought: Sought) -> Receipt | Rejected | None:
        assert sought.phone
        self.asked.set()
        await asyncio.Event().wait()
        return None


async def test_a_gateway_that_does_not_answer_when_it_is_asked_delays_nothing_else(office: Opening) -> None:
    gateway = Silent()
    here = office(gateway)
    here.put(send("old"))
    await here.dispatch.dispatcher.drain()
    here.clock.at = NOON + 23 * HOUR
    here.put(send("new", customer="c2"))
    await here.dispatch.dispatcher.drain()
    upkeep = asyncio.create_task(here.dispatch.upkeep.run(0.02))
    async with asyncio.timeout(5):
        await gateway.asked.wait()  # and now it hangs
        here.clock.at = NOON + DAY + MINUTE
        while here.states() != {"unknown": 1, "unknown_final": 1}:  # noqa: ASYNC110  the database tells
            await asyncio.sleep(0.01)
    upkeep.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upkeep


@pytest.mark.parametrize(("told", "state"), [(True, "expired"), (False, "accepted")])
async def test_what_a_gateway_took_that_is_gone_from_the_settings_ends_if_it_ever_told(
    office: Opening,
    told: bool,  # noqa: FBT001
    state: str,
) -> None:
    here = office(Scripted("main"))
    here.put(send("first"), send("second", customer="c2"))
    await here.dispatch.dispatcher.drain()
    if told:
        await here.dispatch.hearing.hear("main", Heard((Receipt(Fate.DELIVERED, None, command="first"),)))
    del here.dispatch.traffic.roads["main"]
    for _ in range(2):
        here.clock.at += 73 * HOUR
        await here.dispatch.upkeep.turn()
    assert here.rows("SELECT state FROM outbox WHERE command = 'second'") == [(state,)]
