"""Loads the rules of a service: what is wrong is told and left out; each rule counts since it was first seen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from triggers.core.rulebook import Rulebook
from triggers.errors import RulesUnusable
from triggers.language import load

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from triggers.language import Loaded
    from triggers.store.progress import Register

_log = structlog.get_logger("rules")


def load_rules(folder: Path) -> Loaded:
    """Load a folder, logging each finding. Raises RulesUnusable where nothing of it can be used."""
    loaded = load(folder)
    for finding in loaded.findings:
        (_log.error if finding.severity == "error" else _log.warning)(str(finding))
    if loaded.shop is None:
        wrong = next((str(finding) for finding in loaded.errors), "_shop.yaml is missing")
        raise RulesUnusable(f"the rules in {folder} cannot be used: {wrong}")
    if not loaded.rules:
        wrong = next((f": {finding}" for finding in loaded.errors), "")
        raise RulesUnusable(f"no rule in {folder} can be used{wrong}")
    if not loaded.shop.opt_out.strip() and any(rule.klass != "notice" for rule in loaded.rules):
        _log.warning("without an opt_out in _shop.yaml only notices leave", rules=str(folder))
    return loaded


def rulebook(
    loaded: Loaded, register: Register, *, settle: int, recalls: bool, paused: Collection[str] = ()
) -> Rulebook:
    """Make the rulebook of a service: since when each rule counts (S31), what is set aside (S36), what is paused (S30)."""
    assert loaded.shop is not None, "load_rules saw to it"  # noqa: S101  an invariant
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
    )
