"""What the parts of a fleet say to each other in Kafka: the records of each topic, as bytes and as values."""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

import msgspec

from triggers.core.customer import Customer  # noqa: TC001  msgspec reads the types
from triggers.core.decisions import Ask, Released, Responded, Send, Verdict  # noqa: TC001  as above
from triggers.core.events import AnyEvent  # noqa: TC001  as above
from triggers.store.decisions import DecisionRow

EVENTS: Final = "events"
COMMANDS: Final = "commands"
DECISIONS: Final = "decisions"
MESSAGE_EVENTS: Final = "message-events"
DEAD_LETTERS: Final = "dead-letters"
ASKS: Final = "asks"
VERDICTS: Final = "verdicts"
CUSTOMERS: Final = "customers"
LIMITS: Final = "limits"
RULES: Final = "rules"
"""The fleet's topics, without their prefix."""

TICK: Final = b"tick"
"""The value of a record of the log that says only that time has passed; it has no key."""
OWN: Final = b""
"""The key of a partition's own record among its customers, and of the owner's own among the limits."""


# What the dispatcher is to do, in triggers.commands


class Sending(msgspec.Struct, tag="send", frozen=True):
    """A message to queue, and the number that the customer had (None: not known)."""

    send: Send
    phone: str | None


class Cancel(msgspec.Struct, tag="cancel", frozen=True):
    """Take back the message of a wait (rule, identity, anchor), where it has not left yet; ``by`` is the event's type."""

    customer: str
    rule: str
    identity: str | None
    anchor: int
    by: str


Command: TypeAlias = Sending | Cancel


# For the reporting database, in triggers.decisions


class Come(msgspec.Struct, tag="come", array_like=True, frozen=True):
    """How far a partition has come: the last record decided on, its time (epoch ms), by which rules, and by whom.

    Customers for whom a record before that still waits for an answer of the limits' owner are in ``waiting``; of those
    the records behind the given place are not decided on yet.
    """

    partition: int
    position: int
    clock: int
    revision: str
    worker: str
    waiting: dict[str, int] = {}


Reported: TypeAlias = DecisionRow | Come


# To the owner of the shared limits, in triggers.asks


class Asked(msgspec.Struct, tag="ask", frozen=True):
    """A customer's question; the customer's next one comes at ``next`` at the earliest if it is granted, epoch ms."""

    partition: int
    ask: Ask
    next: int


class Told(msgspec.Struct, tag="told", frozen=True):
    """What a step says of shared things at ``at`` (epoch ms): an answered wave, or a grant given back."""

    partition: int
    at: int
    answered: Responded | None = None
    released: Released | None = None


class Passed(msgspec.Struct, tag="passed", frozen=True):
    """A promise: what this partition asks or tells from here on is of ``clock`` or later (epoch ms).

    ``answers`` counts the verdicts that it knew of; what is still to come from customers who wait for one is not in the
    promise.
    """

    partition: int
    clock: int
    answers: int


Question: TypeAlias = Asked | Told | Passed


# From the owner, in triggers.verdicts


class Answered(msgspec.Struct, tag="verdict", frozen=True):
    """The answer to a customer's question, the ``number``-th of the partition."""

    number: int
    customer: str
    command: str
    verdict: Verdict


# The state of a customer and of a partition, in triggers.customers


class State(msgspec.Struct, array_like=True, omit_defaults=True):
    """A customer, what they asked, and the events that wait for the answer, each with its place in the log."""

    customer: Customer
    ask: Ask | None = None
    behind: list[tuple[int, AnyEvent]] = []


class Place(msgspec.Struct, frozen=True):
    """A partition's own record: the last record applied, its time, the last slot that all customers have passed.

    ``answers`` counts the verdicts applied and ``verdict`` is the place of the last one; ``revision`` names the rules
    that all customers have been moved over to. Times in epoch ms.
    """

    position: int = -1
    clock: int = -1
    opened: int = -1
    answers: int = 0
    verdict: int = -1
    revision: str = ""


_FRONT = struct.Struct(">qB")
_LISTS = range(0x91, 0x94)
"""How a list of one to three begins in MessagePack, as a ``State`` is written."""
_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.Encoder()
_state = msgspec.msgpack.Decoder(State)
_place = msgspec.msgpack.Decoder(Place)
_command: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
_reported: msgspec.json.Decoder[Reported] = msgspec.json.Decoder(Reported)
_question: msgspec.msgpack.Decoder[Question] = msgspec.msgpack.Decoder(Question)
_answered = msgspec.msgpack.Decoder(Answered)


def encode_command(command: Command) -> bytes:
    """Write a record of triggers.commands."""
    return _json.encode(command)


def decode_command(value: bytes) -> Command:
    """Read a record of triggers.commands. Raises msgspec.MsgspecError for what is none."""
    return _command.decode(value)


def encode_reported(reported: Reported) -> bytes:
    """Write a record of triggers.decisions."""
    return _json.encode(reported)


def decode_reported(value: bytes) -> Reported:
    """Read a record of triggers.decisions. Raises msgspec.MsgspecError for what is none."""
    return _reported.decode(value)


def encode_question(question: Question) -> bytes:
    """Write a record of triggers.asks."""
    return _msgpack.encode(question)


def decode_question(value: bytes) -> Question:
    """Read a record of triggers.asks. Raises msgspec.MsgspecError for what is none."""
    return _question.decode(value)


def encode_answered(answered: Answered) -> bytes:
    """Write a record of triggers.verdicts."""
    return _msgpack.encode(answered)


def decode_answered(value: bytes) -> Answered:
    """Read a record of triggers.verdicts. Raises msgspec.MsgspecError for what is none."""
    return _answered.decode(value)


def encode_state(state: State, wake: int) -> bytes:
    """Write a customer's record; in front stand ``wake`` (epoch ms) and whether they ask, to be found without the rest."""
    return _FRONT.pack(wake, state.ask is not None) + _msgpack.encode(state)


def decode_state(value: bytes) -> State:
    """Read a customer's record."""
    return _state.decode(memoryview(value)[_FRONT.size :])


def is_state(value: bytes) -> bool:
    """Tell whether a value has the form of a customer's record; whether all in it can be read is not looked at."""
    return len(value) > _FRONT.size and value[_FRONT.size - 1] <= 1 and value[_FRONT.size] in _LISTS


def wake_of(value: bytes) -> int:
    """Read from a customer's record when its first timer wants to be looked at, epoch ms."""
    wake: int = _FRONT.unpack_from(value)[0]
    return wake


def is_asking(value: bytes) -> bool:
    """Read from a customer's record whether they wait for an answer of the limits' owner."""
    return bool(value[_FRONT.size - 1])


def encode_place(place: Place) -> bytes:
    """Write a partition's own record."""
    return _msgpack.encode(place)


def decode_place(value: bytes) -> Place:
    """Read a partition's own record."""
    return _place.decode(value)
