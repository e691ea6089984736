"""The shape of ``_shop.yaml``: what all rules of a folder share. Every key left out limits nothing."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from triggers.core.times import DAY, Duration
from triggers.language.findings import Misfit
from triggers.language.kinds import (
    Cap,
    EventNames,
    ExactSpan,
    Line,
    Part,
    Percent,
    Span,
    WallTime,
    WindowSpan,
    WindowSpans,
    Word,
    Yuan,
)
from triggers.language.model import Class, Safety  # noqa: TC001  pydantic reads the annotations at run time


def _link_base(value: object) -> str:
    text = value if isinstance(value, str) else ""
    if not re.fullmatch(r"(https://)?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+/[!-~]{0,40}", text):
        raise Misfit(f"'{value}': write the short links' host, such as s.example/")
    return text


LinkBase = Annotated[str, PlainValidator(_link_base), WithJsonSchema({"type": "string"})]
"""What short links begin with."""


class Caps(Part):
    """How many messages a customer gets over all rules of a class; ``all``: of every class but notice."""

    marketing: list[Cap] = Field(default_factory=list)
    member: list[Cap] = Field(default_factory=list)
    greeting: list[Cap] = Field(default_factory=list)
    all_: list[Cap] = Field(default_factory=list, alias="all")


class Active(Part):
    """Who counts as active: did one of these in the time."""

    active_within: Span
    by: EventNames


class PeriodModel(Part):
    """A campaign of the whole shop, from (inside) until (outside; a whole day is inside)."""

    from_: WallTime = Field(alias="from")
    until: WallTime


class Copy(Part):
    """What texts must keep to."""

    counting: Literal["gsm", "china"] = "gsm"
    max_segments: Annotated[int, Field(ge=1, le=10)] | None = None
    banned: list[Word] = Field(default_factory=list)
    promo_words: list[Word] = Field(default_factory=list)


class ShopModel(Part):
    """What all rules of a folder share."""

    shop: Literal["v1"]
    name: Line
    timezone: Line
    repurchase: Literal["low", "high"] = "low"
    signature: Annotated[str, Field(max_length=40)] = ""
    opt_out: Annotated[str, Field(max_length=60)] = "拒收请回复R"
    price_per_message: Yuan | None = None
    link_base: LinkBase = "s.example/"
    window: WindowSpans = Field(default_factory=lambda: list[WindowSpan]([(0, DAY)]))
    look_ahead: ExactSpan = 0
    history: Span = Duration(days=400, text="400d")
    holdout: Percent = 0.0
    caps: Caps = Field(default_factory=lambda: Caps.model_validate({}))
    recency: dict[Class, Active] = Field(default_factory=dict)
    periods: dict[Word, PeriodModel] = Field(default_factory=dict)
    calendar: dict[Word, list[WallTime]] = Field(default_factory=dict)
    safety: list[Safety] = Field(default_factory=list)
    copy_: Copy = Field(default_factory=Copy, alias="copy")
