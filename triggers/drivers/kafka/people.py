"""The customers of a partition: all of them as records, those at hand decoded, and when each wants to be woken."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING, Final

from triggers.core.customer import Customer
from triggers.core.times import NEVER
from triggers.drivers.kafka import bounds
from triggers.drivers.kafka.pasts import Past
from triggers.drivers.kafka.records import State, decode_state, encode_state, is_asking, wake_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONG_PAST: Final = 3_000
"""From so many bytes on a record is written with what was encoded of it before; for a shorter one that takes longer."""
SPARE_WAKES: Final = 10_000
"""How many wakes that were put off are kept beyond two a customer, before they are sorted out."""


class People:
    """Customers by key. ``rows`` are their records; ``most`` of them are kept decoded, in ``at_hand``.

    ``touched`` are those that the turn must write, in order; ``written`` turns them into records and forgets them. Of whose
    record is too large although all is forgotten that may be, ``give_way`` is asked to end something.
    """

    def __init__(self, rows: dict[bytes, bytes], most: int, give_way: Callable[[bytes, State], bool]) -> None:
        self._rows = rows
        self._give_way = give_way
        self._most = most
        self.at_hand: dict[bytes, State] = {}
        self.touched: dict[bytes, None] = {}
        self._pasts: dict[bytes, Past] = {}
        self._wakes = self._all_wakes()

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: bytes) -> bool:
        return key in self._rows

    def keys(self) -> list[bytes]:
        """List the customers that there are in the records."""
        return list(self._rows)

    def asking(self) -> list[bytes]:
        """List those who wait for an answer of the limits' owner."""
        return [key for key, row in self._rows.items() if is_asking(row)]

    def find(self, key: bytes, clock: int, opened: int) -> State:
        """Find a customer, or make them known at the instant ``clock``; slots up to ``opened`` have passed. Epoch ms."""
        state = self.at_hand.get(key)
        if state is None:
            row = self._rows.get(key)
            if row is None:
                state = State(Customer(id=key.decode(), opened=clock - 1))
            else:
                state = decode_state(row)
                if state.ask is None:
                    state.customer.opened = max(state.customer.opened, opened)
            self.at_hand[key] = state
        return state

    def woken(self, before: int) -> Iterator[bytes]:
        """Take those who want to be woken before an instant, in order of time; a touched one was looked at already."""
        wakes = self._wakes
        while wakes and wakes[0][0] < before:
            wake, key = heappop(wakes)
            row = self._rows.get(key)
            if key not in self.touched and row is not None and wake_of(row) == wake:  # else it was woken before
                yield key

    def written(self) -> list[tuple[bytes | None, bytes]]:
        """Give the records of those who were touched, and let go of who was not looked at for long."""
        records: list[tuple[bytes | None, bytes]] = []
        for key in self.touched:
            state = self.at_hand.pop(key)
            self.at_hand[key] = state  # the last one touched is the last to be let go
            records.append((key, self._keep(key, state)))
        self.touched = {}
        if len(self._wakes) > SPARE_WAKES + 2 * len(self._rows):
            self._wakes[:] = self._all_wakes()  # the same list: `woken` may be under way
        for key in list(islice(self.at_hand, max(0, len(self.at_hand) - self._most))):
            self.let_go(key)
        return records

    def let_go(self, key: bytes) -> None:
        """Keep a customer as a record only."""
        del self.at_hand[key]
        self._pasts.pop(key, None)

    def copies(self, number: int) -> Iterator[list[Customer]]:
        """Give copies of all customers as they are now, so many at a time; what happens meanwhile does not matter."""
        rows = iter(list(self._rows.values()))
        while some := list(islice(rows, number)):
            yield [decode_state(row).customer for row in some]

    def _keep(self, key: bytes, state: State) -> bytes:
        before = self._rows.get(key)
        if before is None or len(before) < LONG_PAST:
            row = encode_state(state, state.customer.wake)
        else:
            row = self._pasts.setdefault(key, Past()).record(state)
        if len(row) > bounds.MOST_STATE:
            self._pasts.pop(key, None)
            row = bounds.within_bounds(state, lambda: self._give_way(key, state))
        wake = state.customer.wake
        if wake < NEVER and (before is None or wake_of(before) != wake):
            heappush(self._wakes, (wake, key))
        self._rows[key] = row
        return row

    def _all_wakes(self) -> list[tuple[int, bytes]]:
        wakes = [(wake, key) for key, row in self._rows.items() if (wake := wake_of(row)) < NEVER]
        heapify(wakes)
        return wakes
