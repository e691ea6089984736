"""The state of customers: all that a step reads, one row each, with the instant at which it wants to be looked at.

A row is written at each commit that touches its customer, so it must stay small. What a customer with a long past has
kept, and has paid, is therefore not in the row but read from the log again: the row has the place in the log that it
stands for (``Customer.position``), and of each type the oldest event that was kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from triggers.core.customer import Customer
from triggers.core.events import OrderPaid, type_of
from triggers.core.history import qualified
from triggers.core.times import NEVER
from triggers.store.event_log import events_up_to

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence
    from decimal import Decimal

    from triggers.core.events import AnyEvent

LONG_PAST = 500
"""How many kept events, or paid orders, a row holds; with more they are read from the log."""

ENGINES = "triggers"
"""The source of events that the engine makes itself (``message.sent``): those are in no log."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Customer)
_ROWS_AT_ONCE = 1_000


def encode(customer: Customer, position: int) -> tuple[str, int, bytes]:
    """Turn a customer into a row; every event of theirs up to ``position`` in the log has been handled, none after."""
    facts = customer.facts
    if sum(map(len, customer.kept.values())) > LONG_PAST or len(facts.orders) > LONG_PAST:
        kept = {
            kind: events[:1] + [event for event in events[1:] if event.source == ENGINES]
            if kind == "message.sent"
            else events[:1]
            for kind, events in customer.kept.items()
        }
        short = msgspec.structs.replace(facts, orders={})
        row = msgspec.structs.replace(customer, kept=kept, seen=[], facts=short, position=position)
        return customer.id, customer.wake, _encoder.encode(row)
    return customer.id, customer.wake, _encoder.encode(customer)


def _decoded(connection: sqlite3.Connection, state: bytes) -> Customer:
    customer = _decoder.decode(state)
    if customer.position >= 0:
        _recall(connection, customer)
        customer.position = -1
    return customer


def _recall(connection: sqlite3.Connection, customer: Customer) -> None:
    """Read the long past of a customer from the log, in the order in which it was kept."""
    oldest = {kind: events[0].at for kind, events in customer.kept.items() if events}
    past: dict[str, list[AnyEvent]] = {
        kind: [event for event in events if event.source == ENGINES] for kind, events in customer.kept.items()
    }
    seen = {qualified(event) for events in past.values() for event in events}
    ahead = {qualified(event) for event in customer.ahead}
    orders: dict[str, tuple[int, Decimal]] = {}
    for event in events_up_to(connection, customer.id, customer.position):
        name, kind = qualified(event), type_of(event)
        if isinstance(event, OrderPaid) and name not in ahead:
            known = orders.get(event.order_id)
            if known is None or (event.at, event.amount) < known:
                orders[event.order_id] = (event.at, event.amount)
        if event.at >= oldest.get(kind, NEVER) and name not in seen:
            past[kind].append(event)
    for events in past.values():
        events.sort(key=lambda event: event.at)
    customer.kept = past
    customer.seen = [qualified(event) for events in past.values() for event in events]
    if orders:  # else the facts may be those that all strangers share
        customer.facts.orders = orders


def load_customer(connection: sqlite3.Connection, customer: str) -> Customer | None:
    """Read one customer, None if nothing is known of them."""
    row = connection.execute("SELECT state FROM customers WHERE id = ?", (customer,)).fetchone()
    return None if row is None else _decoded(connection, row[0])


def load_customers(connection: sqlite3.Connection, ids: Sequence[str]) -> Iterator[Customer]:
    """Read those of several customers that are known."""
    wanted = msgspec.json.encode(ids).decode()
    for (state,) in connection.execute(
        "SELECT state FROM customers WHERE id IN (SELECT value FROM json_each(?))", (wanted,)
    ):
        yield _decoded(connection, state)


def save_customers(connection: sqlite3.Connection, rows: Iterable[tuple[str, int, bytes]]) -> None:
    """Write encoded customers."""
    connection.executemany(
        "INSERT INTO customers (id, wake, state) VALUES (?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET wake = excluded.wake, state = excluded.state",
        rows,
    )


def waking(connection: sqlite3.Connection) -> Iterator[tuple[int, str]]:
    """Go through the customers that have a timer: when, and who."""
    yield from connection.execute("SELECT wake, id FROM customers WHERE wake < ?", (NEVER,))


def all_ids(connection: sqlite3.Connection) -> Iterator[list[str]]:
    """Go through the ids of all customers in order, some at a time."""
    after = ""
    while ids := [
        str(row[0])
        for row in connection.execute(
            "SELECT id FROM customers WHERE id > ? ORDER BY id LIMIT ?", (after, _ROWS_AT_ONCE)
        ).fetchall()
    ]:
        yield ids
        after = ids[-1]


def all_customers(connection: sqlite3.Connection) -> Iterator[Customer]:
    """Go through all customers, some at a time."""
    for ids in all_ids(connection):
        yield from load_customers(connection, ids)
