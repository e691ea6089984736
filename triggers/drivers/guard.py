"""Keeps an edit from sending to a crowd at once: where it makes too many waits due, its file is not taken up (S38)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import structlog

from triggers.core.overdue import made_due
from triggers.drivers.editions import digest_of
from triggers.language.contents import SHOP_FILE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from triggers.core.customer import Customer
    from triggers.core.rulebook import Rulebook
    from triggers.drivers.editions import Edition

_log = structlog.get_logger("rules")


class Refusal(NamedTuple):
    """A file that is not taken up as it is (``digest``), since with it so many waits of a rule are due at once."""

    rule: str
    file: str
    digest: str
    due: int


def count_due(old: Rulebook, new: Rulebook, customers: Iterable[Customer], now: int) -> Counter[str]:
    """Count by rule the waits that another set of rules makes due at ``now``, epoch ms. The customers are used up."""
    counts: Counter[str] = Counter()
    for customer in customers:
        if customer.waits:
            counts.update(made_due(old, new, customer, now))
    return counts


def refusals(counts: Mapping[str, int], most: int, edition: Edition, good: Mapping[str, bytes]) -> list[Refusal]:
    """Choose what is not taken up so that at most ``most`` waits become due at once: the rules with the most of them.

    Of a rule whose own file is as it was, the shop's file is the one that was edited.
    """
    left, refused = sum(counts.values()), []
    files = {each.id: Path(each.path).name for each in edition.loaded.files.values()}
    for rule, count in sorted(counts.items(), key=lambda each: (-each[1], each[0])):
        if left <= most:
            break
        file = files[rule]
        if good.get(file) == edition.contents[file]:
            file = SHOP_FILE
        refused.append(Refusal(rule, file, digest_of(edition.contents[file]), count))
        left -= count
    return refused


def tell_refused(refused: Iterable[Refusal], most: int) -> None:
    """Log what is not taken up, and how to have it."""
    for each in refused:
        _log.error(
            f"{each.file} is not taken up: it makes {each.due} waiting messages of {each.rule} due at once, and"
            f" {most} may be; `triggers rules apply {each.rule} --overdue send`, `spread` or `drop` decides",
            rule=each.rule,
            due=each.due,
        )
