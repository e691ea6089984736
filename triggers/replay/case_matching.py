"""Pairs the sends that a test expects with those that happened, so that no pairing explains more of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from triggers.core.times import MINUTE, wall_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triggers.core.decisions import Send
    from triggers.core.times import Zone
    from triggers.language.tree import Path


@dataclass(frozen=True, slots=True)
class Wanted:
    """One expected send, at a path of its file: what is None was not written and matches anything.

    ``at`` is in epoch ms, exact to the minute.
    """

    KEYS: ClassVar = ("to", "rule", "variant", "coupon", "wave", "text_has", "withheld")

    path: Path
    at: int | None = None
    to: str | None = None
    rule: str | None = None
    variant: str | None = None
    coupon: str | None = None
    wave: str | None = None
    text_has: str | None = None
    withheld: bool | None = None

    def differences(self, send: Send) -> list[str]:
        """Name what of the send is not as expected: keys of the expectation, none if it matches."""
        found = [
            key
            for key, wanted, had in (
                ("to", self.to, send.customer),
                ("rule", self.rule, send.rule),
                ("variant", self.variant, send.variant),
                ("coupon", self.coupon, send.coupon),
                ("wave", self.wave, send.wave),
                ("withheld", self.withheld, send.withheld),
            )
            if wanted is not None and wanted != had
        ]
        if self.text_has is not None and self.text_has not in send.text:
            found.append("text_has")
        if self.at is not None and self.at // MINUTE != send.at // MINUTE:
            found.append("at")
        return found

    def words(self, zone: Zone) -> str:
        """Say what was expected, in the order of a sentence."""
        parts = ["a withheld send" if self.withheld else "a send"]
        parts += [f"of {self.rule}"] if self.rule else []
        parts += [f"to {self.to}"] if self.to else []
        parts += [f"at {wall_text(zone, self.at)}"] if self.at is not None else []
        named = (("variant", self.variant), ("coupon", self.coupon), ("wave", self.wave))
        with_parts = [f"{key} {value}" for key, value in named if value is not None]
        if self.text_has is not None:
            with_parts.append(f"the text '{self.text_has}'")
        if self.withheld is False:
            with_parts.append("nothing withheld")
        return " ".join(parts) + (f" with {', '.join(with_parts)}" if with_parts else "")


def pair(fits: Sequence[Sequence[int]]) -> dict[int, int]:
    """Give as many as possible one of their own: from what each would take to index -> what it gets.

    A maximum matching by augmenting paths: an expectation that says little never takes the send of one that says more.
    """
    owner: dict[int, int] = {}
    for index in range(len(fits)):
        _place(index, fits, owner)
    return {index: send for send, index in owner.items()}


def _place(index: int, fits: Sequence[Sequence[int]], owner: dict[int, int]) -> None:
    tried: set[int] = set()
    path: list[tuple[int, int]] = []  # explicit stack: a test may expect thousands of sends
    stack = [(index, iter(fits[index]))]
    while stack:
        current, options = stack[-1]
        send = next((s for s in options if s not in tried), None)
        if send is None:
            stack.pop()
            if path:
                path.pop()
            continue
        tried.add(send)
        path.append((current, send))
        if send not in owner:
            owner.update({s: i for i, s in path})
            return
        stack.append((owner[send], iter(fits[owner[send]])))


def nearest(one: Wanted, sends: Sequence[Send]) -> Send | None:
    """Find the send that differs least from an expectation: fewest keys, then closest in time."""

    def distance(send: Send) -> tuple[int, int]:
        return len(one.differences(send)), abs(send.at - one.at) if one.at is not None else 0

    return min(sends, key=distance, default=None)
