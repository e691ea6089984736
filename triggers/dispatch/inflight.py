"""The messages that are leaving at this moment, so that whoever stops a customer's messages can wait for the last one."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


class InFlight:
    """Keys (phones, customers) with what is leaving to each. ``begin`` may be called from any thread.

    A message is begun in the transaction that claims it, so that a later transaction which forbids the next one finds it
    here.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leaving: dict[str, set[int]] = {}
        self._ended = asyncio.Event()

    def begin(self, message: int, keys: Iterable[str]) -> None:
        """Note that a message begins to leave."""
        with self._lock:
            for key in keys:
                self._leaving.setdefault(key, set()).add(message)

    def finish(self, message: int, keys: Iterable[str]) -> None:
        """Note that nothing more of a message leaves. Call it on the event loop."""
        with self._lock:
            for key in keys:
                messages = self._leaving.get(key, set())
                messages.discard(message)
                if not messages:
                    self._leaving.pop(key, None)
        self._ended.set()
        self._ended = asyncio.Event()

    async def over(self, keys: Collection[str]) -> None:
        """Wait until what is leaving to these keys now has left; what begins later is not waited for."""
        with self._lock:
            awaited = {message for key in keys for message in self._leaving.get(key, ())}
        while awaited:
            ended = self._ended
            with self._lock:
                awaited &= {message for key in keys for message in self._leaving.get(key, ())}
            if awaited:
                await ended.wait()
