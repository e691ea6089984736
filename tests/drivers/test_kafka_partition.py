from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest
from fleets import Fleet, lines
from running import SAMPLE_RULES, write_shop_log

from triggers.core.decisions import Decision, Send
from triggers.core.intake import decode_many
from triggers.core.rulebook import Rulebook
from triggers.core.times import DAY
from triggers.language import load
from triggers.replay.log import Log
from triggers.replay.replay import Replay
from triggers.store.decisions import row_of

if TYPE_CHECKING:
    from pathlib import Path

AFTER_THE_END = 40 * DAY


@pytest.fixture(scope="module")
def shop_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop_log(tmp_path_factory.mktemp("log"), customers=400, events=6_000)


@pytest.fixture(scope="module")
def book() -> Rulebook:
    return sample_book()


def sample_book(**limits: Any) -> Rulebook:
    """The sample rules; all that share anything with the limits given."""
    loaded = load(SAMPLE_RULES)
    assert loaded.shop is not None
    rules = [replace(rule, limits=replace(rule.limits, **limits)) if limits else rule for rule in loaded.rules]
    return Rulebook(rules, loaded.shop, revision=loaded.revision, keep_all=True)


def bodies(path: Path) -> list[tuple[bytes, str, int]]:
    found = path.read_bytes().splitlines()
    events: list[Any] = decode_many(found)
    return sorted(
        ((line, event.customer, event.received_at) for line, event in zip(found, events, strict=True)),
        key=lambda each: each[2],
    )


def replayed(book: Rulebook, path: Path, until: int) -> tuple[list[Send], Counter[Any]]:
    sends: list[Send] = []
    rows: Counter[Any] = Counter()

    def take(decision: Decision) -> None:
        if isinstance(decision, Send) and not decision.withheld and not decision.shadow:
            sends.append(decision)
        if (row := row_of(decision, book.revision)) is not None:
            rows[row] += 1

    events = list(chain.from_iterable(Log([str(path)], order="received").read()))
    replay = Replay(book, take, clock=events[0].received_at - 1)  # type: ignore[operator]
    replay.play(events)
    replay.run_until(until)
    return sends, rows


def run(book: Rulebook, path: Path, partitions: int, seed: int, **options: Any) -> tuple[Fleet, int]:
    arrived = bodies(path)
    until = arrived[-1][2] + AFTER_THE_END
    fleet = Fleet(book, partitions, seed, **options)
    fleet.write(arrived, tick_at=until)
    fleet.run()
    return fleet, until


@pytest.mark.parametrize(("partitions", "crashes"), [(1, 0.0), (3, 0.0), (8, 0.1)])
def test_partitions_decide_as_a_replay(book: Rulebook, shop_log: Path, partitions: int, crashes: float) -> None:
    fleet, until = run(book, shop_log, partitions, partitions, crashes=crashes)
    sends, rows = replayed(book, shop_log, until)
    assert len({send.rule for send in sends}) >= 8
    assert lines(fleet.sends) == lines(sends)
    found = Counter(tuple(getattr(each, name) for name in each.__struct_fields__) for each in fleet.decided)
    assert found == Counter({tuple(row): count for row, count in rows.items()})


@pytest.mark.parametrize("seed", range(4))
def test_limits_that_run_out_are_given_to_the_same_customers(shop_log: Path, seed: int) -> None:
    book = sample_book(per_day=3, total=40)
    assert len(book.sharing) == len(book.rules)
    fleet, until = run(book, shop_log, 4, seed, crashes=0.05 * (seed % 2), most=60)
    sends, rows = replayed(book, shop_log, until)
    assert lines(fleet.sends) == lines(sends)
    found = Counter(tuple(getattr(each, name) for name in each.__struct_fields__) for each in fleet.decided)
    assert found == Counter({tuple(row): count for row, count in rows.items()})
    assert {each.reason for each in fleet.decided} >= {"per day", "total"}
