"""Builds the conditions of an audience, and the expressions of a rule, from their models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triggers.core.conditions import All, AnyOf, Did, In, Not, Where, Without
from triggers.language.expressions import ExpressionError, compile_expression, event_fields
from triggers.language.findings import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triggers.core.conditions import Condition
    from triggers.core.times import Duration
    from triggers.language import model
    from triggers.language.building import Building
    from triggers.language.tree import Path

_NOTHING = All(())
_KINDS = ("all", "any", "not", "did", "in")
_FIELDS = {"all": "all_", "any": "any_", "not": "not_", "in": "in_"}


def expression(building: Building, path: Path, text: str, events: Sequence[str]) -> Where | None:
    """Compile an expression over events of some types, or over none."""
    if not events and "event" in text and building.reading.spoken_of(("when",)):
        return None  # nobody knows which event was meant
    try:
        compiled = compile_expression(text, tuple(events), with_event=bool(events))
    except ExpressionError as error:
        for finding in error.findings:
            building.reading.error(path, finding.message, finding.start - 1)
        return None
    return Where(text, compiled.fn, compiled.names)


def condition(building: Building, path: Path, part: model.Condition) -> Condition:
    """Build a condition; one that is wrong is reported, and replaced by one that always holds."""
    if building.reading.spoken_of((*path, "did")):
        return _NOTHING
    kinds = [name for name in _KINDS if getattr(part, _FIELDS.get(name, name)) is not None]
    if part.where is not None and kinds != ["did"]:
        kinds.append("where")
    if len(kinds) != 1:
        _not_one_kind(building, path, kinds)
        return _NOTHING
    if kinds[0] != "did":
        _only_with_did(building, path, part)
    return _of_kind(building, path, part)


def _of_kind(building: Building, path: Path, part: model.Condition) -> Condition:
    if part.all_ is not None:
        return All(tuple(condition(building, (*path, "all", i), each) for i, each in enumerate(part.all_)))
    if part.any_ is not None:
        return AnyOf(tuple(condition(building, (*path, "any", i), each) for i, each in enumerate(part.any_)))
    if part.not_ is not None:
        return Not(condition(building, (*path, "not"), part.not_))
    if part.did is not None:
        return _did(building, path, part)
    if part.where is None:
        assert part.in_ is not None  # noqa: S101  the only kind left
        building.segments_asked.append(((*path, "in"), part.in_))
        return In(part.in_)
    return expression(building, (*path, "where"), part.where, building.trigger) or _NOTHING


def _not_one_kind(building: Building, path: Path, kinds: list[str]) -> None:
    if not kinds:
        if not any(building.reading.spoken_of((*path, key)) for key in ("where", "did", "in", "all", "any", "not")):
            building.reading.error(path, "say what: where, did, in, all, any or not")
    else:
        building.reading.key_error(
            (*path, kinds[-1]), f"'{kinds[0]}' and '{kinds[-1]}' side by side; list them under 'all:' or 'any:'"
        )


def _only_with_did(building: Building, path: Path, part: model.Condition) -> None:
    for key in ("within", "at_least", "without"):
        if key in part.model_fields_set:
            building.reading.key_error((*path, key), f"'{key}' belongs beside 'did'")


def _did(building: Building, path: Path, part: model.Condition) -> Condition:
    assert part.did is not None  # noqa: S101  the caller has looked
    events = tuple(dict.fromkeys(part.did))
    if part.within is None:
        if not building.reading.spoken_of((*path, "within")):
            building.reading.key_error((*path, "did"), "'did' needs 'within': how far back to look, such as 365d")
        return _NOTHING
    building.within_history((*path, "within"), part.within)
    where = expression(building, (*path, "where"), part.where, events) if part.where is not None else None
    return Did(events, part.within, part.at_least, where, _without(building, path, part, events))


def _without(building: Building, path: Path, part: model.Condition, events: Sequence[str]) -> Without | None:
    without = part.without
    if without is None:
        return None
    for name in (*events, *without.event):
        fields = event_fields(name)
        if without.match not in fields:
            message = f"{name} has no field '{without.match}'{did_you_mean(without.match, fields)}"
            building.reading.error((*path, "without", "match"), message)
    return Without(tuple(without.event), without.match, without.within)


def longest_days(span: Duration) -> int:
    """Bound a duration in days, from above and closely: a year has 366 at most, a month 31."""
    years, months = divmod(span.months, 12)
    return years * 366 + months * 31 + span.days + -(-span.ms // 86_400_000)
