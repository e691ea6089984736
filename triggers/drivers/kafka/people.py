"""The customers of a partition: all of them as records, those at hand decoded, and when each wants to be woken."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING, Final

from triggers.core.customer import Customer
from triggers.core.events import OrderCreated, OrderPaid
from triggers.core.history import qualified
from triggers.core.times import NEVER
from triggers.drivers.kafka.records import State, decode_state, encode_state, is_asking, wake_of

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_STATE: Final = 4_000_000
"""A customer's record has at most so many bytes: one with more past forgets the older half of it, then what was bought."""
SPARE_WAKES: Final = 10_000
"""How many wakes that were put off are kept beyond two a customer, before they are sorted out."""


class People:
    """Customers by key. ``rows`` are their records; ``most`` of them are kept decoded, in ``at_hand``.

    ``touched`` are those that the turn must write, in order; ``written`` turns them into records and forgets them.
    """

    def __init__(self, rows: dict[bytes, bytes], most: int) -> None:
        self._rows = rows
        self._most = most
        self.at_hand: dict[bytes, State] = {}
        self.touched: dict[bytes, None] = {}
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
            del self.at_hand[key]
        return records

    def copies(self, number: int) -> Iterator[list[Customer]]:
        """Give copies of all customers as they are now, so many at a time; what happens meanwhile does not matter."""
        rows = iter(list(self._rows.values()))
        while some := list(islice(rows, number)):
            yield [decode_state(row).customer for row in some]

    def _keep(self, key: bytes, state: State) -> bytes:
        wake, before = state.customer.wake, self._rows.get(key)
        row = within_bounds(state, wake)
        if wake < NEVER and (before is None or wake_of(before) != wake):
            heappush(self._wakes, (wake, key))
        self._rows[key] = row
        return row

    def _all_wakes(self) -> list[tuple[int, bytes]]:
        wakes = [(wake, key) for key, row in self._rows.items() if (wake := wake_of(row)) < NEVER]
        heapify(wakes)
        return wakes


def within_bounds(state: State, wake: int) -> bytes:
    """Write a customer's record, if need be without the older half of their past, again and again, until it fits.

    Where many wait for orders with long lists of items, these go last.
    """
    row = encode_state(state, wake)
    while len(row) > MOST_STATE and (_forget_half(state.customer) or _forget_items(state.customer)):
        row = encode_state(state, wake)
    return row


def _forget_half(customer: Customer) -> bool:
    """Let go of the older half of the events kept, and of the paid orders; False where there are none."""
    before = sum(map(len, customer.kept.values())) + len(customer.facts.orders)
    customer.kept = {kind: events[len(events) // 2 + len(events) % 2 :] for kind, events in customer.kept.items()}
    customer.seen = [qualified(event) for events in customer.kept.values() for event in events]
    if customer.facts.orders:
        latest = sorted(customer.facts.orders.items(), key=lambda order: order[1][0])
        customer.facts.orders = dict(latest[len(latest) // 2 + len(latest) % 2 :])
    return before > 0


def _forget_items(customer: Customer) -> bool:
    """Let go of what the orders that waits began with were made of; False where they say nothing of that."""
    events = [event for wait in customer.waits.values() for event in (wait.trigger, *(wait.later or ()))]
    listing = [event for event in events if isinstance(event, OrderCreated | OrderPaid) and event.items]
    for event in listing:
        event.items = ()
    return bool(listing)
