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


# Most customers of a log have few of these, so what is empty is shared: whoever adds to an empty one replaces it.
_NO_EVENTS: dict[str, list[AnyEvent]] = {}
_NO_IDS: list[str] = []
NO_WAITS: dict[str, Wait] = {}
_NO_SENDS: list[Sent] = []


def _no_events() -> dict[str, list[AnyEvent]]:
    return _NO_EVENTS


def _no_ids() -> list[str]:
    return _NO_IDS


def _no_waits() -> dict[str, Wait]:
    return NO_WAITS


def _no_sends() -> list[Sent]:
    return _NO_SENDS


class Customer(msgspec.Struct, gc=False, omit_defaults=True):
    """The state of one customer.

    ``kept`` holds events by type, ordered by occurred_at, ``seen`` their ids; ``ahead`` holds those stamped later than
    they arrived, whose facts do not count yet; ``waits`` the waiting timers by key; ``sends`` recent sends in order.
    ``wake`` is the first instant at which a timer wants to be looked at (it may be earlier than needed, never later);
    ``opened`` the instant up to which slots were opened; ``position`` the last applied log position; ``asking`` the key
    of the wait whose question is open.
    """

    id: str
    facts: Facts = msgspec.field(default_factory=_nobody)
    kept: dict[str, list[AnyEvent]] = msgspec.field(default_factory=_no_events)
    seen: list[str] = msgspec.field(default_factory=_no_ids)
    ahead: tuple[AnyEvent, ...] = ()
    waits: dict[str, Wait] = msgspec.field(default_factory=_no_waits)
    sends: list[Sent] = msgspec.field(default_factory=_no_sends)
    segments: tuple[str, ...] = ()
    wake: int = NEVER
    opened: int = -1
    position: int = -1
    asking: str | None = None

    def put(self, key: str, wait: Wait) -> None:
        """Let a wait begin."""
        if self.waits is NO_WAITS:
            self.waits = {key: wait}
        else:
            self.waits[key] = wait
        self.wake = min(self.wake, wait.wake)
