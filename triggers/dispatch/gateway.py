"""What a gateway is to the dispatcher: one method that sends one message and says what became of it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from triggers.store.outbox import Command


class Answer(StrEnum):
    """What a gateway says of a message. Anything that it cannot be sure of is unknown, and is not sent again."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


class Gateway(Protocol):
    """A way out for messages."""

    name: str

    async def send(self, command: Command) -> Answer:
        """Send one message, once. Whatever is raised counts as unknown."""
        ...
