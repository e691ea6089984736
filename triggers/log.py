"""Log lines: JSON for machines, plain lines for a terminal; phones, names and texts never in full."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import MutableMapping

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
            structlog.processors.format_exc_info,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _hide(_logger: object, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take out what no log may hold, whoever passed it."""
    for key in _SECRET & fields.keys():
        fields[key] = mask_phone(str(fields[key])) if key == "phone" else "***"
    return fields
