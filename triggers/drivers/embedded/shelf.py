"""Customers at hand: read from the store when first asked for, the least recently touched forgotten."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from triggers.core.customer import Customer
from triggers.store.customers import all_ids, encode, load_customer, load_customers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from triggers.store.database import Connection


_FORGOTTEN_AT_ONCE = 256


class Limit(NamedTuple):
    """How many customers may be in memory, and how many kept events of theirs."""

    customers: int
    kept: int


class Shelf(dict[str, Customer]):
    """All customers of the store, as the replay sees them: a mapping by id of which only a part is in memory.

    ``touched`` are those handed out since the last ``put_back``; they are never forgotten before. ``full`` is called
    when ``limit`` of them are touched, or of their kept events, between two customers, so that the driver may commit
    and put them back.
    """

    def __init__(self, reader: Connection, limit: Limit, full: Callable[[], None]) -> None:
        super().__init__()
        self._reader = reader
        self._limit = limit
        self._full = full
        self._sizes: dict[str, int] = {}  # kept events of each, when it was last looked at
        self._kept = 0
        self._touched_kept = 0
        self._begun: set[str] = set()
        self._asking: set[str] = set()
        self.touched: dict[str, None] = {}

    def __getitem__(self, name: str) -> Customer:
        """Hand out a customer. KeyError for one that the store does not know."""
        found: Customer | None = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __setitem__(self, name: str, customer: Customer) -> None:
        """Take in a new customer."""
        self._begun.add(name)
        self.touched[name] = None
        super().__setitem__(name, customer)

    def get(self, name: str, default: Any = None, /) -> Any:
        """Hand out a customer, or the default for one that the store does not know."""
        if name not in self.touched and self._is_full():
            self._full()
        found = super().get(name)
        if found is None:
            found = load_customer(self._reader, name)
            if found is None:
                return default
            self._keep(found)
        if name not in self.touched:
            self.touched[name] = None
            self._touched_kept += self._sizes.get(name, 0)
        return found

    def __iter__(self) -> Iterator[str]:
        """Go through the ids of all customers there are, in the store or new."""
        seen = set(self._begun)
        yield from sorted(seen)
        for ids in all_ids(self._reader):
            yield from (name for name in ids if name not in seen)

    def fetch(self, names: Sequence[str]) -> None:
        """Read several customers at once, since they will be asked for."""
        missing = [name for name in dict.fromkeys(names) if not super(Shelf, self).__contains__(name)]
        for customer in load_customers(self._reader, missing) if missing else ():
            self._keep(customer)

    def encoded(self, position: int) -> list[tuple[str, int, bytes]]:
        """Turn the touched customers into rows for the store, as they are after the event at ``position``."""
        return [encode(super(Shelf, self).__getitem__(name), position) for name in self.touched]

    def put_back(self) -> None:
        """Note that the touched ones are in the store, and forget the least recently touched over the limit."""
        for name in self.touched:
            customer = self.pop(name)
            super().__setitem__(name, customer)
            (self._asking.discard if customer.asking is None else self._asking.add)(name)
            self._measure(customer)
        self.touched.clear()
        self._touched_kept = 0
        self._begun.clear()
        while self._is_over():
            for name in list(islice(dict.keys(self), _FORGOTTEN_AT_ONCE)):
                del self[name]
                self._kept -= self._sizes.pop(name, 0)
                if not self._is_over():
                    break

    def _is_over(self) -> bool:
        return len(self) > self._limit.customers or (self._kept > self._limit.kept and len(self) > 1)

    def _is_full(self) -> bool:
        return len(self.touched) >= self._limit.customers or self._touched_kept > self._limit.kept

    def _measure(self, customer: Customer) -> None:
        size = sum(map(len, customer.kept.values()))
        self._kept += size - self._sizes.get(customer.id, 0)
        self._sizes[customer.id] = size

    def _keep(self, customer: Customer) -> None:
        if customer.asking is not None and customer.id not in self._asking:
            customer.asking = None  # asked by a process that died: the wait is still due, so it is asked again
        super().__setitem__(customer.id, customer)
        self._measure(customer)
