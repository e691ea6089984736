"""What an SMSC tells us: receipts and replies are stored first and confirmed then; what cannot be stored is sent again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import structlog

from triggers.dispatch.gateway import Heard, Receipt, Reply
from triggers.dispatch.smpp.pdus import Garbled, delivery
from triggers.dispatch.smpp.pieces import Pieces
from triggers.dispatch.smpp.receipts import is_receipt, read_receipt
from triggers.dispatch.smpp.statuses import NEVER_AGAIN, OK, TRY_AGAIN

if TYPE_CHECKING:
    from triggers.dispatch.gateway import Hearer
    from triggers.dispatch.smpp.pdus import Address, Delivery, Pdu
    from triggers.dispatch.smpp.pieces import Whole
    from triggers.dispatch.smpp.receipts import Reading
    from triggers.dispatch.smpp.session import Session

MAX_WAITING = 1_000
"""Deliveries that wait to be stored; the SMSC is asked to come again with any more."""
AT_ONCE = 16
"""Deliveries that are being stored."""
SWEEP_S = 5.0
LAST_WORDS_S = 2.0
"""How long the store is waited for, when listening ends, with the parts of replies that were confirmed already."""

_INTERNATIONAL = 1

_log = structlog.get_logger("smpp")


class _Waiting(NamedTuple):
    session: Session
    pdu: Pdu


class Inbox:
    """Takes deliveries while somebody listens; ``reading`` says how this SMSC writes its receipts."""

    def __init__(self, name: str, reading: Reading) -> None:
        self._name = name
        self._reading = reading
        self._waiting: asyncio.Queue[_Waiting | Receipt] = asyncio.Queue(MAX_WAITING)
        self._pieces = Pieces()
        self._heard: Hearer | None = None

    def take(self, session: Session, pdu: Pdu) -> None:
        """Take a deliver_sm, or ask the SMSC to send it again later."""
        if self._heard is None or self._waiting.full():
            session.confirm(pdu.number, TRY_AGAIN)
        else:
            self._waiting.put_nowait(_Waiting(session, pdu))

    def tell(self, receipt: Receipt) -> None:
        """Take a receipt that nobody waits to have confirmed; it is let go where nobody listens."""
        if self._heard is not None and not self._waiting.full():
            self._waiting.put_nowait(receipt)

    async def run(self, heard: Hearer) -> None:
        """Hand on what comes, until cancelled."""
        assert self._heard is None, "one listens at a time"  # noqa: S101  a broken invariant
        self._heard = heard
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(AT_ONCE):
                    tasks.create_task(self._work(heard))
                tasks.create_task(self._sweep(heard))
        finally:
            self._heard = None
            self._refuse_waiting()
            await self._store_pieces(heard, float("inf"))

    async def _work(self, heard: Hearer) -> None:
        while True:
            waiting = await self._waiting.get()
            if isinstance(waiting, Receipt):
                await self._stored(heard, Heard(receipts=(waiting,)))
                continue
            status = TRY_AGAIN
            try:
                status = await self._hear(heard, delivery(waiting.pdu))
            except Garbled as error:
                _log.warning("a delivery cannot be read; it is refused for good", gateway=self._name, why=str(error))
                status = NEVER_AGAIN
            finally:  # also when listening ends in the middle of it
                waiting.session.confirm(waiting.pdu.number, status)

    async def _hear(self, heard: Hearer, told: Delivery) -> int:
        """Store what a deliver_sm says, and give the status to confirm it with."""
        if is_receipt(told):
            receipt = read_receipt(told, _phone(told.source), self._reading)
            if receipt is None:
                _log.warning("a receipt names no message; it is let go", gateway=self._name)
                return OK
            return OK if await self._stored(heard, Heard(receipts=(receipt,))) else TRY_AGAIN
        whole = self._pieces.add(told, asyncio.get_running_loop().time())
        if isinstance(whole, bool):
            return OK if whole else TRY_AGAIN
        return OK if await self._store(heard, whole) else TRY_AGAIN

    async def _store(self, heard: Hearer, whole: Whole) -> bool:
        reply = Reply(_phone(whole.source), whole.text, to=whole.destination.digits)
        done = await self._stored(heard, Heard(replies=(reply,)))
        if done:
            self._pieces.stored(whole)
        return done

    async def _stored(self, heard: Hearer, what: Heard) -> bool:
        try:
            await heard(what)
        except Exception as error:  # noqa: BLE001  whatever is wrong with the store, the SMSC keeps what it has
            _log.error("what an SMSC told could not be stored", gateway=self._name, error=type(error).__name__)
            return False
        return True

    async def _sweep(self, heard: Hearer) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            await self._store_pieces(heard, asyncio.get_running_loop().time())

    async def _store_pieces(self, heard: Hearer, now: float) -> None:
        """Hand on replies of which not all parts came by ``now``."""
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                for whole in self._pieces.overdue(now):
                    await self._store(heard, whole)
        except TimeoutError:
            _log.error("parts of replies could not be stored in time", gateway=self._name)

    def _refuse_waiting(self) -> None:
        while not self._waiting.empty():
            waiting = self._waiting.get_nowait()
            if isinstance(waiting, _Waiting):
                waiting.session.confirm(waiting.pdu.number, TRY_AGAIN)


def _phone(address: Address) -> str:
    """Write a number as it is, with a + where the SMSC says that it begins with a country's code."""
    if address.ton != _INTERNATIONAL or address.digits.startswith("+"):
        return address.digits
    return "+" + address.digits.removeprefix("00")
