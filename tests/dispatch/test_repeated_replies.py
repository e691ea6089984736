from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from triggers.dispatch.gateway import Heard, Reply
from triggers.dispatch.hearing import Hearing
from triggers.dispatch.inflight import InFlight
from triggers.dispatch.settings import on_the_console
from triggers.store.database import open_database
from triggers.store.event_log import EventLog
from triggers.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PHONE = "+8613800001234"
NOW = 1_788_000_000_000


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    open_database(tmp_path / "t.db")
    writer = Writer(tmp_path / "t.db")
    yield writer
    writer.close()


async def test_an_opt_out_that_is_told_twice_is_answered_neither_time_while_a_message_leaves(writer: Writer) -> None:
    inflight, told = InFlight(), Heard(replies=(Reply(PHONE, "R", id="7"),))
    hearing = Hearing(
        writer,
        EventLog(writer, lambda: NOW),
        inflight,
        on_the_console(),
        now=lambda: NOW,
        engine_now=lambda: NOW,
        moved=lambda *_: None,
        entered=lambda _: None,
    )
    inflight.begin(1, (PHONE, "c1"))
    first = asyncio.create_task(hearing.hear("main", told))
    _, pending = await asyncio.wait([first], timeout=0.3)  # it is on the disk
    again = asyncio.create_task(hearing.hear("main", told))
    done, pending = await asyncio.wait([first, again], timeout=0.3)
    assert (len(done), len(pending)) == (0, 2)
    inflight.finish(1, (PHONE, "c1"))
    async with asyncio.timeout(10):
        await asyncio.gather(first, again)
    assert writer.submit(lambda connection: connection.execute("SELECT count(*) FROM replies").fetchone()).result() == (
        1,
    )
