"""Writes the records of customers who come again and again without encoding their whole past each time.

Most of a record is the events kept of a customer, and from one turn to the next a few are appended to them. So the bytes
of those that were written before stay with a customer at hand; the record is the same to the last byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from triggers.drivers.kafka.records import encode_state

if TYPE_CHECKING:
    from triggers.core.events import AnyEvent
    from triggers.drivers.kafka.records import State

_encode = msgspec.msgpack.Encoder().encode
_FEW, _MANY = 1 << 4, 1 << 16


class Past:
    """What is encoded already of one customer's kept events. It must not be used on once any of them was changed."""

    __slots__ = ("_kinds",)

    def __init__(self) -> None:
        self._kinds: dict[str, _Written] = {}

    def record(self, state: State) -> bytes:
        """Write the customer's record, as ``records.encode_state`` does."""
        customer, kinds = state.customer, self._kinds
        kept = customer.kept
        lists: dict[str, Any] = {}
        for kind, events in kept.items():
            if events:
                written = kinds.get(kind)
                if written is None:
                    written = kinds[kind] = _Written()
                lists[kind] = written.list_of(events)
            else:
                lists[kind] = events
        customer.kept = lists
        try:
            return encode_state(state, customer.wake)
        finally:
            customer.kept = kept


class _Written:
    """The events of one type that are encoded: the first, the last, how many, and their bytes one after the other."""

    __slots__ = ("_bytes", "_count", "_first", "_last")

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._count = 0
        self._first: AnyEvent | None = None
        self._last: AnyEvent | None = None

    def list_of(self, events: list[AnyEvent]) -> msgspec.Raw:
        """Encode a list of events, of which only those are looked at that were added at its end.

        Events are put in anywhere and forgotten from the front: either shows at the first or at the last one known.
        """
        count, known = len(events), self._count
        if not known or count < known or events[0] is not self._first or events[known - 1] is not self._last:
            self._bytes.clear()
            known = 0
        for place in range(known, count):
            self._bytes += _encode(events[place])
        self._first, self._last, self._count = events[0], events[-1], count
        return msgspec.Raw(_head(count) + self._bytes)


def _head(count: int) -> bytes:
    """Write what MessagePack has in front of an array's items."""
    if count < _FEW:
        return bytes((0x90 | count,))
    if count < _MANY:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")
