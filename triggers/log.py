"""Log lines: JSON for machines, plain lines for a terminal; phones, names and texts never in full."""

from __future__ import annotations

import logging
import math
import sys
import time
import traceback
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import structlog

from triggers.errors import TriggersError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_FRAMES = 12
AGAIN_S = 10.0
"""How long a line of a library is not told again."""
MOST_KINDS = 1_000
"""How many kinds of lines are remembered for that."""

_SHOWN_HEAD = 6
_SHOWN_TAIL = 4
_LEAST_HIDDEN = 3
_SECRET = frozenset({"phone", "name", "text", "body", "code", "secret", "password"})


def mask_phone(phone: str | None) -> str:
    """Write a phone number so that a colleague may see it: ``+86138****1234``."""
    if not phone:
        return "no phone"
    digits = "".join(c for c in phone if c.isascii() and (c.isdigit() or c == "+"))
    if len(digits) < _SHOWN_HEAD + _SHOWN_TAIL + _LEAST_HIDDEN:
        return f"{'*' * 4}{digits[-2:]}"
    return f"{digits[:_SHOWN_HEAD]}****{digits[-_SHOWN_TAIL:]}"


def printable(text: str) -> str:
    """Replace what could move a cursor, forge a line or turn the direction of writing."""
    return "".join(c if c.isprintable() else "�" for c in text)


def set_up(form: str) -> None:
    """Send log lines to standard error: ``json`` or ``text``; ``auto`` is text on a terminal."""
    plain = form == "text" or (form == "auto" and sys.stderr.isatty())
    last: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if plain else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _hide,
            _tell_fault,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Others(logging.WARNING)], force=True)


class _Others(logging.Handler):
    """Brings the lines of libraries into the same form: one line each, without what a stranger sent.

    What one says again and again, such as that a broker is away, is told once in ``AGAIN_S``.
    """

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._said: dict[tuple[str, int, str], tuple[float, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a line on: its first words, the kind of the fault, and how often it was left out since the last time."""
        key, now = (record.name, record.levelno, str(record.msg)), time.monotonic()
        at, left_out = self._said.get(key, (-math.inf, 0))
        if now < at + AGAIN_S:
            self._said[key] = (at, left_out + 1)
            return
        if len(self._said) >= MOST_KINDS:
            self._said.clear()
        self._said[key] = (now, 0)
        words = printable(record.getMessage().partition("\n")[0])
        fault = record.exc_info[1] if record.exc_info else None
        more = {"left_out": left_out} if left_out else {}
        structlog.get_logger().log(record.levelno, words, by=record.name, exc_info=fault, **more)


def _hide(_logger: object, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take out what no log may hold, whoever passed it."""
    for key in _SECRET & fields.keys():
        fields[key] = mask_phone(str(fields[key])) if key == "phone" else "***"
    return fields


def _tell_fault(_logger: object, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Tell the kind of a fault and where it arose; its words only if they are ours or the system's, not data."""
    fault = fields.pop("exc_info", None)
    if fault is True:
        fault = sys.exc_info()[1]
    if isinstance(fault, BaseException):
        fields["error"] = f"{fault}" if isinstance(fault, TriggersError | OSError) else type(fault).__name__
        frames = traceback.extract_tb(fault.__traceback__)[-_FRAMES:]
        fields["at"] = [f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    return fields
