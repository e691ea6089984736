"""Killed at any moment, the service loses nothing and sends nothing twice.

TRIGGERS_KILLS sets how often (50 by default).
"""

from __future__ import annotations

import os
import random
import time
from itertools import chain
from typing import TYPE_CHECKING

from running import SAMPLE_RULES, query, sends_of

from triggers.core.decisions import Decision, Send
from triggers.core.rulebook import Rulebook
from triggers.language import load
from triggers.replay.log import Log
from triggers.replay.replay import Replay

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from running import Running

KILLS = int(os.environ.get("TRIGGERS_KILLS", "50"))


def replayed(path: Path) -> dict[str, Send]:
    """Replay a log in memory, and keep what was sent."""
    loaded = load(SAMPLE_RULES)
    sends: dict[str, Send] = {}

    def take(decision: Decision) -> None:
        if isinstance(decision, Send) and not decision.withheld and not decision.shadow:
            assert decision.id not in sends
            sends[decision.id] = decision

    events = list(chain.from_iterable(Log([str(path)], order="received").read()))
    book = Rulebook(loaded.rules, loaded.shop, revision=loaded.revision, keep_all=True)
    Replay(book, take, clock=events[0].received_at - 1).play(events)
    return sends


def test_killed_many_times_while_events_arrive_it_sends_what_an_unkilled_run_and_the_replay_send(
    run: Callable[..., Running], tmp_path: Path, shop_log: Path
) -> None:
    unkilled = tmp_path / "unkilled"
    unkilled.mkdir()
    first = run("--input", str(shop_log), "--speed", "0", "--exit-at-end", folder=unkilled)

    chance = random.Random(5)  # noqa: S311  the same moments each time
    growing = tmp_path / "growing.jsonl"
    lines = shop_log.read_bytes().splitlines(keepends=True)
    share = -(-len(lines) // (KILLS + 1))
    growing.write_bytes(b"".join(lines[:share]))
    printed: list[str] = []
    for kill in range(1, KILLS + 1):
        running = run("--input", str(growing), "--speed", "0")
        running.address()
        with growing.open("ab") as file:
            file.write(b"".join(lines[kill * share : (kill + 1) * share]))
        time.sleep(chance.uniform(0, 0.35))
        running.kill()
        printed += [line for line in running.out if "  sent  " in line]
    last = run("--input", str(growing), "--speed", "0", "--exit-at-end")
    assert last.wait() == 0, last.err
    printed += [line for line in last.out if "  sent  " in line]
    assert first.wait() == 0, first.err

    sends = sends_of(last.db)
    assert len(sends) > 1_000
    assert sends == sends_of(first.db)
    expected = replayed(shop_log)
    assert {key: (send["at"], send["text"]) for key, send in sends.items()} == {
        key: (send.at, send.text) for key, send in expected.items()
    }
    counted = "SELECT rule, kind, reason, count(*) FROM decisions GROUP BY 1, 2, 3"
    assert query(last.db, counted) == query(first.db, counted)
    states = dict(query(last.db, "SELECT state, count(*) FROM outbox GROUP BY state"))
    assert set(states) <= {"accepted", "unknown", "suppressed"}
    reasons = query(last.db, "SELECT DISTINCT reason FROM outbox WHERE state = 'suppressed' ORDER BY 1")
    assert reasons in ([("no consent",)], [("no consent",), ("unsubscribed",)])
    assert states["accepted"] <= len(printed) <= len(sends) - states["suppressed"]
