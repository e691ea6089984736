"""The shape of the tests in rule files (RULES.md section 7); times stay as written, for whoever runs them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PlainValidator, StringConstraints, WithJsonSchema

from triggers.core.decisions import Reason
from triggers.core.events import EVENT_TYPES
from triggers.language.findings import Misfit, did_you_mean
from triggers.language.kinds import CaseStart, CaseTime, EventName, Identifier, Line, Part, Word


def _reason(value: object) -> str:
    text = value if isinstance(value, str) else ""
    word, by, event = text.partition(" by ")
    if by and word == Reason.CANCELLED:
        if event not in EVENT_TYPES:
            raise Misfit(f"unknown event '{event}'{did_you_mean(event, EVENT_TYPES)}", start=len(word + by))
        return text
    words = [str(reason) for reason in Reason]
    if text not in words:
        raise Misfit(f"unknown reason '{value}'{did_you_mean(text, words) or '; known: ' + ', '.join(words)}")
    return text


Customer = Annotated[str, StringConstraints(min_length=1, max_length=200)]
ReasonWords = Annotated[
    str, PlainValidator(_reason), WithJsonSchema({"type": "string", "examples": [str(reason) for reason in Reason]})
]


class Feed(Part):
    """Something that happens in a test: an event with its fields, or an edit, a status, a removal or a return."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, hide_input_in_errors=True)

    at: CaseTime
    arrives: CaseTime | None = None
    id: Line | None = None
    source: Line | None = None
    customer: Customer | None = None
    event: EventName | None = None
    edit: dict[str, Any] | None = Field(None, description="keys of the rule that change; null takes one away")
    status: Literal["draft", "shadow", "live", "paused"] | None = None
    remove: Literal[True] | None = None
    restore: Literal[True] | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the event beside those that every event has."""
        return dict(self.model_extra or {})


class Expect(Part):
    """A send that must happen; what is left out may be anything. ``at`` is exact to the minute."""

    at: CaseTime | None = None
    to: Customer | None = None
    variant: Word | None = None
    coupon: Word | None = None
    wave: Word | None = None
    text_has: Line | None = None
    withheld: bool | None = None
    rule: Identifier | None = None


class NotSent(Part):
    """A customer who must get nothing, perhaps for a given reason."""

    to: Customer | None = None
    reason: ReasonWords | None = None
    rule: Identifier | None = None


class Pin(Part):
    """What is fixed for the test; by default nobody is held out, and nothing is spread."""

    holdout: bool | None = None
    variant: Word | None = None


class Case(Part):
    """One test."""

    name: Line
    start: CaseStart = "2026-09-01 09:00"
    until: CaseTime | None = None
    customers: dict[Customer, dict[str, Any]] = Field(default_factory=dict)
    segments: dict[Word, list[Customer]] = Field(default_factory=dict)
    shop: dict[str, Any] = Field(default_factory=dict)
    with_rules: list[Identifier] = Field(default_factory=list)
    pin: Pin = Field(default_factory=Pin)
    history: list[Feed] = Field(default_factory=list)
    feed: list[Feed] = Field(default_factory=list)
    expect: list[Expect]
    not_sent: list[NotSent] = Field(default_factory=list)
