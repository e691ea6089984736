"""Builds what is sent: texts with their gaps, coupon, link, window, from ``send:`` and from a wave's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from triggers.core.rules import Coupon, Sending, Variant
from triggers.core.times import WEEKDAYS, Duration, Window
from triggers.language import texts
from triggers.language.amounts import in_yuan
from triggers.language.findings import Misfit
from triggers.language.shop import windows
from triggers.language.times import weekday

if TYPE_CHECKING:
    from collections.abc import Iterable

    from triggers.language import model
    from triggers.language.building import Building
    from triggers.language.tree import Path

USEFUL = Duration(days=2, text="2d")
"""How late the message of a when-rule may leave (S18)."""

_ALL_DAYS = frozenset(range(len(WEEKDAYS)))
_WORKDAYS = frozenset(range(5))
_WHOLE_SHARE = 1.0
_SHARE_SLACK = 0.0005


class Parts:
    """The keys of ``send:`` with those of a wave laid over them, each with the path where it stands."""

    def __init__(self, send: model.WaveSend, wave: model.WaveSend | None = None, wave_path: Path = ()) -> None:
        self.send = send
        self.wave = wave
        self.wave_path = wave_path

    def get(self, key: str) -> tuple[Any, Path]:
        """Find a key's value and its path."""
        if self.wave is not None and key in self.wave.model_fields_set:
            return getattr(self.wave, key), (*self.wave_path, key)
        if self.wave is not None and self._replaced(key):
            return None, (*self.wave_path, key)
        return getattr(self.send, key), ("send", key)

    def _replaced(self, key: str) -> bool:
        own = self.wave.model_fields_set if self.wave else set()
        return (key == "text" and "variants" in own) or (key == "variants" and "text" in own)


def sending(building: Building, parts: Parts) -> Sending:
    """Build the sending of a rule, or of one wave."""
    coupon = _coupon(building, parts)
    link, link_path = parts.get("link")
    gaps = texts.Gaps(building.event, coupon, link, _unsure(building, parts))
    if link is not None:
        try:
            texts.check_link(link, gaps)
        except Misfit as error:
            building.reading.misfit(link_path, error)
    variants = _variants(building, parts, gaps)
    expires, _ = parts.get("expires")
    holdout, _ = parts.get("holdout")
    return Sending(
        texts=variants,
        window=_window(building, parts),
        expires=expires or (USEFUL if building.rule.when else None),
        coupon=coupon,
        link=link,
        holdout=holdout or 0.0,
        plain=parts.get("variants")[0] is None,
    )


def _unsure(building: Building, parts: Parts) -> frozenset[str]:
    paths = {"event": ("when",), "coupon": parts.get("coupon")[1], "link": parts.get("link")[1]}
    return frozenset(source for source, path in paths.items() if building.reading.spoken_of(path))


def _coupon(building: Building, parts: Parts) -> Coupon | None:
    found, path = parts.get("coupon")
    if found is None:
        return None
    if not found.amount:
        building.reading.error((*path, "amount"), "a coupon of nothing; give an amount in yuan")
    return Coupon(
        found.batch,
        in_yuan(found.amount),
        in_yuan(found.min_spend) if found.min_spend is not None else "0",
        found.valid_for.text if found.valid_for else "",
        found.allow_unusable,
    )


def _window(building: Building, parts: Parts) -> Window:
    spans, path = parts.get("window")
    days, days_path = parts.get("days")
    default = Window() if building.rule.class_ == "notice" else building.shop.window
    return Window(
        windows(building.reading, path, spans) if spans is not None else default.spans,
        _days(building, days_path, days) if days is not None else _ALL_DAYS,
    )


def _days(building: Building, path: Path, days: list[Any]) -> frozenset[int]:
    if days == ["all"]:
        return _ALL_DAYS
    if days == ["workdays"]:
        return _WORKDAYS
    found = set()
    for index, day in enumerate(days):
        try:
            found.add(weekday(str(day)))
        except Misfit as error:
            building.reading.error((*path, index), f"{error.message.rstrip('?')}; or write all or workdays")
    return frozenset(found) or _ALL_DAYS


def _variants(building: Building, parts: Parts, gaps: texts.Gaps) -> tuple[Variant, ...]:
    text, text_path = parts.get("text")
    variants, path = parts.get("variants")
    if text is not None and variants is not None:
        building.reading.key_error(path, "'text' and 'variants' side by side; write one of them")
    if variants is None:
        if text is None:
            if not any(building.reading.spoken_of((*path[:-1], key)) for key in ("text", "variants")):
                building.reading.error(path[:-1], "'text' is missing in 'send'; or write 'variants'")
            return (Variant("", ("",)),)
        return (_variant(building, text_path, "", text, gaps),)
    if not building.reading.put_aside_in(path):
        _check_shares(building, path, variants)
    _check_ids(building, path, (variant.id for variant in variants))
    shares = [1.0 if variant.share is None else variant.share for variant in variants]
    return tuple(
        _variant(
            building, (*path, i, "text"), each.id, each.text, gaps,
            share=shares[i], until=each.until.end(building.shop.zone) if each.until else None,
        )
        for i, each in enumerate(variants)
    )  # fmt: skip


def _variant(
    building: Building,
    path: Path,
    name: str,
    text: str,
    gaps: texts.Gaps,
    *,
    share: float = 1.0,
    until: int | None = None,
) -> Variant:
    parsed, misfits = texts.parse(text, gaps)
    for misfit in misfits:
        building.reading.misfit(path, misfit)
    if not misfits:
        building.check_text(path, text, parsed, gaps)
    return Variant(name, parsed, share, until)


def _check_shares(building: Building, path: Path, variants: list[model.Variant]) -> None:
    shares = [variant.share for variant in variants if variant.share is not None]
    if not shares:
        return
    if len(shares) < len(variants):
        missing = next(i for i, variant in enumerate(variants) if variant.share is None)
        building.reading.error((*path, missing), "'share' is missing; give all variants a share, or none")
    elif abs(sum(shares) - _WHOLE_SHARE) > _SHARE_SLACK:
        message = f"the shares make {100 * sum(shares):g}% together; they must make 100%"
        building.reading.error((*path, 0, "share"), message)


def _check_ids(building: Building, path: Path, ids: Iterable[str]) -> None:
    seen: set[str] = set()
    for index, name in enumerate(ids):
        if name in seen:
            building.reading.error((*path, index, "id"), f"'{name}' is there twice")
        seen.add(name)
