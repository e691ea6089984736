"""The units that an ESME and an SMSC exchange (SMPP 3.4 section 4), in octets; read from a stream with a limit."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from asyncio import StreamReader

GENERIC_NACK, RESPONSE = 0x80000000, 0x80000000
"""A response has the command of its request, with this bit."""
BIND_TRANSCEIVER, UNBIND, ENQUIRE_LINK = 0x09, 0x06, 0x15
SUBMIT_SM, DELIVER_SM = 0x04, 0x05
OUTBIND, ALERT_NOTIFICATION = 0x0B, 0x102
"""These two are not answered."""

MESSAGE_PAYLOAD, RECEIPTED_MESSAGE_ID, MESSAGE_STATE = 0x0424, 0x001E, 0x0427
SAR_REFERENCE, SAR_TOTAL, SAR_NUMBER = 0x020C, 0x020E, 0x020F
HAS_HEADER, KIND = 0x40, 0x3C
"""Bits of esm_class: a header comes before the text; what sort of message it is."""

MAX_PDU = 70_000
"""Octets: a message_payload of 64 kB and the rest."""
MAX_NUMBER = 0x7FFFFFFF
LONGEST_VALIDITY_MS = 30 * 86_400_000
"""30 days: the longest relative time that needs neither months nor years, whose length SMPP leaves open."""
_HEAD = struct.Struct(">4I")
_VERSION = 0x34


class Garbled(Exception):  # noqa: N818  what came is, not we
    """What came is no SMPP, or more than can be wanted: the connection cannot be read any further."""


class Pdu(NamedTuple):
    """One unit. ``number`` ties a response to its request; ``octets`` are the body alone."""

    command: int
    status: int
    number: int
    octets: bytes

    def written(self) -> bytes:
        """Write it as it goes over the wire."""
        return _HEAD.pack(_HEAD.size + len(self.octets), self.command, self.status, self.number) + self.octets


class Address(NamedTuple):
    """A number or a name as SMPP has it, with its type (TON) and its plan (NPI)."""

    digits: str
    ton: int = 0
    npi: int = 0


class Delivery(NamedTuple):
    """A deliver_sm: a receipt or a reply. ``octets`` is its text with its header, ``extras`` its optional parameters."""

    source: Address
    destination: Address
    kind: int
    has_header: bool
    data_coding: int
    octets: bytes
    extras: dict[int, bytes]


async def read_pdu(stream: StreamReader) -> Pdu:
    """Read the next unit; raises Garbled, and IncompleteReadError or OSError when the connection ends."""
    size, command, status, number = _HEAD.unpack(await stream.readexactly(_HEAD.size))
    if not _HEAD.size <= size <= MAX_PDU:
        raise Garbled("the length of a unit")
    return Pdu(command, status, number, await stream.readexactly(size - _HEAD.size))


def bind(system_id: str, password: str, system_type: str, source: Address) -> bytes:
    """Write the body of a bind; ``source`` says which numbers are ours, its digits may be empty."""
    words = b"".join(word.encode("ascii") + b"\0" for word in (system_id, password, system_type))
    return words + bytes([_VERSION, source.ton, source.npi]) + source.digits.encode("ascii") + b"\0"


def submit(
    number: int,
    source: Address,
    destination: Address,
    octets: bytes,
    *,
    data_coding: int,
    has_header: bool,
    payload: bool,
    validity: str,
    receipt: bool,
    service: str,
) -> bytes:
    """Write a submit_sm; a ``payload`` may be longer than 254 octets, the SMSC cuts it."""
    import smpp34  # noqa: PLC0415  an extra

    return smpp34.SubmitSm(
        source.digits,
        destination.digits,
        b"" if payload else octets,
        service_type=service,
        source_addr_ton=source.ton,
        source_addr_npi=source.npi,
        dest_addr_ton=destination.ton,
        dest_addr_npi=destination.npi,
        esm_class=HAS_HEADER if has_header else 0,
        validity_period=validity,
        registered_delivery=int(receipt),
        data_coding=data_coding,
        tlvs=[smpp34.Tlv(MESSAGE_PAYLOAD, octets)] if payload else [],
        sequence_number=number,
    ).encode()


def validity(until: int, left_ms: int, *, absolute: bool) -> str:
    """Write until when a message may arrive, epoch ms, as SMPP has it; rounded down, so that it is never later."""
    now, left = until - left_ms, timedelta(milliseconds=min(left_ms, LONGEST_VALIDITY_MS))
    if absolute:
        return f"{datetime.fromtimestamp(now / 1_000, UTC) + left:%y%m%d%H%M%S}000+"
    minutes, seconds = divmod(left.seconds, 60)
    return f"0000{left.days:02}{minutes // 60:02}{minutes % 60:02}{seconds:02}000R"


def message_id(octets: bytes) -> str | None:
    """Read the id in the body of a submit_sm_resp; None where there is none."""
    return octets.partition(b"\0")[0].decode("ascii", "replace").strip() or None


def delivery(pdu: Pdu) -> Delivery:
    """Read a deliver_sm; raises Garbled."""
    import smpp34  # noqa: PLC0415  an extra

    try:
        read = smpp34.decode(pdu.written())
    except smpp34.SmppError as error:
        raise Garbled("a deliver_sm") from error
    if not isinstance(read, smpp34.DeliverSm):
        raise Garbled("not a deliver_sm")
    extras = {tlv.tag: bytes(tlv.value) for tlv in read.tlvs}
    return Delivery(
        Address(read.source_addr, read.source_addr_ton, read.source_addr_npi),
        Address(read.destination_addr, read.dest_addr_ton, read.dest_addr_npi),
        read.esm_class & KIND,
        bool(read.esm_class & HAS_HEADER),
        read.data_coding,
        bytes(read.short_message) or extras.get(MESSAGE_PAYLOAD, b""),
        extras,
    )
