"""What stands in a topic of the fleet and none of its processes wrote: it is told, with its place, and left out."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import msgspec
import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

R = TypeVar("R")
MOST_TOLD: Final = 10_000
"""How many places are remembered, so that what is read again is told once."""
_log = structlog.get_logger("fleet")


class Placed(Protocol):
    """A record where it stands."""

    @property
    def topic(self) -> str:
        """Its topic."""

    @property
    def partition(self) -> int:
        """Its partition."""

    @property
    def offset(self) -> int:
        """Its place there."""

    @property
    def value(self) -> bytes | None:
        """What it holds."""


def decoded(record: Placed, decode: Callable[[bytes], R]) -> R | None:
    """Read a record of ours; None for what is none, which is told. ``decode`` raises msgspec.MsgspecError for it."""
    try:
        return decode(record.value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        leave_out(place_of(record), type(error).__name__)
        return None


def place_of(record: Placed) -> str:
    """Name where a record stands."""
    return f"{record.topic}/{record.partition}/{record.offset}"


@lru_cache(MOST_TOLD)
def leave_out(place: str, error: str) -> None:
    """Tell that what stands at a place is not understood, and why; once, however often it is read."""
    _log.error("a record is not understood, and left out", place=place, error=error)
