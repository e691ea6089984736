"""One bound connection to an SMSC: what is asked and what is answered. It never repeats a request and has no queue."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

import structlog

from triggers.dispatch.gateway import TryLater, Unknown
from triggers.dispatch.smpp.pdus import (
    ALERT_NOTIFICATION,
    DELIVER_SM,
    ENQUIRE_LINK,
    GENERIC_NACK,
    MAX_NUMBER,
    OUTBIND,
    RESPONSE,
    SUBMIT_SM,
    UNBIND,
    Garbled,
    Pdu,
    message_id,
    read_pdu,
)
from triggers.dispatch.smpp.statuses import OK, UNKNOWN_COMMAND, Response

if TYPE_CHECKING:
    from asyncio import Future, StreamReader, StreamWriter
    from collections.abc import Callable

    Taker: TypeAlias = Callable[["Session", Pdu], None]
    Late: TypeAlias = Callable[[Response], None]

MAX_LATE = 1_000
"""Requests that nobody waits for any more, whose answers are still told when they come."""
BIND_NUMBER = 1
"""The number of the bind; requests count on from it."""
LEAVE_S = 1.0
"""How long a leave-taking may take."""

_log = structlog.get_logger("smpp")


class Session:
    """A bound connection. ``take`` is given each deliver_sm and must not wait; times in seconds.

    ``window`` is how many submits may be unanswered at once; ``enquire_link_s`` how often the other side is asked
    whether it is there: if it does not answer within ``timeout_s``, the connection counts as lost.
    """

    def __init__(
        self,
        name: str,
        reader: StreamReader,
        writer: StreamWriter,
        take: Taker,
        window: int,
        enquire_link_s: float,
        timeout_s: float,
    ) -> None:
        self.lost = asyncio.Event()
        self._name = name
        self._reader = reader
        self._writer = writer
        self._take = take
        self._window = asyncio.Semaphore(window)
        self._enquire_link_s = enquire_link_s
        self._timeout_s = timeout_s
        self._leaving = False
        self._number = BIND_NUMBER
        self._asked: dict[int, tuple[int, Future[Response | Unknown]]] = {}
        self._late: dict[int, Late] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to read, and to ask whether the other side is there. Call it once, when bound."""
        self._tasks = [asyncio.create_task(self._read_all()), asyncio.create_task(self._enquire())]

    async def submit(
        self, write: Callable[[int], bytes | None], deadline: float, late: Late
    ) -> Response | TryLater | Unknown:
        """Submit one unit, once; ``deadline`` is the loop's time, for the wait for the window as for the answer.

        ``write`` is asked for the octets when they leave; None: it is too late for them. TryLater: not a byte was
        written. Unknown: it was, and no answer came; if one comes yet, ``late`` is told.
        """
        try:
            async with asyncio.timeout_at(deadline):
                await self._window.acquire()
        except TimeoutError:
            return TryLater("busy")
        try:
            if self._leaving:
                return TryLater("closed")
            return await self._ask(SUBMIT_SM, write, deadline, late)
        finally:
            self._window.release()

    def confirm(self, number: int, status: int) -> None:
        """Answer a deliver_sm; nothing happens if the connection is lost, since the SMSC then sends it again."""
        self._write(Pdu(DELIVER_SM | RESPONSE, status, number, b"\0"))

    def drop(self) -> None:
        """Give the connection up: what was asked and not answered is unknown, and nothing is written any more."""
        if self.lost.is_set():
            return
        self.lost.set()
        for _, answer in self._asked.values():
            if not answer.done():
                answer.set_result(Unknown("connection lost"))
        self._writer.transport.abort()  # what is still in the buffer must not leave when nobody counts with it any more
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    async def close(self) -> None:
        """Take leave of the other side and close."""
        self._leaving = True
        if not self.lost.is_set():
            deadline = asyncio.get_running_loop().time() + LEAVE_S
            await self._ask(UNBIND, lambda number: Pdu(UNBIND, OK, number, b"").written(), deadline)
        self.drop()
        await asyncio.gather(*self._tasks, return_exceptions=True)  # they have told of their faults themselves
        with suppress(OSError):  # how it ended does not matter any more
            await self._writer.wait_closed()

    async def _ask(
        self, command: int, write: Callable[[int], bytes | None], deadline: float, late: Late | None = None
    ) -> Response | TryLater | Unknown:
        if self.lost.is_set() or self._writer.is_closing():
            return TryLater("connection lost", refused_connection=True)
        number = self._next_number()
        octets = write(number)
        if octets is None:
            return TryLater("past its validity")
        answer: Future[Response | Unknown] = asyncio.get_running_loop().create_future()
        self._asked[number] = command, answer
        self._writer.write(octets)
        try:
            async with asyncio.timeout_at(deadline):
                return await answer
        except TimeoutError:
            # The answer may have come at the very moment; waiting in vain cancels it.
            return Unknown("timed out") if answer.cancelled() else answer.result()
        finally:
            del self._asked[number]
            if late is not None and answer.cancelled() and len(self._late) < MAX_LATE:
                self._late[number] = late

    async def _read_all(self) -> None:
        why = "closed by the other side"
        try:
            while not self.lost.is_set():
                await self._handle(await read_pdu(self._reader))
        except (asyncio.IncompleteReadError, OSError):
            pass  # told below
        except Garbled as error:
            why = f"cannot be read: {error}"
        except Exception as error:
            why = f"a fault of ours: {type(error).__name__}"
            raise
        finally:
            if not self.lost.is_set():
                _log.warning("lost the connection to an SMSC", gateway=self._name, why=why)
            self.drop()

    async def _handle(self, pdu: Pdu) -> None:
        if pdu.command & RESPONSE:
            self._answered(pdu)
        elif pdu.command == DELIVER_SM:
            self._take(self, pdu)
        elif pdu.command in {ENQUIRE_LINK, UNBIND}:
            self._write(Pdu(pdu.command | RESPONSE, OK, pdu.number, b""))
            if pdu.command == UNBIND:
                _log.info("an SMSC took leave", gateway=self._name)
                self.drop()
        elif pdu.command not in {ALERT_NOTIFICATION, OUTBIND}:
            self._write(Pdu(GENERIC_NACK, UNKNOWN_COMMAND, pdu.number, b""))
        if not self.lost.is_set():
            await self._writer.drain()  # whoever asks and does not read our answers is not read, either

    def _answered(self, pdu: Pdu) -> None:
        """Find who waits for an answer. One to something that was not asked, or twice, is none of ours."""
        command, answer = self._asked.get(pdu.number, (SUBMIT_SM, None))
        if pdu.command not in {command | RESPONSE, GENERIC_NACK}:
            return
        response = Response(pdu.status, message_id(pdu.octets) if pdu.command == SUBMIT_SM | RESPONSE else None)
        if answer is not None:
            if not answer.done():
                answer.set_result(response)
        elif (late := self._late.pop(pdu.number, None)) is not None:
            late(response)

    async def _enquire(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.lost.is_set():
            await asyncio.sleep(self._enquire_link_s)
            deadline = loop.time() + self._timeout_s
            answer = await self._ask(
                ENQUIRE_LINK, lambda number: Pdu(ENQUIRE_LINK, OK, number, b"").written(), deadline
            )
            if not isinstance(answer, Response) and not self.lost.is_set():
                _log.warning("lost the connection to an SMSC", gateway=self._name, why="it does not answer")
                self.drop()

    def _write(self, pdu: Pdu) -> None:
        if not self.lost.is_set() and not self._writer.is_closing():
            self._writer.write(pdu.written())

    def _next_number(self) -> int:
        """Count on, past what still waits for its answer."""
        while True:
            self._number = self._number % MAX_NUMBER + 1
            if self._number not in self._asked and self._number not in self._late:
                return self._number
