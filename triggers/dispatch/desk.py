"""Where a dispatcher is met from outside: by whoever posts messages and asks after them, and by gateways that call back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triggers.dispatch.gateway import Hears
from triggers.dispatch.postbox import Posted
from triggers.store.database import saying
from triggers.store.messages import message_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from triggers.dispatch.assembly import Dispatch
    from triggers.dispatch.gateway import Heard
    from triggers.dispatch.postbox import Answered, Wanted
    from triggers.store.database import Connection
    from triggers.store.messages import Message


class Desk:
    """Takes messages and calls; all of it on the event loop.

    ``reader`` is a connection of the loop's own to the database ``db``; ``queued`` is called once for each message that is
    new in the outbox.
    """

    def __init__(self, dispatch: Dispatch, reader: Connection, db: Path, *, queued: Callable[[], object]) -> None:
        self._dispatch = dispatch
        self._reader = reader
        self._db = db
        self._queued = queued

    async def post(self, key: str, wanted: Wanted) -> Answered:
        """Queue a message that no rule sends, once by its key; returns when it is on the disk."""
        posted = await self._dispatch.postbox.post(key, wanted)
        if isinstance(posted, Posted) and posted.new:
            self._queued()
        return posted

    def message(self, command: str) -> Message | None:
        """Tell what became of a message so far; None: there is none with this id."""
        with saying(self._db):
            return message_of(self._reader, command)

    @property
    def public_url(self) -> str | None:
        """The address at which the service is reached from outside, if it was told."""
        return self._dispatch.delivery.public_url

    def caller(self, name: str) -> Hears | None:
        """Find the gateway that has this name in the settings; None: there is none, or it never calls back."""
        gateway: object = self._dispatch.gateways.get(name)
        return gateway if isinstance(gateway, Hears) else None

    async def heard(self, gateway: str, heard: Heard) -> None:
        """Store what a gateway told; returns when it is on the disk and every opt-out in it holds."""
        await self._dispatch.hearing.hear(gateway, heard)
