"""What a gateway is to the dispatcher: it sends one message once and says what became of it; it may tell more later.

A gateway says itself what is permanent, transient or ambiguous. What it is not sure of is ``Unknown``: the message may
have left. Whatever a gateway raises counts as ``Unknown``, too.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, runtime_checkable

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping


class Template(msgspec.Struct, frozen=True):
    """A text that was approved beforehand: its code at the gateway, and the values of its gaps by name."""

    code: str
    params: dict[str, str]


class Outgoing(msgspec.Struct, frozen=True):
    """One message, as a gateway is given it.

    ``command`` is the command id: hand it over as our reference where the gateway takes one. ``attempt`` counts from 1.
    ``phone`` is E.164; ``valid_until`` the last instant at which it may arrive, epoch ms: hand it over as the validity.
    ``callback`` is the address for this message's receipts, with its own HMAC; None where no public address is known.
    ``rule`` is empty for a message that no rule sends; ``at`` the engine's time at which it leaves, epoch ms.
    """

    command: str
    attempt: int
    phone: str
    text: str
    klass: str
    valid_until: int
    callback: str | None = None
    template: Template | None = None
    rule: str = ""
    at: int = 0


# What became of a message. ``code`` is the gateway's own word for it, short and without phone or text.


class Accepted(NamedTuple):
    """The gateway has it. ``provider_id`` is what its receipt will name; ``parts`` how many it bills, if it says."""

    provider_id: str | None
    parts: int | None = None
    code: str = ""


class Rejected(NamedTuple):
    """It did not leave and never will: a wrong number, a refused template, a blacklisted phone."""

    code: str
    blacklisted: bool = False
    invalid_number: bool = False


class TryLater(NamedTuple):
    """It did not leave, but may another time: a refused connection, throttling. ``after_s`` is the gateway's own wish."""

    code: str
    after_s: float | None = None
    refused_connection: bool = False


class Barred(NamedTuple):
    """It did not leave, since the gateway lets us send nothing: wrong credentials, no balance. A person must act."""

    code: str


class Unknown(NamedTuple):
    """It may have left: a time-out or a reset after the first byte, any 5xx, an answer that cannot be read."""

    code: str


Answer: TypeAlias = Accepted | Rejected | TryLater | Barred | Unknown


# What a gateway tells later.


class Fate(StrEnum):
    """What a receipt says of a message: on its way is no end."""

    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    ON_ITS_WAY = "on its way"


class Receipt(NamedTuple):
    """A report on a message, named by the gateway's id, or by our command id where an authentic callback carries it.

    ``at`` is when it happened, epoch ms, if the gateway says. ``invalid_number`` and ``blacklisted`` say why not.
    """

    fate: Fate
    provider_id: str | None
    command: str | None = None
    phone: str | None = None
    code: str = ""
    at: int | None = None
    invalid_number: bool = False
    blacklisted: bool = False


class Reply(NamedTuple):
    """A message from a handset. ``id`` is the gateway's own, so that a repeated one is known; None: it gives none."""

    phone: str
    text: str
    id: str | None = None
    to: str | None = None
    at: int | None = None


class Call(NamedTuple):
    """A request that a gateway made to us. ``kind`` is the last part of the path (receipts, replies, …).

    ``url`` is the full public address it called, as its signature covers it; header names are in lower case.
    """

    kind: str
    method: str
    url: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class Heard(NamedTuple):
    """What a call said, and the body it wants to be answered with once that is on the disk (status 200)."""

    receipts: tuple[Receipt, ...] = ()
    replies: tuple[Reply, ...] = ()
    answer: bytes = b""
    content_type: str = "text/plain"


class Refused(NamedTuple):
    """A call that is not authentic (403) or cannot be understood (400). ``why`` is for our log, without its content."""

    status: int
    why: str


class Sought(NamedTuple):
    """A message whose fate is asked for: as it was given to the gateway, and when, epoch ms."""

    command: str
    provider_id: str | None
    phone: str
    sent_at: int


class Gateway(Protocol):
    """A way out for messages. ``name`` is the one it has in the settings; ``receipts`` whether it tells of delivery."""

    name: str
    receipts: bool

    async def send(self, message: Outgoing) -> Answer:
        """Send one message, once. Whatever is raised counts as unknown."""
        ...

    async def close(self) -> None:
        """Give back connections. Nothing is sent afterwards."""
        ...


@runtime_checkable
class Hears(Protocol):
    """A gateway that calls back with receipts or replies."""

    def hear(self, call: Call) -> Heard | Refused:
        """Check that a call is authentic and read it. Must not do any I/O."""
        ...


@runtime_checkable
class Screens(Protocol):
    """A gateway that hears, and knows many a stranger before the body of a call is read."""

    def screen(self, call: Call) -> Refused | None:
        """Refuse a call, given without its body, that cannot be authentic whatever that says; ``hear`` checks the rest."""
        ...


@runtime_checkable
class Settles(Protocol):
    """A gateway that can be asked what became of a message."""

    async def settle(self, sought: Sought) -> Receipt | Rejected | None:
        """Ask for a message's fate; Rejected: it never left; None: the gateway does not know, or not yet.

        A receipt that says "on its way" means that the gateway has it.
        """
        ...


@runtime_checkable
class Listens(Protocol):
    """A gateway that hears of receipts and replies over a connection of its own instead of HTTP calls."""

    async def listen(self, heard: Hearer) -> None:
        """Run until cancelled; hand on each receipt or reply and confirm it to the other side only when that returns."""
        ...


class Hearer(Protocol):
    """Takes what a gateway heard; returns when it is on the disk."""

    async def __call__(self, heard: Heard) -> None:
        """Store it."""
        ...
