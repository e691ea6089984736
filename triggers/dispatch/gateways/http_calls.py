"""What a mapping in YAML makes of a gateway's calls: receipts and replies in a query, a form or JSON, one or many."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, TypeVar
from urllib.parse import parse_qsl

import msgspec
import structlog
from pydantic import Field, StringConstraints, model_validator

from triggers.dispatch.gateway import Fate, Heard, Receipt, Refused, Reply
from triggers.dispatch.gateways.broken_text import mended
from triggers.dispatch.gateways.http_answers import Codes, Place, as_word, at, code_of, id_of
from triggers.language.findings import Misfit
from triggers.language.kinds import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from triggers.dispatch.gateway import Call

    T = TypeVar("T")

MAX_ITEMS = 10_000
"""Receipts or replies in one call."""
MAX_FIELDS = 200
MAX_REPLY = 4_000
MS_FROM, MS_TO = 10**11, 10**14
"""A time as a number is in milliseconds from the former on (1973), in seconds below (the year 5138)."""

_STATE = re.compile(r"\bstat:([A-Z]{2,10})\b(?:.{0,40}?\berr:([0-9A-Za-z]{1,8})\b)?", re.ASCII)
"""In the text of an SMPP receipt, which HTTP gateways hand on; the text of the message may stand in it, too."""
_SUBMITTED = re.compile(r"N?ACK/(?:0x[0-9a-fA-F]{1,8})?", re.ASCII)
_CHARSETS: Final = {
    "utf-16be": "utf-16-be", "utf-16le": "utf-16-le", "ucs-2": "utf-16-be", "iso-8859-1": "latin-1",
    "windows-1252": "cp1252", "gbk": "gb18030", "gb2312": "gb18030", "gb18030": "gb18030",
}  # fmt: skip
"""Charsets that a reply may name; what names another is read as UTF-8, as Kannel has it even where it says GSM."""

_log = structlog.get_logger("dispatch")


class CallModel(Part):
    """Where the reports of a call are: ``each`` is the place of a list in a JSON body, '.' if the body is one.

    Places are looked up in each report, then in the query. ``answer`` is what the gateway wants to read.
    """

    each: Place | None = None
    answer: Annotated[str, StringConstraints(max_length=1_000)] = ""


class ReceiptsModel(CallModel):
    """What a receipt says: its ``status`` is one of the words in ``delivered`` or ``undelivered``, or else no end.

    ``code`` is the place of the reason, and ``invalid_number`` and ``blacklisted`` list the reasons that mean so;
    ``command`` that of our id, where all receipts come to one address. ``ask`` is written as it is after the address of a
    message's receipts, for a gateway that fills in gaps there; ``percent: double`` is for one to which any % is a gap.
    """

    status: Place
    delivered: Annotated[Codes, Field(min_length=1)]
    undelivered: Codes = Field(default_factory=list)
    id: Place | None = None
    command: Place | None = None
    phone: Place | None = None
    code: Place | None = None
    at: Place | None = None
    invalid_number: Codes = Field(default_factory=list)
    blacklisted: Codes = Field(default_factory=list)
    ask: Annotated[str, StringConstraints(pattern=r"^(&[!-~]{1,500})?$")] = ""
    percent: Literal["plain", "double"] = "plain"

    @model_validator(mode="after")
    def _distinct(self) -> ReceiptsModel:
        if set(self.delivered) & set(self.undelivered):
            raise Misfit("a status is 'delivered' or 'undelivered', not both")
        return self

    def address(self, callback: str | None) -> str | None:
        """Write the address of a message's receipts as the gateway is to be given it."""
        if callback is None:
            return None
        return (callback.replace("%", "%%") if self.percent == "double" else callback) + self.ask


class RepliesModel(CallModel):
    """What a reply says: its ``text``, or its bytes as ``hex`` digits in the ``charset`` that stands at that place."""

    phone: Place
    text: Place | None = None
    hex: Place | None = None
    charset: Place | None = None
    id: Place | None = None
    to: Place | None = None
    at: Place | None = None

    @model_validator(mode="after")
    def _one_text(self) -> RepliesModel:
        if (self.text is None) == (self.hex is None):
            raise Misfit("write 'text' or 'hex', the place of a reply's text")
        return self


class _Report(NamedTuple):
    """One report of a call: its own values before those of the query."""

    body: Any
    query: Mapping[str, str]

    def word(self, place: str | None) -> str | None:
        if place is None:
            return None
        found = as_word(at(self.body, place))
        return found if isinstance(found, str) else self.query.get(place)


def read_receipts(model: ReceiptsModel, call: Call, command: str | None) -> Heard | Refused:
    """Read the receipts of an authentic call; ``command`` is the one its address names, if any."""

    def read(report: _Report) -> Receipt | None:
        status, reason = report.word(model.status), report.word(model.code)
        number, named = id_of(report.word(model.id)), command or id_of(report.word(model.command))
        if status is None or (named is None and number is None):
            return None
        fate = Fate.DELIVERED if status in model.delivered else Fate.ON_ITS_WAY
        fate = Fate.UNDELIVERED if status in model.undelivered else fate
        code = _reason(reason)
        return Receipt(
            fate,
            number,
            named,
            report.word(model.phone),
            code or code_of(status),
            read_time(report.word(model.at)),
            invalid_number=bool({code, reason} & set(model.invalid_number)),
            blacklisted=bool({code, reason} & set(model.blacklisted)),
        )

    found = _each(model, call, read)
    return found if isinstance(found, Refused) else Heard(receipts=found, answer=model.answer.encode())


def read_replies(model: RepliesModel, call: Call) -> Heard | Refused:
    """Read the replies of an authentic call."""

    def read(report: _Report) -> Reply | None:
        phone = report.word(model.phone)
        text = report.word(model.text) if model.hex is None else _unpacked(report, model)
        if not phone or text is None:
            return None
        number, to = id_of(report.word(model.id)), id_of(report.word(model.to))
        return Reply(phone, text[:MAX_REPLY], number, to, read_time(report.word(model.at)))

    found = _each(model, call, read)
    return found if isinstance(found, Refused) else Heard(replies=found, answer=model.answer.encode())


def read_time(word: str | None) -> int | None:
    """Read a time into epoch ms: a number of seconds or milliseconds, or RFC 3339 with a zone. None: it is none."""
    if word is None or len(word) > 40:  # noqa: PLR2004  no time is longer
        return None
    if word.isascii() and word.isdigit():
        number = int(word)
        number = number if number >= MS_FROM else number * 1_000
        return number if number < MS_TO else None
    try:
        moment = datetime.fromisoformat(word)
        return int(moment.timestamp() * 1_000) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _each(model: CallModel, call: Call, read: Callable[[_Report], T | None]) -> tuple[T, ...] | Refused:
    body = _body(call)
    if isinstance(body, Refused):
        return body
    items = [body] if model.each is None else at(body, model.each)
    if not isinstance(items, list) or len(items) > MAX_ITEMS:
        return Refused(400, "no list of reports where there should be one, or a very long one")
    found = [read(_Report(item, call.query)) for item in items]
    readable = tuple(one for one in found if one is not None)
    if not readable and found:
        return Refused(400, "nothing that can be understood")
    if len(readable) < len(found):
        _log.warning("reports of a gateway could not be read", reports=len(found) - len(readable))
    return readable


def _body(call: Call) -> Any:
    body = call.body.strip()
    if not body:
        return None
    try:
        if body[:1] in (b"{", b"["):
            return msgspec.json.decode(mended(body))
        return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return Refused(400, "neither JSON nor a form")


def _reason(word: str | None) -> str:
    """Take the reason out of what a gateway says, without what else may stand there."""
    if word is None:
        return ""
    state, submitted = _STATE.search(word), _SUBMITTED.match(word)
    if state is not None:
        return " ".join(filter(None, state.groups()))
    return submitted[0].rstrip("/") if submitted is not None else code_of(word)


def _unpacked(report: _Report, model: RepliesModel) -> str | None:
    charset = (report.word(model.charset) or "").lower()
    try:
        content = bytes.fromhex(report.word(model.hex) or "")
    except ValueError:
        return None
    return content.decode(_CHARSETS.get(charset, "utf-8"), errors="replace")
