"""A gateway that does what real ones cannot be made to do, and keeps the truth: which messages it really took.

In a test: ``async with StubGateway(faults=0.3, seed=7) as stub``. As a process of its own:
``python tests/dispatch/stub_gateway.py --port-file F --truth truth.jsonl --faults 0.3 --seed 7``; it writes its port into
F, every message that it takes into the truth before it answers, and ends at SIGTERM. Faults follow from the seed, the
command and how often it came, whatever the order. ``stub_settings(url)`` is how gateways.yaml describes it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import time
from collections import Counter, deque
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Self

TELLS, TELL_AGAIN_S = 300, 0.2
"""How often a receipt is told to a service that does not answer, and the seconds between."""
MOST_TELLING = 5_000


class Fault(StrEnum):
    """What it does with a message. The words before the comma say whether it took the message."""

    NONE = "taken, answered"
    SLOW = "taken, answered late"
    THROTTLED = "not taken, 429"
    REFUSED = "not taken, 400"
    FAILED_LOST = "not taken, 500"
    FAILED_TAKEN = "taken, 500"
    HUNG = "taken, never answered"
    RESET = "taken, connection reset"
    GARBAGE = "taken, answered with what is no answer"

    @property
    def takes(self) -> bool:
        return self.value.startswith("taken")


class Telling(StrEnum):
    """How it tells of a message that arrived or did not."""

    PLAINLY = "once, after the answer"
    EARLY = "before the answer"
    TWICE = "twice"
    BOTH_WAYS = "that it arrived, and that it did not"
    OF_ANOTHER = "with another phone"
    NEVER = "never"


class Taken(NamedTuple):
    """A message that it took; ``at`` when, epoch ms."""

    command: str
    phone: str
    text: str
    klass: str
    at: int
    id: str
    fault: str


FAULTS = [fault for fault in Fault if fault is not Fault.NONE]
ODD = [telling for telling in Telling if telling is not Telling.PLAINLY]


def stub_settings(url: str, **more: Any) -> dict[str, Any]:
    """Describe the stub at ``url`` as gateways.yaml does; ``more`` is what else a gateway's settings may have."""
    return {
        "type": "http",
        "request": {
            "method": "POST",
            "url": url,
            "id_header": "Idempotency-Key",
            "json": {
                "to": "{phone}",
                "text": "{text}",
                "class": "{class}",
                "reference": "{command}",
                "valid_for_min": "{validity_min}",
            },
            "with_callback": {"callback": "{callback}"},
        },
        "answer": {
            "code": "status",
            "id": "id",
            "parts": "parts",
            "accepted": ["ok"],
            "throttled": ["busy"],
            "rejected": ["refused"],
            "invalid_number": ["no such number"],
            "blacklisted": ["blacklisted"],
            "barred": ["no balance"],
        },
        "receipts": {
            "status": "status",
            "delivered": ["delivered"],
            "undelivered": ["failed"],
            "id": "id",
            "phone": "to",
            "code": "reason",
            "at": "at",
            "invalid_number": ["absent"],
            "blacklisted": ["blocked"],
        },
        "replies": {"phone": "from", "to": "to", "text": "text", "id": "id", "at": "at"},
        **more,
    }


class _ClosedAtOnce(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


class StubGateway:
    """The stub. ``faults`` is the share of messages, and of receipts, that something odd happens to.

    ``arrival`` is the share of messages that arrive, and may be changed as it runs; ``tells`` that of those taken of which
    there is a receipt. ``close_connections`` is how many of the next connections it closes before it reads.
    """

    def __init__(
        self,
        *,
        faults: float = 0.0,
        seed: int = 0,
        truth_file: Path | None = None,
        arrival: float = 1.0,
        tells: float = 1.0,
        slow_s: float = 0.3,
        hang_s: float = 30.0,
        receipt_delay_s: float = 0.02,
    ) -> None:
        self.faults, self.seed, self.arrival, self.tells = faults, seed, arrival, tells
        self.truth: list[Taken] = []
        self.told: list[tuple[str, str]] = []
        """The receipts that were answered with 200: command and status."""
        self.asked = 0
        self.keys: list[str] = []
        self.close_connections = 0
        self.url = ""
        self._slow_s, self._hang_s, self._receipt_delay_s = slow_s, hang_s, receipt_delay_s
        self._truth = truth_file.open("ab", buffering=0) if truth_file is not None else None
        self._script: deque[Fault | tuple[int, Any]] = deque()
        self._came: Counter[str] = Counter()
        self._connections = 0
        self._over = asyncio.Event()
        self._telling: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        """Listen on a port of 127.0.0.1; 0 takes a free one. ``url`` says where messages are to be posted."""
        handler = web.Server(self._serve)
        self._runner = web.ServerRunner(handler)
        await self._runner.setup()

        def connection() -> asyncio.Protocol:
            return _ClosedAtOnce() if self._closes() else handler()

        self._server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", port, backlog=512)
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/send"

    async def stop(self) -> None:
        """Close everything; what is still to be told is not told any more."""
        self._over.set()
        self._server.close()
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)
        await self._session.close()
        await self._runner.cleanup()
        if self._truth is not None:
            self._truth.close()

    def script(self, answers: Iterable[Fault | tuple[int, Any]]) -> None:
        """Say what happens to the next messages: a fault, or a status and a JSON body for what it does not take."""
        self._script.extend(answers)

    async def all_told(self) -> None:
        """Wait until nothing is left to be told."""
        while self._telling:
            await asyncio.gather(*self._telling, return_exceptions=True)

    async def reply(self, address: str, phone: str, text: str, number: str) -> int:
        """Hand a reply on to the service at ``address``; tells the status it is answered with."""
        said = {"from": phone, "to": "10690", "text": text, "id": number, "at": _now()}
        async with self._session.post(address, json=said) as answer:
            return answer.status

    def _closes(self) -> bool:
        self._connections += 1
        if self.close_connections > 0:
            self.close_connections -= 1
            return True
        return self._chance(f"connection {self._connections}").random() < self.faults / len(FAULTS)

    def _chance(self, what: str) -> Random:
        return Random(f"{self.seed} {what}")  # noqa: S311  a seed repeats it

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked += 1
        message = json.loads(await request.read())
        self.keys.append(request.headers.get("Idempotency-Key", ""))
        command = str(message["reference"])
        self._came[command] += 1
        chance = self._chance(f"{command} {self._came[command]}")
        fault = self._script.popleft() if self._script else self._fault(chance)
        if not isinstance(fault, Fault):
            return web.json_response(fault[1], status=fault[0])
        if not fault.takes:
            return _refusal(fault)
        number = f"m-{command}-{self._came[command]}"
        self._take(message, number, fault)
        await self._tell(message, number, chance)
        return await self._answer(request, fault, number)

    def _fault(self, chance: Random) -> Fault:
        return chance.choice(FAULTS) if chance.random() < self.faults else Fault.NONE

    def _take(self, message: Mapping[str, Any], number: str, fault: Fault) -> None:
        taken = Taken(message["reference"], message["to"], message["text"], message["class"], _now(), number, fault)
        self.truth.append(taken)
        if self._truth is not None:
            self._truth.write(json.dumps(taken._asdict()).encode() + b"\n")

    async def _answer(self, request: web.BaseRequest, fault: Fault, number: str) -> web.StreamResponse:
        if fault is Fault.FAILED_TAKEN:
            return web.json_response({"status": "internal"}, status=500)
        if fault is Fault.RESET:
            assert request.transport is not None
            request.transport.abort()
        if fault is Fault.GARBAGE:
            return web.Response(body=b"<html>we will be back soon</html>", content_type="text/html")
        if fault in (Fault.SLOW, Fault.HUNG):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), self._slow_s if fault is Fault.SLOW else self._hang_s)
        return web.json_response({"status": "ok", "id": number, "parts": 1})

    async def _tell(self, message: Mapping[str, Any], number: str, chance: Random) -> None:
        """See to the receipts of a message that was taken; an early one is told before this returns."""
        address = message.get("callback")
        told = chance.random() < self.tells
        status = "delivered" if chance.random() < self.arrival else "failed"
        how = chance.choice(ODD) if chance.random() < self.faults else Telling.PLAINLY
        if address is None or not told or how is Telling.NEVER:
            return
        receipt = {"id": number, "to": message["to"], "status": status, "reason": "", "at": _now()}
        if how is Telling.EARLY:
            await self._once(address, message["reference"], receipt)
            return
        if how is Telling.OF_ANOTHER:
            receipt["to"] = "+8613900000000"
        receipts = [receipt]
        if how is Telling.TWICE:
            receipts.append(receipt)
        if how is Telling.BOTH_WAYS:
            receipts.append(receipt | {"status": "failed" if status == "delivered" else "delivered"})
        if len(self._telling) < MOST_TELLING:
            task = asyncio.create_task(self._later(address, message["reference"], receipts))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _later(self, address: str, command: str, receipts: list[dict[str, Any]]) -> None:
        await asyncio.sleep(self._receipt_delay_s)
        for receipt in receipts:
            for _ in range(TELLS):
                if await self._once(address, command, receipt):
                    break
                await asyncio.sleep(TELL_AGAIN_S)

    async def _once(self, address: str, command: str, receipt: dict[str, Any]) -> bool:
        try:
            async with self._session.post(address, json=receipt) as answer:
                heard = answer.status == web.HTTPOk.status_code
        except (aiohttp.ClientError, TimeoutError):
            return False  # the service is down, as it is meant to be in these tests
        if heard:
            self.told.append((command, receipt["status"]))
        return heard


def _refusal(fault: Fault) -> web.Response:
    if fault is Fault.THROTTLED:
        return web.json_response({"status": "slow down"}, status=429, headers={"Retry-After": "1"})
    if fault is Fault.REFUSED:
        return web.json_response({"status": "bad request"}, status=400)
    return web.json_response({"status": "internal"}, status=500)


def _now() -> int:
    return time.time_ns() // 1_000_000


async def _run(arguments: argparse.Namespace) -> None:
    stub = StubGateway(
        faults=arguments.faults,
        seed=arguments.seed,
        truth_file=arguments.truth,
        arrival=arguments.arrival,
        tells=arguments.tells,
        slow_s=arguments.slow_s,
        hang_s=arguments.hang_s,
        receipt_delay_s=arguments.receipt_delay_s,
    )
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    await stub.start(arguments.port)
    part = arguments.port_file.with_suffix(".part")
    part.write_text(stub.url.rsplit(":", 1)[1].partition("/")[0])
    part.replace(arguments.port_file)
    await over.wait()
    await stub.stop()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    for name, default in (
        ("faults", 0.0), ("arrival", 1.0), ("tells", 1.0), ("slow-s", 0.3), ("hang-s", 30.0), ("receipt-delay-s", 0.02),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=float, default=default)
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(_run(_arguments()))
