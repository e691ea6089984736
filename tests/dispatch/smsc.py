"""An SMSC on loopback: the server of smpp34, and a line before it that keeps what passes and can fail as lines do."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if os.environ.get("CI") == "true":
    import smpp34
else:
    smpp34 = pytest.importorskip("smpp34", reason="the extra [smpp] is not installed")

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from ssl import SSLContext

SUBMIT_SM, SUBMIT_SM_RESP, DELIVER_SM, DELIVER_SM_RESP = 0x04, 0x80000004, 0x05, 0x80000005
BIND, BIND_RESP, UNBIND, ENQUIRE_LINK, NACK = 0x09, 0x80000009, 0x06, 0x15, 0x80000000
WAIT_S = 5.0


class Unit(NamedTuple):
    """One PDU as it is on the wire."""

    command: int
    status: int
    number: int
    body: bytes = b""

    def octets(self) -> bytes:
        return struct.pack(">4I", 16 + len(self.body), *self[:3]) + self.body


async def next_unit(reader: asyncio.StreamReader) -> Unit:
    size, command, status, number = struct.unpack(">4I", await reader.readexactly(16))
    return Unit(command, status, number, await reader.readexactly(size - 16))


class Line:
    """A connection of an ESME, as the line before the SMSC sees it."""

    def __init__(self, esme: asyncio.StreamWriter, smsc: asyncio.StreamWriter) -> None:
        self.esme = esme
        self.smsc = smsc

    def tell(self, unit: Unit | bytes) -> None:
        """Say something to the ESME as if the SMSC had."""
        self.esme.write(unit if isinstance(unit, bytes) else unit.octets())

    def cut(self) -> None:
        """Break the connection the hard way."""
        with suppress(OSError):
            self.esme.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.esme.transport.abort()
        self.smsc.transport.abort()


class Smsc:
    """What came to the SMSC, and what it does. All lists are in the order of coming.

    ``answer`` is asked for each submit, counted from 1, with its octets: an id accepts it, a status refuses it, None
    stays silent for ever; it may wait. ``meddle`` sees what an ESME sends before the SMSC does, and the other way round;
    True: it is not handed on.
    """

    def __init__(self) -> None:
        self.port = 0
        self.submits: list[Any] = []  # as smpp34 decodes what was on the wire
        self.esmes: list[Any] = []
        self.lines: list[Line] = []
        self.sent: list[Unit] = []
        self.told: list[Unit] = []
        self.answer: Callable[[int, bytes], Awaitable[str | int | None]] = self.accept
        self.meddle: Callable[[Line, Unit], bool] = lambda _line, _unit: False
        self.faults: list[BaseException] = []
        self._accepted = 0
        self._unanswered: list[int] = []
        self._held: list[Any] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._more = asyncio.Condition()

    async def accept(self, _count: int, _octets: bytes) -> str | int | None:
        """Accept with an id that counts those that were accepted."""
        self._accepted += 1
        return f"id-{self._accepted}"

    async def deliver(self, text: bytes, *, source: str = "8613800138000", to: str = "10690", **fields: Any) -> int:
        """Give the ESME a deliver_sm; the status that it is confirmed with."""
        fields.setdefault("source_addr_ton", 1)
        response = await asyncio.wait_for(self.esmes[-1].deliver_sm(to, text, source_addr=source, **fields), WAIT_S)
        return int(response.command_status)

    async def receipt(self, text: str, **fields: Any) -> int:
        return await self.deliver(text.encode(), esm_class=0x04, **fields)

    async def until(self, true: Callable[[], Any]) -> None:
        """Wait until something that came makes it true."""
        async with asyncio.timeout(WAIT_S), self._more:
            await self._more.wait_for(lambda: bool(true()))

    def commands(self) -> list[int]:
        return [unit.command for unit in self.sent]

    # The server of smpp34

    async def serve(self, server: Any) -> None:
        while True:
            event = await server.next()
            if isinstance(event, smpp34.Esme):
                self.esmes.append(event)
            elif isinstance(event, smpp34.SubmitSmEvent):
                self.start(self._answer(event))
            await self._tell()

    async def _answer(self, event: Any) -> None:
        octets = bytes(event.short_message)
        count = next(count for count in self._unanswered if bytes(self.submits[count - 1].short_message) == octets)
        self._unanswered.remove(count)  # the server does not tell of submits in their order on the wire
        answer = await self.answer(count, octets)
        if isinstance(answer, str):
            event.accept(answer)
        elif answer is not None:
            event.reject(answer)
        else:
            self._held.append(event)  # one that is let go answers by itself

    # The line before it

    async def join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        from_smsc, to_smsc = await asyncio.open_connection("127.0.0.1", port)
        line = Line(writer, to_smsc)
        self.lines.append(line)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pass(line, reader, to_smsc, self.sent))
                tasks.create_task(self._pass(line, from_smsc, writer, self.told))
        finally:
            for end in (writer, to_smsc):
                end.transport.abort()

    async def _pass(
        self, line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: list[Unit]
    ) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                unit = await next_unit(reader)
                kept.append(unit)
                if unit.command == SUBMIT_SM:
                    self.submits.append(smpp34.decode(unit.octets()))
                if not self.meddle(line, unit):
                    if unit.command == SUBMIT_SM:
                        self._unanswered.append(len(self.submits))
                    writer.write(unit.octets())
                await self._tell()
        writer.close()

    async def _tell(self) -> None:
        async with self._more:
            self._more.notify_all()

    def start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.faults.append(task.exception() or AssertionError)

    async def end(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def _server() -> tuple[Any, int]:
    """Start the server on a port that nobody has taken meanwhile."""
    for _ in range(5):
        port = free_port()
        server = smpp34.Server("127.0.0.1", port, system_id="SMSC")
        with suppress(smpp34.SmppError):
            await server.start()
            return server, port
    pytest.fail("no free port for the SMSC")


@asynccontextmanager
async def smsc(*, tls: SSLContext | None = None) -> AsyncIterator[Smsc]:
    """Run an SMSC on a free port of this machine, and stop it."""
    one = Smsc()
    server, inner = await _server()
    try:
        line = await asyncio.start_server(
            lambda reader, writer: one.start(one.join(reader, writer, inner)), "127.0.0.1", 0, ssl=tls
        )
        one.port = line.sockets[0].getsockname()[1]
        one.start(one.serve(server))
        try:
            yield one
        finally:
            line.close()
            await one.end()
    finally:
        await server.stop()
    assert one.faults == []
