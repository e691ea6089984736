"""What Aliyun's SMS service says: answers to a sending, records of what was sent, receipts and replies.

Its codes are in "API error codes" and "delivery receipt error codes" of its documentation. ``isv`` codes find fault
with the request, ``isp`` codes with the service: after those, nobody knows whether the message left.
"""

from __future__ import annotations

import msgspec

from triggers.dispatch.gateway import Accepted, Answer, Barred, Fate, Receipt, Rejected, Reply, TryLater, Unknown
from triggers.dispatch.gateways.cloud import MAX_ID, MAX_REPLY, UNREADABLE, Words, beijing_ms, code_of, e164_of
from triggers.dispatch.http import OK_FROM, OK_TO, Response, judge, retry_after

WAITING, FAILED, ARRIVED = 1, 2, 3
SERVER_FAULT = 500

OPTED_OUT = "isv.CUSTOMER_REFUSED"
"""The only code that says so for sure. isv.BLACK_KEY_CONTROL_LIMIT is said of numbers, but also of forbidden words in
a template's gaps: taken for an opt-out, one bad word would unsubscribe everybody."""
WRONG_NUMBER = "isv.MOBILE_NUMBER_ILLEGAL"
SAID_BEFORE = "SignatureNonceUsed"
"""The same request was there already, and may have sent the message."""
THROTTLED = frozenset({"isv.BUSINESS_LIMIT_CONTROL", "isv.DAY_LIMIT_CONTROL", "QPS_LIMIT_CONTROL"})
THROTTLING = "Throttling"
BARRED = frozenset(
    {
        "isv.AMOUNT_NOT_ENOUGH",
        "isv.OUT_OF_SERVICE",
        "isv.BILLING_DEDUCTION_ERROR",
        "isv.MONTH_LIMIT_CONTROL",  # a ceiling that the shop set itself; it does not go away overnight
        "isv.PRODUCT_UN_SUBSCRIPT",
        "isv.PRODUCT_UNSUBSCRIBE",
        "isv.ACCOUNT_NOT_EXISTS",
        "isv.ACCOUNT_ABNORMAL",
        "isv.SECURITY_FROZEN_ACCOUNT",
        "isv.DENY_IP_RANGE",
        "isp.RAM_PERMISSION_DENY",
        "SignatureDoesNotMatch",
        "IncompleteSignature",
        "InvalidTimeStamp.Expired",
        "MissingAccessKeyId",
        "NoPermission",
    }
)
BARRING = ("InvalidAccessKeyId", "InvalidSecurityToken", "Forbidden")

GONE = frozenset({"INVALID_NUMBER"})
"""MOBILE_NOT_ON_SERVICE is not here: it is also said of a phone that is switched off."""
REFUSED_BY_USER = frozenset({"MOBILE_IN_BLACK", "USER_REJECT", OPTED_OUT})


class _Sent(msgspec.Struct, rename="pascal"):
    code: str
    biz_id: str | None = None


class Record(msgspec.Struct, rename="pascal"):
    """What the service remembers of one message."""

    send_status: int
    out_id: str | None = None
    err_code: str | None = None
    receive_date: str | None = None


class _RecordList(msgspec.Struct):
    records: list[Record] = msgspec.field(name="SmsSendDetailDTO", default_factory=list)


class _Records(msgspec.Struct):
    code: str = msgspec.field(name="Code")
    found: _RecordList | None = msgspec.field(name="SmsSendDetailDTOs", default=None)


class _Report(msgspec.Struct):
    phone_number: str | int
    success: bool
    biz_id: str
    out_id: str | None = None
    err_code: str | None = None
    report_time: str | None = None


class _Up(msgspec.Struct):
    phone_number: str | int
    content: str
    send_time: str | None = None
    dest_code: str | int | None = None
    sequence_id: str | int | None = None


_sent = msgspec.json.Decoder(_Sent)
_records = msgspec.json.Decoder(_Records, strict=False)
_report = msgspec.json.Decoder(_Report, strict=False)
_up = msgspec.json.Decoder(_Up)
_words = Words(GONE, REFUSED_BY_USER)


def read_sent(response: Response) -> Answer:
    """Say what became of a message. A code counts for more than the status, but nothing is sure after a 5xx."""
    verdict = judge(response)
    try:
        said = _sent.decode(response.body)
    except UNREADABLE:
        return verdict or Unknown("unreadable answer")
    if said.code == "OK" and verdict is None:
        return Accepted(said.biz_id[:MAX_ID] if said.biz_id else None)
    code = code_of(said.code)
    if said.code == "OK" or response.status >= SERVER_FAULT:
        return Unknown(code)
    return _sorted(said.code, response) or (verdict._replace(code=code) if verdict else Unknown(code))


def read_records(response: Response) -> list[Record]:
    """Read the records of one number's day; nothing where the service does not tell."""
    try:
        said = _records.decode(response.body)
    except UNREADABLE:
        return []
    told = said.code == "OK" and OK_FROM <= response.status < OK_TO and said.found is not None
    return said.found.records if told and said.found is not None else []


def receipt_of(record: Record, command: str, provider_id: str | None, phone: str) -> Receipt | None:
    """Make a receipt of a record; None for a state that is not documented."""
    fates = {WAITING: Fate.ON_ITS_WAY, FAILED: Fate.UNDELIVERED, ARRIVED: Fate.DELIVERED}
    if record.send_status not in fates:
        return None
    fate = fates[record.send_status]
    at = beijing_ms(record.receive_date) if fate is not Fate.ON_ITS_WAY else None
    return _words.receipt(fate, provider_id, command, phone, record.err_code, at)


def read_report(part: bytes) -> Receipt | None:
    """Read one receipt of SmsReport."""
    said = _report.decode(part)
    if not 0 < len(said.biz_id) <= MAX_ID:
        return None
    fate = Fate.DELIVERED if said.success else Fate.UNDELIVERED
    command = said.out_id if said.out_id and len(said.out_id) <= MAX_ID else None
    return _words.receipt(
        fate, said.biz_id, command, e164_of(said.phone_number), said.err_code, beijing_ms(said.report_time)
    )


def read_up(part: bytes) -> Reply | None:
    """Read one reply of SmsUp."""
    said = _up.decode(part)
    phone = e164_of(said.phone_number)
    if phone is None:
        return None
    return Reply(
        phone=phone,
        text=said.content[:MAX_REPLY],
        id=str(said.sequence_id)[:MAX_ID] if said.sequence_id is not None else None,
        to=str(said.dest_code)[:MAX_ID] if said.dest_code is not None else None,
        at=beijing_ms(said.send_time),
    )


def _sorted(word: str, response: Response) -> Answer | None:
    code = code_of(word)
    if word in THROTTLED or word.startswith(THROTTLING):
        return TryLater(code, after_s=retry_after(response.headers))
    if word in BARRED or word.startswith(BARRING):
        return Barred(code)
    if word == SAID_BEFORE:
        return Unknown(code)
    if word.startswith("isv."):
        return Rejected(code, blacklisted=word == OPTED_OUT, invalid_number=word == WRONG_NUMBER)
    return Unknown(code) if word.startswith("isp.") else None
