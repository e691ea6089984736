"""Judges a gateway by how many of its messages arrive: good, warned or demoted (SMS.md section 3)."""

from __future__ import annotations

import math
from enum import StrEnum

ENOUGH = 200
"""Messages that are judged before a gateway is."""

DEMOTE_UNDER = 0.90
WARN_UNDER = 0.95
RESTORE_FROM = 0.92


class Standing(StrEnum):
    """What is thought of a gateway. A demoted one carries only a few messages, to see whether it is better again."""

    GOOD = "good"
    WARNED = "warned"
    DEMOTED = "demoted"


def wilson(good: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Bound a rate of which ``good`` of ``n`` tries are known: the Wilson score interval; z 1.96 is 95 % of confidence.

    E. B. Wilson, Journal of the American Statistical Association 22 (1927), 209-212. Of no tries nothing is known.
    """
    assert 0 <= good <= n, "more arrived than there were"  # noqa: S101  a broken invariant
    if not n:
        return 0.0, 1.0
    rate = good / n
    room = z * z / n
    middle = (rate + room / 2) / (1 + room)
    half = math.sqrt(room * (rate * (1 - rate) + room / 4)) / (1 + room)
    return (max(0.0, middle - half) if good else 0.0), (min(1.0, middle + half) if good < n else 1.0)


def judge(standing: Standing, *, arrived: int, judged: int, probes_arrived: int, probes_judged: int) -> Standing:
    """Judge a gateway anew. A message is judged once it has a receipt or is older than 30 min; those of 24 h count.

    ``judged`` counts from when the gateway was last restored, or what it was demoted for would demote it again at once;
    ``probes_judged`` counts what went through it since it was demoted. Each standing is left at another bound than it
    is entered at, so that a gateway near one does not go to and fro.
    """
    if standing is Standing.DEMOTED:
        if wilson(probes_arrived, probes_judged)[0] < RESTORE_FROM:
            return Standing.DEMOTED
        return Standing.GOOD if probes_arrived >= WARN_UNDER * probes_judged else Standing.WARNED
    if judged < ENOUGH:
        return standing
    _, most = wilson(arrived, judged)
    if most < DEMOTE_UNDER:
        return Standing.DEMOTED
    fair = most < WARN_UNDER or (standing is Standing.WARNED and arrived < WARN_UNDER * judged)
    return Standing.WARNED if fair else Standing.GOOD
