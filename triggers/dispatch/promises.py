"""What is promised of a message by its class, and so where a gateway's answer moves it.

No gateway removes doubles, so an ambiguous result is never tried again for what must not come twice; a notice and a
code must come, so they are, within bounds. What definitely did not leave may always be tried again, or elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from triggers.core.times import MINUTE
from triggers.dispatch.gateway import Accepted, Answer, Barred, Rejected, TryLater, Unknown
from triggers.dispatch.pacing import backoff_s
from triggers.store.states import ACCEPTED, QUEUED, REJECTED, UNKNOWN, Settled

if TYPE_CHECKING:
    from triggers.store.states import Leaving

VERIFICATION, NOTICE, MEMBER, GREETING, MARKETING = "verification", "notice", "member", "greeting", "marketing"
CLASSES: Final = (VERIFICATION, NOTICE, MEMBER, GREETING, MARKETING)
"""All classes, the most urgent first."""

COMMERCIAL: Final = frozenset({MARKETING, MEMBER, GREETING})
"""Classes that need consent, keep hours and end with an opt-out; never sent twice."""

MOST_ATTEMPTS: Final = 12
"""How often a message that definitely did not leave is tried; with the backoff that is more than an hour."""
MOST_CODE: Final = 120


class Promise(NamedTuple):
    """At most ``most_sends`` times it may leave; again after an ambiguous one only ``within`` ms of when it was queued.

    ``elsewhere`` is true where the next one must go through another gateway.
    """

    most_sends: int
    within: int | None = None
    elsewhere: bool = False


PROMISES: Final = {
    VERIFICATION: Promise(2, within=MINUTE, elsewhere=True),
    NOTICE: Promise(3),
    **dict.fromkeys(COMMERCIAL, Promise(1)),
}


def settled(leaving: Leaving, answer: Answer, now: int, chance: float) -> Settled:
    """Tell where an answer moves a message that is being sent; ``now`` epoch ms, ``chance`` in [0, 1) for the backoff."""
    queued = leaving.queued
    attempt = queued.attempts + 1
    code = answer.code[:MOST_CODE]
    match answer:
        case Accepted(provider_id):
            return Settled(ACCEPTED, code, provider_id)
        case Rejected():
            return Settled(REJECTED, code or "rejected", spent=False)
        case Barred():
            return Settled(QUEUED, code or "barred", not_before=now, spent=False, refused=True)
        case TryLater(after_s=after_s):
            if attempt - queued.ambiguous >= MOST_ATTEMPTS:
                return Settled(REJECTED, f"gave up: {code}", spent=False)
            again = now + int(1_000 * backoff_s(attempt, chance, after_s))
            return Settled(QUEUED, code or "try later", not_before=again, spent=False, refused=True)
        case Unknown():
            return _ambiguous(leaving, code, now, chance)


def _ambiguous(leaving: Leaving, code: str, now: int, chance: float) -> Settled:
    queued = leaving.queued
    promise = PROMISES[queued.send.klass]
    again = now + int(1_000 * backoff_s(queued.ambiguous + 1, chance, None))
    in_time = promise.within is None or again < queued.queued_at + promise.within
    if queued.ambiguous + 1 < promise.most_sends and in_time:
        return Settled(QUEUED, code, not_before=again, ambiguous=True, refused=promise.elsewhere)
    return Settled(UNKNOWN, code, ambiguous=True)
