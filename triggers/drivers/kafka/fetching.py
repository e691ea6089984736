"""Fetches a stretch of a fleet's log for the commands that read recorded logs: kafka://host:port/topic?from=T&until=T."""

from __future__ import annotations

import asyncio
from typing import IO, Final
from urllib.parse import unquote, urlsplit

from triggers.core.intake import epoch_ms
from triggers.drivers.kafka.connection import hush
from triggers.drivers.kafka.connection_settings import PREFIX
from triggers.drivers.kafka.exporting import export
from triggers.drivers.kafka.options import settings_of
from triggers.errors import InputUnusable

FORM: Final = "kafka://HOST:PORT/TOPIC?from=T&until=T"
"""Times are RFC 3339; both may be left out."""


def fetch(name: str, file: IO[bytes]) -> None:
    """Write what a kafka:// name stands for to a file. Raises InputUnusable, ServiceUnusable."""
    if "@" in name.partition("?")[0]:  # no topic has one; what may be a password is not shown
        raise InputUnusable(f"{FORM} is expected; users are given as {PREFIX}SASL_USERNAME and …SASL_PASSWORD")
    try:
        place = urlsplit(name)
    except ValueError as error:
        raise InputUnusable(f"{name}: {error}; {FORM} is expected") from None
    topic = unquote(place.path.strip("/"))
    if not place.netloc or not topic or "/" in topic or place.fragment:
        raise InputUnusable(f"{name}: {FORM} is expected")
    times = _times(name, place.query)
    if times.get("from", 0) > times.get("until", 1 << 62):
        raise InputUnusable(f"{name}: from is after until")
    hush()
    settings = settings_of({"bootstrap": place.netloc})
    asyncio.run(export(settings, topic, file.writelines, since=times.get("from"), until=times.get("until")))


def _times(name: str, query: str) -> dict[str, int]:
    """Read what stands behind the question mark; a plus sign is one: it belongs to a time's offset."""
    times: dict[str, int] = {}
    for part in filter(None, query.split("&")):
        key, _, text = part.partition("=")
        if key not in ("from", "until") or key in times:
            raise InputUnusable(f"{name}: 'from' and 'until' are known, once each; found {key!a}")
        try:
            times[key] = epoch_ms(unquote(text))
        except ValueError as error:
            raise InputUnusable(f"{name}: {key}: {error}") from None
    return times
