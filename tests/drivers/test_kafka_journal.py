from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
from kafka_broker import create_topics, read_all

from triggers.drivers.kafka.journal import MOST_BATCH, Batch, Journal
from triggers.drivers.kafka.settings import KafkaSettings
from triggers.errors import PartitionLost, ServiceUnusable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOM = {"max.message.bytes": "8000000"}


class Desk:
    """A journal's topic and one beside it, and journals of any number of owners, all closed in the end."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.bootstrap = bootstrap
        self.settings = KafkaSettings(bootstrap=bootstrap, prefix=prefix, app=prefix.rstrip("."))
        self.state, self.out = f"{prefix}state", f"{prefix}out"
        self.journals: list[Journal] = []

    async def owner(self) -> tuple[Journal, dict[bytes, bytes | None]]:
        journal = Journal(self.settings, "events.0", self.state, 0)
        self.journals.append(journal)
        return journal, await journal.open()

    def turn(self, *pairs: tuple[bytes, bytes | None], out: bytes = b"") -> list[Batch]:
        beside = [Batch(self.out, 0, [(None, out)])] if out else []
        return [Batch(self.state, 0, pairs), *beside]


@pytest.fixture
async def desk(kafka: str, prefix: str) -> AsyncIterator[Desk]:
    desk = Desk(kafka, prefix)
    await create_topics(kafka, {desk.state: 1, desk.out: 1}, ROOM)
    yield desk
    for journal in desk.journals:
        await journal.close()
    desk.journals.clear()
    gc.collect()  # what a client that was shut out leaves is let go of here, not in the midst of another test


async def test_a_new_owner_finds_the_last_record_of_each_key(desk: Desk) -> None:
    journal, found = await desk.owner()
    assert found == {}
    await journal.commit(desk.turn((b"a", b"1"), (b"b", b"1")))
    await journal.commit(desk.turn((b"a", b"2"), (b"b", None), out=b"said"))
    await journal.close()
    assert (await desk.owner())[1] == {b"a": b"2", b"b": None}
    assert [record.value for record in await read_all(desk.bootstrap, desk.out)] == [b"said"]


@pytest.mark.parametrize("rows", [1, 2_000])
async def test_a_former_owner_is_shut_out_and_nothing_of_its_turn_is_there(desk: Desk, rows: int) -> None:
    former, _ = await desk.owner()
    await former.commit(desk.turn((b"a", b"1")))
    owner, found = await desk.owner()
    assert found == {b"a": b"1"}
    stale = [(b"a%d" % i, b"stale" * 1_000) for i in range(rows)]
    with pytest.raises(PartitionLost, match="another process has taken over"):
        await former.commit(desk.turn(*stale, out=b"stale"))
    await owner.commit(desk.turn((b"a", b"2"), out=b"fresh"))
    assert (await desk.owner())[1] == {b"a": b"2"}
    assert [record.value for record in await read_all(desk.bootstrap, desk.out)] == [b"fresh"]


async def test_a_turn_that_was_not_ended_is_not_there(desk: Desk) -> None:
    former, _ = await desk.owner()
    await former.commit(desk.turn((b"a", b"1")))
    producer = former._producer  # noqa: SLF001  it dies in the middle of a turn
    assert producer is not None
    await producer.begin_transaction()
    await (await producer.send(desk.state, b"half", key=b"a", partition=0))
    assert (await desk.owner())[1] == {b"a": b"1"}


async def test_large_records_and_many_small_ones_fit(desk: Desk) -> None:
    journal, _ = await desk.owner()
    rows = [(b"k%d" % i, b"x" * 1_000) for i in range(2_000)]
    assert sum(len(value) for _, value in rows) > 2 * MOST_BATCH
    await journal.commit(desk.turn((b"large", b"y" * 4_000_000), *rows))
    found = (await desk.owner())[1]
    assert len(found) == 2_001
    assert len(found[b"large"] or b"") == 4_000_000


async def test_what_is_too_large_is_told_with_its_place(desk: Desk) -> None:
    journal, _ = await desk.owner()
    with pytest.raises(ServiceUnusable, match=r"a record of 9000000 bytes is too large for .*state 0"):
        await journal.commit(desk.turn((b"a", b"y" * 9_000_000)))


async def test_a_broker_that_is_away_is_told(prefix: str) -> None:
    settings = KafkaSettings(bootstrap="127.0.0.1:1", prefix=prefix, app="nobody")
    with pytest.raises(ServiceUnusable, match=r"no Kafka answers at 127\.0\.0\.1:1: see that it runs"):
        await Journal(settings, "events.0", f"{prefix}state", 0).open()
