"""Small scenes for tests of the core: rules and events in few words."""

from __future__ import annotations

from decimal import Decimal
from itertools import count
from typing import Any

from triggers.core.events import EVENT_TYPES, Event
from triggers.core.rulebook import Pins, Rulebook
from triggers.core.times import DAY, HOUR, MINUTE
from triggers.language import build_rule, build_shop

START = 1_788_231_600_000  # 2026-09-01 11:00 in Shanghai, inside no edge
_serial = count()


def shop(**keys: Any) -> Any:
    return build_shop({"shop": "v1", "name": "Test", "timezone": "Asia/Shanghai", "opt_out": "", **keys})


def rule(id: str = "r", *, in_shop: Any = None, **keys: Any) -> Any:  # noqa: A002  the key's name
    data: dict[str, Any] = {
        "rule": "v1",
        "id": id,
        "title": id,
        "status": "live",
        "class": "marketing",
        "recency": "off",
        "send": {"text": "x"},
    }
    if not {"when", "schedule", "waves"} & keys.keys():
        data |= {"when": {"event": "order.created"}, "wait": "1d"}
    return build_rule({**data, **keys}, in_shop or shop())


def book(*rules: Any, in_shop: Any = None, **keys: Any) -> Rulebook:
    keys.setdefault("pins", Pins(spread=False))
    keys.setdefault("keep_all", True)
    return Rulebook(rules, in_shop or shop(), **keys)


def event(kind: str, at: int = 0, *, customer: str = "c1", id: str | None = None, **fields: Any) -> Any:  # noqa: A002
    """Make an event; ``at`` counts from START in ms."""
    if kind.startswith("order."):
        fields.setdefault("order_id", "o1")
        if kind in ("order.created", "order.paid"):
            fields.setdefault("amount", Decimal(100))
    if kind.startswith("favorite."):
        fields.setdefault("product_id", "p1")
    made: Event = EVENT_TYPES[kind](
        id=id or f"e{next(_serial)}", customer=customer, at=START + at, received_at=START + at, **fields
    )
    return made


__all__ = ["DAY", "HOUR", "MINUTE", "START", "book", "event", "rule", "shop"]
