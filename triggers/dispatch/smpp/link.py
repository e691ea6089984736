"""Keeps one connection to an SMSC: dials and binds when it is needed, and not too often when it fails."""

from __future__ import annotations

import asyncio
import random
from ssl import create_default_context
from typing import TYPE_CHECKING, NamedTuple

import structlog

from triggers.dispatch.gateway import Barred, TryLater
from triggers.dispatch.smpp.pdus import BIND_TRANSCEIVER, GENERIC_NACK, RESPONSE, Address, Garbled, Pdu, bind, read_pdu
from triggers.dispatch.smpp.session import BIND_NUMBER, Session
from triggers.dispatch.smpp.statuses import OK, judge_bind

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from ssl import SSLContext

    from triggers.dispatch.smpp.session import Taker

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
"""Between two failed attempts, doubling; each is a random part of it, so that many do not come back at one instant."""
BARRED_WAIT_S = 60.0
"""After wrong credentials: some SMSCs lock an account that tries too often."""
STEADY_S = 10.0
"""A connection that is lost sooner counts as a failed attempt."""

_log = structlog.get_logger("smpp")


class Peer(NamedTuple):
    """An SMSC, and how we present ourselves to it. Times in seconds."""

    name: str
    host: str
    port: int
    tls: bool
    system_id: str
    password: str
    system_type: str
    numbers: Address
    window: int
    enquire_link_s: float
    connect_timeout_s: float
    timeout_s: float


class Link:
    """The way to one SMSC. ``take`` is given each deliver_sm, and must not wait."""

    def __init__(self, peer: Peer, take: Taker) -> None:
        self._peer = peer
        self._take = take
        self._session: Session | None = None
        self._dialling: asyncio.Task[Session | TryLater | Barred] | None = None
        self._dialled_at = 0.0
        self._failures = 0
        self._not_before = 0.0
        self._refusal: TryLater | Barred = TryLater("closed")
        self._was_bound = False
        self._tls: SSLContext | None = None
        self._closed = False

    async def session(self, deadline: float) -> Session | TryLater | Barred:
        """Give a bound connection, by ``deadline`` on the loop's clock; or say why there is none, and when to ask again.

        All who ask while it is being made wait for the same one.
        """
        if self._closed:
            return TryLater("closed")
        if self._session is not None and not self._session.lost.is_set():
            return self._session
        if self._dialling is None:
            self._count_loss()
            wait_s = self.wait_s()
            if wait_s > 0:
                return self._refusal._replace(after_s=wait_s) if isinstance(self._refusal, TryLater) else self._refusal
            self._dialling = asyncio.create_task(self._dial())
        dialling = self._dialling
        await asyncio.wait({dialling}, timeout=deadline - asyncio.get_running_loop().time())
        if not dialling.done():
            return TryLater("no connection in time", refused_connection=True)
        return TryLater("closed") if dialling.cancelled() else dialling.result()

    def wait_s(self) -> float:
        """Tell how long nothing is tried, in seconds."""
        return max(0.0, self._not_before - asyncio.get_running_loop().time())

    async def close(self) -> None:
        """Take leave; nothing is tried any more."""
        self._closed = True
        if self._dialling is not None:
            self._dialling.cancel()
            await asyncio.wait({self._dialling})
        if self._session is not None:
            await self._session.close()

    def _count_loss(self) -> None:
        """Wait before the next attempt if the last connection did not last."""
        if self._session is None:
            return
        self._session = None
        if asyncio.get_running_loop().time() - self._dialled_at < STEADY_S:
            self._refuse(TryLater("connection lost", refused_connection=True))
        else:
            self._failures = 0

    async def _dial(self) -> Session | TryLater | Barred:
        self._dialled_at = asyncio.get_running_loop().time()
        try:
            got = await self._bind()
        finally:
            self._dialling = None
        if isinstance(got, Session):
            self._session, self._was_bound = got, True
            got.start()
            _log.info("bound to an SMSC", gateway=self._peer.name)
        else:
            self._refuse(got)
            _log.warning("no connection to an SMSC", gateway=self._peer.name, why=got.code)
        return got

    def _refuse(self, why: TryLater | Barred) -> None:
        limit_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(self._failures, 10))
        wait_s = BARRED_WAIT_S if isinstance(why, Barred) else random.uniform(0, limit_s)  # noqa: S311  no secret
        self._failures += 1
        self._refusal = why
        self._not_before = asyncio.get_running_loop().time() + wait_s

    async def _bind(self) -> Session | TryLater | Barred:
        peer, writer = self._peer, None
        if peer.tls and self._tls is None:
            self._tls = create_default_context()
        try:
            async with asyncio.timeout(peer.connect_timeout_s):
                reader, writer = await asyncio.open_connection(peer.host, peer.port, ssl=self._tls)
                status = await _ask_in(peer, reader, writer)
            if status == OK:
                session = Session(
                    peer.name, reader, writer, self._take, peer.window, peer.enquire_link_s, peer.timeout_s
                )
                writer = None  # it is the session's now
                return session
            return judge_bind(status, was_bound=self._was_bound)
        except (OSError, asyncio.IncompleteReadError, Garbled) as error:
            late = isinstance(error, TimeoutError)
            return TryLater("no connection in time" if late else "no connection", refused_connection=True)
        finally:
            if writer is not None:
                writer.transport.abort()


async def _ask_in(peer: Peer, reader: StreamReader, writer: StreamWriter) -> int:
    """Bind as a transceiver, which sends and hears; give the status that the SMSC answers with."""
    body = bind(peer.system_id, peer.password, peer.system_type, peer.numbers)
    writer.write(Pdu(BIND_TRANSCEIVER, OK, BIND_NUMBER, body).written())
    while True:
        pdu = await read_pdu(reader)
        if pdu.command in {BIND_TRANSCEIVER | RESPONSE, GENERIC_NACK}:
            return pdu.status
