"""How the gateway that keeps the truth tells of what it took: early, late, twice, both ways, or of what nobody sent."""

from __future__ import annotations

import asyncio
import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

MOST_TELLING = 3_000
TRIES, AGAIN_S = 400, 0.25
EARLY_S = 0.2
LATEST_S = 0.5
ARRIVE = 0.9
TOLD = 0.9


class Telling(StrEnum):
    """How it tells of a message."""

    PLAINLY = "plainly"
    BY_ID = "by its own id, without our command"
    EARLY = "before the answer"
    TWICE = "twice"
    BOTH_WAYS = "that it arrived, and that it did not"
    OF_NONE = "of a message that nobody sent, too"


class Teller:
    """Posts receipts until they are answered with 200; each one that was, or may have been, is a line of ``told``."""

    def __init__(self, told: Path) -> None:
        self._told = told.open("ab", buffering=0)
        self._session: aiohttp.ClientSession | None = None
        self._telling: set[asyncio.Task[None]] = set()

    async def tell(self, receipts_url: str, message: dict[str, Any], number: str, chance: Random) -> None:
        """See to the receipts of a message; an early one is told before this returns."""
        told, arrived = chance.random() < TOLD, chance.random() < ARRIVE
        how, delay_s = chance.choice(list(Telling)), chance.random() * LATEST_S
        address, command = message.get("callback"), message["reference"]
        if not told or not address or len(self._telling) >= MOST_TELLING:
            return
        status, other = ("delivered", "failed") if arrived else ("failed", "delivered")
        if how is Telling.BY_ID:
            address = receipts_url
        receipt = {"id": number, "to": message["to"], "status": status}
        receipts = [receipt]
        if how is Telling.TWICE:
            receipts.append(receipt)
        elif how is Telling.BOTH_WAYS:
            receipts.append(receipt | {"status": other})
        elif how is Telling.OF_NONE:
            self._later(receipts_url, "", [receipt | {"id": f"none-{number}"}], delay_s)
        if how is Telling.EARLY and await self._once(address, command, receipt, EARLY_S):
            return
        self._later(address, command, receipts, delay_s)

    def _later(self, address: str, command: str, receipts: list[dict[str, Any]], delay_s: float) -> None:
        task = asyncio.create_task(self._tell(address, command, receipts, delay_s))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, address: str, command: str, receipts: list[dict[str, Any]], delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        for receipt in receipts:
            for _ in range(TRIES):
                if await self._once(address, command, receipt, 5.0):
                    break
                await asyncio.sleep(AGAIN_S)

    async def _once(self, address: str, command: str, receipt: dict[str, Any], timeout_s: float) -> bool:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        try:
            timeout = aiohttp.ClientTimeout(total=timeout_s)
            async with self._session.post(address, json=receipt, timeout=timeout) as answer:
                heard = answer.status == 200
        except aiohttp.ClientConnectorError:
            return False  # the service is down, as it is meant to be
        except (aiohttp.ClientError, TimeoutError):
            heard = False  # it may have been killed after it stored this
        if command:
            line = {"command": command, "status": receipt["status"], "heard": heard}
            line |= {"named": "command=" in address, "path": urlsplit(address).path}
            self._told.write(json.dumps(line).encode() + b"\n")
        return heard

    async def close(self) -> None:
        """Tell nothing more."""
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
