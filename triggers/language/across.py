"""What the files of a folder must keep to among each other, and to the calendar: ids, segments, names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triggers.language.findings import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from triggers.language.building import Building
    from triggers.language.folder import Draft
    from triggers.language.shop import SharedShop


def across(drafts: Sequence[Draft], shop: SharedShop, today: int | None) -> None:
    """Check the rules of a folder against each other and against the shop's calendar."""
    by_id = _by_id(drafts)
    keepers = _keepers(drafts)
    for draft in drafts:
        if draft.building is None:
            continue
        if keepers is not None:
            _check_segments(draft.building, keepers)
        _check_names(draft.building, by_id)
        if today is not None:
            _check_holidays(draft.building, shop, today)


def _by_id(drafts: Sequence[Draft]) -> dict[str, Draft]:
    """Index the files by id; one that takes the id of another file's name is the one at fault."""
    by_id: dict[str, Draft] = {}
    for draft in sorted(drafts, key=lambda each: each.name != each.id):
        if draft.id in by_id and draft.model is not None:
            draft.reading.error(("id",), f"'{draft.id}' is the id of {by_id[draft.id].reading.path}, too")
        by_id.setdefault(draft.id, draft)
    return by_id


def _keepers(drafts: Sequence[Draft]) -> dict[str, str] | None:
    """Find who keeps which segment; None while a file that may keep one cannot be read."""
    keepers: dict[str, str] = {}
    for draft in drafts:
        if draft.model is None or draft.reading.spoken_of(("waves",)) or draft.reading.spoken_of(("waves", "keep_as")):
            return None
        waves = draft.model.waves
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


def _check_holidays(building: Building, shop: SharedShop, today: int) -> None:
    for path, name in building.holidays:
        days = shop.calendar.get(name, ())
        if name in shop.calendar and not any(today <= day <= today + 366 for day in days):
            building.reading.warn(
                path, f"'{name}' has no date in the next twelve months; add one to the calendar of _shop.yaml"
            )
