"""The gateway that prints: each message as it leaves, the phone masked. For demonstrations and first steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field
from rich.console import Console
from rich.text import Text

from triggers.core.times import Zone, wall_text
from triggers.dispatch.gateway import Accepted
from triggers.dispatch.gateway_settings import GatewaySettings, Number
from triggers.log import mask_phone, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from triggers.dispatch.gateway import Outgoing


class ConsoleSettings(GatewaySettings):
    """Messages go to the screen and nowhere else."""

    type: Literal["console"]
    rate: Annotated[Number, Field(gt=0, le=100_000)] = 10_000.0
    at_once: Annotated[int, Field(ge=1, le=1_000)] = 100

    def open(self, name: str) -> ConsoleGateway:
        """Make the gateway; it prints on standard output until it is given a screen."""
        return ConsoleGateway(name, Console(highlight=False, soft_wrap=True).print, Zone("UTC"))


class ConsoleGateway:
    """Prints messages through ``show``, which puts one line on the screen; times are those of ``zone``."""

    receipts = False

    def __init__(self, name: str, show: Callable[[Text], object], zone: Zone) -> None:
        self.name = name
        self.show = show
        self.zone = zone

    async def send(self, message: Outgoing) -> Accepted:
        """Print one message."""
        line = Text()
        line.append(f"{wall_text(self.zone, message.at)}  ")
        line.append("sent", style="bold green")
        line.append(f"  {mask_phone(message.phone):<16} {message.rule or message.klass}", style="cyan")
        line.append(f"  {printable(message.text)}")
        self.show(line)
        return Accepted(None)

    async def close(self) -> None:
        """Keep nothing open."""
