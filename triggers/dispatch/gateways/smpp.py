"""SMPP 3.4: a connection to an SMSC that is bound as a transceiver, to send and to hear of receipts and replies.

The library gives the codec alone. The clients on PyPI either queue what is sent while there is no connection, and send it
when nobody counts with it any more, or confirm a receipt before it is stored; so the session is our own.
"""

from __future__ import annotations

import asyncio
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, SecretStr, StringConstraints

from triggers.clock import wall_ms
from triggers.dispatch.gateway import Accepted, Rejected, Unknown
from triggers.dispatch.gateway_settings import GatewaySettings, Number, Secret
from triggers.dispatch.smpp.alphabet import MAX_PARTS, Piece, coded, header
from triggers.dispatch.smpp.inbox import Inbox
from triggers.dispatch.smpp.link import Link, Peer
from triggers.dispatch.smpp.pdus import Address, submit, validity
from triggers.dispatch.smpp.receipts import Cause, IdForm, Reading, as_in_receipts, late_receipt
from triggers.dispatch.smpp.session import Session
from triggers.dispatch.smpp.statuses import NOT_BOUND, Meaning, Response, judge
from triggers.errors import ServiceUnusable
from triggers.language.findings import Misfit

if TYPE_CHECKING:
    from collections.abc import Callable

    from triggers.dispatch.gateway import Answer, Hearer, Outgoing

MAX_PASSWORD = 64
LONG_REFERENCE = 16
LEAST_VALIDITY_MS = 1_000
"""SMPP counts seconds."""
LEAST_WAIT_S = 0.05
"""Between two looks at a connection that is being made, or that may be made again."""


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise Misfit(f"unknown time zone '{name[:64]}'; write one such as Asia/Shanghai") from error
    return name


def _ascii(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not (text.isascii() and text.isprintable() and len(text) <= MAX_PASSWORD):
        raise Misfit(f"a password of SMPP has printable ASCII characters, {MAX_PASSWORD} at most")
    return secret


Host = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z](?:[0-9A-Za-z.:-]{0,251}[0-9A-Za-z])?$")]
Sender = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{0,20}$")]
Word = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{0,15}$")]
Octet = Annotated[int, Field(ge=0, le=255)]
Status = Annotated[str, StringConstraints(pattern=r"^0x[0-9A-Fa-f]{1,8}$")]
ZoneName = Annotated[str, AfterValidator(_zone)]


class SmppSettings(GatewaySettings):
    """An SMSC, and how it wants to be spoken to. Times in seconds; ``at_once`` is the window.

    ``source`` is the sender that handsets see. ``long_texts`` are sent in parts with a header (``reference_bits`` of 16
    may need a part more than is counted), or whole as a payload, which the SMSC cuts. ``text_coding: ucs2`` sends every
    text in UCS-2, as China counts. ``id_form`` says how the id of an answer becomes the one in receipts; ``receipt_zone``
    of which zone the times in receipts are. ``statuses`` has what the SMSC's statuses mean where they are its own,
    ``errors`` which err or stat of a receipt mean a wrong number.
    """

    type: Literal["smpp"]
    host: Host
    port: Annotated[int, Field(ge=1, le=65_535)] = 2775
    tls: bool = False
    system_id: Annotated[Word, Field(min_length=1)]
    password: Annotated[Secret, AfterValidator(_ascii)]
    system_type: Annotated[Word, Field(max_length=12)] = ""
    service_type: Annotated[Word, Field(max_length=5)] = ""
    source: Sender = ""
    source_ton: Octet = 0
    source_npi: Octet = 0
    destination_ton: Octet = 1
    destination_npi: Octet = 1
    enquire_link_s: Annotated[Number, Field(ge=1, le=3_600)] = 30.0
    registered_delivery: bool = True
    validity: Literal["absolute", "relative"] = "absolute"
    text_coding: Literal["gsm", "ucs2"] = "gsm"
    long_texts: Literal["parts", "payload"] = "parts"
    reference_bits: Literal[8, 16] = 8
    id_form: IdForm = "same"
    receipt_zone: ZoneName | None = None
    statuses: dict[Status, Meaning] = Field(default_factory=dict)
    errors: dict[str, Cause] = Field(default_factory=dict)

    def open(self, name: str) -> SmppGateway:
        """Make the gateway. Raises ServiceUnusable without the extra that it needs."""
        if find_spec("smpp34") is None:
            raise ServiceUnusable(f"gateway {name}: SMPP needs an extra; install it with: pip install 'triggers[smpp]'")
        return SmppGateway(name, self)


class SmppGateway:
    """Sends over one connection. What it was not asked to send at this moment it never sends: it keeps no queue."""

    def __init__(self, name: str, settings: SmppSettings, now: Callable[[], int] = wall_ms) -> None:
        self.name = name
        self.receipts = settings.registered_delivery
        self._settings = settings
        self._now = now
        self._source = Address(settings.source, settings.source_ton, settings.source_npi)
        self._own = {int(status, 16): meaning for status, meaning in settings.statuses.items()}
        zone = ZoneInfo(settings.receipt_zone) if settings.receipt_zone else None
        self._inbox = Inbox(name, Reading(settings.id_form, zone, settings.errors))
        self._link = Link(_peer(name, settings), self._inbox.take)
        self._reference = now() % 0x10000  # a restart should not begin with the one that it ended with

    async def send(self, message: Outgoing) -> Answer:
        """Send one message, once, all its parts one after the other.

        If the first part was taken and another was not, the handset may show half of it, so that is unknown.
        """
        deadline = asyncio.get_running_loop().time() + self._settings.timeout_s
        parts = self._parts(message.text)
        if len(parts.octets) > MAX_PARTS:
            return Rejected("too long")
        session = await self._link.session(deadline)
        if not isinstance(session, Session):
            return session
        accepted, count = Accepted(None), len(parts.octets)
        for number in range(count):
            answer = await self._send_part(session, message, parts, number, deadline)
            if not isinstance(answer, Accepted):
                return answer if number == 0 else Unknown(f"part {number + 1} of {count}: {answer.code}")
            accepted = answer
        # Several parts are certainly several messages to an SMSC; what it makes of one, it does not say.
        return accepted._replace(parts=count) if count > 1 else accepted

    async def listen(self, heard: Hearer) -> None:
        """Stay bound and hand on receipts and replies, each confirmed when it is stored, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._inbox.run(heard))
            tasks.create_task(self._stay_bound())

    async def close(self) -> None:
        """Take leave of the SMSC. What is not answered yet is unknown; nothing is sent afterwards."""
        await self._link.close()

    def _parts(self, text: str) -> _Cut:
        """Write a text in octets, with headers if it is of several parts."""
        wide = self._settings.text_coding == "ucs2"
        long_header = self._settings.reference_bits == LONG_REFERENCE
        data_coding, parts = coded(text, wide=wide, long_header=long_header)
        if len(parts) == 1 or len(parts) > MAX_PARTS:
            return _Cut(data_coding, parts)
        if self._settings.long_texts == "payload":
            return _Cut(data_coding, coded(text, wide=wide, whole=True).parts, payload=True)
        self._reference += 1
        pieces = (Piece(self._reference, len(parts), number) for number in range(1, len(parts) + 1))
        octets = tuple(header(piece, long=long_header) + part for piece, part in zip(pieces, parts, strict=True))
        return _Cut(data_coding, octets, headed=True)

    async def _send_part(
        self, session: Session, message: Outgoing, parts: _Cut, number: int, deadline: float
    ) -> Answer:
        first, last = number == 0, number == len(parts.octets) - 1
        got = await session.submit(
            lambda sequence: self._written(sequence, message, parts, number, receipt=last),
            deadline,
            partial(self._answered_late, message, first=first, last=last),
        )
        if not isinstance(got, Response):
            return got
        if got.status == NOT_BOUND:
            session.drop()  # a new one will be
        return self._judge(got)

    def _written(self, sequence: int, message: Outgoing, parts: _Cut, number: int, *, receipt: bool) -> bytes | None:
        """Write a part as it leaves this very moment; None where it is too late for it."""
        settings, left_ms = self._settings, message.valid_until - self._now()
        if left_ms < LEAST_VALIDITY_MS:
            return None
        return submit(
            sequence,
            self._source,
            Address(message.phone.removeprefix("+"), settings.destination_ton, settings.destination_npi),
            parts.octets[number],
            data_coding=parts.data_coding,
            has_header=parts.headed,
            payload=parts.payload,
            validity=validity(message.valid_until, left_ms, absolute=settings.validity == "absolute"),
            receipt=receipt and settings.registered_delivery,
            service=settings.service_type,
        )

    def _judge(self, response: Response) -> Answer:
        answer = judge(response, self._own)
        if isinstance(answer, Accepted):
            return answer._replace(provider_id=as_in_receipts(answer.provider_id, self._settings.id_form))
        return answer

    def _answered_late(self, message: Outgoing, response: Response, *, first: bool, last: bool) -> None:
        """Tell what became of a message that counts as unknown, since nobody waited for this answer any more."""
        receipt = late_receipt(message, self._judge(response), first=first, last=last)
        if receipt is not None:
            self._inbox.tell(receipt)

    async def _stay_bound(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            session = await self._link.session(loop.time() + self._settings.connect_timeout_s)
            if isinstance(session, Session):
                await session.lost.wait()
            else:
                await asyncio.sleep(max(self._link.wait_s(), LEAST_WAIT_S))


class _Cut(NamedTuple):
    """A text as it is submitted, each part with its header."""

    data_coding: int
    octets: tuple[bytes, ...]
    headed: bool = False
    payload: bool = False


def _peer(name: str, settings: SmppSettings) -> Peer:
    return Peer(
        name=name,
        host=settings.host,
        port=settings.port,
        tls=settings.tls,
        system_id=settings.system_id,
        password=settings.password.get_secret_value(),
        system_type=settings.system_type,
        numbers=Address("", settings.source_ton, settings.source_npi),
        window=settings.at_once,
        enquire_link_s=settings.enquire_link_s,
        connect_timeout_s=settings.connect_timeout_s,
        timeout_s=settings.timeout_s,
    )
