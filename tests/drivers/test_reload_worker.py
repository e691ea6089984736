"""Rules that are edited while workers run: each partition switches between two records, and all end on the same set."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from kafka_broker import Write, read_all, write
from kafka_fleet import FleetProcess, FleetProcesses

from triggers.drivers.kafka.keys import partition_of
from triggers.drivers.kafka.records import COMMANDS, DECISIONS, EVENTS, Come, decode_command, decode_reported
from triggers.drivers.kafka.settings import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from triggers.core.decisions import Send

PARTITIONS = 4
DAY = 86_400_000
RULE = """rule: v1
id: {id}
title: A wish
owner: crm@yunque.example
status: live
class: notice
when: {{event: {event}, per: product_id}}
wait: {wait}
send: {{text: "{text}"}}
{more}"""


class Shop:
    """A folder of rules, a log, and workers."""

    def __init__(self, fleet: FleetProcesses, rules: Path) -> None:
        self.fleet = fleet
        self.settings = fleet.settings
        self.rules = rules
        self.count = 0

    def edit(self, name: str = "wish", *, folder: Path | None = None, **edits: str) -> None:
        words = {"event": "favorite.added", "wait": "0min", "text": "one", "more": ""}
        path = (folder or self.rules) / f"{name}.yaml"
        path.write_text(RULE.format(id=name, **words | edits))

    async def hears(self, number: int = 1, *, customers: int = 40) -> None:
        """Write events into the log, of so many customers in turn."""
        rows = []
        for _ in range(number):
            self.count += 1
            customer = f"c{self.count % customers}"
            event = {"id": f"e{self.count}", "type": "favorite.added", "customer": customer, "at": now()}
            event |= {"product_id": f"p{self.count}", "category": "A", "price": 9}
            key = customer.encode()
            rows.append(Write(json.dumps(event).encode(), key, partition=partition_of(key, PARTITIONS)))
        await write(self.settings.bootstrap, self.settings.topic(EVENTS), rows)

    async def revisions(self) -> set[str]:
        """Ask each worker that runs which rules it has."""
        found = set()
        async with aiohttp.ClientSession() as session:
            for worker in self.fleet.workers:
                if worker.status is None:
                    async with session.get(f"{worker.address}/healthz") as answer:
                        found.add((await answer.json())["rules"]["revision"])
        return found

    async def metrics(self, worker: FleetProcess) -> str:
        async with aiohttp.ClientSession() as session, session.get(f"{worker.address}/metrics") as answer:
            return await answer.text()

    async def switched(self, old: set[str], within_s: float = 30.0) -> set[str]:
        """Wait until all workers have the same other rules."""
        found = old
        end_s = time.monotonic() + within_s
        while len(found) != 1 or found & old:
            assert time.monotonic() < end_s, f"{old} {found} {[each.said[-2000:] for each in self.fleet.workers]}"
            await asyncio.sleep(0.1)
            found = await self.revisions()
        return found

    async def placed(self, revision: set[str], within_s: float = 40.0) -> None:
        """Wait until the customers of all partitions have been moved over."""
        end_s = time.monotonic() + within_s
        while (found := {part: place.revision for part, place in (await self.fleet.places()).items()}) != dict.fromkeys(
            range(PARTITIONS), next(iter(revision))
        ):
            assert time.monotonic() < end_s, f"{found} {revision}"
            await asyncio.sleep(0.2)

    async def sent(self, number: int, within_s: float = 30.0) -> list[Send]:
        """Wait until so many messages are to leave, each once."""
        end_s = time.monotonic() + within_s
        while len(sends := await self.fleet.sends()) != number:
            assert time.monotonic() < end_s, f"{len(sends)} of {number}"
            await asyncio.sleep(0.5)
        return sends

    async def told(self, words: str, workers: int = 1, within_s: float = 30.0) -> None:
        """Wait until so many workers have said something."""
        end_s = time.monotonic() + within_s
        while sum(words in each.said for each in self.fleet.workers) < workers:
            assert time.monotonic() < end_s, f"{words}: {[each.said[-2000:] for each in self.fleet.workers]}"
            await asyncio.sleep(0.1)


def now() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def shop_of(kafka: str, prefix: str, tmp_path: Path) -> Callable[..., Any]:
    @asynccontextmanager
    async def made(*, workers: int = 2, wait: str = "0min", **more: Any) -> AsyncIterator[Shop]:
        rules = tmp_path / "rules"
        rules.mkdir()
        (rules / "_shop.yaml").write_text("shop: v1\nname: Test\ntimezone: Asia/Shanghai\n")
        given = {"partitions": PARTITIONS, "sources": (), "rules": rules, "settle_s": 0.0, "reload_s": 0.3} | more
        settings = KafkaSettings(bootstrap=kafka, prefix=prefix, app=prefix.rstrip("."), **given)
        async with FleetProcesses(settings, tmp_path) as fleet:
            shop = Shop(fleet, rules)
            shop.edit(wait=wait)
            fleet.start(workers)
            await fleet.shared_out()
            yield shop

    return made


async def test_under_load_every_partition_switches_once_between_two_records(shop_of: Callable[..., Any]) -> None:
    async with shop_of() as shop:
        old = await shop.revisions()
        async with load(shop):
            await asyncio.sleep(2)
            shop.edit(text="two")
            new = await shop.switched(old)
            await asyncio.sleep(2)
        await shop.placed(new)
        await shop.sent(shop.count)
        (before,), (after,) = old, new
        by_partition = defaultdict(list)
        texts = {before: "one", after: "two"}
        for row in await read_all(shop.settings.bootstrap, shop.settings.topic(COMMANDS)):
            send = decode_command(row.value).send
            assert texts[send.revision] == send.text
            by_partition[row.partition].append(send.revision)
        assert sum(map(len, by_partition.values())) == shop.count
        for revisions in by_partition.values():
            assert {before, after} == set(revisions)
            assert revisions == sorted(revisions, key=after.__eq__)
        for worker in shop.fleet.workers:
            shown = await shop.metrics(worker)
            assert f'triggers_rules_revision_info{{revision="{after}"}} 1.0' in shown
            assert before not in shown
        await shop.fleet.stop()


@asynccontextmanager
async def load(shop: Shop) -> AsyncIterator[None]:
    """Write events all the time."""
    enough = asyncio.Event()

    async def hear() -> None:
        while not enough.is_set():
            await shop.hears(20)
            await asyncio.sleep(0.05)

    async with asyncio.TaskGroup() as group:
        group.create_task(hear())
        yield
        enough.set()


@pytest.mark.parametrize("after_s", [0.75, 0.95, 1.2])
async def test_killed_in_the_middle_of_a_switch_all_customers_end_on_the_new_set(
    shop_of: Callable[..., Any], after_s: float
) -> None:
    async with shop_of(wait="3d") as shop:
        await shop.hears(20_000, customers=20_000)
        await shop.fleet.settled()
        old = await shop.revisions()
        shop.edit(wait="4d")
        await asyncio.sleep(after_s)
        shop.fleet.workers[0].close()
        shop.fleet.workers.pop(0)
        shop.fleet.start()
        await shop.fleet.shared_out()
        new = await shop.switched(old)
        await shop.placed(new)
        customers = await shop.fleet.customers()
        waits = [wait for state in customers.values() for wait in state.customer.waits.values()]
        assert len(waits) == 20_000
        assert {wait.due - wait.anchor for wait in waits} == {4 * DAY}
        shop.fleet.see_to_it_that_they_run()


async def test_workers_that_come_and_go_during_switches_do_not_fall(shop_of: Callable[..., Any]) -> None:
    async with shop_of(workers=1) as shop:
        async with load(shop):
            for number in range(4):
                shop.edit(text=f"text {number}")
                await asyncio.sleep(0.4 + 0.25 * number)
                shop.fleet.start()
                await shop.fleet.shared_out()
                if number % 2:
                    leaving = shop.fleet.workers.pop(0)
                    leaving.signal(signal.SIGTERM)
                    assert await leaving.ended() == 0, leaving.said[-3000:]
            shop.edit(text="last")
            new = await shop.switched(await shop.revisions())
        await shop.placed(new)
        await shop.sent(shop.count)
        shop.fleet.see_to_it_that_they_run()


async def test_a_partition_never_goes_back_to_an_older_set_while_it_moves(shop_of: Callable[..., Any]) -> None:
    async with shop_of(workers=1, reload_s=3.0) as shop:
        (before,) = await shop.revisions()
        shop.edit(text="two")
        await shop.switched({before})
        shop.fleet.start()
        await shop.fleet.shared_out()
        seen = defaultdict(list)
        for row in await read_all(shop.settings.bootstrap, shop.settings.topic(DECISIONS)):
            if isinstance(come := decode_reported(row.value), Come):
                seen[come.partition].append(come.revision)
        for revisions in seen.values():
            assert revisions == sorted(revisions, key=before.__ne__)


async def test_a_worker_whose_folder_gets_an_edit_late_follows_the_others(
    shop_of: Callable[..., Any], tmp_path: Path
) -> None:
    async with shop_of(workers=1) as shop:
        late = tmp_path / "late"
        late.mkdir()
        for path in shop.rules.iterdir():
            (late / path.name).write_bytes(path.read_bytes())
        settings = shop.settings.model_copy(update={"rules": late})
        shop.fleet.workers.append(FleetProcess("worker", settings, tmp_path / "late.log"))
        await shop.fleet.shared_out()
        old = await shop.revisions()
        shop.edit(text="two")
        shop.edit("more", text="more")
        new = await shop.switched(old)
        await asyncio.sleep(2)
        assert await shop.revisions() == new
        shop.edit(folder=late, text="two")
        shop.edit("more", folder=late, text="more")
        await asyncio.sleep(2)
        assert await shop.revisions() == new
        shop.edit(folder=late, text="three")
        await shop.switched(new)


async def test_a_broken_file_keeps_its_last_good_version_in_all_workers_also_in_those_that_start_now(
    shop_of: Callable[..., Any],
) -> None:
    async with shop_of() as shop:
        old = await shop.revisions()
        shop.edit(text="two", more="wiat: 3d\n")
        await shop.told("unknown key 'wiat'; did you mean 'wait'?; its last good version is used", 2)
        shop.fleet.start()
        await shop.fleet.shared_out()
        assert await shop.revisions() == old
        await shop.told("its last good version is used", 3)
        await shop.hears(8)
        assert {send.text for send in await shop.sent(8)} == {"one"}


async def test_an_edit_that_makes_too_many_waits_of_the_whole_fleet_due_is_not_taken_up(
    shop_of: Callable[..., Any],
) -> None:
    async with shop_of(wait="3d", max_due_at_once=7) as shop:
        await shop.hears(8)  # some in each partition
        await shop.fleet.settled()
        old = await shop.revisions()
        shop.edit()
        await shop.told("it makes 8 waiting messages of wish due at once, and 7 may be", 2)
        shop.edit("regret", event="favorite.removed")
        new = await shop.switched(old)
        shop.fleet.start()
        await shop.fleet.shared_out()
        await asyncio.sleep(2)
        assert await shop.revisions() == new
        assert await shop.fleet.sends() == []


async def test_an_edit_that_makes_as_many_waits_due_as_may_be_is_taken_up(shop_of: Callable[..., Any]) -> None:
    async with shop_of(wait="3d", max_due_at_once=8) as shop:
        await shop.hears(8)
        await shop.fleet.settled()
        old = await shop.revisions()
        shop.edit()
        await shop.placed(await shop.switched(old))
        await shop.hears(8)
        await shop.sent(16)


@pytest.mark.parametrize(("overdue", "leave"), [("send", 8), ("drop", 0)])
async def test_a_held_edit_is_taken_up_by_all_workers_where_somebody_says_so(
    shop_of: Callable[..., Any], overdue: str, leave: int
) -> None:
    async with shop_of(wait="3d", max_due_at_once=7) as shop:
        await shop.hears(8)
        await shop.fleet.settled()
        old = await shop.revisions()
        shop.edit(text="two")
        await shop.told("is not taken up", 2)
        where = ["--bootstrap", shop.settings.bootstrap, "--prefix", shop.settings.prefix]
        command = [sys.executable, "-m", "triggers", "rules", "apply", "wish", "--overdue", overdue, *where]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "it makes 8 waiting messages due" in done.stdout
        await shop.placed(await shop.switched(old))
        await shop.hears(2)
        assert {send.text for send in await shop.sent(leave + 2)} == {"two"}
        ended = [row for row in await shop.fleet.decided() if "overdue" in row]
        assert len(ended) == 8 - leave
        before = await shop.revisions()
        shop.edit(text="three", wait="3d")  # what was said was said of one edit
        await shop.placed(await shop.switched(before))
        assert len(await shop.fleet.sends()) == leave + 2
