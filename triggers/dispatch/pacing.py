"""Paces what leaves: how long to wait before another try, and how many messages a gateway takes at a time."""

from __future__ import annotations

import math

from triggers.core.times import SECOND

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 15 * 60.0
LONGEST_WISH_S = 60 * 60.0
"""How long a gateway may make us wait by itself."""

_DOUBLINGS = math.ceil(math.log2(LONGEST_WAIT_S / FIRST_WAIT_S))
_ROUNDING = 1e-6  # tokens; what adding up fractions may lose


def backoff_s(attempt: int, chance: float, after_s: float | None) -> float:
    """Tell how long to wait after a try that failed, in seconds: anything up to a bound that doubles (full jitter).

    ``attempt`` counts from 1, ``chance`` is in [0, 1). ``after_s`` is the gateway's own wish, which is waited first.
    """
    bound = min(FIRST_WAIT_S * (1 << max(0, min(attempt - 1, _DOUBLINGS))), LONGEST_WAIT_S)
    wish = 0.0 if after_s is None or math.isnan(after_s) else max(0.0, min(after_s, LONGEST_WISH_S))
    return wish + chance * bound


class Bucket:
    """Tokens that come at a steady rate: one is taken for each message, and ``burst`` may be saved.

    ``rate`` is in tokens a second. Urgent messages take all there are; others leave a reserve, of which at most
    ``burst - 1`` counts, so that a full bucket always has one for them. It begins full. Times in epoch ms; a clock may
    go back.
    """

    __slots__ = ("_filled_at", "_level", "burst", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        if not (0 < rate < math.inf and 1 <= burst < math.inf):
            raise ValueError("a bucket needs a rate above 0 and room for one token")
        self.rate = rate
        self.burst = burst
        self._level = float(burst)
        self._filled_at = 0

    def take(self, now: int, n: int, reserve: float = 0.0) -> int:
        """Take up to ``n`` tokens and leave ``reserve``; tells how many were taken."""
        taken = max(0, min(n, math.floor(self._free(now, reserve) + _ROUNDING)))
        self._level -= taken
        return taken

    def give(self, now: int, n: int) -> None:
        """Give back the tokens of messages that did not leave after all."""
        self._fill(now)
        self._level = min(self._level + n, self.burst)

    def ready_in_s(self, now: int, reserve: float = 0.0) -> float:
        """Tell in how many seconds there will be a token beside the reserve; 0 if there is one."""
        missing = 1 - self._free(now, reserve)
        return missing / self.rate if missing > _ROUNDING else 0.0

    def _free(self, now: int, reserve: float) -> float:
        self._fill(now)
        return self._level - max(0.0, min(reserve, self.burst - 1))

    def _fill(self, now: int) -> None:
        passed = max(0, now - self._filled_at)
        self._filled_at = now
        self._level = min(self._level + passed * self.rate / SECOND, self.burst)
