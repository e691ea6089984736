# ruff: noqa: SLF001  what is between a worker and Kafka is played here
"""A partition that a worker holds, without a broker: what it has decided and not written is never gone on from."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from fleets import Record
from scenes import HOUR, START, book, rule

from triggers.core.decisions import Verdict
from triggers.drivers.kafka import connection, journal
from triggers.drivers.kafka import crew as crew_module
from triggers.drivers.kafka.crew import Crew
from triggers.drivers.kafka.holding import Holding
from triggers.drivers.kafka.records import OWN, TICK, Answered, decode_place, encode_answered
from triggers.drivers.kafka.settings import KafkaSettings
from triggers.drivers.kafka.worker_metrics import WorkerMetrics
from triggers.errors import ServiceUnusable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from triggers.drivers.kafka.journal import Batch

BOOK = book(rule("r", wait="1h", send={"text": "x", "window": ["00:00-24:00"]}, limits={"total": 9}), revision="v1")


class Paper:
    """A journal in memory. While ``stuck`` a turn is not written, as long as anybody waits."""

    def __init__(self, rows: dict[bytes, bytes | None]) -> None:
        self.rows = rows
        self.turns: list[list[Batch]] = []
        self.stuck = False

    async def open(self) -> dict[bytes, bytes | None]:
        return dict(self.rows)

    async def commit(self, batches: Iterable[Batch]) -> None:
        if self.stuck:
            await asyncio.Event().wait()
        turn = list(batches)
        self.turns.append(turn)
        self.rows.update(
            {key or b"": row for batch in turn if "customers" in batch.topic for key, row in batch.records}
        )

    async def close(self) -> None:
        return


def settings() -> KafkaSettings:
    return KafkaSettings(bootstrap="127.0.0.1:1", partitions=1)


async def held(rows: dict[bytes, bytes | None] | None = None) -> tuple[Holding, Paper]:
    holding, paper = Holding(settings(), 0, "w", WorkerMetrics()), Paper({} if rows is None else rows)
    holding._journal = paper  # type: ignore[assignment]  # as a journal does
    await holding.open(anything)
    return holding, paper


async def anything(_revision: str) -> Any:
    return BOOK


def order(offset: int) -> Record:
    body = {"id": f"e{offset}", "type": "order.created", "customer": "a", "at": START, "order_id": "o", "amount": 1}
    return Record("events", 0, offset, START, b"a", msgspec.json.encode(body))


def tick(offset: int) -> Record:
    return Record("events", 0, offset, START + 2 * HOUR, None, TICK)


def verdict(offset: int, number: int, command: str = "other") -> Record:
    return Record("verdicts", 0, offset, START, None, encode_answered(Answered(number, "a", command, Verdict())))


async def test_an_answer_does_not_go_on_from_a_turn_that_was_cancelled() -> None:
    holding, paper = await held()
    await holding.take([order(0)])
    written, paper.stuck = len(paper.turns), True
    taking = asyncio.create_task(holding.take([tick(1)]))
    await asyncio.sleep(0.01)
    taking.cancel()
    with suppress(asyncio.CancelledError):
        await taking
    paper.stuck = False
    await holding.answer([verdict(0, 1)])
    assert len(paper.turns) == written
    assert not holding.ready
    place = decode_place(paper.rows[OWN] or b"")
    assert (place.position, place.verdict) == (0, -1)


async def test_what_was_cancelled_is_decided_again_by_whoever_opens_it_next() -> None:
    holding, paper = await held()
    await holding.take([order(0)])
    paper.stuck = True
    taking = asyncio.create_task(holding.take([tick(1)]))
    await asyncio.sleep(0.01)
    taking.cancel()
    with suppress(asyncio.CancelledError):
        await taking
    again, paper = await held(paper.rows)
    await again.take([tick(1)])
    topics = [batch.topic for turn in paper.turns for batch in turn]
    assert "triggers.asks" in topics
    assert decode_place(paper.rows[OWN] or b"").position == 1


async def test_answers_read_for_a_former_owner_of_a_partition_are_left_to_be_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Reader:
        def assign(self, places: Any) -> None: ...
        def seek(self, place: Any, offset: int) -> None: ...

    crew = Crew(settings(), BOOK, "w", WorkerMetrics())
    first, _ = await held()
    monkeypatch.setattr(crew_module, "Holding", lambda *_: first)
    monkeypatch.setattr(first, "open", anything)
    await crew.gained(0)
    reader: Any = Reader()
    crew._seek(reader)
    await crew._answer(0, [verdict(0, 1)])
    assert first.verdicts_from == 1
    await crew.lost(0)
    second, _ = await held()
    monkeypatch.setattr(crew_module, "Holding", lambda *_: second)
    monkeypatch.setattr(second, "open", anything)
    await crew.gained(0)
    await crew._answer(0, [verdict(5, 6)])  # the reader still stands where the first one was
    assert second.verdicts_from == 0
    crew._seek(reader)
    await crew._answer(0, [verdict(0, 1)])
    assert second.verdicts_from == 1


class Silent:
    """A consumer to whom nothing comes of a partition that has ten records."""

    def __init__(self, **_: Any) -> None: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def assign(self, places: Any) -> None: ...
    def seek(self, place: Any, offset: int) -> None: ...

    async def end_offsets(self, places: Any) -> dict[Any, int]:
        return dict.fromkeys(places, 10)

    async def getmany(self, **_: Any) -> dict[Any, Any]:
        await asyncio.sleep(0.01)
        return {}

    async def position(self, _place: Any) -> int:
        return 0


async def test_a_partition_that_cannot_be_read_ends_the_worker_and_not_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "AIOKafkaConsumer", Silent)
    monkeypatch.setattr(journal, "STUCK_S", 0.05)
    async with asyncio.timeout(5):
        with pytest.raises(ServiceUnusable, match=r"nothing came for 0\.05 s at 0 of 10"):
            await journal.Journal(settings(), "events.0", "triggers.customers", 0).places_of(())
