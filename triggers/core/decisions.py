"""What a step decides: the reasons that waits end for, and the values that a step hands to its driver."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

import msgspec

from triggers.core.customer import Wait  # noqa: TC001  msgspec reads the type where decisions are stored
from triggers.core.times import NEVER


class Reason(StrEnum):
    """Why a wait ended, or is held back: the metric label, the report row and the word that people see."""

    SENT = "sent"
    WITHHELD = "withheld"
    WOULD_SEND = "would send"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    OUTSIDE_PERIOD = "outside period"
    UNSUBSCRIBED = "unsubscribed"
    NOT_IN_AUDIENCE = "not in audience"
    RECENCY = "recency"
    COUPON_NOT_USABLE = "coupon not usable"
    PER_CUSTOMER = "per customer"
    TOTAL = "total"
    BUDGET = "budget"
    PER_DAY = "per day"
    CAPPED = "capped"
    YIELDED = "yielded"
    WAVE_FULL = "wave full"
    WAVE_TOO_SMALL = "wave too small"
    TEXT_TOO_LONG = "text too long"
    TOO_MANY_WAITS = "too many waits"
    PAUSED = "paused"
    WINDOW = "window"
    RULE_CHANGED = "rule changed"
    RULE_REMOVED = "rule removed"

    __hash__ = str.__hash__  # an enum's own is written in Python, and every end of a wait is counted by its reason


class Armed(msgspec.Struct, gc=False):
    """A wait began."""

    customer: str
    wait: Wait
    at: int


class Ended(msgspec.Struct, gc=False):
    """A wait ended at ``at`` for a reason; ``detail`` is the part that a person wants to know ("by order.paid")."""

    customer: str
    wait: Wait
    at: int
    reason: Reason
    detail: str = ""

    @property
    def words(self) -> str:
        """The reason as people read it: "cancelled by order.paid", "capped"."""
        return f"{self.reason} by {self.detail}" if self.reason is Reason.CANCELLED else str(self.reason)


class Postponed(msgspec.Struct, gc=False):
    """A try at ``at`` was held back for a reason; the next one is at ``until``."""

    customer: str
    wait: Wait
    at: int
    reason: Reason
    until: int
    detail: str = ""


class LateCancel(msgspec.Struct, gc=False):
    """An event that would have cancelled arrived after the message of the wait (rule, identity, anchor) had left."""

    customer: str
    rule: str
    at: int
    event: str
    event_id: str
    identity: str | None = None
    anchor: int = 0


class Recall(LateCancel):
    """An event that happened after a message was decided would have cancelled it: it must not leave if it has not (S13).

    Only services ask for these (``Rulebook.recalls``): in a replay a message leaves the instant it is decided.
    """


class Send(msgspec.Struct, omit_defaults=False, gc=False):
    """A message that leaves, or is withheld; times in epoch ms, ``cost`` in 1/1000 fen.

    ``id`` is the command id (S28); ``identity`` the value of ``per``; ``anchor`` when the wait began, ``due`` when it was
    over, ``at`` when the message leaves; ``withheld`` is true for the holdout and ``shadow`` for a rule on trial: neither
    is ever given to a gateway. ``expires`` is the first instant that is too late to send it. ``params`` are the values of
    the text's gaps, which only services ask for.
    """

    id: str
    rule: str
    customer: str
    identity: str | None
    anchor: int
    due: int
    at: int
    withheld: bool
    shadow: bool
    variant: str | None
    wave: str | None
    coupon: str | None
    text: str
    segments: int
    cost: int
    revision: str
    klass: str
    expires: int
    params: dict[str, str] | None = None


class Ask(msgspec.Struct, gc=False):
    """A question to the owner of a rule's shared limits, whether a command may leave at ``at``.

    ``reserve`` is false where the customer's own gates hold the message back or it would be withheld: then the owner only
    tells whether the limits are used up, and counts nothing. ``priority`` and ``due`` order questions of one instant (S23).
    ``again`` is the first instant at which the same wait may ask once more although it was granted; NEVER if it leaves.
    """

    customer: str
    wait: Wait
    rule: str
    command: str
    at: int
    priority: int
    due: int
    cost: int
    reserve: bool
    wave: str | None = None
    again: int = NEVER


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """The owner's answer: granted when ``reason`` is None, ended for ``reason``, or held back for it until ``until``."""

    reason: Reason | None = None
    until: int | None = None


class Responded(msgspec.Struct, gc=False):
    """A customer answered a wave before the next one's slot; the owner of the rule counts these for ``min_size``."""

    customer: str
    rule: str
    wave: str
    at: int


class Released(msgspec.Struct, gc=False):
    """A grant is given back: the wait ended between the question and the answer."""

    rule: str
    command: str
    at: int


Decision: TypeAlias = Armed | Ended | Postponed | LateCancel | Recall | Send | Ask | Responded | Released
