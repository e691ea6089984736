"""What a rule file must keep to beyond its shape: by itself, with its tests, and among the other files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from triggers.core.customer import PROFILE
from triggers.core.events import EVENT_TYPES
from triggers.language.expressions import event_fields
from triggers.language.findings import did_you_mean, nearest
from triggers.language.reach import check_reach

if TYPE_CHECKING:
    from collections.abc import Mapping

    from triggers.core.rules import Rule
    from triggers.language.building import Building
    from triggers.language.cases_model import Case, Feed
    from triggers.language.reading import Reading
    from triggers.language.tree import Path

FACTS = (*PROFILE, "registered_at", "orders_paid", "total_paid", "last_paid_at", "unsubscribed")
"""What a test may tell of a customer beforehand."""


def within(building: Building, built: Rule, name: str) -> None:
    """Check a rule by itself."""
    rule, reading = building.rule, building.reading
    if name and rule.id != name:
        message = f"id '{rule.id}' and file name '{_file_name(reading)}' differ; the id is what timers belong to"
        reading.error(("id",), message)
    if rule.renamed_from == rule.id:
        reading.error(("renamed_from",), "this is the id that the rule has")
    for index, safety in enumerate(rule.stop_if or ()):
        path: Path = ("stop_if", index)
        spoken_of = any(reading.spoken_of((*path, key)) for key in ("delivered_below", "unsubscribed_above"))
        if (safety.delivered_below is None) == (safety.unsubscribed_above is None) and not spoken_of:
            reading.error(path, "write 'delivered_below' or 'unsubscribed_above'")
    if not reading.faulty:
        check_reach(building, built)
    _check_cases(building)


def _file_name(reading: Reading) -> str:
    return reading.path.replace("\\", "/").rpartition("/")[2]


def _check_cases(building: Building) -> None:
    rule, reading = building.rule, building.reading
    names: set[str] = set()
    for index, case in enumerate(rule.tests):
        path: Path = ("tests", index)
        if case.name in names:
            reading.error((*path, "name"), "another test has this name")
        names.add(case.name)
        _check_case(building, path, case)
    if rule.status == "live":
        sends = any(each.rule in (None, rule.id) for case in rule.tests for each in case.expect)
        holds = any(not case.expect or case.not_sent for case in rule.tests)
        missing = [word for word, there in (("sends", sends), ("does not send", holds)) if not there]
        if missing:
            reading.warn(("status",), f"a live rule without a test that {' and one that '.join(missing)}")


def _check_case(building: Building, path: Path, case: Case) -> None:
    reading = building.reading
    for key in ("history", "feed"):
        for index, item in enumerate(getattr(case, key)):
            _check_feed(reading, (*path, key, index), item, feeding=key == "feed")
    for name, facts in case.customers.items():
        for fact in facts:
            if fact not in FACTS:
                guess = did_you_mean(fact, FACTS) or f"; known: {', '.join(FACTS)}"
                reading.key_error((*path, "customers", name, fact), f"unknown fact '{fact}'{guess}")
    wordings = {variant.id for variant in building.rule.send.variants or ()}
    for wave in building.rule.waves.list_ if building.rule.waves else ():
        wordings |= {variant.id for variant in (wave.send.variants if wave.send else None) or ()}
    pinned = case.pin.variant
    if pinned is not None and pinned not in wordings and not any(item.edit for item in case.feed):
        reading.error((*path, "pin", "variant"), f"unknown variant '{pinned}'{did_you_mean(pinned, wordings)}")


def _check_feed(reading: Reading, path: Path, item: Feed, *, feeding: bool) -> None:
    kinds = [key for key in ("event", "edit", "status", "remove", "restore") if getattr(item, key) is not None]
    wanted = ("event", "edit", "status", "remove", "restore") if feeding else ("event",)
    if not kinds and any(reading.spoken_of((*path, key)) for key in wanted):
        return
    if len(kinds) != 1 or kinds[0] not in wanted:
        message = f"write one of {', '.join(wanted)}" if feeding else "history holds events: write 'event: …'"
        reading.error(path, message)
        return
    if item.event is not None:
        _check_event(reading, path, item.event, item.fields)
    else:
        for key in item.fields:
            reading.key_error((*path, key), f"unknown key '{key}' beside '{kinds[0]}'")


def _check_event(reading: Reading, path: Path, name: str, fields: Mapping[str, Any]) -> None:
    model = EVENT_TYPES[name]
    meant: list[str] = []
    known = [field for field in event_fields(name) if field not in ("id", "at")]
    for key in fields:
        if key not in known:
            guess = did_you_mean(key, known) or f"; known: {', '.join(known) or 'none'}"
            reading.key_error((*path, key), f"{model.__name__} has no field '{key}'{guess}")
            meant += nearest(key, known)
    given = {key: value for key, value in fields.items() if key in known}
    try:
        msgspec.convert({"type": name, "id": "1", "customer": "c1", "at": 0, **given}, type=model)
    except msgspec.ValidationError as error:
        message, _, place = str(error).replace("`", "'").partition(" - at '$.")
        key = place.rstrip("'").partition(".")[0].partition("[")[0]
        if "required field" in message and not key:
            absent = message.rpartition("field ")[2]
            if absent.strip("'") not in meant:
                reading.error(path, f"{absent} is missing in '{name}'")
            return
        words = message[:1].lower() + message[1:].replace("'str'", "text (in quotes)")
        reading.error((*path, key) if key in given else path, words)
