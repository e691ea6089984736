"""Gateways for the model: each answer is drawn from the seed, and they keep the truth of what they were given."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from offices import Scripted

from triggers.dispatch.gateway import (
    Accepted,
    Answer,
    Barred,
    Fate,
    Outgoing,
    Receipt,
    Rejected,
    Sought,
    TryLater,
    Unknown,
)

if TYPE_CHECKING:
    from collections.abc import Callable

PRICE: Final = 5_000
DEFINITE: Final = (Rejected, TryLater, Barred)
"""Answers that say that the message did not leave."""


class Given(NamedTuple):
    """A message as a gateway was given it, and when; ``stopped`` says why it should not have been, if it should not."""

    gateway: str
    message: Outgoing
    at: int
    stopped: str


class Truth:
    """What really happened at all gateways, over every life of the dispatcher."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.given: list[Given] = []
        self.answers: dict[int, Answer | None] = {}  # None: nobody ever heard it
        self.ids: set[tuple[str, str, str]] = set()  # gateway, its id, command
        self.told: list[tuple[str, Receipt]] = []
        self.healthy = False
        self.serial = 0

    def left(self, number: int) -> bool:
        """Tell whether a message that was given may have left."""
        return not isinstance(self.answers.get(number), DEFINITE)

    def chance(self, *about: object) -> random.Random:
        """Draw what concerns something, whatever else was drawn before."""
        return random.Random(f"{self.seed}|{about}")  # noqa: S311  the same each time


class Fickle(Scripted):
    """A gateway of which nothing is certain. ``during`` is told of each message while it is leaving."""

    def __init__(self, name: str, truth: Truth, during: Callable[[str, Outgoing], Any], **own: Any) -> None:
        super().__init__(name)
        self.truth = truth
        self.during = during
        self.own = own

    async def send(self, message: Outgoing) -> Answer:
        truth, number = self.truth, len(self.truth.given)
        truth.answers[number] = None
        await self.during(self.name, message)
        answer = self._answer(message)
        if isinstance(answer, Accepted) and answer.provider_id is not None:
            truth.ids.add((self.name, answer.provider_id, message.command))
        truth.answers[number] = answer if not isinstance(answer, Exception) else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _answer(self, message: Outgoing) -> Answer | Exception:
        truth = self.truth
        chance = truth.chance(self.name, message.command, message.attempt)
        truth.serial += 1
        provider_id = f"{self.name}{truth.serial}" if chance.random() < 0.95 else f"{self.name}-again"
        fault = truth.chance("fault", message.command).random()
        if truth.healthy or (fault > 0.2 and chance.random() < 0.6):
            return Accepted(provider_id if chance.random() < 0.9 else None)
        if fault < 0.1:  # some have no luck anywhere
            return chance.choice([Unknown("reset"), Unknown("503"), TimeoutError("no answer"), TryLater("busy")])
        answers: list[Answer | Exception] = [
            Rejected("no"),
            Rejected("listed", blacklisted=chance.random() < 0.3),
            Rejected("no such number", invalid_number=True),
            TryLater("busy"),
            TryLater("busy", after_s=chance.choice([0.0, 5.0, 600.0])),
            TryLater("refused", refused_connection=True),
            Unknown("reset"),
            Unknown("503"),
            TimeoutError("no answer"),
        ]
        return Barred("no balance") if chance.random() < 0.02 else chance.choice(answers)


class Asked(Fickle):
    """One that can be asked what became of a message, and knows it mostly."""

    async def settle(self, sought: Sought) -> Receipt | Rejected | None:
        """Answer by the truth, or not at all."""
        truth = self.truth
        await asyncio.sleep(0)
        chance = truth.chance("settle", sought.command, len(truth.told))
        took = [
            n
            for n, each in enumerate(truth.given)
            if (each.gateway, each.message.command) == (self.name, sought.command)
        ]
        left = [n for n in took if truth.left(n)]
        if chance.random() < 0.3:
            return None
        if not left:
            truth.told.append((self.name, Receipt(Fate.UNDELIVERED, None, sought.command)))
            return Rejected("never seen")
        fate = chance.choice([Fate.DELIVERED, Fate.UNDELIVERED, Fate.ON_ITS_WAY])
        provider_id = f"{self.name}-asked-{sought.command}"
        truth.ids.add((self.name, provider_id, sought.command))
        receipt = Receipt(fate, provider_id, at=sought.sent_at)
        truth.told.append((self.name, receipt._replace(command=sought.command)))
        return receipt
