"""The states of a command on its way, the arrows between them, and what moves it: the ruling of a claim, an answer.

queued ──claim──▶ sending ──▶ accepted ──▶ delivered | undelivered | expired
   │ ▲              │  ├────▶ rejected
   │ └──definitely──┘  └────▶ unknown ──▶ accepted | delivered | undelivered | unknown_final
   └──▶ cancelled | suppressed | expired
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from triggers.core.decisions import Send

QUEUED, SENDING, ACCEPTED, UNKNOWN = "queued", "sending", "accepted", "unknown"
DELIVERED, UNDELIVERED, REJECTED, UNKNOWN_FINAL = "delivered", "undelivered", "rejected", "unknown_final"
CANCELLED, SUPPRESSED, EXPIRED = "cancelled", "suppressed", "expired"

ARROWS: dict[str, frozenset[str]] = {
    QUEUED: frozenset({SENDING, CANCELLED, SUPPRESSED, EXPIRED}),
    SENDING: frozenset({ACCEPTED, REJECTED, UNKNOWN, QUEUED}),
    ACCEPTED: frozenset({DELIVERED, UNDELIVERED, EXPIRED}),
    UNKNOWN: frozenset({ACCEPTED, DELIVERED, UNDELIVERED, UNKNOWN_FINAL}),
}
"""Where each state may move to; what is not named is final."""

STATES = (*ARROWS, DELIVERED, UNDELIVERED, REJECTED, UNKNOWN_FINAL, CANCELLED, SUPPRESSED, EXPIRED)
COUNTED = (SENDING, UNKNOWN, UNKNOWN_FINAL, ACCEPTED, DELIVERED, UNDELIVERED)
"""The states that count for caps: the message left, or may have."""

OPEN = f"state IN ('{SENDING}', '{UNKNOWN}', '{ACCEPTED}')"
"""The words of the index of what has left and has no end: SQLite takes it only where a query says them, too."""


class Command(NamedTuple):
    """A message that is to leave, and the number it goes to (None: not known)."""

    send: Send
    phone: str | None


class Queued(NamedTuple):
    """A command in the outbox, as a claim looks at it.

    ``attempts`` counts how often it was claimed, ``ambiguous`` how often it may have left; ``tried`` names the gateways
    that definitely did not take it, ``gateway`` the last one; ``left_at`` when it last began to leave, epoch ms.
    ``reason`` says what held it back last; ``month`` is the shop's month that its money counts in.
    """

    seq: int
    send: Send
    phone: str | None
    attempts: int
    ambiguous: int
    tried: tuple[str, ...]
    gateway: str | None
    queued_at: int
    left_at: int | None
    reason: str = ""
    month: str = ""


class Go(NamedTuple):
    """Let it leave now through a gateway, for that much; ``valid_until`` epoch ms."""

    gateway: str
    phone: str
    cost: int
    valid_until: int


class Hold(NamedTuple):
    """Look at it again at ``until``, epoch ms."""

    until: int
    reason: str


class End(NamedTuple):
    """It will not leave any more."""

    state: str
    reason: str


Ruling: TypeAlias = Go | Hold | End


class Leaving(NamedTuple):
    """A claimed command, from the transaction that claimed it."""

    queued: Queued
    go: Go


class Claim(NamedTuple):
    """What a claim did: what leaves, what ended and why, and what is held until when."""

    leaving: list[Leaving]
    ended: list[tuple[Queued, End]]
    held: list[tuple[Queued, Hold]]


class Settled(NamedTuple):
    """Where an answer moves a command that is being sent.

    ``spent`` is false where it definitely did not leave; ``ambiguous`` true where it may have. ``refused`` is true where
    its gateway should not be asked again for it; ``not_before`` (epoch ms) is when it may be claimed again.
    """

    state: str
    reason: str = ""
    provider_id: str | None = None
    not_before: int = 0
    spent: bool = True
    ambiguous: bool = False
    refused: bool = False
