"""Reads delivery receipts: the text form that most SMSCs use, and the optional parameters of SMPP 3.4."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from triggers.dispatch.gateway import Accepted, Barred, Fate, Receipt, Rejected, TryLater
from triggers.dispatch.smpp.alphabet import read, split_header
from triggers.dispatch.smpp.pdus import MESSAGE_STATE, RECEIPTED_MESSAGE_ID

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

    from triggers.dispatch.gateway import Answer, Outgoing
    from triggers.dispatch.smpp.pdus import Delivery

IdForm: TypeAlias = Literal["same", "hex_to_decimal", "decimal_to_hex"]
Cause: TypeAlias = Literal["invalid_number", "blacklisted"]

IS_RECEIPT, IS_INTERMEDIATE = 0x04, 0x20
"""The two kinds of deliver_sm (esm_class) that tell of a message of ours."""
MAX_TEXT = 1_000
MAX_ID, MAX_CODE = 65, 32

_STATES = ("ENROUTE", "DELIVRD", "EXPIRED", "DELETED", "UNDELIV", "ACCEPTD", "UNKNOWN", "REJECTD")
"""By number, from 1."""
_FATES = {
    "DELIVRD": Fate.DELIVERED,
    "EXPIRED": Fate.UNDELIVERED,
    "DELETED": Fate.UNDELIVERED,
    "UNDELIV": Fate.UNDELIVERED,
    "REJECTD": Fate.UNDELIVERED,
}
_CHINESE_FAILURE = re.compile(r"[A-Z]{1,3}:[0-9]{1,4}", re.ASCII)
"""MK:0012 and the like: the carrier's own word for why it did not arrive."""
_HEX, _DECIMAL = re.compile("[0-9A-Fa-f]{1,65}", re.ASCII), re.compile("[0-9]{1,65}", re.ASCII)
_QUOTED = re.compile(r"(?:^|\s)text:", re.IGNORECASE)
_FIELD = r"(?:^|\s){}:([\x21-\x7e]{{1,65}})"
_ID, _STAT, _ERR, _DONE = (
    re.compile(_FIELD.format(name), re.IGNORECASE | re.ASCII) for name in ("id", "stat", "err", r"done\s?date")
)


class Reading(NamedTuple):
    """How an SMSC writes its receipts.

    ``id_form`` is how the id of a submit_sm_resp becomes the one in the receipt's text. ``zone`` is the one of its
    times; None: not known, so they are not used. ``causes`` says which of its codes (err or stat) mean what.
    """

    id_form: IdForm
    zone: ZoneInfo | None
    causes: Mapping[str, Cause]


def is_receipt(delivery: Delivery) -> bool:
    """Tell a receipt from a reply: by what the SMSC says it is, never by a text, which anybody can write."""
    return delivery.kind in {IS_RECEIPT, IS_INTERMEDIATE} or RECEIPTED_MESSAGE_ID in delivery.extras


def read_receipt(delivery: Delivery, phone: str, reading: Reading) -> Receipt | None:
    """Read a receipt; None if it names no message."""
    octets = split_header(delivery.octets)[1] if delivery.has_header else delivery.octets
    fields = _QUOTED.split(read(octets, delivery.data_coding)[:MAX_TEXT])[0]
    provider_id = _named_id(delivery, fields, reading.id_form)
    if provider_id is None:
        return None
    stat, err = _state(delivery, fields), _field(_ERR, fields)
    known = [reading.causes[word] for word in (err, stat) if word in reading.causes]
    cause = known[0] if known else None
    return Receipt(
        Fate.ON_ITS_WAY if delivery.kind == IS_INTERMEDIATE else _fate(stat),
        provider_id,
        phone=phone or None,
        code=f"{stat} {err}".strip()[:MAX_CODE],
        at=_instant(_field(_DONE, fields), reading.zone),
        invalid_number=cause == "invalid_number",
        blacklisted=cause == "blacklisted",
    )


def late_receipt(message: Outgoing, answer: Answer, *, first: bool, last: bool) -> Receipt | None:
    """Say what an answer means that came too late; None where the message is as unknown as before.

    It is accepted with its last part, and has not left at all if its first part was refused.
    """
    receipt = Receipt(Fate.ON_ITS_WAY, None, message.command, message.phone, "answered late")
    match answer:
        case Accepted(provider_id) if last:
            return receipt._replace(provider_id=provider_id)
        case Rejected(code, blacklisted, invalid_number) if first:
            return receipt._replace(
                fate=Fate.UNDELIVERED, code=code, blacklisted=blacklisted, invalid_number=invalid_number
            )
        case TryLater(code) | Barred(code) if first:
            return receipt._replace(fate=Fate.UNDELIVERED, code=code)
    return None


def as_in_receipts(provider_id: str | None, form: IdForm) -> str | None:
    """Write the id of a submit_sm_resp as the receipt's text will; one that is not of its form stays as it is."""
    if provider_id is None or form == "same":
        return provider_id
    if form == "hex_to_decimal":
        return str(int(provider_id, 16)) if _HEX.fullmatch(provider_id) else provider_id
    return f"{int(provider_id):x}" if _DECIMAL.fullmatch(provider_id) else provider_id


def _named_id(delivery: Delivery, fields: str, form: IdForm) -> str | None:
    """Find the message's id. The optional parameter has it as the submit_sm_resp had, by definition."""
    extra = delivery.extras.get(RECEIPTED_MESSAGE_ID, b"").partition(b"\0")[0].decode("ascii", "replace")[:MAX_ID]
    written = _field(_ID, fields)
    if form == "same":
        return extra.strip() or written or None
    if written:  # without the zeros that it is filled up with
        return written.lower().lstrip("0") or "0"
    return as_in_receipts(extra.strip() or None, form)


def _state(delivery: Delivery, fields: str) -> str:
    stat = _field(_STAT, fields).upper()
    if stat in _STATES or _CHINESE_FAILURE.fullmatch(stat):
        return stat
    number = int.from_bytes(delivery.extras.get(MESSAGE_STATE, b""), "big")
    return _STATES[number - 1] if 1 <= number <= len(_STATES) else stat


def _fate(stat: str) -> Fate:
    """Say what became of a message. A word that nobody defined ends nothing."""
    return Fate.UNDELIVERED if _CHINESE_FAILURE.fullmatch(stat) else _FATES.get(stat, Fate.ON_ITS_WAY)


def _field(pattern: re.Pattern[str], fields: str) -> str:
    found = pattern.search(fields)
    return found[1] if found else ""


def _instant(done: str, zone: ZoneInfo | None) -> int | None:
    """Read YYMMDDhhmm, with or without seconds, to epoch ms."""
    if zone is None or not re.fullmatch(r"[0-9]{10}(?:[0-9]{2})?", done, re.ASCII):
        return None
    try:
        return int(datetime.strptime(done.ljust(12, "0"), "%y%m%d%H%M%S").replace(tzinfo=zone).timestamp() * 1_000)
    except ValueError:
        return None
