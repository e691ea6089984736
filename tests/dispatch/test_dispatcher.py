from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec
import pytest

from triggers.core.decisions import Send
from triggers.core.times import HOUR, Zone
from triggers.dispatch.dispatcher import Dispatcher
from triggers.dispatch.gateway import Answer
from triggers.dispatch.gateways.console import ConsoleGateway
from triggers.store.database import connect_reader, open_database
from triggers.store.outbox import Command, claim, counts, queue
from triggers.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.text import Text

SEND = Send(
    id="1", rule="r", customer="c1", identity=None, anchor=1, due=2, at=1_788_000_000_000, withheld=False, shadow=False,
    variant=None, wave=None, coupon=None, text="hello", segments=1, cost=5_000, revision="x", klass="marketing",
    expires=9,
)  # fmt: skip


class Recorder:
    """A gateway that keeps what it was given, and what the disk said at that moment."""

    name = "recorder"

    def __init__(self, path: Path) -> None:
        self.sent: list[str] = []
        self.seen: asyncio.Queue[str] = asyncio.Queue()
        self.states: list[dict[str, int]] = []
        self.answer: Answer | Exception = Answer.ACCEPTED
        self._path = path

    async def send(self, command: Command) -> Answer:
        with closing(connect_reader(self._path)) as reader:
            self.states.append(counts(reader))
        self.sent.append(command.send.id)
        self.seen.put_nowait(command.send.id)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    open_database(tmp_path / "t.db")
    return tmp_path / "t.db"


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    writer = Writer(path)
    yield writer
    writer.close()


def put(writer: Writer, *names: str) -> None:
    commands = [Command(msgspec.structs.replace(SEND, id=name), "+8613800001234") for name in names]
    writer.submit(lambda connection: queue(connection, commands, 1)).result(10)


def states(path: Path) -> dict[str, int]:
    with closing(connect_reader(path)) as reader:
        return counts(reader)


async def test_a_command_is_claimed_on_the_disk_before_it_leaves(writer: Writer, path: Path) -> None:
    gateway = Recorder(path)
    moves: list[tuple[str, str, int]] = []
    put(writer, "1", "2")
    await Dispatcher(writer, gateway, now=lambda: 2, moved=lambda *move: moves.append(move)).drain()
    assert gateway.sent == ["1", "2"]
    assert gateway.states == [{"sending": 2}, {"sending": 2}]
    assert states(path) == {"accepted": 2}
    assert moves == [("queued", "sending", 2), ("sending", "accepted", 1), ("sending", "accepted", 1)]


async def test_what_a_killed_service_was_sending_is_never_sent_again(writer: Writer, path: Path) -> None:
    put(writer, "1", "2", "3")
    writer.submit(lambda connection: claim(connection, 2, 1)).result(10)
    gateway = Recorder(path)
    dispatcher = Dispatcher(writer, gateway, now=lambda: 2, moved=lambda *_: None)
    assert dispatcher.recover() == {"queued": 1, "unknown": 2}
    await dispatcher.drain()
    assert gateway.sent == ["3"]
    assert states(path) == {"accepted": 1, "unknown": 2}


@pytest.mark.parametrize(
    ("answer", "state"), [(ValueError("broken"), "unknown"), (Answer.REJECTED, "rejected"), (Answer.UNKNOWN, "unknown")]
)
async def test_a_gateway_that_fails_is_not_asked_again(
    writer: Writer, path: Path, answer: Answer | Exception, state: str
) -> None:
    put(writer, "1")
    gateway = Recorder(path)
    gateway.answer = answer
    dispatcher = Dispatcher(writer, gateway, now=lambda: 2, moved=lambda *_: None)
    await dispatcher.drain()
    await dispatcher.drain()
    assert gateway.sent == ["1"]
    assert states(path) == {state: 1}


async def test_what_waited_until_it_was_too_late_is_not_sent_except_in_virtual_time(writer: Writer, path: Path) -> None:
    gateway = Recorder(path)
    moves: list[tuple[str, str, int]] = []
    put(writer, "1", "2")  # too late from 9 on
    late = Dispatcher(writer, gateway, now=lambda: 9, moved=lambda *move: moves.append(move))
    await late.drain()
    assert gateway.sent == []
    assert states(path) == {"expired": 2}
    assert moves == [("queued", "expired", 2)]
    put(writer, "3")
    await Dispatcher(writer, gateway, now=lambda: 9, moved=lambda *_: None, expires=False).drain()
    assert gateway.sent == ["3"]


async def test_it_sends_what_comes_until_it_is_stopped(writer: Writer, path: Path) -> None:
    gateway = Recorder(path)
    dispatcher = Dispatcher(writer, gateway, now=lambda: 2, moved=lambda *_: None)
    running = asyncio.create_task(dispatcher.run())
    for name in ("1", "2"):
        put(writer, name)
        dispatcher.more()
        async with asyncio.timeout(10):
            assert await gateway.seen.get() == name
    dispatcher.stop()
    async with asyncio.timeout(10):
        await running
    put(writer, "3")
    assert gateway.sent == ["1", "2"]
    assert states(path) == {"accepted": 2, "queued": 1}


async def test_the_console_shows_the_shops_time_and_a_masked_number_and_nothing_that_moves_the_cursor() -> None:
    lines: list[Text] = []
    gateway = ConsoleGateway(lines.append, Zone("Asia/Shanghai", (), (8 * HOUR,)))
    hostile = msgspec.structs.replace(SEND, text='Hi [bold]Li\x1b[2J\n{"level":"x"}\u202e')
    assert await gateway.send(Command(hostile, "+8613800001234")) is Answer.ACCEPTED
    assert await gateway.send(Command(SEND, None)) is Answer.ACCEPTED
    first, second = (line.plain for line in lines)
    assert first == '2026-08-29 18:40  sent  +86138****1234   r  Hi [bold]Li�[2J�{"level":"x"}�'
    assert "no phone" in second
