"""Counts the waits that an edit of the rules makes due at once, before it is made (S38)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from triggers.core.engine import reconcile

if TYPE_CHECKING:
    from triggers.core.customer import Customer
    from triggers.core.rulebook import Rulebook


def may_make_due(old: Rulebook, new: Rulebook) -> bool:
    """Tell whether moving from one set of rules to another can make any wait due that was not."""
    if old.shop.zone.name != new.shop.zone.name:
        return True
    for rule in new.rules.values():
        before = old.rules.get(rule.id)
        if rule.status != "live":
            continue
        if before is None:
            if rule.id in old.removed or rule.renamed_from is not None:
                return True
        elif before.status != "live" or before.wait != rule.wait:
            return True
    return False


def made_due(old: Rulebook, new: Rulebook, customer: Customer, now: int) -> Counter[str]:
    """Count by rule the waits of a customer that another set of rules makes due at ``now`` (epoch ms).

    The customer is of no more use: they have been moved over.
    """
    before = _due(old, customer, now)
    for name in before.keys() & new.renamed.keys() - new.rules.keys():
        before[new.renamed[name]] += before.pop(name)
    reconcile(new, customer, now)
    return _due(new, customer, now) - before


def _due(book: Rulebook, customer: Customer, now: int) -> Counter[str]:
    """Count the waits that would leave by now but for windows, caps and the like."""
    return Counter(
        wait.rule
        for wait in customer.waits.values()
        if (rule := book.rules.get(wait.rule)) is not None and rule.status == "live" and wait.due <= now < wait.expiry
    )
