"""Builds the core's rule from the model of its file, and reports what does not fit together."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from triggers.core.events import EVENT_TYPES
from triggers.core.rules import Limits, Recency, Rule, Unless, When
from triggers.core.times import NO_TIME, Period
from triggers.language import slots, texts
from triggers.language.amounts import in_thousandths_of_fen
from triggers.language.conditions import condition, expression, longest_days
from triggers.language.expressions import event_fields
from triggers.language.findings import did_you_mean
from triggers.language.sending import Parts, sending
from triggers.language.shop import stops

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triggers.core.rules import Text
    from triggers.core.times import Duration
    from triggers.language.model import RuleModel
    from triggers.language.reading import Reading
    from triggers.language.shop import SharedShop
    from triggers.language.tree import Path

ACTIVITY = tuple(name for name in EVENT_TYPES if name.startswith(("order.", "favorite.", "customer.registered")))
"""What counts as a sign of life where the shop does not say it for the class."""


class Building:
    """A rule being built: its model, the shop, where findings go, and what other files must answer for."""

    def __init__(self, reading: Reading, rule: RuleModel, shop: SharedShop) -> None:
        self.reading = reading
        self.rule = rule
        self.shop = shop
        self.event = rule.when.event if rule.when else None
        self.trigger = (self.event,) if self.event else ()
        self.segments_asked: list[tuple[Path, str]] = []
        self.holidays: list[tuple[Path, str]] = []

    def within_history(self, path: Path, span: Duration) -> None:
        """See that a look back does not go beyond what is kept."""
        if longest_days(span) > longest_days(self.shop.history):
            self.reading.error(path, f"longer than the kept history ({self.shop.history.text})")

    def check_text(self, path: Path, text: str, parsed: Text, gaps: texts.Gaps) -> None:
        """Look at the words and the length of a text that could be read."""
        folded = text.casefold()
        for word in self.shop.banned:
            if (place := folded.find(word.casefold())) >= 0:
                self.reading.error(path, f"'{word}' is a banned word", place)
        if self.rule.class_ in ("greeting", "notice"):
            for word in self.shop.promo_words:
                if (place := texts.find_word(folded, word.casefold())) >= 0:
                    message = f"'{word}' in a {self.rule.class_}; promotions are of class marketing"
                    self.reading.warn(path, message, place)
        if long := texts.too_long(parsed, gaps, self.shop, opt_out=self.rule.class_ != "notice"):
            self.reading.warn(path, long)


def build(building: Building, *, since: int, revision: str) -> Rule:
    """Build the core's rule; it is of use only if the reading has no error afterwards."""
    part = building.rule
    _check_kind(building)
    when, unless = _when(building), _unless(building)
    return Rule(
        id=part.id,
        klass=part.class_,
        sending=sending(building, Parts(part.send)),
        title=part.title,
        status=part.status,
        priority=part.priority,
        valid=_valid(building),
        during=_periods(building, "during", part.during),
        not_during=_periods(building, "not_during", part.not_during),
        when=when,
        wait=part.wait or NO_TIME,
        unless=unless,
        schedule=slots.schedule(building, part.schedule) if part.schedule else None,
        spread=part.schedule.spread or 0 if part.schedule else 0,
        waves=slots.waves(building, part.waves) if part.waves else None,
        audience=condition(building, ("audience",), part.audience) if part.audience else None,
        recency=_recency(building),
        limits=_limits(building),
        stop_if=stops(part.stop_if or ()),
        renamed_from=part.renamed_from,
        since=since,
        revision=revision,
        when_key=_key(when and [when.event, when.where and when.where.text, when.per, when.again]),
    )


def _check_kind(building: Building) -> None:
    part, reading = building.rule, building.reading
    kinds = [key for key in ("when", "schedule", "waves") if getattr(part, key) is not None]
    if not kinds and not any(reading.spoken_of((key,)) for key in ("when", "schedule", "waves")):
        reading.error((), "say when it starts: 'when', 'schedule' or 'waves'")
    for key in kinds[1:]:
        reading.key_error((key,), f"'{kinds[0]}' and '{key}' side by side; a rule has one of when, schedule and waves")
    if part.when is None:
        for key in () if reading.spoken_of(("when",)) else ("wait", "unless"):
            if getattr(part, key) is not None:
                reading.key_error((key,), f"'{key}' belongs beside 'when'")
    elif part.wait is None and not reading.spoken_of(("wait",)):
        reading.key_error(("when",), "'wait' is missing beside 'when'; to send at once write 'wait: 0min'")


def _when(building: Building) -> When | None:
    when = building.rule.when
    if when is None:
        return None
    per = None if when.per == "customer" else when.per
    if per is not None:
        fields = {name: kind for name, kind in event_fields(when.event).items() if kind.kind == "string"}
        if per not in fields:
            known = ["customer", *fields]
            guess = did_you_mean(per, known) or f"; known: {', '.join(known)}"
            model = EVENT_TYPES[when.event].__name__
            building.reading.error(("when", "per"), f"{model} has no field '{per}' to wait for{guess}")
            per = None
    where = expression(building, ("when", "where"), when.where, (when.event,)) if when.where is not None else None
    return When(when.event, where, per, when.again)


def _unless(building: Building) -> tuple[Unless, ...]:
    when = building.rule.when
    if when is None:
        return ()
    built = []
    for index, part in enumerate(building.rule.unless or ()):
        path: Path = ("unless", index)
        if when.per != "customer" and part.match == "same" and when.per in event_fields(when.event):
            for place, name in enumerate(part.event):
                if when.per not in event_fields(name):
                    message = f"{name} has no '{when.per}', so it cannot be matched to the waiting one"
                    building.reading.error((*path, "event", place), f"{message}; write 'match: customer'")
        where = expression(building, (*path, "where"), part.where, part.event) if part.where is not None else None
        built.append(Unless(tuple(part.event), where, part.match))
    return tuple(built)


def _valid(building: Building) -> Period:
    valid = building.rule.valid
    if valid is None:
        return Period("valid")
    zone, period = building.shop.zone, Period("valid")
    start = valid.from_.start(zone) if valid.from_ else period.start
    end = valid.until.end(zone) if valid.until else period.end
    if start >= end:
        building.reading.error(("valid", "until"), "'until' is not after 'from'")
    return Period("valid", start, end)


def _periods(building: Building, key: str, names: Sequence[str] | None) -> tuple[Period, ...]:
    known = building.shop.periods
    for index, name in enumerate(names or ()):
        if name not in known and building.shop.whole:
            listed = f"; known: {', '.join(known)}" if known else "; _shop.yaml has no periods"
            building.reading.error((key, index), f"unknown period '{name}'{listed}")
    return tuple(known[name] for name in names or () if name in known)


def _recency(building: Building) -> Recency | None:
    part = building.rule
    default = building.shop.recency.get(part.class_)
    if "recency" not in part.model_fields_set:
        return default if part.class_ != "notice" else None
    if part.recency is None:
        return None
    building.within_history(("recency",), part.recency)
    return Recency(part.recency, default.types if default else ACTIVITY)


def _limits(building: Building) -> Limits:
    part = building.rule.limits
    if part is None:
        return Limits()
    budget = None if part.budget is None else in_thousandths_of_fen(part.budget)
    if budget is not None and budget < building.shop.price:
        building.reading.warn(("limits", "budget"), "less than one message costs; nothing will be sent")
    return Limits(part.per_customer, part.per_day, part.total, budget)


def _key(parts: Any) -> str:
    """Name the content of a part of the rule: equal parts have equal names."""
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
