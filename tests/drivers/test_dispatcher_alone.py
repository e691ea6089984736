"""One dispatcher sends for a fleet, on the database that was used last; another one is refused, or shuts the first out."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from kafka_broker import create_topics
from played_workers import Fleet, now, send, until
from running import Running, query

from triggers.drivers.kafka.dispatch_desk import LOG_BEHIND, NOT_CONFIRMED, Doubts
from triggers.drivers.kafka.dispatch_lease import Lease, committed
from triggers.drivers.kafka.dispatch_settings import DispatchSettings
from triggers.errors import ServiceUnusable

if TYPE_CHECKING:
    from pathlib import Path

NOON = 1_788_321_600_000


def settings_of(fleet: Fleet, **more: Any) -> DispatchSettings:
    given = fleet.settings
    return DispatchSettings(bootstrap=given.bootstrap, app=given.app, prefix=given.prefix, **more)


async def sent_ones(fleet: Fleet) -> Running:
    """Let a dispatcher send something, and tell Kafka so."""
    running = fleet.start()
    await fleet.commands(*(send(number, f"c{number}") for number in range(6)))
    await until(lambda: len(fleet.sent()) == 6)
    commands = [0]
    async with asyncio.timeout(20):
        while sum(commands) < 6:
            told = await committed(settings_of(fleet))
            commands = [at for (topic, _), (at, _) in told.items() if topic == fleet.settings.topic("commands")]
    return running


async def test_a_database_that_knows_nothing_of_what_was_sent_is_refused(fleet: Fleet) -> None:
    running = await sent_ones(fleet)
    running.kill()
    other = fleet.running(name="b")
    assert other.wait() == 2
    assert "knows nothing of what was sent before" in other.err[-1]
    assert "--go-on-at committed" in other.err[-1]
    assert len(fleet.sent()) == 6


async def test_an_old_copy_of_the_database_is_refused_and_the_newest_is_not(fleet: Fleet) -> None:
    running = fleet.start()
    running.signal(15)
    shutil.copytree(running.db.parent, fleet.folder / "old")
    running = await sent_ones(fleet)
    running.kill()
    other = fleet.running(name="old")
    assert other.wait() == 2
    assert "is older than what was sent since" in other.err[-1]
    fleet.start()
    assert len(fleet.sent()) == 6


@pytest.mark.parametrize(("at", "expected"), [("committed", {"c7-7", "c8-8"}), ("latest", {"c8-8"})])
async def test_with_a_lost_database_it_goes_on_behind_what_was_taken_over_and_knows_who_opted_out(
    fleet: Fleet, at: str, expected: set[str]
) -> None:
    await fleet.come(await fleet.event("customer.unsubscribed", "c9"), "c9")
    running = await sent_ones(fleet)
    running.kill()
    await fleet.commands(send(7, "c7"))
    other = fleet.start("--go-on-at", at, name="b", lease_s=1.5)
    await fleet.commands(send(8, "c8"), send(9, "c9"))
    await until(lambda: len(fleet.sent()) == 6 + len(expected))
    assert {each["command"] for each in fleet.sent()[6:]} == expected
    await until(lambda: ("suppressed", "unsubscribed") in query(other.db, "SELECT state, reason FROM outbox"))
    other.kill()
    other = fleet.start(name="b")  # from now on it is the one that was used last
    await fleet.commands(send(10, "c10"))
    await until(lambda: len(fleet.sent()) == 7 + len(expected))


async def test_whoever_goes_on_with_another_database_shuts_the_first_dispatcher_out(fleet: Fleet) -> None:
    first = await sent_ones(fleet)
    second = fleet.start("--go-on-at", "committed", name="b", lease_s=3)
    began = time.monotonic()
    assert await asyncio.to_thread(first.wait) == 2
    assert "another dispatcher of" in first.err[-1]
    await fleet.commands(send(7, "c7"))
    await until(lambda: len(fleet.sent()) == 7)
    assert time.monotonic() - began > 2  # the first one could be sure of itself for so long
    assert query(first.db, "SELECT count(*) FROM outbox") == [(6,)]
    await until(lambda: query(second.db, "SELECT command, state FROM outbox") == [("c7-7", "accepted")])


async def test_a_lease_ends_by_itself_and_for_good_when_another_takes_it(fleet: Fleet) -> None:
    settings = settings_of(fleet, lease_s=0.4)
    places = {(fleet.settings.topic("commands"), 0): 5}
    first, second = Lease(settings, lambda: places, "one"), Lease(settings, lambda: places, "two")
    try:
        await first.take(followed=False)
        assert first.holds()
        await asyncio.sleep(0.5)
        assert not first.holds()
        await first.confirm()
        assert first.holds()
        assert await committed(settings) == {(fleet.settings.topic("commands"), 0): (5, "one")}
        await second.take(followed=True)
        assert not second.holds()
        with pytest.raises(ServiceUnusable, match="another dispatcher"):
            await first.confirm()
        assert not first.holds()
        await asyncio.sleep(0.5)
        await second.confirm()
        assert second.holds()
    finally:
        await first.close()
        await second.close()


class Held:
    def __init__(self, *, holds: bool = True) -> None:
        self.holding = holds

    def holds(self) -> bool:
        return self.holding


class Read:
    def __init__(self, **heard_at: int) -> None:
        self.read = {0: 0, 1: 0}
        self.heard_at = {int(part[1:]): at for part, at in heard_at.items()}


@pytest.mark.parametrize(
    ("lease", "log", "changes", "expected"),
    [
        (True, Read(p0=NOON, p1=NOON), {}, ""),
        (True, Read(p0=NOON - 5_000, p1=NOON - 5_000), {}, ""),
        (True, Read(p0=NOON - 5_001, p1=NOON - 5_001), {}, LOG_BEHIND),
        (True, Read(), {}, LOG_BEHIND),
        (True, Read(p0=NOON - 5_001, p1=NOON - 5_001), {"klass": "notice"}, ""),
        (True, Read(), {"klass": "notice"}, LOG_BEHIND),
        (False, Read(p0=NOON, p1=NOON), {"klass": "notice"}, NOT_CONFIRMED),
        (False, Read(), {"rule": "", "klass": "verification"}, ""),
    ],
)
def test_nothing_leaves_on_what_is_not_sure(lease: bool, log: Any, changes: dict[str, Any], expected: str) -> None:  # noqa: FBT001
    doubts = Doubts(DispatchSettings(), Held(holds=lease), log)  # type: ignore[arg-type]
    assert doubts(send(1, **changes), NOON) == expected


def test_of_the_log_only_the_customers_own_partition_must_be_fresh() -> None:
    stale = [Doubts(DispatchSettings(), Held(), Read(**{f"p{part}": NOON}))(send(1), NOON) for part in (0, 1)]  # type: ignore[arg-type]
    assert sorted(stale) == ["", LOG_BEHIND]


async def test_missing_topics_are_told(kafka: str, prefix: str, tmp_path: Path) -> None:
    fleet = Fleet(kafka, prefix, tmp_path)
    running = fleet.running()
    assert running.wait() == 2
    assert f"there is no topic {prefix}events; `triggers topics` makes it" in running.err[-1]
    await create_topics(kafka, {f"{prefix}events": 2, f"{prefix}commands": 2, f"{prefix}decisions": 3})
    running = fleet.running()
    assert running.wait() == 2
    assert f"{prefix}decisions has 3" in running.err[-1]


async def test_a_topic_that_was_made_anew_is_told(fleet: Fleet) -> None:
    running = fleet.start()
    running.signal(15)
    with closing(sqlite3.connect(running.db)) as connection, connection:
        connection.execute("UPDATE readings SET offset = 9 WHERE part = 0 AND topic LIKE '%decisions'")
    running = fleet.running()
    assert running.wait() == 2
    assert "decisions ends at 0 in partition 0, and was read to 9" in running.err[-1]


async def test_a_second_dispatcher_on_the_same_file_is_refused_and_disturbs_nothing(fleet: Fleet) -> None:
    first = fleet.start()
    second = fleet.running()
    assert second.wait() == 2
    assert f"is in use by another `triggers dispatcher` (process {first.pid})" in second.err[-1]
    await fleet.commands(send(1))
    await until(lambda: len(fleet.sent()) == 1)


async def test_a_database_of_a_service_on_one_machine_is_refused(fleet: Fleet) -> None:
    first = Running(fleet.folder, "--delivery", str(fleet.delivery), rules=fleet.rules)
    body = {"id": "e1", "type": "favorite.added", "customer": "c1", "at": now(), "product_id": "p1"}
    assert (await asyncio.to_thread(first.post, json.dumps(body).encode()))[0] == 200
    first.signal(15)
    (fleet.folder / "b").mkdir()
    shutil.copy(first.db, fleet.folder / "b" / "t.db")
    running = fleet.running(name="b")
    assert running.wait() == 2
    assert "belongs to a `triggers run`" in running.err[-1]
