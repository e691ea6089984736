"""What tests of the SMPP gateway share: its settings for an SMSC on loopback, a message, and somebody who listens."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from smsc import SUBMIT_SM, Line, Unit

from triggers.clock import wall_ms
from triggers.dispatch.gateway import Heard, Outgoing
from triggers.dispatch.gateways.smpp import SmppGateway, SmppSettings
from triggers.dispatch.smpp import link

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PHONE = "+8613800138000"
HOUR_MS = 3_600_000
USUAL = {
    "type": "smpp",
    "host": "127.0.0.1",
    "system_id": "shop",
    "password": "s3cret",
    "source": "10690",
    "timeout_s": 3.0,
    "connect_timeout_s": 2.0,
}


def told(port: int, **more: Any) -> SmppSettings:
    return SmppSettings.model_validate({**USUAL, "port": port, **more})


@asynccontextmanager
async def opened(port: int, *, soon: bool = False, **more: Any) -> AsyncIterator[SmppGateway]:
    """Open a gateway to an SMSC; ``soon``: what broke is tried again soon."""
    gateway = told(port, **more).open("smpp")
    with pytest.MonkeyPatch.context() as patch:
        if soon:
            patch.setattr(link, "FIRST_WAIT_S", 0.05)
        try:
            yield gateway
        finally:
            await gateway.close()


@asynccontextmanager
async def listening(gateway: SmppGateway) -> AsyncIterator[list[Heard]]:
    """Have the gateway listen, and give what it hears as it comes."""
    heard: list[Heard] = []

    async def hear(what: Heard) -> None:
        heard.append(what)

    task = asyncio.create_task(gateway.listen(hear))
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def message(text: str = "hello", *, command: str = "c1", valid_ms: int = HOUR_MS) -> Outgoing:
    return Outgoing(command, 1, PHONE, text, "marketing", wall_ms() + valid_ms)


async def until(true: Any) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110  the gateway tells nobody when it has heard
            await asyncio.sleep(0.01)


def answering(*answers: str | int | None) -> Any:
    async def answer(count: int, _octets: bytes) -> str | int | None:
        return answers[min(count, len(answers)) - 1]

    return answer


def instead_of_submit(answer: Any) -> Any:
    """Answer submits in the line; the SMSC does not see them."""

    def meddle(line: Line, unit: Unit) -> bool:
        if unit.command != SUBMIT_SM:
            return False
        line.tell(answer(unit))
        return True

    return meddle
