"""A customer as a step knows them: facts, kept events, waits and recent sends. This is all the state there is."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from triggers.core.events import AnyEvent  # noqa: TC001  msgspec reads the annotations at run time
from triggers.core.times import NEVER

PROFILE = ("name", "phone", "city", "is_member", "level", "consent")
"""The facts that ``customer.updated`` carries."""


class Facts(msgspec.Struct, gc=False, omit_defaults=True):
    """What ``customer.*`` means in expressions. Money in yuan, times in epoch ms."""

    name: str | None = None
    phone: str | None = None
    city: str | None = None
    is_member: bool | None = None
    level: str | None = None
    consent: bool | None = None
    registered_at: int | None = None
    orders_paid: int = 0
    total_paid: Decimal = Decimal(0)
    last_paid_at: int | None = None
    unsubscribed: bool = False
    told: dict[str, int] = {}
    """When each profile fact was told (``occurred_at``), so that a late event does not undo a newer one."""
    orders: dict[str, tuple[int, Decimal]] = {}
    """Paid orders: the earliest occurred_at and its amount; an order counts once (S3)."""

    @property
    def avg_order_value(self) -> Decimal | None:
        """The mean of the paid orders' amounts, None before the first."""
        return self.total_paid / self.orders_paid if self.orders_paid else None


NOBODY = Facts()
"""The facts of a customer of whom nothing is known yet: shared, never changed."""


def _nobody() -> Facts:
    return NOBODY


class Wait(msgspec.Struct, gc=False, omit_defaults=True):
    """A waiting timer: what the rule and the customer wait for, since when, and when it is looked at next.

    ``identity`` is the value of ``per``; ``slot`` names the slot or wave (None for when-rules). ``due`` is an index of
    anchor + wait (S15); ``wake`` the next instant to try at; ``expiry`` the first instant that is too late.
    ``later`` holds further matches that an ``ignore`` wait absorbed: a cancel of the first may leave them waiting.
    """

    rule: str
    identity: str | None
    anchor: int
    due: int
    wake: int
    expiry: int
    trigger: AnyEvent | None = None
    slot: str | None = None
    held: str = ""
    when_key: str = ""
    later: list[AnyEvent] | None = None


class Sent(msgspec.Struct, gc=False, omit_defaults=True, array_like=True):
    """A send of the past: ``mode`` is sent, withheld or shadow; ``answered_at`` the first answer to a wave."""

    rule: str
    klass: str
    at: int
    anchor: int
    identity: str | None = None
    mode: str = "sent"
    wave: str | None = None
    answered_at: int | None = None


class Customer(msgspec.Struct, gc=False, omit_defaults=True):
    """The state of one customer.

    ``kept`` holds events by type, ordered by occurred_at; ``ahead`` those stamped later than they arrived, whose facts do
    not count yet; ``seen`` the ids of what is kept; ``waits`` the waiting timers by key; ``sends`` recent sends in order. ``wake`` is the first instant at
    which a timer wants to be looked at (it may be earlier than needed, never later); ``opened`` the instant up to which
    slots were opened; ``position`` the last applied log position.
    """

    id: str
    facts: Facts = msgspec.field(default_factory=_nobody)
    kept: dict[str, list[AnyEvent]] = {}
    seen: list[str] = []
    ahead: tuple[AnyEvent, ...] = ()
    waits: dict[str, Wait] = {}
    sends: list[Sent] = []
    segments: tuple[str, ...] = ()
    wake: int = NEVER
    opened: int = -1
    position: int = -1
    asking: str | None = None
    revision: str = ""
