"""The gateway that prints: each message as it leaves, the phone masked. For demonstrations and first steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from triggers.core.times import Zone, wall_text
from triggers.dispatch.gateway import Answer
from triggers.log import mask_phone, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from triggers.store.outbox import Command


class ConsoleGateway:
    """Prints messages through ``show``, which puts one line on the screen; times are the shop's."""

    name = "console"

    def __init__(self, show: Callable[[Text], None], zone: Zone) -> None:
        self._show = show
        self._zone = zone

    async def send(self, command: Command) -> Answer:
        """Print one message."""
        send, phone = command
        line = Text()
        line.append(f"{wall_text(self._zone, send.at)}  ")
        line.append("sent", style="bold green")
        line.append(f"  {mask_phone(phone):<16} {send.rule}", style="cyan")
        line.append(f"  {printable(send.text)}")
        self._show(line)
        return Answer.ACCEPTED
