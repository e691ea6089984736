"""What the status of a response means for a message: what SMPP defines as a refusal is one, the rest is ambiguous."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from triggers.dispatch.gateway import Accepted, Barred, Rejected, TryLater, Unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from triggers.dispatch.gateway import Answer

Meaning: TypeAlias = Literal["rejected", "invalid_number", "blacklisted", "try_later", "barred"]

OK, BIND_FAILED, NOT_BOUND = 0x00, 0x0D, 0x04
UNKNOWN_COMMAND = 0x03
TRY_AGAIN, NEVER_AGAIN = 0x64, 0x65
"""Our own word on a deliver_sm: a temporary and a permanent error of the receiver (ESME_RX_T_APPN, ESME_RX_P_APPN)."""


class Response(NamedTuple):
    """A response to what we asked: its status, and the message's id if there is one."""

    status: int
    message_id: str | None = None


# SMPP 3.4 section 5.1.3, and from 0x100 on SMPP 5.0 section 4.7.6. What is wrong with our settings is wrong for every
# message, so it bars the gateway instead of spending the messages.
_STATUSES: dict[int, tuple[str, Meaning]] = {
    0x01: ("RINVMSGLEN", "rejected"),
    0x02: ("RINVCMDLEN", "rejected"),
    0x03: ("RINVCMDID", "barred"),
    NOT_BOUND: ("RINVBNDSTS", "try_later"),
    0x06: ("RINVPRTFLG", "barred"),
    0x07: ("RINVREGDLVFLG", "barred"),
    0x0A: ("RINVSRCADR", "barred"),
    0x0B: ("RINVDSTADR", "invalid_number"),
    0x0D: ("RBINDFAIL", "barred"),
    0x0E: ("RINVPASWD", "barred"),
    0x0F: ("RINVSYSID", "barred"),
    0x14: ("RMSGQFUL", "try_later"),
    0x15: ("RINVSERTYP", "barred"),
    0x43: ("RINVESMCLASS", "rejected"),
    0x45: ("RSUBMITFAIL", "rejected"),
    0x48: ("RINVSRCTON", "barred"),
    0x49: ("RINVSRCNPI", "barred"),
    0x50: ("RINVDSTTON", "barred"),
    0x51: ("RINVDSTNPI", "barred"),
    0x53: ("RINVSYSTYP", "barred"),
    0x58: ("RTHROTTLED", "try_later"),
    0x62: ("RINVEXPIRY", "rejected"),
    0xC0: ("RINVOPTPARSTREAM", "rejected"),
    0xC1: ("ROPTPARNOTALLWD", "rejected"),
    0xC2: ("RINVPARLEN", "rejected"),
    0xC3: ("RMISSINGOPTPARAM", "rejected"),
    0xC4: ("RINVOPTPARAMVAL", "rejected"),
    0x100: ("RSERTYPUNAUTH", "barred"),
    0x101: ("RPROHIBITED", "barred"),
    0x104: ("RINVDCS", "rejected"),
}


def judge(response: Response, own: Mapping[int, Meaning]) -> Answer:
    """Say what became of a message; ``own`` has what this SMSC's statuses mean, where it differs or is its own."""
    status = response.status
    if status == OK:
        return Accepted(response.message_id)
    word, meaning = named(status), own.get(status) or _STATUSES.get(status, ("", None))[1]
    match meaning:
        case "try_later":
            return TryLater(word)
        case "barred":
            return Barred(word)
        case None:
            return Unknown(word)
    return Rejected(word, blacklisted=meaning == "blacklisted", invalid_number=meaning == "invalid_number")


def judge_bind(status: int, *, was_bound: bool) -> TryLater | Barred:
    """Say why we were not let in; ``was_bound``: we were, with the same credentials.

    Then a mere "bind failed" is most likely our former connection, which the SMSC has not given up yet.
    """
    meaning = _STATUSES.get(status, ("", None))[1]
    if meaning == "barred" and not (status == BIND_FAILED and was_bound):
        return Barred(named(status))
    return TryLater(named(status), refused_connection=True)


def named(status: int) -> str:
    """Write a status so that people can look it up."""
    known = _STATUSES.get(status)
    return f"ESME_{known[0]}" if known else f"status 0x{status:08X}"
