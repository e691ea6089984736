"""Builds the shop that all rules of a folder share, from ``_shop.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from triggers.core.rules import Recency, Shop, Stop
from triggers.core.times import DAY, Period, Window
from triggers.language.amounts import in_thousandths_of_fen
from triggers.language.findings import Misfit
from triggers.language.reading import Reading, no_empty_values, validated
from triggers.language.shop_model import Caps, ShopModel
from triggers.language.zones import zone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from triggers.core.rules import Cap
    from triggers.core.times import Duration, Zone
    from triggers.language.model import Safety
    from triggers.language.tree import Path

_FILL = {"shop": "v1", "name": "Shop", "timezone": "UTC"}


@dataclass(frozen=True, slots=True)
class SharedShop(Shop):
    """The core's shop with what only the reading of rules needs; ``calendar`` in days since 1970-01-01."""

    calendar: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    promo_words: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    """The file's plain values."""
    whole: bool = True
    """Whether nothing was left out for being wrong."""


def shop_of(reading: Reading) -> SharedShop | None:
    """Build the shop of a file; what is wrong goes to the reading, and is left out."""
    assert reading.document is not None  # noqa: S101  the caller has read it
    data = reading.document.root.plain()
    no_empty_values(reading, reading.document.root)
    model = validated(reading, ShopModel, _FILL)
    return None if model is None else _build(reading, model, data)


def _build(reading: Reading, model: ShopModel, data: Mapping[str, Any]) -> SharedShop:
    try:
        clock = zone(model.timezone)
    except Misfit as error:
        reading.misfit(("timezone",), error)
        clock = zone("UTC")
    return SharedShop(
        name=model.name,
        zone=clock,
        repurchase=model.repurchase,
        signature=model.signature,
        opt_out=model.opt_out,
        price=in_thousandths_of_fen(model.price_per_message) if model.price_per_message is not None else 0,
        window=Window(windows(reading, ("window",), model.window)),
        look_ahead=model.look_ahead,
        history=_history(reading, model),
        holdout=model.holdout,
        caps=_caps(model.caps),
        recency={name: Recency(active.active_within, tuple(active.by)) for name, active in model.recency.items()},
        periods=_periods(reading, model, clock),
        counting=model.copy_.counting,
        max_segments=model.copy_.max_segments,
        link_base=model.link_base,
        safety=stops(model.safety),
        calendar=_calendar(reading, model),
        banned=tuple(model.copy_.banned),
        promo_words=tuple(model.copy_.promo_words),
        data=data,
        whole=not reading.faulty,
    )


def stops(parts: Sequence[Safety]) -> tuple[Stop, ...]:
    """Give what pauses a rule by itself as the dispatcher reads it."""
    return tuple(
        Stop(part.delivered_below, part.unsubscribed_above, part.after_sends, part.only == "warn") for part in parts
    )


def windows(reading: Reading, path: Path, spans: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Order windows; two that overlap are an error."""
    for index, span in enumerate(spans):
        if any(span[0] < other[1] and other[0] < span[1] for other in spans[:index]):
            reading.error((*path, index), "this window overlaps another one; join them")
    return tuple(sorted(spans)) or ((0, DAY),)


def _history(reading: Reading, model: ShopModel) -> Duration:
    if model.history.at_most() < DAY:
        reading.error(("history",), "keep a day at least: 400d")
    return model.history


def _caps(caps: Caps) -> dict[str, tuple[Cap, ...]]:
    named = {"marketing": caps.marketing, "member": caps.member, "greeting": caps.greeting, "all": caps.all_}
    return {name: tuple(cap) for name, cap in named.items() if cap}


def _periods(reading: Reading, model: ShopModel, clock: Zone) -> dict[str, Period]:
    periods = {}
    for name, period in model.periods.items():
        start, end = period.from_.start(clock), period.until.end(clock)
        if start >= end:
            reading.error(("periods", name, "until"), "'until' is not after 'from'")
        periods[name] = Period(name, start, end)
    return periods


def _calendar(reading: Reading, model: ShopModel) -> dict[str, tuple[int, ...]]:
    for name, dates in model.calendar.items():
        for index, date in enumerate(dates):
            if not date.whole_day:
                reading.error(("calendar", name, index), "a holiday is a day: 2026-11-26")
            elif date in dates[:index]:
                reading.error(("calendar", name, index), "the same day twice")
    return {name: tuple(sorted(date.wall // DAY for date in dates)) for name, dates in model.calendar.items()}
