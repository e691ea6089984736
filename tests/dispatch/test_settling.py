from __future__ import annotations

import asyncio
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec
import pytest

from triggers.core.decisions import Send
from triggers.dispatch.gateway import Accepted, Rejected
from triggers.dispatch.hearing import Hearing
from triggers.dispatch.inflight import InFlight
from triggers.dispatch.settings import on_the_console
from triggers.dispatch.settling import Answered, Settling
from triggers.store.database import connect_reader, open_database
from triggers.store.event_log import EventLog
from triggers.store.outbox import claim, queue
from triggers.store.receipts import Report, report
from triggers.store.states import ACCEPTED, REJECTED, Command, Go, Settled
from triggers.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from triggers.store.states import Leaving

NOW = 1_788_000_000_000
PHONE = "+8613800001234"
SEND = Send(
    id="1", rule="r", customer="c1", identity=None, anchor=1, due=2, at=NOW, withheld=False, shadow=False, variant=None,
    wave=None, coupon=None, text="hello", segments=1, cost=10, revision="x", klass="notice", expires=NOW + 99,
)  # fmt: skip


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    open_database(tmp_path / "t.db")
    writer = Writer(tmp_path / "t.db")
    yield writer
    writer.close()


def settling(writer: Writer) -> Settling:
    hearing = Hearing(
        writer,
        EventLog(writer, lambda: NOW),
        InFlight(),
        on_the_console(),
        now=lambda: NOW,
        engine_now=lambda: NOW,
        moved=lambda *_: None,
        entered=lambda _: None,
    )
    return Settling(writer, hearing)


def leave(writer: Writer, *names: str) -> list[Leaving]:
    commands = [Command(msgspec.structs.replace(SEND, id=name), PHONE) for name in names]
    writer.submit(lambda connection: queue(connection, commands, NOW)).result(10)
    go = Go("main", PHONE, 10, NOW + 99)
    return writer.submit(lambda connection: claim(connection, "notice", 99, NOW, lambda _: go)).result(10).leaving


async def test_answers_that_come_while_the_disk_is_busy_are_settled_in_one_piece_each_with_what_followed(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = leave(writer, "1", "2", "3")
    arrived = Report("main", "m2", "2", PHONE, "delivered", "", None, invalid=False, blacklisted=False)
    writer.submit(lambda connection: report(connection, arrived, NOW)).result(10)
    settle, busy = settling(writer).settle, threading.Event()
    writer.submit(lambda _: busy.wait(10))
    pieces, submit = [], writer.submit
    monkeypatch.setattr(writer, "submit", lambda work: pieces.append(work) or submit(work))
    tasks = [
        asyncio.create_task(settle(Answered(first, Accepted("m1"), Settled(ACCEPTED, "", "m1"), NOW))),
        asyncio.create_task(settle(Answered(second, Accepted("m2"), Settled(ACCEPTED, "", "m2"), NOW))),
        asyncio.create_task(settle(Answered(third, Rejected("no"), Settled(REJECTED, "no", spent=False), NOW))),
    ]
    await asyncio.sleep(0.05)
    busy.set()
    async with asyncio.timeout(10):
        followed = await asyncio.gather(*tasks)
    assert len(pieces) == 1
    assert [each.moves for each in followed] == [[], [(ACCEPTED, "delivered")], []]
    with closing(connect_reader(tmp_path / "t.db")) as reader:
        assert [state for (state,) in reader.execute("SELECT state FROM outbox ORDER BY seq")] == [
            "accepted",
            "delivered",
            "rejected",
        ]


async def test_an_answer_that_cannot_be_settled_is_told_to_all_who_wait_with_it(writer: Writer) -> None:
    (leaving,) = leave(writer, "1")
    settle = settling(writer).settle
    answered = Answered(leaving, Accepted("m1"), Settled(ACCEPTED, "", "m1"), NOW)
    await settle(answered)
    for each in await asyncio.gather(settle(answered), settle(answered), return_exceptions=True):
        assert isinstance(each, AssertionError)
