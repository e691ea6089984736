"""The shape of a rule file: the pydantic models that it is checked against, and that the editors' schema comes from.

The models hold what one value must look like by itself. What depends on another value (the fields of an event, the
shop's periods, exactly one of two keys) is checked while the core's rule is built, where its place is known, too.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from triggers.language.cases_model import Case  # noqa: TC001  pydantic reads the annotations at run time
from triggers.language.kinds import (
    MAX_LIST,
    DayOffset,
    Days,
    EventName,
    EventNames,
    ExactSpan,
    Identifier,
    Line,
    Often,
    Part,
    Percent,
    RecencySpan,
    Span,
    WallTime,
    WindowSpans,
    Word,
    Words,
    Yuan,
)

Status = Literal["draft", "shadow", "live", "paused"]
Class = Literal["marketing", "member", "greeting", "notice"]
Count = Annotated[int, Field(ge=1, le=10**9)]


class Valid(Part):
    """When the rule is in force: from (inside) until (outside; a whole day is inside)."""

    from_: WallTime | None = Field(None, alias="from")
    until: WallTime | None = None


class When(Part):
    """The event that starts a wait."""

    event: EventName
    where: Line | None = Field(None, description="an expression on event, customer and shop; read when it arrives")
    per: Word = Field("customer", description="whose wait it is: customer, or a field of the event such as order_id")
    again: Literal["ignore", "restart", "each"] = Field("ignore", description="what a further match does")


class Unless(Part):
    """Events that end the wait without a message."""

    event: EventNames
    where: Line | None = None
    match: Literal["same", "customer"] = Field("same", description="same: of the same value of 'per'")


class Schedule(Part):
    """When slots open: at | every + day + at | holiday + offset + at | cron."""

    at: Line | None = Field(None, description="2026-11-10 19:00, or 10:00 beside every and holiday")
    every: Literal["day", "week", "month"] | None = None
    day: Days | None = Field(None, description="mon … sun, or 1 … 31")
    holiday: Words | None = Field(None, description="names from calendar: in _shop.yaml")
    offset: DayOffset | None = None
    cron: Line | None = None
    spread: ExactSpan | None = Field(None, description="spread the customers over so long")


class Without(Part):
    """A correlated absence: no such event with the same value of a field."""

    event: EventNames
    match: Word
    within: Span | None = None


class Condition(Part):
    """What must be true of a customer: all, any, not, where, did or in."""

    all_: list[Condition] | None = Field(None, alias="all", min_length=1, max_length=MAX_LIST)
    any_: list[Condition] | None = Field(None, alias="any", min_length=1, max_length=MAX_LIST)
    not_: Condition | None = Field(None, alias="not")
    where: Line | None = None
    did: EventNames | None = None
    within: Span | None = None
    at_least: Count = 1
    without: Without | None = None
    in_: Word | None = Field(None, alias="in", description="a segment, kept by a rule with waves: keep_as:")


class Coupon(Part):
    """A coupon; amounts in yuan."""

    batch: Line
    amount: Yuan
    min_spend: Yuan | None = None
    valid_for: Span | None = None
    allow_unusable: bool = False


class Variant(Part):
    """One wording of the message."""

    id: Identifier
    share: Percent | None = None
    tone: Literal["relaxed", "formal", "cute", "neutral"] | None = None
    lead: Literal["benefit", "hook", "blessing", "notice"] | None = None
    until: WallTime | None = None
    text: Line


class WaveSend(Part):
    """What a wave sends otherwise than the rule; a key left out is the rule's."""

    channel: Literal["sms"] = "sms"
    window: WindowSpans | None = None
    days: Days | None = Field(None, description="all, workdays, or days of the week")
    expires: Span | None = Field(None, description="how late it may still be useful")
    coupon: Coupon | None = None
    link: Line | None = Field(None, description="coupon, store, member_page, order, event_page or https://…")
    holdout: Percent | None = None
    text: Line | None = None
    variants: list[Variant] | None = Field(None, min_length=1, max_length=20)


class Send(WaveSend):
    """The message."""


class Wave(Part):
    """One wave: at a time, or so long after the one before."""

    id: Identifier
    at: Line | None = None
    after: Span | None = None
    take: Count | None = None
    send: WaveSend | None = None


class Waves(Part):
    """A chain of messages, each to those who answered the one before."""

    responded: EventNames
    within: Span
    min_size: Annotated[int, Field(ge=0)] = 0
    keep_as: Identifier | None = Field(None, description="a segment of those who answered the last wave")
    list_: list[Wave] = Field(alias="list", min_length=1, max_length=50)


class Limits(Part):
    """How often and how much."""

    per_customer: Often | None = None
    per_day: Count | None = None
    total: Count | None = None
    budget: Yuan | None = None


class Measure(Part):
    """What counts as success."""

    goal: EventName
    within: Span


class Safety(Part):
    """When to stop: a share that is too low or too high, after enough sends."""

    delivered_below: Percent | None = None
    unsubscribed_above: Percent | None = None
    after_sends: Count
    only: Literal["warn"] | None = None


class RuleModel(Part):
    """A rule file."""

    rule: Literal["v1"]
    id: Identifier = Field(description="the file's name; what its timers, limits and reports belong to")
    title: Line
    owner: Line | None = None
    note: Line | None = None
    status: Status = Field(description="shadow: everything but the send, recorded as 'would send'")
    class_: Class = Field(alias="class", description="picks caps, recency and the gateway's route")
    priority: Annotated[int, Field(ge=0, le=100)] = 50
    valid: Valid | None = None
    during: Words | None = None
    not_during: Words | None = None
    when: When | None = None
    wait: Span | None = None
    unless: list[Unless] | None = Field(None, min_length=1, max_length=20)
    schedule: Schedule | None = None
    waves: Waves | None = None
    audience: Condition | None = Field(None, description="read at the moment of leaving")
    recency: RecencySpan | None = None
    send: Send
    limits: Limits | None = None
    measure: Measure | None = None
    stop_if: list[Safety] | None = None
    renamed_from: Identifier | None = None
    tests: list[Case] = Field(default_factory=list, max_length=MAX_LIST)
