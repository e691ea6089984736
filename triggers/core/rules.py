"""A rule as the core reads it: everything resolved, compiled and checked; nothing here is parsed or looked up again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from triggers.core.times import NO_TIME, Duration, Period, Window, Zone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from triggers.core.conditions import Condition, Where
    from triggers.core.customer import Wait

Cap: TypeAlias = "tuple[int, Duration]"
"""n sends in a duration: ``n / D``."""


@dataclass(frozen=True, slots=True)
class Recency:
    """Nothing to people who did none of ``types`` within a duration."""

    within: Duration
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """When the dispatcher pauses a rule by itself: a share too low or too high, in [0, 1], after enough sends."""

    delivered_below: float | None
    unsubscribed_above: float | None
    after_sends: int
    only_warn: bool = False


@dataclass(frozen=True, slots=True)
class Shop:
    """What the rules of a folder share. ``price`` is per part in 1/1000 fen; caps are by class, and "all"."""

    name: str
    zone: Zone
    repurchase: str = "low"
    signature: str = ""
    opt_out: str = ""
    price: int = 0
    window: Window = Window()
    look_ahead: int = 0
    history: Duration = Duration(days=400, text="400d")
    holdout: float = 0.0
    caps: Mapping[str, tuple[Cap, ...]] = field(default_factory=dict)
    recency: Mapping[str, Recency] = field(default_factory=dict)
    periods: Mapping[str, Period] = field(default_factory=dict)
    counting: str = "gsm"
    max_segments: int | None = None
    banned: tuple[str, ...] = ()
    link_base: str = "s.example/"
    safety: tuple[Stop, ...] = ()

    @property
    def timezone(self) -> str:
        """The name of the zone, for expressions."""
        return self.zone.name


@dataclass(frozen=True, slots=True)
class When:
    """What arms: an event type, a condition on it, whose wait it is (``per``: a field, None for the customer), and S10."""

    event: str
    where: Where | None = None
    per: str | None = None
    again: str = "ignore"


@dataclass(frozen=True, slots=True)
class Unless:
    """What cancels: event types, a condition, and whether it must be of the same identity (S12)."""

    types: tuple[str, ...]
    where: Where | None = None
    match: str = "same"


class Schedule(Protocol):
    """When slots open."""

    def next_after(self, at: int) -> int | None:
        """Find the first slot after an instant, or None if there is none any more."""
        ...


@dataclass(frozen=True, slots=True)
class Coupon:
    """A coupon to send: amounts in yuan; ``usable_from`` is the least order it is good for."""

    batch: str
    amount: str
    min_spend: str = "0"
    valid_for: str = ""
    allow_unusable: bool = False


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A gap in a text: ``source`` is customer, coupon, event, shop or link; ``default`` fills in what is empty."""

    source: str
    name: str = ""
    default: str | None = None


Text: TypeAlias = "tuple[str | Placeholder, ...]"
"""A message's text: literal parts and gaps, in order; without signature and opt-out."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One wording. ``share`` is a weight; past ``until`` (epoch ms) it is left out (S27)."""

    id: str
    text: Text
    share: float = 1.0
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Sending:
    """The ``send:`` part. ``expires`` None: the end of the slot's local day (S18)."""

    texts: tuple[Variant, ...]
    window: Window = Window()
    expires: Duration | None = None
    coupon: Coupon | None = None
    link: str | None = None
    holdout: float = 0.0
    plain: bool = True
    """Whether there is one text without a variant's name."""


@dataclass(frozen=True, slots=True)
class Wave:
    """One wave: its slot (epoch ms), how many may get it, and its own ``send`` if it has one."""

    id: str
    slot: int
    take: int | None = None
    sending: Sending | None = None


@dataclass(frozen=True, slots=True)
class Waves:
    """A chain of sends, each to those who answered the one before."""

    responded: tuple[str, ...]
    within: Duration
    waves: tuple[Wave, ...]
    min_size: int = 0
    keep_as: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How often and how much: ``per_customer`` (n, duration or None for ever), the rest over all; budget in 1/1000 fen."""

    per_customer: tuple[int, Duration | None] | None = None
    per_day: int | None = None
    total: int | None = None
    budget: int | None = None

    @property
    def shared(self) -> bool:
        """Whether all customers share one of them."""
        return self.per_day is not None or self.total is not None or self.budget is not None


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One rule file. Times in epoch ms; ``since`` is when it was loaded: slots before it are not opened (S31).

    ``when_key`` changes with that part of the file (S35), ``revision`` with any part of it.
    """

    id: str
    klass: str
    sending: Sending
    title: str = ""
    status: str = "live"
    priority: int = 50
    valid: Period = Period("valid")
    during: tuple[Period, ...] = ()
    not_during: tuple[Period, ...] = ()
    when: When | None = None
    wait: Duration = NO_TIME
    unless: tuple[Unless, ...] = ()
    schedule: Schedule | None = None
    spread: int = 0
    waves: Waves | None = None
    audience: Condition | None = None
    recency: Recency | None = None
    limits: Limits = Limits()
    stop_if: tuple[Stop, ...] = ()
    renamed_from: str | None = None
    since: int = 0
    revision: str = ""
    when_key: str = ""

    @property
    def arms(self) -> bool:
        """Whether new waits begin: the rule is live or on trial."""
        return self.status in ("live", "shadow")

    @property
    def sharing(self) -> bool:
        """Whether leaving must be asked of the rule's owner: shared limits, or a wave with a size."""
        return self.limits.shared or (
            self.waves is not None and (self.waves.min_size > 1 or any(w.take is not None for w in self.waves.waves))
        )


def sending_of(rule: Rule, wait: Wait) -> Sending:
    """Find what a wait would send: the wave's own part, or the rule's."""
    if rule.waves is not None:
        for wave in rule.waves.waves:
            if wave.id == wait.slot and wave.sending is not None:
                return wave.sending
    return rule.sending


def in_season(rule: Rule, at: int) -> bool:
    """Tell whether a rule is valid and, if it has ``during``, in one of those periods."""
    return rule.valid.start <= at < rule.valid.end and (
        not rule.during or any(period.start <= at < period.end for period in rule.during)
    )
