"""What the HTTP face needs of the service behind it, by what the service does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from triggers.dispatch.gateway import Heard, Hears
    from triggers.dispatch.postbox import Answered, Wanted
    from triggers.store.event_log import Arrival, Entry
    from triggers.store.messages import Message


class Busy(Protocol):
    """A service that may have too much to do."""

    @property
    def busy(self) -> bool:
        """Whether more is waiting to be written than should be."""
        ...


class Intake(Protocol):
    """A service that takes events."""

    def ingest(self, arrivals: Sequence[Arrival]) -> Future[list[Entry]]:
        """Log what came in; the answer comes when it is on the disk."""
        ...

    async def heeded(self, arrivals: Sequence[Arrival]) -> None:
        """Wait until nothing commercial leaves any more to the customers who opted out in what came in."""
        ...


class Post(Protocol):
    """A service that takes messages which no rule sends."""

    async def post(self, key: str, wanted: Wanted) -> Answered:
        """Queue a message that no rule sends, once by its key; returns when it is on the disk."""
        ...

    def message(self, command: str) -> Message | None:
        """Tell what became of a message so far; None: there is none with this id."""
        ...


class Called(Protocol):
    """A service that gateways call back."""

    @property
    def public_url(self) -> str | None:
        """The address at which the service is reached from outside, if it was told."""
        ...

    def caller(self, name: str) -> Hears | None:
        """Find the gateway that has this name in the settings; None: there is none, or it never calls back."""
        ...

    async def heard(self, gateway: str, heard: Heard) -> None:
        """Store what a gateway told; returns when it is on the disk and every opt-out in it holds."""
        ...


class Engine(Busy, Intake, Post, Called, Protocol):
    """A whole service, as seen from outside."""

    def health(self) -> dict[str, Any]:
        """Tell how the service is; ``status`` is "ok" or what is wrong."""
        ...
