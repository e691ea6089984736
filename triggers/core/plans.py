"""What each event type sets in motion, worked out once from the rules: the engine reads plans, not rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from triggers.core.times import DAY, NEVER, Duration

if TYPE_CHECKING:
    from triggers.core.conditions import Predicate
    from triggers.core.facts import Learner
    from triggers.core.rules import Rule, Shop, Unless, Waves

    Responder: TypeAlias = tuple[Rule, Waves]

EXPIRES = Duration(days=2, text="2d")
"""How late a when-rule's message may still be useful by default (S18)."""


class Armer:
    """A when-rule, as an event of its trigger's type meets it.

    ``prefix`` is what the keys of its waits begin with; ``wait_ms`` and ``expires_ms`` are None where they depend on the
    calendar, and no wait is shorter than ``least_ms``; ``kill_types`` are the event types that cancel it. ``plain`` says
    that every event of the type matches, and that a wait is named by its identity alone.
    """

    __slots__ = (
        "each",
        "expires",
        "expires_ms",
        "id",
        "kill_types",
        "least_ms",
        "per",
        "plain",
        "predicate",
        "prefix",
        "restart",
        "rule",
        "seasonal",
        "wait_ms",
        "when_key",
    )

    def __init__(self, rule: Rule, shop: Shop) -> None:
        assert rule.when is not None  # noqa: S101  an invariant: only when-rules arm
        self.rule = rule
        self.id = rule.id
        self.when_key = rule.when_key
        self.per = rule.when.per
        self.prefix = f"{rule.id}\0"
        self.predicate: Predicate | None = rule.when.where.predicate if rule.when.where else None
        self.restart = rule.when.again == "restart"
        self.each = rule.when.again == "each"
        self.seasonal = bool(rule.valid.start or rule.valid.end != NEVER or rule.during)
        self.plain = self.predicate is None and not self.seasonal and not self.each
        self.kill_types = tuple({kind: None for unless in rule.unless for kind in unless.types})
        self.expires = rule.sending.expires or EXPIRES
        exact = shop.zone.fixed
        self.wait_ms = exact_ms(rule.wait) if exact else None
        self.least_ms = shop.zone.at_least(rule.wait)
        self.expires_ms = exact_ms(self.expires) if exact else None


def exact_ms(span: Duration) -> int | None:
    """Give a span in ms, as it is where the clocks never change; None for months."""
    return None if span.months else span.days * DAY + span.ms


class Canceller:
    """One ``unless`` of a rule, as an event of its type meets it.

    ``direct`` says that it can be against one wait alone, whose key is ``key``, or ``prefix`` and the value of ``per``.
    """

    __slots__ = ("direct", "key", "per", "prefix", "rule", "same", "unless")

    def __init__(self, rule: Rule, unless: Unless) -> None:
        self.rule = rule
        self.unless = unless
        self.per = rule.when.per if rule.when else None
        self.key = rule.id
        self.prefix = f"{rule.id}\0"
        self.same = self.per is not None and unless.match == "same"
        self.direct = rule.when is not None and rule.when.again != "each" and (self.per is None or self.same)


class Plan:
    """What an event type sets in motion: how long it is kept (ms), what it teaches, cancels, arms and answers."""

    __slots__ = ("armers", "cancellers", "keep_ms", "learner", "responders", "type")

    def __init__(self, kind: str) -> None:
        self.type = kind
        self.keep_ms = 0
        self.learner: Learner | None = None
        self.armers: tuple[Armer, ...] = ()
        self.cancellers: tuple[Canceller, ...] = ()
        self.responders: tuple[Responder, ...] = ()

    @property
    def idle(self) -> bool:
        """Whether the type sets nothing in motion."""
        return not (self.keep_ms or self.learner or self.armers or self.cancellers or self.responders)
