"""How each customer can be reached and whether they want to be: kept with the log, in the transaction of each event.

So an opt-out holds for the next claim from the moment it is answered, however far the engine has come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from triggers.core.events import (
    CustomerRegistered,
    CustomerSubscribed,
    CustomerUnsubscribed,
    CustomerUpdated,
    Event,
)
from triggers.core.times import DAY
from triggers.store.event_log import read_events_of_types

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    Normal: TypeAlias = Callable[[str], str | None]

NOT_VALID = ""
"""A phone that was told and is none."""

ANSWERS_WITHIN = 7 * DAY
"""An opt-out so soon after a message is an answer to it, in ms."""

HEEDED = (CustomerRegistered, CustomerUpdated, CustomerUnsubscribed, CustomerSubscribed)
TYPES = ("customer.registered", "customer.updated", "customer.unsubscribed", "customer.subscribed")
_DONE = "contacts"


class Contact(NamedTuple):
    """What is known of a customer's reach. ``phone`` is E.164, NOT_VALID for one that is none, None if never told."""

    phone: str | None = None
    consent: bool | None = None
    registered: bool = False
    unsubscribed: bool = False


NOBODY = Contact()


class Contacts:
    """Keeps the contacts. ``normal`` turns a phone as people write it into E.164, or None if it is none."""

    def __init__(self, normal: Normal) -> None:
        self._normal = normal

    def heed(self, connection: sqlite3.Connection, event: Event) -> None:
        """Take in what an event says of a contact; of two events the one that happened later counts (S7)."""
        if not isinstance(event, HEEDED):
            return
        connection.execute("INSERT INTO contacts (customer) VALUES (?) ON CONFLICT DO NOTHING", (event.customer,))
        at = event.at
        if isinstance(event, CustomerUpdated):
            self._update(connection, event, at)
        elif isinstance(event, CustomerRegistered):
            connection.execute("UPDATE contacts SET registered = 1 WHERE customer = ?", (event.customer,))
        else:
            if isinstance(event, CustomerUnsubscribed):
                self._opt_out(connection, event.customer, at)
            connection.execute(
                "UPDATE contacts SET unsubscribed = ?1, unsubscribed_at = ?2 WHERE customer = ?3"
                " AND (unsubscribed_at < ?2 OR (unsubscribed_at = ?2 AND ?1))",
                (isinstance(event, CustomerUnsubscribed), at, event.customer),
            )

    def _opt_out(self, connection: sqlite3.Connection, customer: str, at: int) -> None:
        """Note an opt-out with the rule whose message it answers, if one left in the last days."""
        connection.execute(
            "INSERT INTO opt_outs (customer, rule, at) VALUES (?1, (SELECT rule FROM outbox WHERE customer = ?1"
            " AND left_at <= ?2 AND left_at > ?2 - ?3 AND class NOT IN ('notice', 'verification')"
            " ORDER BY left_at DESC LIMIT 1), ?2)",
            (customer, at, ANSWERS_WITHIN),
        )

    def _update(self, connection: sqlite3.Connection, event: CustomerUpdated, at: int) -> None:
        if event.phone is not None:
            connection.execute(
                "UPDATE contacts SET phone = ?1, phone_at = ?2 WHERE customer = ?3 AND phone_at <= ?2",
                (self._normal(event.phone) or NOT_VALID, at, event.customer),
            )
        if event.consent is not None:
            connection.execute(
                "UPDATE contacts SET consent = ?1, consent_at = ?2, consent_by = ?3 WHERE customer = ?4"
                " AND (consent_at < ?2 OR (consent_at = ?2 AND NOT ?1))",
                (event.consent, at, f"{event.source}/{event.id}", event.customer),
            )

    def catch_up(self, connection: sqlite3.Connection) -> int:
        """Take in the log of a database that was made before contacts were kept; tells how many events that were."""
        if connection.execute("SELECT 1 FROM progress WHERE key = ?", (_DONE,)).fetchone():
            return 0
        count = 0
        for event in read_events_of_types(connection, TYPES):
            self.heed(connection, event)
            count += 1
        connection.execute("INSERT INTO progress (key, value) VALUES (?, ?)", (_DONE, b"1"))
        return count


def contact_of(connection: sqlite3.Connection, customer: str) -> Contact:
    """Read what is known of a customer's reach."""
    row = connection.execute(
        "SELECT phone, consent, registered, unsubscribed FROM contacts WHERE customer = ?", (customer,)
    ).fetchone()
    if row is None:
        return NOBODY
    phone, consent, registered, unsubscribed = row
    return Contact(phone, None if consent is None else bool(consent), bool(registered), bool(unsubscribed))


def customers_with(connection: sqlite3.Connection, phone: str) -> list[str]:
    """List the customers who have a phone (E.164)."""
    rows = connection.execute("SELECT customer FROM contacts WHERE phone = ? ORDER BY customer", (phone,)).fetchall()
    return [row[0] for row in rows]
