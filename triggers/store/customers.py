"""The state of customers: all that a step reads, one row each, with the instant at which it wants to be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from triggers.core.customer import Customer
from triggers.core.times import NEVER

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Customer)
_ROWS_AT_ONCE = 1_000


def encode(customer: Customer) -> tuple[str, int, bytes]:
    """Turn a customer into a row."""
    return customer.id, customer.wake, _encoder.encode(customer)


def load_customer(connection: sqlite3.Connection, customer: str) -> Customer | None:
    """Read one customer, None if nothing is known of them."""
    row = connection.execute("SELECT state FROM customers WHERE id = ?", (customer,)).fetchone()
    return None if row is None else _decoder.decode(row[0])


def load_customers(connection: sqlite3.Connection, ids: Sequence[str]) -> Iterator[Customer]:
    """Read those of several customers that are known."""
    wanted = msgspec.json.encode(ids).decode()
    for (state,) in connection.execute(
        "SELECT state FROM customers WHERE id IN (SELECT value FROM json_each(?))", (wanted,)
    ):
        yield _decoder.decode(state)


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
