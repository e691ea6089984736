"""Prints a customer's story for a person: one line an entry, in the shop's zone, what still waits at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from triggers.core.times import NEVER, wall_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from triggers.reports.story import Story

_COLOURS = {
    "sent": "green",
    "would send": "green",
    "withheld": "cyan",
    "ended": "red",
    "held": "yellow",
    "waits": "blue",
    "waiting": "blue",
    "late cancel": "yellow",
    "ignored": "yellow",
}
_KIND_WIDTH = 11
_TIME_WIDTH = 16


def tell(story: Story) -> Iterator[str]:
    """Write the story as lines; colours are for terminals, and left out by click elsewhere."""
    yield f"{click.style(story.customer, bold=True)}, {_counted(story)}; times in {story.zone.name}"
    yield ""
    shown = ""
    for entry in story.in_order():
        time = wall_text(story.zone, entry.at)
        yield _line("" if time == shown else time, entry.kind, entry.rule, entry.text)
        shown = time
    if story.dropped:
        yield f"… and {story.dropped} more"
    yield ""
    yield f"at {wall_text(story.zone, story.now)}" + (" these wait:" if story.waiting else " nothing waits")
    for entry in story.waiting:
        time = wall_text(story.zone, entry.at) if entry.at < NEVER else ""
        yield _line(time, entry.kind, entry.rule, entry.text)
    yield from story.notes


def _counted(story: Story) -> str:
    counts = [
        (sum(entry.kind == kind for entry in story.entries), words)
        for kind, words in (("event", "event"), ("waits", "wait"), ("sent", "message"))
    ]
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts)


def _line(time: str, kind: str, rule: str | None, text: str) -> str:
    coloured = click.style(kind.ljust(_KIND_WIDTH), fg=_COLOURS.get(kind))
    return f"  {time.ljust(_TIME_WIDTH)}  {coloured}  {f'{rule}: ' if rule else ''}{text}"
