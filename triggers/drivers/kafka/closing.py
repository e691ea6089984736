"""Lets go of a connection to Kafka, also of one that is broken: a process that ends has said why, and ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Coroutine

CLOSING_S: Final = 10.0
"""How long a connection may take to close, with the last words on it: less than anybody waits before they kill."""

_log = structlog.get_logger("dispatch")


async def let_go(stopping: Coroutine[Any, Any, None]) -> None:
    """Wait until a client has stopped, whatever it raises: aiokafka's may raise its own cancellations, or never end."""
    task = asyncio.create_task(stopping)
    done, _ = await asyncio.wait({task}, timeout=CLOSING_S)
    if not done:
        _log.warning("Kafka was left without a word: it did not answer")
    elif not task.cancelled() and (fault := task.exception()) is not None:
        _log.warning("a connection to Kafka did not end cleanly", error=type(fault).__name__)
