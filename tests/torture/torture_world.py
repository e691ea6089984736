"""What stands around a tortured service: the gateway's process, the one that starts its lives, its files and ports."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from torture_shop import Time, call_urls, write_delivery, write_rules

from triggers.core.times import month_text
from triggers.store.database import connect
from triggers.store.outbox import queue
from triggers.store.states import Command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torture_shop import Person

    from triggers.core.decisions import Send

HERE = Path(__file__).parent
STARTS_WITHIN_S = 20.0
ENDS_WITHIN_S = 30.0


def free_port() -> int:
    """Find a port of 127.0.0.1 that nobody has."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class World:
    """One shop with its service and its gateway. ``async with`` starts the processes and ends them."""

    def __init__(self, folder: Path, plan: dict[str, Any]) -> None:
        self.db, self.log = folder / "t.db", folder / "service.log"
        self.truth, self.told, self.hits = folder / "truth.jsonl", folder / "told.jsonl", folder / "hits"
        for path in (self.log, self.truth, self.told, self.hits):
            path.touch()
        self._folder = folder
        self.rules = write_rules(folder / "rules")
        self.port = free_port()
        self.time = Time()
        self._plan = {"receipts": call_urls(self.port, "receipts"), **plan}
        self.address = f"http://127.0.0.1:{self.port}"
        self._delivery = folder / "gateways.yaml"
        self._pid: int | None = None

    async def __aenter__(self) -> Self:
        port_file = self._folder / "gateway.port"
        files = ["--port-file", port_file, "--truth", self.truth, "--told", self.told]
        self._gateway = await asyncio.create_subprocess_exec(
            sys.executable, HERE / "truth_gateway.py", *files, "--plan", json.dumps(self._plan)
        )
        self._starter = await asyncio.create_subprocess_exec(
            sys.executable,
            HERE / "torture_service.py",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        end = time.monotonic() + STARTS_WITHIN_S
        while not port_file.exists():
            assert time.monotonic() < end, "the gateway did not start"
            await asyncio.sleep(0.01)
        self._gateway_port = int(port_file.read_text())
        write_delivery(self._delivery, self._gateway_port, self.port)
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()
        if self._pid is not None:  # a test has failed in the middle of a life
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        for process in (self._starter, self._gateway):
            process.kill()
            await process.wait()

    async def plan(self, **changed: Any) -> None:
        """Have the gateway do otherwise from now on, when its door is not just shut."""
        self._plan |= changed
        url = f"http://127.0.0.1:{self._gateway_port}/plan"
        async with asyncio.timeout(STARTS_WITHIN_S):
            while True:
                with suppress(aiohttp.ClientError):
                    async with self.session.post(url, json=self._plan):
                        return
                await asyncio.sleep(0.02)

    async def start(self, point: str | None = None, passes: int = 1, mutant: str | None = None) -> int:
        """Begin a life of the service; gives its process."""
        life = {
            "rules": str(self.rules),
            "db": str(self.db),
            "delivery": str(self._delivery),
            "log": str(self.log),
            "hits": str(self.hits),
            "port": self.port,
            "offset_ms": self.time.offset,
            "point": point,
            "passes": passes,
            "mutant": mutant,
        }
        assert self._starter.stdin is not None
        self._starter.stdin.write(json.dumps(life).encode() + b"\n")
        self._pid = int((await self._said())["pid"])
        return self._pid

    async def ended(self) -> int:
        """Wait for the end of the life; gives the exit status."""
        status = int((await self._said())["status"])
        self._pid = None
        return status

    async def _said(self) -> dict[str, int]:
        assert self._starter.stdout is not None
        async with asyncio.timeout(ENDS_WITHIN_S):
            return dict(json.loads(await self._starter.stdout.readline()))

    async def listens(self) -> None:
        """Wait until the service answers."""
        assert self._pid is not None
        end = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < end:
            with suppress(aiohttp.ClientError):
                async with self.session.get(f"{self.address}/healthz"):
                    return
            with suppress(ProcessLookupError):
                os.kill(self._pid, 0)
                await asyncio.sleep(0.02)
                continue
            break
        raise AssertionError(f"the service did not start: {self.log.read_text()[-2_000:]}")

    def queue(self, commands: Sequence[tuple[Send, Person]]) -> None:
        """Put commands into the outbox while the service is down."""
        zone_ms = 8 * 3_600_000
        with closing(connect(self.db)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            new = queue(
                connection,
                [Command(send, person.phone) for send, person in commands],
                self.time.now(),
                lambda send: month_text(send.at + zone_ms),
            )
            connection.execute("COMMIT")
        assert new == len(commands)
