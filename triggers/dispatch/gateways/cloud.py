"""What the gateways of the clouds share: their address, numbers and times as they write them, calls without a signature."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeVar

import msgspec
import structlog
from pydantic import PlainValidator, StringConstraints, WithJsonSchema

from triggers.dispatch.callbacks import RECEIPTS, REPLIES, is_call
from triggers.dispatch.gateway import Fate, Heard, Receipt, Refused, Reply
from triggers.dispatch.gateways.broken_text import mended
from triggers.language.findings import Misfit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pydantic import SecretStr

    from triggers.dispatch.gateway import Call

    T = TypeVar("T")

MAX_REPORTS = 10_000
"""Receipts or replies in one call; the clouds send some hundred."""
MAX_REPLY = 2_000
MAX_ID = 128
MAX_PARTS = 100
LAST_S = 4_102_444_800
"""The year 2100, in epoch seconds: what is later, or before 1970, is no time of a message."""
KINDS = frozenset({RECEIPTS, REPLIES})

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_raw_list = msgspec.json.Decoder(list[msgspec.Raw])

_ADDRESS = re.compile(r"(https?)://([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)(?::([1-9][0-9]{0,4}))?/?", re.ASCII)
_ADDRESS_SCHEMA = {"type": "string", "pattern": "^https?://[a-z0-9.-]+(:[0-9]+)?/?$"}
_LOOPBACK = frozenset({"127.0.0.1", "localhost"})
_USUAL_PORT = {"https": "443", "http": "80"}

_CODE = re.compile(r"(?!.*[0-9]{7})[A-Za-z0-9._:-]{1,64}", re.ASCII)
_CHINESE = re.compile(r"1[3-9][0-9]{9}", re.ASCII)
_NUMBER = re.compile(r"[1-9][0-9]{6,14}", re.ASCII)
_CHINA = "+86"
_BEIJING = timezone(timedelta(hours=8))
"""China has one time and has had no summer time since 1991."""
_TIMES = ("%Y-%m-%d %H:%M:%S", "%Y%m%d%H%M%S")

_log = structlog.get_logger("dispatch")


def _endpoint(value: object) -> str:
    found = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise Misfit("write an address without a path, in small letters: https://sms.example.com")
    scheme, host, port = found.groups()
    if scheme != "https" and host not in _LOOPBACK:
        raise Misfit("write https: phones, texts and credentials go there")
    return f"{scheme}://{host}" + (f":{port}" if port and port != _USUAL_PORT[scheme] else "")


Endpoint = Annotated[str, PlainValidator(_endpoint), WithJsonSchema(_ADDRESS_SCHEMA)]
"""Where a gateway's API is: https, or http on this machine."""


KeyId = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._-]+$")]
"""The public half of a credential; it stands in a header."""
SignName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
"""A registered signature, without its brackets."""


def host_of(endpoint: str) -> str:
    """Give the host of an endpoint as a request names it, with a port that is not the usual one."""
    return endpoint.partition("://")[2]


def code_of(word: str | int | None, otherwise: str = "unreadable code") -> str:
    """Take a gateway's word for an outcome if it is one: short, and without what could be a phone or forge a line."""
    text = str(word)
    return text if word is not None and _CODE.fullmatch(text) else otherwise


def plain_number(e164: str) -> str:
    """Write a number as the Chinese clouds want it: 11 digits for China, country code and number for others."""
    return e164.removeprefix(_CHINA) if e164.startswith(_CHINA) else e164.removeprefix("+")


def e164_of(number: str | int) -> str | None:
    """Read a number as the Chinese clouds write it; None if it is none.

    What looks like a Chinese handset is one, as in their reports. No list of valid numbers is asked, so that nobody's
    opt-out is lost over a number range that is new.
    """
    text = str(number).strip()
    digits = text.removeprefix("+").removeprefix("00")
    if _CHINESE.fullmatch(digits) and not text.startswith(("+", "00")):
        return _CHINA + digits
    return "+" + digits if _NUMBER.fullmatch(digits) else None


def beijing_ms(text: str | None) -> int | None:
    """Read a time that the Chinese clouds wrote, into epoch ms; None if it is none."""
    for form in _TIMES:
        try:
            at = datetime.strptime(text or "", form).replace(tzinfo=_BEIJING)
        except ValueError:
            continue
        return instant_ms(int(at.timestamp()))
    return None


def instant_ms(seconds: int | None) -> int | None:
    """Read an instant that a cloud wrote in epoch seconds; None if it can be none."""
    return seconds * 1_000 if seconds is not None and 0 < seconds < LAST_S else None


def parts_of(number: int | None) -> int | None:
    """Read how many parts a message was billed as; None if that is not told, or cannot be."""
    return number if number is not None and 0 < number <= MAX_PARTS else None


def beijing_day(at: int) -> str:
    """Write the day of an instant (epoch ms) in China: 20260901."""
    return datetime.fromtimestamp(at / 1_000, _BEIJING).strftime("%Y%m%d")


class Readers(NamedTuple):
    """How one cloud's calls are read and answered: each reads one receipt or one reply, or gives None for none."""

    receipt: Callable[[bytes], Receipt | None]
    reply: Callable[[bytes], Reply | None]
    answer: bytes


class Words(NamedTuple):
    """A cloud's words for numbers that do not exist, and for people who want no more messages."""

    gone: Collection[str | int]
    refused: Collection[str | int]

    def receipt(
        self,
        fate: Fate,
        provider_id: str | None,
        command: str | None,
        phone: str | None,
        word: str | int | None,
        at: int | None = None,
    ) -> Receipt:
        """Make a receipt; ``word`` is what the cloud said of it, and tells only of what did not arrive why not."""
        failed = fate is Fate.UNDELIVERED
        return Receipt(
            fate=fate,
            provider_id=provider_id,
            command=command,
            phone=phone,
            code=code_of(word, ""),
            at=at,
            invalid_number=failed and word in self.gone,
            blacklisted=failed and word in self.refused,
        )


def hear(secret: SecretStr | None, gateway: str, call: Call, readers: Readers) -> Heard | Refused:
    """Read a call of receipts or of replies that comes to the secret address."""
    refused = check(secret, gateway, call)
    if refused is not None:
        return refused
    heard = Heard(answer=readers.answer, content_type="application/json")
    if call.kind == RECEIPTS:
        receipts = each(gateway, call, readers.receipt)
        return receipts if isinstance(receipts, Refused) else heard._replace(receipts=receipts)
    replies = each(gateway, call, readers.reply)
    return replies if isinstance(replies, Refused) else heard._replace(replies=replies)


def check(secret: SecretStr | None, gateway: str, call: Call) -> Refused | None:
    """Refuse a call that does not know the secret address it must come to; None: it does."""
    if call.kind not in KINDS:
        return Refused(400, "neither receipts nor replies")
    if secret is None or not is_call(secret.get_secret_value(), gateway, call.kind, call.query):
        return Refused(403, "the secret part of the address is wrong or was never set")
    if call.method != "POST":
        return Refused(400, "not a POST")
    return None


def each(gateway: str, call: Call, read: Callable[[bytes], T | None]) -> tuple[T, ...] | Refused:
    """Read a call's body, an array of reports or one; what cannot be read of it is counted in the log and left out."""
    body = mended(call.body.strip())
    try:
        found = [bytes(part) for part in _raw_list.decode(body if body.startswith(b"[") else b"[%b]" % body)]
    except UNREADABLE:
        return Refused(400, "not a JSON array")
    if len(found) > MAX_REPORTS:
        return Refused(400, "more reports than a call may have")
    said = [_attempt(read, part) for part in found]
    readable = tuple(one for one in said if one is not None)
    if len(readable) < len(found):
        _log.warning("reports of a gateway could not be read", gateway=gateway, reports=len(found) - len(readable))
    return readable


def _attempt(read: Callable[[bytes], T | None], part: bytes) -> T | None:
    try:
        return read(part)
    except UNREADABLE:
        return None
