"""The options that the commands of a fleet share: each is a setting that the environment can give, too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from pydantic import ValidationError

from triggers.core.intake import epoch_ms
from triggers.drivers.kafka.settings import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_ADDRESS: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+):\d{1,5}")
_OPTIONS: Final = {
    "bootstrap": click.option("--bootstrap", metavar="HOST:PORT", help="Where Kafka is.  [default: 127.0.0.1:9092]"),
    "app": click.option("--app", metavar="NAME", help="The fleet's name.  [default: triggers]"),
    "prefix": click.option(
        "--prefix", metavar="TEXT", help="What the fleet's topics begin with.  [default: triggers.]"
    ),
    "sources": click.option(
        "--sources", metavar="TOPICS", help="The shop's topics.  [default: orders,favorites,registrations]"
    ),
    "partitions": click.option("--partitions", type=int, metavar="N", help="Of a topic that is made.  [default: 8]"),
    "replication": click.option("--replication", type=int, metavar="N", help="Of a topic that is made.  [default: 1]"),
    "virtual": click.option(
        "--virtual",
        is_flag=True,
        default=None,
        help="The log holds recorded times: nothing waits for the wall's clock.",
    ),
}


def takes(*names: str) -> Callable[[Decorated], Decorated]:
    """Give a command the options of those settings."""

    def decorate(command: Decorated) -> Decorated:
        for name in reversed(names):
            command = _OPTIONS[name](command)
        return command

    return decorate


def settings_of(given: Mapping[str, object]) -> KafkaSettings:
    """Make the settings of what a command was given, and of the environment. Raises UsageError for what is unusable."""
    try:
        settings = KafkaSettings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        raise click.UsageError("; ".join(f"{_named(e['loc'])}: {e['msg']}" for e in error.errors())) from None
    for address in settings.bootstrap.split(","):
        if not _ADDRESS.fullmatch(address.strip()):
            raise click.UsageError(f"--bootstrap: HOST:PORT is expected, several joined by commas; found {address!a}")
    return settings


def _named(place: tuple[int | str, ...]) -> str:
    name = str(place[0]) if place else ""
    return f"--{name}" if name in _OPTIONS else f"TRIGGERS_KAFKA_{name.upper()}"


def instant(text: str | None) -> int | None:
    """Read an RFC 3339 time with an offset as epoch ms. Raises UsageError for what is none."""
    if text is None:
        return None
    try:
        return epoch_ms(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
