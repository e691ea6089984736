"""A gateway in a process of its own that keeps the truth: each request it reads, when its first byte came, and its fate.

``python tests/torture/truth_gateway.py --port-file F --truth T --told R --plan '{"seed": 7, "faults": {"hung": 0.1}}'``
writes a line of T before it answers anything. The fate of a request follows from the seed, the command and how often it
came. POST /plan changes the plan. Raw asyncio, since it must not be what a benchmark measures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from collections import Counter
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
from torture_family import die_with_parent

if TYPE_CHECKING:
    from truth_receipts import Teller

HEARTBEAT_S = 0.005
SHUT_S = 0.05
HANGS_S = 20.0


class Fate(StrEnum):
    """What becomes of a request."""

    OK = "ok"
    THROTTLED = "throttled"
    REFUSED = "refused"
    REJECTED = "rejected"
    FAILED_LOST = "failed, lost"
    FAILED_TAKEN = "failed, taken"
    HUNG_LOST = "hung, lost"
    HUNG_TAKEN = "hung, taken"
    RESET_LOST = "reset, lost"
    RESET_TAKEN = "reset, taken"
    GARBAGE_TAKEN = "garbage, taken"

    @property
    def takes(self) -> bool:
        """Whether the message reaches its handset."""
        return self is Fate.OK or self.endswith("taken")


_ANSWERS = {
    Fate.THROTTLED: (429, {"status": "busy"}),
    Fate.REFUSED: (429, {"status": "busy"}),  # and then the door is shut
    Fate.REJECTED: (400, {"status": "refused"}),
    Fate.FAILED_LOST: (503, {"status": "internal"}),
    Fate.FAILED_TAKEN: (500, {"status": "internal"}),
}


class Plan(msgspec.Struct, forbid_unknown_fields=True):
    """What it does. ``faults`` has shares by fate; ``latency_ms`` is the longest it takes to answer. ``receipts`` has the
    address for receipts that name no command, by gateway; where it is empty nothing is told.

    ``notices_after`` is the number of requests for a notice from which on it takes them, so that each can arrive.
    """

    seed: int = 0
    faults: dict[str, float] = {}
    receipts: dict[str, str] = {}
    latency_ms: float = 0.0
    notices_after: int = 1_000


class TruthGateway:
    """Serves any number of connections. ``truth`` gets a line for each request, before its answer."""

    def __init__(self, plan: Plan, truth: Path, teller: Teller | None) -> None:
        self.plan = plan
        self.teller = teller
        self._truth = truth.open("ab", buffering=0)
        self._came: Counter[str] = Counter()
        self._beat = time.monotonic()
        self._connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._port = 0

    async def start(self) -> int:
        """Listen on a free port of 127.0.0.1, or on the one it had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self), "127.0.0.1", self._port, backlog=1024, reuse_address=True
        )
        self._port = self._server.sockets[0].getsockname()[1]
        return self._port

    async def beat(self) -> None:
        """Note again and again that nothing keeps this process from reading: how late a first byte may be seen."""
        while True:
            self._beat = time.monotonic()
            await asyncio.sleep(HEARTBEAT_S)

    def first_byte(self) -> tuple[float, float]:
        """Tell when a byte was seen (epoch ms), and how long it may have been there (ms)."""
        return time.time() * 1_000, (time.monotonic() - self._beat) * 1_000

    def take(self, message: dict[str, Any], seen: tuple[float, float]) -> tuple[Fate, str, Random]:
        """Decide on a request, and write it down."""
        command = message["reference"]
        self._came[command] += 1
        number = self._came[command]
        chance = Random(f"{self.plan.seed} {command} {number}")  # noqa: S311  a seed repeats it
        fate = self._fate(message, number, chance)
        provider_id = f"m{number}-{command[:40]}"
        line = {
            "command": command,
            "attempt": message["attempt"],
            "phone": message["to"],
            "klass": message["class"],
            "valid_until_s": message["valid_until_s"],
            "at": seen[0],
            "lag": seen[1],
            "fate": fate,
            "id": provider_id,
        }
        self._truth.write(json.dumps(line).encode() + b"\n")
        return fate, provider_id, chance

    def _fate(self, message: dict[str, Any], number: int, chance: Random) -> Fate:
        draw = chance.random()
        if message["class"] == "notice" and number >= self.plan.notices_after:
            return Fate.OK
        for name, share in self.plan.faults.items():
            draw -= share
            if draw < 0:
                return Fate(name)
        return Fate.OK

    async def shut(self) -> None:
        """Refuse connections for a moment, and drop those that are idle."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for connection in [each for each in self._connections if not each.busy]:
            connection.drop()
        await asyncio.sleep(SHUT_S)
        await self.start()

    def opened(self, connection: Connection) -> None:
        """Know a connection."""
        self._connections.add(connection)

    def closed(self, connection: Connection) -> None:
        """Forget it."""
        self._connections.discard(connection)


class Connection(asyncio.Protocol):
    """One connection: a request at a time, as clients without pipelining make them."""

    def __init__(self, gateway: TruthGateway) -> None:
        self._gateway = gateway
        self._buffer = b""
        self._seen: tuple[float, float] | None = None
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._gateway.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._gateway.closed(self)

    def drop(self) -> None:
        """Close it."""
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self.busy = True
        if self._seen is None:
            self._seen = self._gateway.first_byte()
        self._buffer += data
        head, gap, rest = self._buffer.partition(b"\r\n\r\n")
        if not gap:
            return
        lowered = head.lower()
        at = lowered.find(b"content-length:")
        length = int(lowered[at + 15 :].partition(b"\r\n")[0]) if at >= 0 else 0
        if len(rest) < length:
            return
        self._buffer, body, seen, self._seen = rest[length:], rest[:length], self._seen, None
        if head.startswith(b"POST /plan"):
            self._gateway.plan = msgspec.json.decode(body, type=Plan)
            self._answer(200, {})
            return
        self._serve(msgspec.json.decode(body), seen)

    def _serve(self, message: dict[str, Any], seen: tuple[float, float]) -> None:
        gateway = self._gateway
        fate, number, chance = gateway.take(message, seen)
        plan, teller = gateway.plan, gateway.teller
        if not plan.latency_ms and teller is None:
            self._end(fate, number)
            return
        task = asyncio.create_task(self._slowly(fate, number, message, chance))
        gateway.tasks.add(task)
        task.add_done_callback(gateway.tasks.discard)

    async def _slowly(self, fate: Fate, number: str, message: dict[str, Any], chance: Random) -> None:
        gateway = self._gateway
        address = gateway.plan.receipts.get(message["via"])
        if gateway.teller is not None and address and fate.takes:
            await gateway.teller.tell(address, message, number, chance)
        await asyncio.sleep(chance.random() * gateway.plan.latency_ms / 1_000)
        self._end(fate, number)
        if fate is Fate.REFUSED:
            await gateway.shut()

    def _end(self, fate: Fate, number: str) -> None:
        if fate is Fate.OK:
            self._answer(200, {"status": "ok", "id": number})
        elif fate is Fate.GARBAGE_TAKEN:
            self._answer(200, "we will be back soon")
        elif fate in (Fate.RESET_LOST, Fate.RESET_TAKEN):
            self._transport.abort()
        elif fate in (Fate.HUNG_LOST, Fate.HUNG_TAKEN):
            asyncio.get_running_loop().call_later(HANGS_S, self._transport.abort)
        else:
            self._answer(*_ANSWERS[fate])

    def _answer(self, status: int, content: object) -> None:
        body = msgspec.json.encode(content)
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)
        self.busy = False


async def _run(arguments: argparse.Namespace) -> None:
    teller = None
    if arguments.told is not None:
        from truth_receipts import Teller  # noqa: PLC0415  a benchmark has no receipts and needs no client

        teller = Teller(arguments.told)
    gateway = TruthGateway(msgspec.json.decode(arguments.plan, type=Plan), arguments.truth, teller)
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    port = await gateway.start()
    beating = asyncio.create_task(gateway.beat())
    part = arguments.port_file.with_suffix(".part")
    part.write_text(str(port))
    part.replace(arguments.port_file)
    await over.wait()
    beating.cancel()
    if teller is not None:
        await teller.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--told", type=Path)
    parser.add_argument("--plan", default="{}")
    return parser.parse_args()


if __name__ == "__main__":
    die_with_parent()
    asyncio.run(_run(_arguments()))
