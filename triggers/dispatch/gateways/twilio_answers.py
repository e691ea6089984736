"""What Twilio says: answers to a sending, the state of a message, receipts and replies.

Its codes are in the "error and warning dictionary" of its documentation.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from triggers.dispatch.gateway import Accepted, Answer, Barred, Fate, Receipt, Rejected, Reply, TryLater, Unknown
from triggers.dispatch.gateways.cloud import MAX_ID, MAX_REPLY, UNREADABLE, Words, code_of, parts_of
from triggers.dispatch.http import Response, judge, retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVER_FAULT = 500

UNSUBSCRIBED = 21610
WRONG_NUMBER = frozenset({21211, 21217, 21401, 21421, 21614, 21635})
"""No number, or one that takes no SMS. 21612 is not here: no route to it today, from this sender."""
THROTTLED = frozenset({429, 14107, 20429, 21611, 30001, 30022, 60728, 63017, 63038})
BARRED = frozenset(
    {
        10001,  # the account is not active, or has no money
        20003,  # not authenticated
        20005,
        20006,
        20008,  # test credentials
        20404,  # no such account: that is all our address can miss
        21212,  # no such sender; the next say so in other words
        21601,
        21603,
        21606,
        21659,
        21660,
        21661,
        21701,  # no such messaging service
        21703,  # it has no numbers
        21705,
        30002,  # suspended
    }
)
GONE = WRONG_NUMBER | {30005, 30006}
"""Unknown, or a landline. 30003 is not here: also said of a phone that is switched off."""

FATES = {
    "delivered": Fate.DELIVERED,
    "read": Fate.DELIVERED,
    "undelivered": Fate.UNDELIVERED,
    "failed": Fate.UNDELIVERED,
    "canceled": Fate.UNDELIVERED,
    "accepted": Fate.ON_ITS_WAY,
    "scheduled": Fate.ON_ITS_WAY,
    "queued": Fate.ON_ITS_WAY,
    "sending": Fate.ON_ITS_WAY,
    "sent": Fate.ON_ITS_WAY,
}
NEVER_LEFT = frozenset({"failed", "canceled"})


class _Message(msgspec.Struct):
    sid: str
    status: str = ""
    num_segments: int | None = None
    error_code: int | None = None
    to: str | None = None


class _Fault(msgspec.Struct):
    code: int


_CODE = re.compile(r"[0-9]{1,6}", re.ASCII)
_message = msgspec.json.Decoder(_Message, strict=False)
_fault = msgspec.json.Decoder(_Fault, strict=False)
_words = Words(GONE, {UNSUBSCRIBED})


def read_sent(response: Response) -> Answer:
    """Say what became of a message. A code counts for more than the status, but nothing is sure after a 5xx."""
    verdict = judge(response)
    if verdict is not None:
        return verdict if response.status >= SERVER_FAULT else _refusal(response, verdict)
    message = _decode(response)
    if message is None:
        return Unknown("unreadable answer")
    if message.status in NEVER_LEFT and message.error_code is not None:
        return _sorted(message.error_code, response) or Rejected(str(message.error_code))
    parts = parts_of(message.num_segments)  # 0: a messaging service has not counted yet
    return Accepted(message.sid, parts=parts, code=code_of(message.status, ""))


def read_state(response: Response, command: str, provider_id: str) -> Receipt | None:
    """Make a receipt of a message's state; None where it is not told, or told of another message."""
    message = _decode(response) if judge(response) is None else None
    if message is None or message.sid != provider_id or message.status not in FATES:
        return None
    return _words.receipt(FATES[message.status], provider_id, command, message.to, message.error_code)


def read_receipt(said: Mapping[str, str], command: str | None) -> Receipt | None:
    """Read a status callback; None for a state that is not documented, or one without its message."""
    number = said.get("MessageSid") or said.get("SmsSid", "")
    fate = FATES.get(said.get("MessageStatus") or said.get("SmsStatus", ""))
    code = _CODE.fullmatch(said.get("ErrorCode", ""))
    if fate is None or not 0 < len(number) <= MAX_ID:
        return None
    return _words.receipt(fate, number, command, said.get("To"), int(code[0]) if code else None)


def read_reply(said: Mapping[str, str]) -> Reply | None:
    """Read a message from a handset; None if it has no sender.

    A shop can give Twilio stop words of its own; it says then that one was used, so that we hear STOP, too.
    """
    phone, number = said.get("From", ""), said.get("MessageSid", "")
    if not phone:
        return None
    text = "STOP" if said.get("OptOutType") == "STOP" else said.get("Body", "")[:MAX_REPLY]
    return Reply(phone=phone[:MAX_ID], text=text, id=number[:MAX_ID] or None, to=said.get("To", "")[:MAX_ID] or None)


def _decode(response: Response) -> _Message | None:
    try:
        message = _message.decode(response.body)
    except UNREADABLE:
        return None
    return message if 0 < len(message.sid) <= MAX_ID else None


def _refusal(response: Response, verdict: Rejected | TryLater | Barred | Unknown) -> Answer:
    try:
        code = _fault.decode(response.body).code
    except UNREADABLE:
        return verdict
    return _sorted(code, response) or verdict._replace(code=code_of(code))


def _sorted(code: int, response: Response) -> Answer | None:
    if code in THROTTLED:
        return TryLater(str(code), after_s=retry_after(response.headers))
    if code in BARRED:
        return Barred(str(code))
    if code == UNSUBSCRIBED or code in WRONG_NUMBER:
        return Rejected(str(code), blacklisted=code == UNSUBSCRIBED, invalid_number=code in WRONG_NUMBER)
    return None
