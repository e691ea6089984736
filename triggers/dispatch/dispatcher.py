"""Takes commands from the outbox to a gateway: claimed on the disk before the first byte leaves, so none goes twice."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import structlog

from triggers.dispatch.gateway import Answer
from triggers.store.outbox import EXPIRED, QUEUED, SENDING, claim, counts, move, recover

if TYPE_CHECKING:
    from collections.abc import Callable

    from triggers.dispatch.gateway import Gateway
    from triggers.store.database import Connection
    from triggers.store.outbox import Command
    from triggers.store.writer import Writer

COMMANDS_IN_A_CLAIM = 100
T = TypeVar("T")

_log = structlog.get_logger("dispatch")


class Dispatcher:
    """Runs on the event loop. ``now`` is the real time in epoch ms; ``moved`` is told of moves between states.

    What has waited in the outbox until it was too late, while the service was down for example, is not sent any more
    (S18); ``expires`` is false in virtual time, which says nothing of how late it is.
    """

    def __init__(
        self,
        writer: Writer,
        gateway: Gateway,
        *,
        now: Callable[[], int],
        moved: Callable[[str, str, int], None],
        expires: bool = True,
    ) -> None:
        self._writer = writer
        self._gateway = gateway
        self._now = now
        self._moved = moved
        self._expires = expires
        self._more = asyncio.Event()
        self._stopping = False

    def recover(self) -> dict[str, int]:
        """Settle what a killed service left in ``sending``, and count the commands by state. Call it once, at start."""

        def work(connection: Connection) -> tuple[int, dict[str, int]]:
            return recover(connection, self._now()), counts(connection)

        lost, states = self._writer.submit(work).result()
        if lost:
            _log.warning(
                "messages were leaving when the service was killed; they may have left and are not sent again",
                commands=lost,
            )
        return states

    def more(self) -> None:
        """Tell that there are new commands. Call it on the event loop."""
        self._more.set()

    async def run(self) -> None:
        """Send what is queued, and then what comes, until told to stop."""
        while not self._stopping:
            self._more.clear()
            if not await self._send_some():
                await self._more.wait()

    async def drain(self) -> None:
        """Send what is still queued and end ``run``."""
        while await self._send_some():
            pass
        self.stop()

    def stop(self) -> None:
        """End ``run`` after the messages that are being sent."""
        self._stopping = True
        self._more.set()

    async def _send_some(self) -> bool:
        now = self._now()
        stale_at = now if self._expires else 0
        commands, expired = await self._commit(
            lambda connection: claim(connection, COMMANDS_IN_A_CLAIM, now, stale_at=stale_at)
        )
        if expired:
            self._moved(QUEUED, EXPIRED, expired)
            _log.warning("messages were too late to be sent", commands=expired)
        if not commands:
            return expired > 0
        self._moved(QUEUED, SENDING, len(commands))
        answers = [(command.send.id, await self._send(command)) for command in commands]

        def work(connection: Connection) -> None:
            for command, answer in answers:
                move(connection, command, SENDING, answer, self._now())

        await self._commit(work)
        for _, answer in answers:
            self._moved(SENDING, answer, 1)
        return True

    async def _send(self, command: Command) -> Answer:
        try:
            return await self._gateway.send(command)
        except Exception as error:  # noqa: BLE001  whatever a gateway raises, the message may have left
            kind = type(error).__name__  # its words may hold a number or a text
            _log.error("a message may have left", gateway=self._gateway.name, command=command.send.id, error=kind)
            return Answer.UNKNOWN

    async def _commit(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.wrap_future(self._writer.submit(work))
