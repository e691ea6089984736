"""Builds when slots open: ``schedule:`` and the waves of ``waves:``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triggers.core.rules import Schedule, Wave, Waves
from triggers.core.times import DAY
from triggers.language.findings import Misfit, did_you_mean
from triggers.language.schedules import Dates, Every, cron
from triggers.language.sending import Parts, sending
from triggers.language.times import clock, moment, weekday

if TYPE_CHECKING:
    from triggers.language import model
    from triggers.language.building import Building
    from triggers.language.tree import Path

_NO_SLOT = Dates(())
_PATH: Path = ("schedule",)
_LONGEST_MONTH = 31


def schedule(building: Building, part: model.Schedule) -> Schedule:
    """Build a schedule; one that is wrong is reported, and has no slot."""
    if building.reading.put_aside_in(_PATH):
        return _NO_SLOT
    kinds = [key for key in ("every", "holiday", "cron") if getattr(part, key) is not None]
    if len(kinds) > 1:
        building.reading.key_error((*_PATH, kinds[1]), f"'{kinds[0]}' and '{kinds[1]}' side by side; write one of them")
        return _NO_SLOT
    kind = kinds[0] if kinds else "at"
    for key, wanted in (("day", ("every",)), ("offset", ("holiday",)), ("at", ("at", "every", "holiday"))):
        if getattr(part, key) is not None and kind not in wanted:
            building.reading.key_error((*_PATH, key), f"'{key}' does not belong beside '{kind}'")
    if part.spread is not None and part.spread > DAY:
        building.reading.error((*_PATH, "spread"), "longer than a day")
    if kind != "cron" and part.at is None:
        message = "'at' is missing in 'schedule'" if kinds else "say when: at, every, holiday or cron"
        building.reading.error(_PATH, message)
        return _NO_SLOT
    try:
        return _BUILDERS[kind](building, part)
    except Misfit as error:
        building.reading.misfit((*_PATH, "cron" if kind == "cron" else "at"), error)
        return _NO_SLOT


def _at(building: Building, part: model.Schedule) -> Schedule:
    return Dates([moment(part.at or "").start(building.shop.zone)])


def _every(building: Building, part: model.Schedule) -> Schedule:
    days: list[int] = []
    for index, day in enumerate(part.day or ()):
        try:
            days.append(_day(part.every or "", day))
        except Misfit as error:
            building.reading.misfit((*_PATH, "day", index), error)
            return _NO_SLOT
    if part.every != "day" and not days:
        building.reading.error(_PATH, f"'day' is missing beside 'every: {part.every}'")
        return _NO_SLOT
    return Every(building.shop.zone, part.every or "", _of_day(part), tuple(days))


def _of_day(part: model.Schedule) -> int:
    of_day = clock(part.at or "")
    if of_day >= DAY:
        raise Misfit(f"'{part.at}': the day ends there; write 00:00 of the next one")
    return of_day


def _day(every: str, day: object) -> int:
    if every == "day":
        raise Misfit("'day' does not belong beside 'every: day'")
    if every == "week":
        return weekday(str(day))
    if isinstance(day, bool) or not isinstance(day, int) or not 1 <= day <= _LONGEST_MONTH:
        raise Misfit(f"'{day}': write a day of the month, 1 to 31; a month that is shorter takes its last day")
    return day


def _holiday(building: Building, part: model.Schedule) -> Schedule:
    zone, calendar, of_day = building.shop.zone, building.shop.calendar, _of_day(part)
    instants = []
    for index, name in enumerate(part.holiday or ()):
        days = calendar.get(name, ())
        building.holidays.append(((*_PATH, "holiday", index), name))
        if name not in calendar and building.shop.whole:
            guess = did_you_mean(name, calendar) or (f"; known: {', '.join(calendar)}" if calendar else "")
            message = f"'{name}' has no date in the calendar of _shop.yaml{guess}"
            building.reading.warn((*_PATH, "holiday", index), message)
        instants += [zone.instant((day + (part.offset or 0)) * DAY + of_day) for day in days]
    return Dates(instants)


def _cron(building: Building, part: model.Schedule) -> Schedule:
    return cron(part.cron or "", building.shop.zone)


_BUILDERS = {"at": _at, "every": _every, "holiday": _holiday, "cron": _cron}


def waves(building: Building, part: model.Waves) -> Waves:
    """Build a chain of waves: each has a slot of its own, after the one before."""
    built: list[Wave] = []
    for index, each in enumerate(part.list_):
        path: Path = ("waves", "list", index)
        if any(each.id == before.id for before in built):
            building.reading.error((*path, "id"), f"'{each.id}' is there twice")
        slot = _wave_slot(building, path, each, built[-1].slot if built else None)
        own = None
        if each.send is not None:
            own = sending(building, Parts(building.rule.send, each.send, (*path, "send")))
        built.append(Wave(each.id, slot, each.take, own))
    return Waves(tuple(part.responded), part.within, tuple(built), part.min_size, part.keep_as)


def _wave_slot(building: Building, path: Path, wave: model.Wave, before: int | None) -> int:
    zone = building.shop.zone
    if building.reading.put_aside_in(path):
        return before or 0
    if (wave.at is None) == (wave.after is None):
        building.reading.error(path, "write 'at' or 'after'" + (", not both" if wave.at else ""))
        return before or 0
    if wave.at is not None:
        try:
            slot = moment(wave.at).start(zone)
        except Misfit as error:
            building.reading.misfit((*path, "at"), error)
            return before or 0
    elif before is None:
        building.reading.key_error((*path, "after"), "the first wave has none before it; write 'at'")
        return 0
    else:
        assert wave.after is not None  # noqa: S101  one of the two is there
        slot = zone.add(before, wave.after)
    if before and slot <= before:
        building.reading.error((*path, "at" if wave.at else "after"), "not after the wave before")
    return slot
