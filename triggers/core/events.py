"""The events that a shop emits: one struct a type, with the fields that rules may use.

The structs are the wire form (flat JSON, tagged by ``type``), what the state keeps, and the model that expressions are
checked against. After intake ``at`` is always an integer: epoch milliseconds, UTC. Unknown extra fields are ignored.
"""

from __future__ import annotations

from decimal import Decimal  # noqa: TC003  msgspec reads the annotations at run time
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    Instant = int  # what everything after intake may rely on
else:
    Instant = int | str
    """An instant on the wire: epoch ms, or RFC 3339 text, which intake turns into epoch ms."""


class Item(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One line of an order. ``price`` in yuan, ``quantity`` in pieces."""

    sku: str | None = None
    name: str | None = None
    category: str | None = None
    price: Decimal | None = None
    quantity: Decimal | None = None


class Event(msgspec.Struct, tag_field="type", gc=False, omit_defaults=True, kw_only=True):
    """What every event has.

    ``at`` is when it happened (occurred_at), as RFC 3339 text or epoch ms on the wire and epoch ms inside.
    ``received_at`` is when it entered the log, epoch ms; None until it has been stamped.
    """

    id: str
    customer: str
    at: Instant
    source: str = ""
    received_at: Instant | None = None


class CustomerRegistered(Event, tag="customer.registered"):
    """Somebody signed up."""

    channel: str = ""


class CustomerUpdated(Event, tag="customer.updated"):
    """What the shop knows of a customer changed; a field left out keeps its value."""

    name: str | None = None
    phone: str | None = None
    city: str | None = None
    is_member: bool | None = None
    level: str | None = None
    consent: bool | None = None


class OrderCreated(Event, tag="order.created"):
    """An order was placed. ``amount`` in yuan."""

    order_id: str
    amount: Decimal
    category: str | None = None
    items: tuple[Item, ...] = ()


class OrderPaid(Event, tag="order.paid"):
    """An order was paid. ``amount`` in yuan."""

    order_id: str
    amount: Decimal
    category: str | None = None
    items: tuple[Item, ...] = ()


class OrderCancelled(Event, tag="order.cancelled"):
    """An order was cancelled. ``amount`` in yuan."""

    order_id: str
    amount: Decimal | None = None


class OrderRefunded(Event, tag="order.refunded"):
    """An order was refunded. ``amount`` in yuan."""

    order_id: str
    amount: Decimal | None = None


class FavoriteAdded(Event, tag="favorite.added"):
    """A product was put on the wish list. ``price`` in yuan."""

    product_id: str
    category: str | None = None
    price: Decimal | None = None


class FavoriteRemoved(Event, tag="favorite.removed"):
    """A product was taken off the wish list. ``price`` in yuan."""

    product_id: str
    category: str | None = None
    price: Decimal | None = None


class StoreVisited(Event, tag="store.visited"):
    """The shop was visited."""

    page: str | None = None


class Message(Event):
    """What happened to a message; ``rule_id`` names the rule that sent it."""

    rule_id: str | None = None
    wave: str | None = None
    variant: str | None = None


class MessageSent(Message, tag="message.sent"):
    """A message left."""


class MessageDelivered(Message, tag="message.delivered"):
    """A message reached the phone."""


class MessageUndelivered(Message, tag="message.undelivered"):
    """A message did not reach the phone."""


class MessageClicked(Message, tag="message.clicked"):
    """The link of a message was opened."""


class CustomerUnsubscribed(Event, tag="customer.unsubscribed"):
    """The customer wants no more messages."""


class CustomerSubscribed(Event, tag="customer.subscribed"):
    """The customer wants messages again."""


EVENT_TYPES: dict[str, type[Event]] = {
    str(cls.__struct_config__.tag): cls
    for cls in (
        CustomerRegistered,
        CustomerUpdated,
        OrderCreated,
        OrderPaid,
        OrderCancelled,
        OrderRefunded,
        FavoriteAdded,
        FavoriteRemoved,
        StoreVisited,
        MessageSent,
        MessageDelivered,
        MessageUndelivered,
        MessageClicked,
        CustomerUnsubscribed,
        CustomerSubscribed,
    )
}
"""Every event type by its name on the wire."""

AnyEvent = (
    CustomerRegistered
    | CustomerUpdated
    | OrderCreated
    | OrderPaid
    | OrderCancelled
    | OrderRefunded
    | FavoriteAdded
    | FavoriteRemoved
    | StoreVisited
    | MessageSent
    | MessageDelivered
    | MessageUndelivered
    | MessageClicked
    | CustomerUnsubscribed
    | CustomerSubscribed
)


_NAMES = {cls: name for name, cls in EVENT_TYPES.items()}


def type_of(event: Event) -> str:
    """Name the event's type, as on the wire."""
    return _NAMES[event.__class__]
