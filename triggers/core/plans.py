"""What each event type sets in motion, worked out once from the rules: the engine reads plans, not rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from triggers.core.times import DAY, NEVER

if TYPE_CHECKING:
    from triggers.core.conditions import Predicate
    from triggers.core.facts import Learner
    from triggers.core.rules import Rule, Shop, Unless, Waves

    Responder: TypeAlias = tuple[Rule, Waves]

EXPIRES_MS = 2 * DAY
"""How late a when-rule's message may still be useful by default (S18), in ms."""


class Armer:
    """A when-rule, as an event of its trigger's type meets it.

    ``prefix`` is what the keys of its waits begin with; ``wait_ms`` and ``expires_ms`` are None where they depend on the
    calendar; ``kill_types`` are the event types that cancel it.
    """

    __slots__ = (
        "each",
        "expires_ms",
        "kill_types",
        "per",
        "predicate",
        "prefix",
        "restart",
        "rule",
        "seasonal",
        "wait_ms",
    )

    def __init__(self, rule: Rule, shop: Shop) -> None:
        assert rule.when is not None  # noqa: S101  an invariant: only when-rules arm
        self.rule = rule
        self.per = rule.when.per
        self.prefix = f"{rule.id}\0"
        self.predicate: Predicate | None = rule.when.where.predicate if rule.when.where else None
        self.restart = rule.when.again == "restart"
        self.each = rule.when.again == "each"
        self.seasonal = bool(rule.valid.start or rule.valid.end != NEVER or rule.during)
        self.kill_types = tuple({kind: None for unless in rule.unless for kind in unless.types})
        expires = rule.sending.expires
        exact = shop.zone.fixed
        self.wait_ms = rule.wait.days * DAY + rule.wait.ms if exact and not rule.wait.months else None
        self.expires_ms: int | None = EXPIRES_MS
        if expires is not None:
            self.expires_ms = expires.days * DAY + expires.ms if exact and not expires.months else None


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
