"""The options that the commands of a fleet share: each is a setting that the environment can give, too.

How Kafka is spoken to, and as whom, the environment alone says: it is the same for every command, and partly secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from pydantic import ValidationError

from triggers.core.intake import epoch_ms
from triggers.drivers.kafka.settings import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic_core import ErrorDetails

    Decorated = TypeVar("Decorated", bound=Callable[..., Any])

Kind = TypeVar("Kind", bound=KafkaSettings)
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
    return made(KafkaSettings, given)


def made(kind: type[Kind], given: Mapping[str, object]) -> Kind:
    """Make settings of a kind in the same way. Raises UsageError, which shows no value that may be secret."""
    try:
        return kind(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        raise click.UsageError("; ".join(map(_told, error.errors()))) from None


def _told(error: ErrorDetails) -> str:
    place, text = error["loc"], error["msg"].removeprefix("Value error, ")
    if not place or text.startswith("TRIGGERS_"):  # it names what it is about
        return text
    name = str(place[0])
    return f"--{name}: {text}" if name in _OPTIONS else f"TRIGGERS_KAFKA_{name.upper()}: {text}"


def instant(text: str | None) -> int | None:
    """Read an RFC 3339 time with an offset as epoch ms. Raises UsageError for what is none."""
    if text is None:
        return None
    try:
        return epoch_ms(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
