from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import msgspec
import pytest

from triggers.core.decisions import Send
from triggers.store.database import connect, open_database
from triggers.store.outbox import ARROWS, Command, claim, commands, counts, move, queue, recover

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from triggers.store.database import Connection

SEND = Send(
    id="1", rule="r", customer="c1", identity=None, anchor=1, due=2, at=3, withheld=False, shadow=False, variant=None,
    wave=None, coupon=None, text="hello", segments=1, cost=5_000, revision="x", klass="marketing", expires=9,
)  # fmt: skip


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Connection]:
    open_database(tmp_path / "t.db")
    with closing(connect(tmp_path / "t.db")) as connection:
        yield connection


def command(name: str) -> Command:
    return Command(msgspec.structs.replace(SEND, id=name), "+8613800001234")


def test_a_command_is_queued_once_whatever_became_of_it(outbox: Connection) -> None:
    assert queue(outbox, [command("1"), command("2")], 10) == 2
    claim(outbox, 1, 11)
    assert queue(outbox, [command("1"), command("2"), command("3")], 12) == 1
    assert counts(outbox) == {"queued": 2, "sending": 1}


def test_commands_are_claimed_in_order_and_once(outbox: Connection) -> None:
    queue(outbox, [command("b"), command("a"), command("c")], 10)
    assert claim(outbox, 2, 11) == ([command("b"), command("a")], 0)
    assert claim(outbox, 2, 11) == ([command("c")], 0)
    assert claim(outbox, 2, 11) == ([], 0)


def test_what_is_too_late_is_not_claimed_and_never_looked_at_again(outbox: Connection) -> None:
    late = Command(msgspec.structs.replace(SEND, id="late", expires=20), None)
    queue(outbox, [late, command("1")._replace(send=msgspec.structs.replace(SEND, expires=21))], 10)
    (in_time,), expired = claim(outbox, 9, 20, stale_at=20)
    assert (in_time.send.expires, expired) == (21, 1)
    assert counts(outbox) == {"expired": 1, "sending": 1}
    assert claim(outbox, 9, 20) == ([], 0)


def test_what_was_being_sent_is_given_up_at_start(outbox: Connection) -> None:
    queue(outbox, [command("1"), command("2"), command("3")], 10)
    claim(outbox, 2, 11)
    move(outbox, "1", "sending", "accepted", 12)
    assert recover(outbox, 13) == 1
    assert [(state, send.id) for state, send in commands(outbox)] == [
        ("accepted", "1"),
        ("unknown", "2"),
        ("queued", "3"),
    ]
    assert claim(outbox, 9, 14).commands == [command("3")]


def test_states_move_along_the_arrows_only(outbox: Connection) -> None:
    queue(outbox, [command("1")], 10)
    with pytest.raises(AssertionError, match="no arrow"):
        move(outbox, "1", "queued", "accepted", 11)
    with pytest.raises(AssertionError, match="was not sending"):
        move(outbox, "1", "sending", "accepted", 11)
    assert all("queued" not in ends for ends in ARROWS.values())


def test_the_commands_of_one_customer_are_found(outbox: Connection) -> None:
    other = Command(msgspec.structs.replace(SEND, id="2", customer="c2"), None)
    queue(outbox, [command("1"), other], 10)
    assert [send.id for _, send in commands(outbox, "c2")] == ["2"]
    assert [send for _, send in commands(outbox)] == [SEND, other.send]
