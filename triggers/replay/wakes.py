"""An index of who wants to be woken when: buckets of time, so that most entries are appended and sorted once."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from triggers.core.times import HOUR, NEVER

BUCKET = HOUR
"""The width of a bucket in ms."""


class Wakes:
    """Customers by the instant (epoch ms) they want to be woken at; in order of instant, then id.

    An entry is never taken back: whoever is woken in vain asks to be woken again.
    """

    __slots__ = ("_buckets", "_end", "_near", "_order")

    def __init__(self) -> None:
        self._near: list[tuple[int, str]] = []  # a heap: every entry before _end
        self._end = -1
        self._buckets: dict[int, list[tuple[int, str]]] = {}
        self._order: list[int] = []  # a heap of the buckets' numbers

    def __len__(self) -> int:
        return len(self._near) + sum(map(len, self._buckets.values()))

    def add(self, at: int, customer: str) -> None:
        """Ask to wake a customer at an instant; NEVER is not kept."""
        if at < self._end:
            heappush(self._near, (at, customer))
        elif at < NEVER:
            number = at // BUCKET
            bucket = self._buckets.get(number)
            if bucket is None:
                self._buckets[number] = [(at, customer)]
                heappush(self._order, number)
            else:
                bucket.append((at, customer))

    def next(self) -> int:
        """Tell the first instant that somebody wants to be woken at; NEVER if there is none."""
        if not self._near:
            if not self._order:
                return NEVER
            number = heappop(self._order)
            self._near = self._buckets.pop(number)
            heapify(self._near)
            self._end = (number + 1) * BUCKET
        return self._near[0][0]

    def pop(self, before: int) -> tuple[int, list[str]] | None:
        """Take the first instant before ``before``, with everybody to wake at it, each once, in order of id."""
        at = self.next()
        if at >= before:
            return None
        near = self._near
        ids = [heappop(near)[1]]
        while near and near[0][0] == at:
            customer = heappop(near)[1]
            if customer != ids[-1]:
                ids.append(customer)
        return at, ids
