"""What Tencent's SMS service says: answers to a sending, reports that were asked for, receipts and replies.

It answers faults with status 200, too; its codes are in "error codes" of its documentation (API 2021-01-11).
"""

from __future__ import annotations

import msgspec

from triggers.dispatch.gateway import Accepted, Answer, Barred, Fate, Receipt, Rejected, Reply, TryLater, Unknown
from triggers.dispatch.gateways.cloud import (
    MAX_ID,
    MAX_REPLY,
    UNREADABLE,
    Words,
    beijing_ms,
    code_of,
    e164_of,
    instant_ms,
    parts_of,
)
from triggers.dispatch.http import OK_FROM, OK_TO, Response, judge, retry_after

SERVER_FAULT = 500

OPTED_OUT = "FailedOperation.PhoneNumberInBlacklist"
WRONG_NUMBER = frozenset({"InvalidParameterValue.IncorrectPhoneNumber", "FailedOperation.PhoneNumberParseFail"})
THROTTLED = ("LimitExceeded", "RequestLimitExceeded", "FailedOperation.MarketingSendTimeConstraint")
"""How codes begin that pass by themselves: limits for a number, for the account's day or second, and night."""
REJECTED_LIMITS = frozenset({"LimitExceeded.AppCountryOrRegionInBlacklist", "LimitExceeded.PhoneNumberCountLimit"})
"""These are called limits, but do not pass: the country is not opened, or a request had too many numbers."""
BARRED = frozenset(
    {
        "FailedOperation.InsufficientBalanceInSmsPackage",
        "FailedOperation.NotEnterpriseCertification",
        "FailedOperation.ProhibitSubAccountUse",
        "InternalError.RequestTimeException",  # our clock is wrong
        "InternalError.SigFieldMissing",
        "InternalError.SigVerificationFail",
        "InvalidParameter.AppidAndBizId",
        "InvalidParameterValue.SdkAppIdNotExist",
        "IpInBlacklist",
        "IpNotInWhitelist",
    }
)
BARRING = ("AuthFailure", "UnauthorizedOperation")
NO_MARKETING = "UnauthorizedOperation.IndividualUserMarketingSmsPermissionDeny"
"""Closes marketing alone: other messages still leave through the same gateway."""
REJECTED = frozenset(
    {
        "FailedOperation.ContainSensitiveWord",
        "FailedOperation.FailResolvePacket",
        "FailedOperation.JsonParseFail",
        "InternalError.JsonParseFail",
        "InternalError.RestApiInterfaceNotExist",
        "InvalidAction",
        "InvalidRequest",
        "NoSuchVersion",
    }
)
REJECTING = (
    "FailedOperation.Missing",
    "FailedOperation.Sign",
    "FailedOperation.Template",
    "InvalidParameter",
    "MissingParameter",
    "UnknownParameter",
    "UnsupportedOperation",
    "UnsupportedRegion",
)

# What carriers say in receipts; the service hands it on as it is. Only what is said of nothing else but a number that
# does not exist, or of one that is on a list of people who unsubscribed or complained.
GONE = frozenset({"MK:0000", "MK:0001", "MK00001", "XL:169", "TA:169", "1"})
REFUSED_BY_USER = frozenset(
    {
        *("MX:0011", "MX:0012", "TUIDING", "BWLIST", "BWLIST_006", "HIGRISK"),
        *("TD:0001", "TD:19", "TC:0001", "HD:19"),
        *("MB:1077", "DB:0141", "DB:0144", "DB00144", "DB:0164"),
    }
)


class _Fault(msgspec.Struct, rename="pascal"):
    code: str


class _Status(msgspec.Struct, rename="pascal"):
    code: str
    serial_no: str | None = None
    fee: int | None = None


class Report(msgspec.Struct, rename="pascal"):
    """What became of one message to a number."""

    report_status: str
    serial_no: str | None = None
    session_context: str | None = None
    description: str | None = None
    user_receive_time: int | None = None


class _Said(msgspec.Struct, rename="pascal"):
    error: _Fault | None = None
    send_status_set: list[_Status] | None = None
    pull_sms_send_status_set: list[Report] | None = None


class _Envelope(msgspec.Struct, rename="pascal"):
    response: _Said


class _Callback(msgspec.Struct):
    mobile: str | int
    nationcode: str | int
    report_status: str
    sid: str
    errmsg: str | None = None
    user_receive_time: str | None = None


class _Up(msgspec.Struct):
    mobile: str | int
    nationcode: str | int
    text: str
    time: int | None = None
    extend: str | None = None


_envelope = msgspec.json.Decoder(_Envelope)
_callback = msgspec.json.Decoder(_Callback)
_up = msgspec.json.Decoder(_Up, strict=False)
_words = Words(GONE, REFUSED_BY_USER)
_FATES = {"SUCCESS": Fate.DELIVERED, "FAIL": Fate.UNDELIVERED}


def read_sent(response: Response) -> Answer:
    """Say what became of a message. A code counts for more than the status, but nothing is sure after a 5xx."""
    verdict = judge(response)
    said = _decode(response)
    statuses = said.send_status_set or [] if said else []
    fault = said.error if said else None
    if fault is None and len(statuses) != 1:
        return verdict or Unknown("unreadable answer")
    word = fault.code if fault else statuses[0].code
    if fault is None and word == "Ok" and verdict is None:
        return _accepted(statuses[0])
    code = code_of(word)
    if word == "Ok" or response.status >= SERVER_FAULT:
        return Unknown(code)
    return _sorted(word, response) or (verdict._replace(code=code) if verdict else Unknown(code))


def read_reports(response: Response) -> list[Report]:
    """Read what became of the messages to a number; nothing where the service does not tell."""
    said = _decode(response)
    if said is None or said.error is not None or not OK_FROM <= response.status < OK_TO:
        return []
    return said.pull_sms_send_status_set or []


def receipt_of(report: Report, command: str, phone: str) -> Receipt | None:
    """Make a receipt of a report; None for a state that is not documented."""
    fate = _FATES.get(report.report_status)
    if fate is None:
        return None
    at = instant_ms(report.user_receive_time)
    return _words.receipt(fate, report.serial_no, command, phone, report.description, at)


def read_callback(part: bytes) -> Receipt | None:
    """Read one receipt of a call."""
    said = _callback.decode(part)
    fate = _FATES.get(said.report_status)
    phone = _phone(said.nationcode, said.mobile)
    if fate is None or not 0 < len(said.sid) <= MAX_ID:
        return None
    return _words.receipt(fate, said.sid, None, phone, said.errmsg, beijing_ms(said.user_receive_time))


def read_up(part: bytes) -> Reply | None:
    """Read one reply of a call; the service gives it no id."""
    said = _up.decode(part)
    phone = _phone(said.nationcode, said.mobile)
    if phone is None:
        return None
    to = said.extend[:MAX_ID] if said.extend else None
    return Reply(phone=phone, text=said.text[:MAX_REPLY], to=to, at=instant_ms(said.time))


def _decode(response: Response) -> _Said | None:
    try:
        return _envelope.decode(response.body).response
    except UNREADABLE:
        return None


def _accepted(status: _Status) -> Accepted:
    number = status.serial_no
    return Accepted(number[:MAX_ID] if number else None, parts=parts_of(status.fee))


def _phone(country: str | int, number: str | int) -> str | None:
    return e164_of(f"+{country}{number}")


def _sorted(word: str, response: Response) -> Answer | None:
    code = code_of(word)
    if word == OPTED_OUT or word in WRONG_NUMBER:
        return Rejected(code, blacklisted=word == OPTED_OUT, invalid_number=word in WRONG_NUMBER)
    if word in REJECTED or word in REJECTED_LIMITS or word == NO_MARKETING:
        return Rejected(code)
    if word in BARRED or word.startswith(BARRING):
        return Barred(code)
    if word.startswith(THROTTLED):
        return TryLater(code, after_s=retry_after(response.headers))
    return Rejected(code) if word.startswith(REJECTING) else None
