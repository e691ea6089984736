"""Warns of rules, slots and waves that can never reach anybody: caps, limits, windows or periods do not let them."""

from __future__ import annotations

from itertools import islice, pairwise
from typing import TYPE_CHECKING

from triggers.language.schedules import Dates

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from triggers.core.rules import Cap, Rule, Schedule, Sending
    from triggers.core.times import Period, Zone
    from triggers.language.building import Building
    from triggers.language.tree import Path

_FIRST_SLOT = 1_600_000_000_000  # September 2020: slots are regular enough to look at any stretch of them
_SLOTS = 60
"""How many slots are looked at: two months of days, a year of weeks, five years of months."""


def check_reach(building: Building, rule: Rule) -> None:
    """Warn of what can never be sent."""
    _check_caps(building, rule)
    _check_slots(building, rule)


def _check_caps(building: Building, rule: Rule) -> None:
    shop = building.shop
    if rule.klass == "notice":
        return
    caps = {name: shop.caps.get(name, ()) for name in (rule.klass, "all")}
    for name, each in caps.items():
        for number, within_ in each:
            if not number:
                cap = f"the cap '0 / {within_.text}' of '{name}'"
                building.reading.warn(("class",), f"{cap} never lets this rule through")
    if rule.waves is not None and len(rule.waves.waves) > 1:
        _check_chain(building, rule, [cap for each in caps.values() for cap in each])


def _check_chain(building: Building, rule: Rule, caps: Sequence[Cap]) -> None:
    """Warn of waves that can never follow each other; a chain whose later waves thin out may be meant so."""
    assert rule.waves is not None  # noqa: S101  the caller has looked
    zone = building.shop.zone
    often = rule.limits.per_customer
    singles = [within_ for number, within_ in caps if number == 1]
    waves = rule.waves.waves
    for index, (before, wave) in enumerate(pairwise(waves), start=1):
        _, late = _span(zone, wave.sending or rule.sending, wave.slot)
        path: Path = ("waves", "list", index)
        span = often[1] if often else None
        if often and often[0] == 1 and (span is None or zone.add(before.slot, span) >= late):
            building.reading.warn(path, "'per_customer' never lets this wave follow the one before")
        elif any(zone.add(before.slot, single) >= late for single in singles):
            building.reading.warn(path, f"the caps of '{rule.klass}' never let this wave follow the one before")


def _check_slots(building: Building, rule: Rule) -> None:
    if rule.schedule is not None:
        dated = isinstance(rule.schedule, Dates)
        _check_slot(building, ("schedule",), rule, rule.sending, islice(_slots(rule.schedule), _SLOTS), dated=dated)
    for index, wave in enumerate(rule.waves.waves if rule.waves else ()):
        path: Path = ("waves", "list", index)
        _check_slot(building, path, rule, wave.sending or rule.sending, [wave.slot], dated=True)


def _check_slot(
    building: Building, path: Path, rule: Rule, sending: Sending, slots: Iterable[int], *, dated: bool
) -> None:
    spans = (_span(building.shop.zone, sending, slot) for slot in slots)
    seen = opened = False
    for opening, expiry in spans:
        seen = True
        opened = opened or opening < expiry
        if opening < expiry and (not dated or _in_force(rule, opening, expiry)):
            return
    if opened:
        building.reading.warn(path, "outside of 'valid' or 'during', or inside of 'not_during': never sent")
    elif seen:
        building.reading.warn(path, "the window never opens between a slot and the end of its day; see 'expires'")


def _slots(schedule: Schedule) -> Iterator[int]:
    slot = schedule.next_after(_FIRST_SLOT)
    while slot is not None:
        yield slot
        slot = schedule.next_after(slot)


def _span(zone: Zone, sending: Sending, slot: int) -> tuple[int, int]:
    """Find when a message of a slot may leave first, and when it is too late."""
    expiry = zone.add(slot, sending.expires) if sending.expires else zone.midnight(slot, 1)
    return sending.window.opening(zone, slot), expiry


def _in_force(rule: Rule, opening: int, expiry: int) -> bool:
    """Tell whether the rule's periods leave anything of the time from ``opening`` to ``expiry``."""

    def overlap(period: Period) -> bool:
        return opening < period.end and expiry > period.start

    if not overlap(rule.valid) or (rule.during and not any(overlap(period) for period in rule.during)):
        return False
    return not any(period.start <= opening and expiry <= period.end for period in rule.not_during)
