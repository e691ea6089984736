"""How many open waits one customer may have: what a broken source tells of one id must not slow down or stop the rest.

Each event costs time, and each record space, that grow with the customer's waits. So a match that would begin one too
many ends at once, for a reason of its own: those that were there first stay, and every wait that ends makes room again.
A flood of one rule takes no more than that rule's part, and a rule of which nothing waits always gets its first wait,
however many others there are. Slots and waves open one wait each; these do not count.

Here alone the order of arrival decides (S40): of more matches than there is room for, those that came first wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from triggers.core.decisions import Ended, Reason

if TYPE_CHECKING:
    from triggers.core.customer import Customer, Wait
    from triggers.core.decisions import Decision

MOST_OF_A_RULE: Final = 500
"""How many waits of one rule a customer may have."""
MOST_WAITS: Final = 1_000
"""How many waits of all rules a customer may have before only rules of which nothing waits begin another."""


def is_refused(customer: Customer, wait: Wait, now: int, out: list[Decision]) -> bool:
    """End a wait at its very beginning if its customer has no room for it, at ``now`` (epoch ms).

    It counts all waits, so it is asked only of customers who have MOST_OF_A_RULE or more.
    """
    own = others = 0
    for other in customer.waits.values():
        if other.rule == wait.rule:
            own += 1
        elif other.trigger is not None:
            others += 1
    if own >= MOST_OF_A_RULE:
        why = f"{own} of this rule are open"
    elif own and own + others >= MOST_WAITS:
        why = f"{own + others} are open, {own} of them of this rule"
    else:
        return False
    out.append(Ended(customer.id, wait, now, Reason.TOO_MANY_WAITS, why))
    return True
