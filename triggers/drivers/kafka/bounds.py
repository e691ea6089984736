"""Keeps each customer's record small enough for Kafka, whatever a source tells of one id: no customer stops a partition.

Intake takes events of up to 256 kB, and the core lets a customer have a thousand waits that began with one each. Such a
customer is a mistake of a source, or an attack, so what goes first is what they would hardly notice:

1. the older half of what is remembered of them, again and again: events, paid orders, and sends beyond MOST_SENDS;
2. what the events that still matter are made of: items, further matches of a wait, the rest of very long texts;
3. what nothing else is left for, which the partition decides on: events that wait for the answer of the limits' owner are
   met before it comes, and of the waits those that were last end as "too many waits".
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeVar

from triggers.core.decisions import Reason
from triggers.core.engine import handle
from triggers.core.events import OrderCreated, OrderPaid
from triggers.core.flaws import MAX_DECIMALS, MAX_KEY
from triggers.core.history import catch_up, qualified
from triggers.core.times import NEVER
from triggers.core.waits import end
from triggers.drivers.kafka.records import encode_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from triggers.core.customer import Customer, Facts, Sent, Wait
    from triggers.core.decisions import Decision
    from triggers.core.events import AnyEvent, Event
    from triggers.core.rulebook import Rulebook
    from triggers.drivers.kafka.records import State

_Thing = TypeVar("_Thing")

MOST_STATE: Final = 4_000_000
"""A customer's record has at most so many bytes."""
MOST_SENDS: Final = 1_000
"""So many sends are never forgotten: caps and limits count the latest ones."""
LONG_TEXT: Final = MAX_KEY
"""Longer texts are cut to so many characters, where they must."""
LONG_AMOUNT: Final = 40
"""Amounts written with more characters are written anew: nothing but zeros makes them so long."""


def within_bounds(state: State, give_way: Callable[[], bool]) -> bytes:
    """Write a customer's record; if it is too large, without ever more of the customer, until it fits.

    ``give_way`` decides on what is left when nothing can be forgotten any more; it tells whether there was anything.
    """
    row = encode_state(state, state.customer.wake)
    while len(row) > MOST_STATE and (forget(state) or give_way()):
        row = encode_state(state, state.customer.wake)
    return row


def forget(state: State) -> bool:
    """Let go of something that decides little; False where nothing of the kind is left."""
    return (
        _forget_half(state.customer)
        or _forget_items(state)
        or _forget_matches(state)
        or _cut_texts(state)
        or _learn_ahead(state)
    )


# What is remembered


def _forget_half(customer: Customer) -> bool:
    """Let go of the older half of the events kept, of the paid orders and of many sends; False where there are none."""
    before = _remembered(customer)
    customer.kept = {kind: _later_half(events) for kind, events in customer.kept.items()}
    customer.seen = [qualified(event) for events in customer.kept.values() for event in events]
    if customer.facts.orders:
        latest = sorted(customer.facts.orders.items(), key=lambda order: order[1][0])
        customer.facts.orders = dict(_later_half(latest))
    if len(customer.sends) > MOST_SENDS:
        customer.sends = _later_sends(customer.sends)
    return _remembered(customer) < before


def _remembered(customer: Customer) -> int:
    return sum(map(len, customer.kept.values())) + len(customer.facts.orders) + len(customer.sends)


def _later_half(things: list[_Thing]) -> list[_Thing]:
    return things[len(things) // 2 + len(things) % 2 :]


def _later_sends(sends: list[Sent]) -> list[Sent]:
    """Keep the later half, and of the others the last of each rule and wave: a message may be allowed once for ever."""
    half = len(sends) // 2
    last = {(sent.rule, sent.wave, sent.mode): sent for sent in sends[:half]}
    return sorted([*last.values(), *sends[half:]], key=lambda sent: sent.at)


# What still matters


def _events(state: State) -> Iterator[AnyEvent]:
    """Go through the events that something is still to come of."""
    for wait in _waits(state):
        if wait.trigger is not None:
            yield wait.trigger
        yield from wait.later or ()
    for _, event in state.behind:
        yield event


def _waits(state: State) -> list[Wait]:
    """List the waits; that of an open question has been copied by the time that the record was read back."""
    return [*state.customer.waits.values(), *([state.ask.wait] if state.ask is not None else [])]


def _forget_items(state: State) -> bool:
    """Let go of what orders are made of; False where none say anything of that."""
    listing = [event for event in _events(state) if isinstance(event, OrderCreated | OrderPaid) and event.items]
    for event in listing:
        event.items = ()
    return bool(listing)


def _forget_matches(state: State) -> bool:
    """Let go of the further matches of waits: cancelling the first one ends such a wait. False where there are none."""
    matched = [wait for wait in _waits(state) if wait.later]
    for wait in matched:
        wait.later = None
    return bool(matched)


def _cut_texts(state: State) -> bool:
    """Cut what a name, a page or the like says in very many characters; False where nothing is that long."""
    told: list[Event | Facts | Sent] = [*_events(state), state.customer.facts, *state.customer.sends]
    return any([_is_cut(each) for each in told])  # noqa: C419  all of them


def _is_cut(told: Event | Facts | Sent) -> bool:
    cut = False
    for name in told.__struct_fields__:
        value = getattr(told, name)
        if isinstance(value, str) and len(value) > LONG_TEXT:
            setattr(told, name, value[:LONG_TEXT])
        elif isinstance(value, Decimal) and len(str(value)) > LONG_AMOUNT:
            setattr(told, name, round(value, MAX_DECIMALS))
        else:
            continue
        cut = True
    return cut


def _learn_ahead(state: State) -> bool:
    """Let events that are stamped up to five minutes ahead count as facts now; False where there are none."""
    customer = state.customer
    ahead = bool(customer.ahead)
    catch_up(customer, NEVER)
    return ahead


# What nothing else is left for


def meet_early(book: Rulebook, state: State) -> Iterator[tuple[int, list[Decision]]]:
    """Let a customer who waits for an answer meet the older half of the events behind it.

    Gives what each decides, and when (epoch ms). What comes of it is as if the answer came late, which nothing forbids;
    timers that are due in between act after it, each at its own instant.
    """
    many = (len(state.behind) + 1) // 2
    met, state.behind = state.behind[:many], state.behind[many:]
    for _, event in met:
        now: int = event.received_at  # type: ignore[assignment]  # stamped when it was read
        event.received_at = None
        out: list[Decision] = []
        handle(book, state.customer, event, now, out)
        yield now, out


def end_half(customer: Customer, now: int) -> list[Decision]:
    """End the waits that began last, half of them, at ``now`` (epoch ms)."""
    out: list[Decision] = []
    waits = sorted(customer.waits.items(), key=lambda named: (named[1].anchor, named[0]))
    for key, wait in waits[len(waits) // 2 :]:
        end(customer, key, wait, now, Reason.TOO_MANY_WAITS, "too large to be kept", out)
    return out
