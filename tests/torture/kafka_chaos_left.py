"""What a fleet leaves behind, its log and its customers, and what an undisturbed run makes of that log."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from kafka_fleet import records

from triggers.clock import wall_ms
from triggers.core.decisions import LateCancel, Send
from triggers.core.events import Event
from triggers.core.intake import decode_many, stamp
from triggers.drivers.kafka.records import (
    CUSTOMERS,
    DEAD_LETTERS,
    EVENTS,
    OWN,
    TICK,
    Place,
    State,
    decode_place,
    decode_state,
)
from triggers.drivers.kafka.register import enrol
from triggers.drivers.rules import first_edition, rulebook
from triggers.replay.replay import Replay
from triggers.store.decisions import DecisionRow, row_of

if TYPE_CHECKING:
    from triggers.core.customer import Customer
    from triggers.core.decisions import Decision
    from triggers.drivers.kafka.settings import KafkaSettings
    from triggers.store.progress import Register

BESIDE_THE_POINT = ("opened", "position", "wake")
"""What of a customer says only how far a driver has looked."""


class Left(NamedTuple):
    """``events`` are those of the log, stamped, in the order of receipt; ``ticks`` how many came between them."""

    events: list[Any]
    ticks: int
    refused: int
    letters: int
    places: dict[int, Place]
    states: dict[str, State]
    register: Register


class Expected(NamedTuple):
    """What an undisturbed run decides: commands and decisions, each as a line, and the customers in the end."""

    sends: dict[str, bytes]
    cancels: Counter[tuple[Any, ...]]
    decided: Counter[DecisionRow]
    customers: dict[str, Customer]


async def read_what_is_left(settings: KafkaSettings) -> Left:
    """Read all of it, once the fleet has ended."""
    places, states = {}, {}
    async for record in records(settings.bootstrap, settings.topic(CUSTOMERS)):
        if record.key == OWN:
            places[record.partition] = decode_place(record.value)
        else:
            states[record.key] = record.value
    letters = 0
    async for _ in records(settings.bootstrap, settings.topic(DEAD_LETTERS)):
        letters += 1
    ids = [rule.id for rule in first_edition(settings.rules, {}).loaded.rules]
    register = await enrol(settings, ids, wall_ms(), wall_ms())
    found = {key.decode(): decode_state(row) for key, row in states.items()}
    return Left(*await _log(settings), letters, places, found, register)


async def _log(settings: KafkaSettings) -> tuple[list[Any], int, int]:
    """Read the log: each event with the broker's stamp, which never goes back within a partition."""
    clocks: dict[int, int] = {}
    rows: list[tuple[int, int, int, bytes]] = []
    ticks = refused = 0
    async for record in records(settings.bootstrap, settings.topic(EVENTS)):
        clock = clocks[record.partition] = max(record.timestamp, clocks.get(record.partition, 0))
        if record.key is None and record.value == TICK:
            ticks += 1
        else:
            rows.append((clock, record.partition, record.offset, record.value))
    rows.sort()
    events: list[Any] = []
    for (clock, *_), event in zip(rows, decode_many([row[3] for row in rows], far_future_ok=True), strict=True):
        if isinstance(event, Event):
            stamp(event, clock)
            events.append(event)
        else:
            refused += 1
    return events, ticks, refused


def undisturbed(settings: KafkaSettings, left: Left) -> Expected:
    """Decide the log as one that nothing happened to, in memory."""
    book = rulebook(first_edition(settings.rules, {}).loaded, left.register, settle=settings.settle_ms, recalls=True)
    expected = Expected({}, Counter(), Counter(), {})

    def take(decision: Decision) -> None:
        if isinstance(decision, Send) and not decision.withheld and not decision.shadow:
            expected.sends[decision.id] = msgspec.json.encode(decision)
        elif isinstance(decision, LateCancel):
            expected.cancels[decision.customer, decision.rule, decision.identity, decision.anchor, decision.event] += 1
        if (row := row_of(decision, book.revision)) is not None:
            expected.decided[row] += 1

    replay = Replay(book, take, clock=left.events[0].received_at - 1)
    replay.play(left.events)
    replay.run_until(min(place.clock for place in left.places.values()))
    expected.customers.update(replay.customers)
    return expected


def told_of(customer: Customer) -> dict[str, Any]:
    """Write a customer down, without what says only how far a driver has looked, or when an event came."""
    written = _without_receipts(msgspec.to_builtins(customer))
    return {name: value for name, value in written.items() if name not in BESIDE_THE_POINT}


def _without_receipts(told: Any) -> Any:
    if isinstance(told, dict):
        return {name: _without_receipts(value) for name, value in told.items() if name != "received_at"}
    return [_without_receipts(each) for each in told] if isinstance(told, list | tuple) else told
