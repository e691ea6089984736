"""Rules at work in virtual time, in few words: what happened, what was sent, how each wait ended."""

from __future__ import annotations

import copy
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from scenes import START, book

from triggers.core.decisions import Armed, Ended, LateCancel, Postponed, Send
from triggers.replay.replay import Replay

FREE = {"window": ["00:00-24:00"], "text": "x"}
"""A send without a window."""


def on(wall: str, name: str = "Asia/Shanghai", fold: int = 0) -> int:
    """Count the ms from START to a wall time."""
    moment = datetime.fromisoformat(wall).replace(tzinfo=ZoneInfo(name), fold=fold)
    return int(moment.timestamp() * 1000) - START


def wall(at: int, name: str = "Asia/Shanghai") -> str:
    """Write an instant (epoch ms) as a wall time."""
    return datetime.fromtimestamp(at / 1000, ZoneInfo(name)).strftime("%Y-%m-%d %H:%M")


def arriving(event: Any, at: int) -> Any:
    """Let an event arrive at another instant than it happened, in ms from START."""
    late = copy.copy(event)
    late.received_at = START + at
    return late


class Story:
    """A replay of rules; every time counts in ms from START."""

    def __init__(self, *rules: Any, in_shop: Any = None, clock: int = 0, **keys: Any) -> None:
        self.shop, self.keys = in_shop, keys
        self.decisions: list[Any] = []
        self.replay = Replay(book(*rules, in_shop=in_shop, **keys), self.decisions.append, clock=START + clock)

    def tell(self, *events: Any) -> Story:
        """Let events arrive, in the order of their arrival."""
        self.replay.play(sorted(map(copy.copy, events), key=lambda event: event.received_at))
        return self

    def known(self, *events: Any) -> Story:
        """Let events be known beforehand."""
        for event in events:
            self.replay.remember(copy.copy(event))
        return self

    def until(self, at: int) -> Story:
        """Let all timers before an instant act."""
        self.replay.run_until(START + at)
        return self

    def edit(self, at: int, *rules: Any, **keys: Any) -> Story:
        """Switch to other rules at an instant."""
        self.until(at)
        self.replay.change(book(*rules, in_shop=self.shop, **{**self.keys, **keys}))
        return self

    def all(self, kind: type[Any]) -> list[Any]:
        return [decision for decision in self.decisions if isinstance(decision, kind)]

    @property
    def sends(self) -> list[Send]:
        return self.all(Send)

    @property
    def sent(self) -> list[int]:
        """When messages left, or would have."""
        return [send.at - START for send in self.sends]

    @property
    def who(self) -> list[tuple[str, int]]:
        return [(send.rule, send.at - START) for send in self.sends]

    @property
    def ends(self) -> list[str]:
        """How waits ended, in words."""
        return [ended.words for ended in self.all(Ended)]

    @property
    def held(self) -> list[tuple[str, int]]:
        """Why tries were held back, and until when."""
        return [(str(held.reason), held.until - START) for held in self.all(Postponed)]

    @property
    def armed(self) -> list[int]:
        return [armed.wait.anchor - START for armed in self.all(Armed)]

    @property
    def late(self) -> list[str]:
        return [late.event_id for late in self.all(LateCancel)]

    def customer(self, name: str = "c1") -> Any:
        return self.replay.customers[name]
