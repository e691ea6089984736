"""What a rule file must keep to beyond its shape: by itself, with its tests, and among the other files."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec

from triggers.core.customer import PROFILE
from triggers.core.events import EVENT_TYPES
from triggers.language.expressions import event_fields
from triggers.language.findings import did_you_mean, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from triggers.core.rules import Cap, Rule
    from triggers.language.building import Building
    from triggers.language.cases_model import Case, Feed
    from triggers.language.folder import Draft
    from triggers.language.reading import Reading
    from triggers.language.shop import SharedShop
    from triggers.language.tree import Path

FACTS = (*PROFILE, "registered_at", "orders_paid", "total_paid", "last_paid_at", "unsubscribed")
"""What a test may tell of a customer beforehand."""


def within(building: Building, name: str) -> None:
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


def across(drafts: Sequence[Draft], shop: SharedShop, today: int | None) -> None:
    """Check the rules of a folder against each other and against the shop's calendar."""
    by_id: dict[str, Draft] = {}
    for draft in drafts:
        if draft.id in by_id:
            draft.reading.error(("id",), f"'{draft.id}' is the id of {by_id[draft.id].reading.path}, too")
        by_id.setdefault(draft.id, draft)
    keepers = _keepers(drafts)
    for draft in drafts:
        assert draft.building is not None  # noqa: S101  a model has a building
        _check_segments(draft.building, keepers)
        _check_names(draft.building, by_id)
        if draft.rule is not None:
            _check_caps(draft.building, draft.rule, shop)
        if today is not None:
            _check_holidays(draft.building, shop, today)


def _keepers(drafts: Sequence[Draft]) -> dict[str, str]:
    keepers: dict[str, str] = {}
    for draft in drafts:
        waves = draft.model.waves if draft.model else None
        if waves is None or waves.keep_as is None:
            continue
        if waves.keep_as in keepers:
            draft.reading.error(("waves", "keep_as"), f"'{waves.keep_as}' is kept by {keepers[waves.keep_as]}, too")
        keepers.setdefault(waves.keep_as, draft.id)
    return keepers


def _check_segments(building: Building, keepers: Mapping[str, str]) -> None:
    for path, segment in building.segments_asked:
        if segment not in keepers:
            guess = did_you_mean(segment, keepers)
            building.reading.error(path, f"unknown segment '{segment}': no rule keeps it with 'keep_as:'{guess}")


def _check_names(building: Building, by_id: Mapping[str, Draft]) -> None:
    rule, reading = building.rule, building.reading
    if rule.renamed_from is not None and rule.renamed_from in by_id and rule.renamed_from != rule.id:
        there = by_id[rule.renamed_from].reading.path
        reading.error(("renamed_from",), f"'{rule.renamed_from}' is still there: {there}")
    for index, case in enumerate(rule.tests):
        for place, name in enumerate(case.with_rules):
            if name not in by_id or name == rule.id:
                problem = "is this rule itself" if name == rule.id else f"is unknown{did_you_mean(name, by_id)}"
                reading.error(("tests", index, "with_rules", place), f"rule '{name}' {problem}")
        named = {rule.id, *case.with_rules}
        for place, expect in enumerate(case.expect):
            if expect.rule is not None and expect.rule not in named:
                reading.error(
                    ("tests", index, "expect", place, "rule"),
                    f"rule '{expect.rule}' does not take part; name it in with_rules{did_you_mean(expect.rule, named)}",
                )


def _check_caps(building: Building, rule: Rule, shop: SharedShop) -> None:
    if rule.klass == "notice":
        return
    caps = {name: shop.caps.get(name, ()) for name in (rule.klass, "all")}
    for name, each in caps.items():
        for number, within_ in each:
            if not number:
                cap = f"the cap '0 / {within_.text}' of '{name}'"
                building.reading.warn(("class",), f"{cap} never lets this rule through")
    if rule.waves is not None and len(rule.waves.waves) > 1:
        _check_chain(building, rule, [cap for each in caps.values() for cap in each], shop)


def _check_chain(building: Building, rule: Rule, caps: Sequence[Cap], shop: SharedShop) -> None:
    """Warn of waves that can never follow each other; a chain whose later waves thin out may be meant so."""
    assert rule.waves is not None  # noqa: S101  the caller has looked
    often = rule.limits.per_customer
    singles = [within_ for number, within_ in caps if number == 1]
    waves = rule.waves.waves
    for index, (before, wave) in enumerate(pairwise(waves), start=1):
        sending_ = wave.sending or rule.sending
        late = shop.zone.add(wave.slot, sending_.expires) if sending_.expires else shop.zone.midnight(wave.slot, 1)
        path: Path = ("waves", "list", index)
        span = often[1] if often else None
        if often and often[0] == 1 and (span is None or shop.zone.add(before.slot, span) >= late):
            building.reading.warn(path, "'per_customer' never lets this wave follow the one before")
        elif any(shop.zone.add(before.slot, single) >= late for single in singles):
            building.reading.warn(path, f"the caps of '{rule.klass}' never let this wave follow the one before")


def _check_holidays(building: Building, shop: SharedShop, today: int) -> None:
    for path, name in building.holidays:
        days = shop.calendar.get(name, ())
        if name in shop.calendar and not any(today <= day <= today + 366 for day in days):
            building.reading.warn(
                path, f"'{name}' has no date in the next twelve months; add one to the calendar of _shop.yaml"
            )
