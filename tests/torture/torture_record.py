"""Puts together what a torture left behind: of each command its row, its history, and what the gateway read of it."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from torture_reading import COMMERCIAL, lines_of, query, takes

from triggers.store.states import COUNTED, SENDING

if TYPE_CHECKING:
    import sqlite3

    from torture_lives import Ended

MAY_HAVE_LEFT = {*COUNTED, "expired"}
NOT_TAKEN = {"throttled", "refused", "rejected"}
_OUTBOX = (
    "SELECT seq, command, customer, rule, class AS klass, state, reason, phone, gateway, ambiguous, attempts, cost,"
    " month, left_at, queued_at, body FROM outbox ORDER BY seq"
)


class Story(NamedTuple):
    """All that is known of one command: its row, its moves, and what the gateway read of it."""

    row: sqlite3.Row
    moves: list[sqlite3.Row]
    asked: list[dict[str, Any]]

    @property
    def claims(self) -> list[sqlite3.Row]:
        """The moves by which it began to leave."""
        return [move for move in self.moves if move["new"] == SENDING]

    @property
    def send(self) -> dict[str, Any]:
        """The command as it was queued."""
        return dict(json.loads(self.row["body"]))

    @property
    def taken(self) -> int:
        """How often the gateway took it."""
        return sum(takes(line) for line in self.asked)


class Record:
    """What is left of a torture. ``strays`` are commands that the gateway was asked for and that do not exist."""

    def __init__(self, ended: Ended) -> None:
        self.ended = ended
        self.world, self.senders = ended.world, ended.senders
        self.truth = lines_of(self.world.truth)
        asked: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for line in self.truth:
            asked[line["command"]].append(line)
        moves: dict[int, list[sqlite3.Row]] = defaultdict(list)
        for move in query(self.world.db, "SELECT * FROM transitions ORDER BY seq"):
            moves[move["message"]].append(move)
        self.stories = {
            row["command"]: Story(row, moves[row["seq"]], asked.pop(row["command"], []))
            for row in query(self.world.db, _OUTBOX)
        }
        self.commercial = [each for each in self.stories.values() if each.row["klass"] in COMMERCIAL]
        self.strays = list(asked)
