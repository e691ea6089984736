"""Loads the rules of a service: what is wrong is told and left out; each rule counts since it was first seen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from triggers.core.rulebook import Rulebook
from triggers.drivers.editions import choose
from triggers.drivers.watching import tell
from triggers.errors import RulesUnusable
from triggers.language.contents import contents_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from triggers.drivers.editions import Edition
    from triggers.language import Loaded
    from triggers.store.progress import Register

_log = structlog.get_logger("rules")


def first_edition(folder: Path, good: Mapping[str, bytes]) -> Edition:
    """Load the rules that a service starts with, logging what is wrong; ``good`` are the files it used last.

    A file with a fault keeps its last good version (S37). Raises RulesUnusable where nothing can be used.
    """
    edition = choose(folder, contents_of(folder), good)
    tell(edition.faults, ())
    loaded = edition.loaded
    faults = [str(fault.finding) for fault in edition.faults if fault.finding.severity == "error"]
    if loaded.shop is None:
        raise RulesUnusable(f"the rules in {folder} cannot be used: {faults[0] if faults else '_shop.yaml is missing'}")
    if not loaded.rules:
        raise RulesUnusable(f"no rule in {folder} can be used{f': {faults[0]}' if faults else ''}")
    if not loaded.shop.opt_out.strip() and any(rule.klass != "notice" for rule in loaded.rules):
        _log.warning("without an opt_out in _shop.yaml only notices leave", rules=str(folder))
    return edition


def rulebook(
    loaded: Loaded,
    register: Register,
    *,
    settle: int,
    recalls: bool,
    paused: Collection[str] = (),
    overdue: Mapping[str, str] | None = None,
) -> Rulebook:
    """Make the rulebook of a service.

    It says since when each rule counts (S31), what is set aside (S36) and paused (S30), and what becomes of the waits that
    an edit makes due (S38).
    """
    assert loaded.shop is not None, "first_edition saw to it"  # noqa: S101  an invariant
    rules = [
        replace(
            rule,
            since=register.since[rule.id],
            status="paused" if rule.id in paused and rule.status == "live" else rule.status,
        )
        for rule in loaded.rules
    ]
    return Rulebook(
        rules,
        loaded.shop,
        revision=loaded.revision,
        removed=register.removed,
        keep_all=True,
        settle=settle,
        recalls=recalls,
        overdue=overdue,
    )
