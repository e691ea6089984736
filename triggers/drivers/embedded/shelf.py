"""Customers at hand: read from the store when first asked for, the least recently touched forgotten."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from triggers.core.customer import Customer
from triggers.store.customers import all_ids, encode, load_customer, load_customers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from triggers.store.database import Connection


class Shelf(dict[str, Customer]):
    """All customers of the store, as the replay sees them: a mapping by id of which only a part is in memory.

    ``touched`` are those handed out since the last ``put_back``; they are never forgotten before. ``full`` is called
    when more than ``limit`` are touched, between two customers, so that the driver may commit and put them back.
    """

    def __init__(self, reader: Connection, limit: int, full: Callable[[], None]) -> None:
        super().__init__()
        self._reader = reader
        self._limit = limit
        self._full = full
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
        if name not in self.touched and len(self.touched) >= self._limit:
            self._full()
        found = super().get(name)
        if found is None:
            found = load_customer(self._reader, name)
            if found is None:
                return default
            self._keep(found)
        self.touched[name] = None
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
        self.touched.clear()
        self._begun.clear()
        for name in list(islice(dict.keys(self), max(0, len(self) - self._limit))):
            del self[name]

    def _keep(self, customer: Customer) -> None:
        if customer.asking is not None and customer.id not in self._asking:
            customer.asking = None  # asked by a process that died: the wait is still due, so it is asked again
        super().__setitem__(customer.id, customer)
