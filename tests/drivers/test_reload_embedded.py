"""Rules that are edited while the service runs: it switches between two events, and what waits does as S30 to S38 say."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from running import eventually, query

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from running import Running

DAY = 86_400_000
START = 1_788_000_000_000
LOOK_S = 0.3
RULE = """rule: v1
id: {id}
title: A wish
owner: crm@yunque.example
status: {status}
class: notice
when: {{event: {event}, per: product_id}}
wait: {wait}
send: {{text: "{text}"}}
{more}"""
TEST = """tests:
  - name: says it
    feed: [{at: +0d, event: favorite.added, product_id: p1}]
    expect: [{text_has: "bye"}]
"""


class Shop:
    """A folder of rules that is edited, and a service that watches it."""

    def __init__(self, folder: Path, run: Callable[..., Running]) -> None:
        self.rules = folder / "rules"
        self.rules.mkdir()
        (self.rules / "_shop.yaml").write_text("shop: v1\nname: Test\ntimezone: Asia/Shanghai\n")
        self._run = run
        self._count = 0
        self.write()

    def write(self, name: str = "wish", **edits: str) -> None:
        words = {"status": "live", "event": "favorite.added", "wait": "0min", "text": "one", "more": ""}
        path = self.rules / f"{name}.yaml"
        path.write_text(RULE.format(id=name, **words | edits))

    def start(self, *options: str, **settings: object) -> Running:
        settings = {"reload_s": LOOK_S, "settle_s": 0} | settings
        self.service = self._run(*options, rules=self.rules, **settings)
        self.service.address()
        self.db = self.service.db
        return self.service

    def hears(self, kind: str = "favorite.added", customer: str = "c1", **fields: Any) -> None:
        self._count += 1
        event = {"id": f"e{self._count}", "type": kind, "customer": customer, "at": int(time.time() * 1_000)}
        body = {**event, "product_id": f"p{self._count}", "category": "A", "price": 9, **fields}
        assert self.service.post(json.dumps(body).encode())[0] == 200

    def texts(self) -> list[str]:
        return [text for (text,) in query(self.db, "SELECT body ->> 'text' FROM outbox ORDER BY seq")]

    def sends(self, *texts: str) -> None:
        eventually(lambda: self.texts() == list(texts), f"{self.texts()} {self.service.err}")

    def tells(self, words: str, times: int = 1) -> None:
        eventually(lambda: sum(words in line for line in self.service.err) == times, f"{words}: {self.service.err}")

    def edits(self, name: str = "wish", **edits: str) -> None:
        """Edit a rule, and wait until the service has switched."""
        before = sum("rules changed" in line for line in self.service.err)
        self.write(name, **edits)
        self.tells("rules changed", before + 1)

    def looks_twice(self) -> None:
        """Give it the time for more looks than it needs."""
        time.sleep(4 * LOOK_S + 0.5)

    def ends(self) -> list[tuple[str, str, str]]:
        return query(self.db, "SELECT customer, reason, detail FROM decisions WHERE kind = 'ended' ORDER BY seq")


@pytest.fixture
def shop(tmp_path: Path, run: Callable[..., Running]) -> Shop:
    return Shop(tmp_path, run)


def test_the_next_message_has_the_new_text_and_the_revision_of_the_new_set(shop: Shop) -> None:
    service = shop.start()
    shop.hears()
    shop.sends("one")
    before = json.loads(service.get("/healthz")[1])["rules"]["revision"]
    shop.edits(text="two")
    shop.hears()
    shop.sends("one", "two")
    after = json.loads(service.get("/healthz")[1])["rules"]["revision"]
    assert before != after
    told = query(shop.db, "SELECT revision FROM decisions WHERE reason = 'sent' ORDER BY seq")
    assert told == [(before,), (after,)]
    assert any(f"rules: changed wish · revision {after}" in line for line in service.out)


def test_a_message_that_waits_has_the_text_of_when_it_leaves(shop: Shop) -> None:
    shop.start()
    shop.edits(wait="3d")
    shop.hears()
    shop.edits(wait="0min", text="two")
    shop.sends("two")


def test_a_broken_file_changes_nothing_and_is_told_once_and_the_other_files_load(shop: Shop) -> None:
    shop.start()
    shop.write(text="two", more="wiat: 3d\n")
    shop.tells("wish.yaml:10:1: error: unknown key 'wiat'; did you mean 'wait'?; its last good version is used")
    shop.edits("regret", event="favorite.removed", text="hello")
    shop.hears()
    shop.sends("one")
    shop.looks_twice()
    shop.tells("unknown key 'wiat'")
    shop.edits(text="three")
    shop.hears()
    shop.sends("one", "three")


def test_a_file_whose_tests_fail_changes_nothing_also_after_a_new_start(shop: Shop) -> None:
    service = shop.start()
    shop.write(text="two", more=TEST)
    shop.tells("test 'says it': expected a send with the text 'bye'")
    service.kill()
    shop.start()
    shop.tells("its last good version is used")
    shop.hears()
    shop.sends("one")


def test_a_rule_that_is_added_counts_from_now_on(shop: Shop) -> None:
    shop.start()
    shop.hears()
    shop.sends("one")
    shop.edits("more", text="more")
    shop.looks_twice()
    assert shop.texts() == ["one"]
    shop.hears()
    eventually(lambda: sorted(shop.texts()) == ["more", "one", "one"])


def test_a_rule_paused_for_its_numbers_stays_paused_through_an_edit(shop: Shop) -> None:
    service = shop.start()
    shop.edits("more", text="more")
    service.kill()

    with sqlite3.connect(shop.db) as connection:
        connection.execute("INSERT INTO rule_pauses (rule, reason, at) VALUES ('wish', 'badly', 1)")
    connection.close()
    shop.start()
    shop.edits(text="two")
    shop.hears()
    shop.sends("more")


def test_a_removed_file_is_gone_after_two_looks_five_seconds_apart_and_its_waits_are_set_aside_a_day(
    shop: Shop, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    lines = [
        {"type": "favorite.added", "at": START, "product_id": "p1", "category": "A", "price": 9},
        {"type": "store.visited", "at": START + 60 * DAY},
    ]
    log.write_text(
        "".join(json.dumps({"id": f"e{i}", "customer": "c1", **line}) + "\n" for i, line in enumerate(lines))
    )
    shop.write(wait="30d")
    shop.write("other", event="favorite.removed")
    shop.start("--input", str(log), "--speed", "43200")  # two seconds are a day
    eventually(lambda: query(shop.db, "SELECT count(*) FROM events") == [(1,)])
    (shop.rules / "wish.yaml").unlink()
    began = time.monotonic()
    shop.tells("removed wish")
    assert time.monotonic() - began >= 5
    ((gone_at,),) = query(shop.db, "SELECT removed FROM rules WHERE id = 'wish'")
    eventually(lambda: shop.ends() == [("c1", "rule removed", "")])
    ((ended_at,),) = query(shop.db, "SELECT at FROM decisions WHERE kind = 'ended'")
    assert ended_at == gone_at + DAY
    assert shop.texts() == []


def test_a_file_that_is_back_before_it_counted_as_removed_was_never_gone(shop: Shop) -> None:
    shop.start()
    (shop.rules / "wish.yaml").rename(shop.rules / "wish.bak")
    time.sleep(2)
    (shop.rules / "wish.bak").rename(shop.rules / "wish.yaml")
    time.sleep(4.5)
    assert query(shop.db, "SELECT id, removed FROM rules") == [("wish", None)]
    assert not [line for line in shop.service.err if "rules changed" in line]


def test_killed_at_any_moment_around_a_switch_it_ends_on_the_new_set(shop: Shop) -> None:
    shop.start()
    shop.edits(wait="3d")
    for number in range(40):
        shop.hears(customer=f"c{number}")
    for number in range(6):
        shop.write(wait="3d", text=f"text {number}")
        time.sleep(0.25 + 0.15 * number)
        shop.service.kill()
        shop.start()
    shop.looks_twice()
    assert not [line for line in shop.service.err if '"error"' in line]
    shop.edits(wait="0min", text="last")
    eventually(lambda: len(shop.texts()) == 40)
    assert set(shop.texts()) == {"last"}


# The guard, S38


def crowd(shop: Shop, *, most: int) -> None:
    """Let five people wait, and shorten their wait."""
    shop.start(max_due_at_once=most)
    shop.edits(wait="3d")
    for number in range(5):
        shop.hears(customer=f"c{number}")
    eventually(lambda: query(shop.db, "SELECT count(*) FROM customers") == [(5,)])


def test_an_edit_that_makes_more_waits_due_than_may_be_is_not_taken_up(shop: Shop) -> None:
    crowd(shop, most=4)
    shop.write(wait="0min")
    shop.tells("wish.yaml is not taken up: it makes 5 waiting messages of wish due at once, and 4 may be")
    shop.looks_twice()
    shop.tells("is not taken up")
    shop.edits("regret", event="favorite.removed", text="hello")
    assert shop.texts() == []
    shop.service.kill()
    shop.start(max_due_at_once=4)  # nor at a new start
    shop.tells("is not taken up")
    shop.looks_twice()
    assert shop.texts() == []
    shop.edits(wait="2d")


def test_an_edit_that_makes_as_many_waits_due_as_may_be_is_taken_up(shop: Shop) -> None:
    crowd(shop, most=5)
    shop.edits(wait="0min")
    eventually(lambda: len(shop.texts()) == 5)


def say(shop: Shop, overdue: str, rule: str = "wish") -> tuple[int, str]:
    command = [sys.executable, "-m", "triggers", "rules", "apply", rule, "--overdue", overdue, "--db", str(shop.db)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def held(shop: Shop) -> None:
    crowd(shop, most=4)
    shop.write(wait="0min", text="two")
    shop.tells("is not taken up")
    eventually(lambda: query(shop.db, "SELECT rule, due FROM held_edits") == [("wish", 5)])


def test_a_held_edit_sends_at_once_where_somebody_says_so(shop: Shop) -> None:
    held(shop)
    assert say(shop, "send", rule="wisch") == (1, "no edit of 'wisch' is held; did you mean 'wish'?\n")
    status, told = say(shop, "send")
    assert (status, told.partition(":")[0]) == (0, "the edit of wish is taken up; it makes 5 waiting messages due")
    shop.sends(*["two"] * 5)
    assert query(shop.db, "SELECT * FROM held_edits") == []
    assert say(shop, "drop")[0] == 1


def test_a_held_edit_ends_what_it_makes_due_where_somebody_says_so_and_nothing_after_that(shop: Shop) -> None:
    held(shop)
    assert say(shop, "drop")[0] == 0
    eventually(lambda: shop.ends() == [(f"c{number}", "rule changed", "overdue") for number in range(5)])
    shop.hears()
    shop.sends("two")
    shop.edits(wait="3d")
    shop.hears(customer="c9")
    shop.edits(wait="0min", text="three")
    shop.sends("two", "three")


def test_what_a_held_edit_makes_due_is_spread_over_an_hour_where_somebody_says_so(shop: Shop) -> None:
    held(shop)
    assert say(shop, "spread")[0] == 0
    now = int(time.time() * 1_000)
    eventually(lambda: query(shop.db, "SELECT * FROM held_edits") == [])
    assert shop.texts() == []
    wakes = [wake for (wake,) in query(shop.db, "SELECT wake FROM customers")]
    assert len(set(wakes)) == 5
    assert all(now - 60_000 <= wake <= now + 3_660_000 for wake in wakes)


def test_what_was_said_is_done_also_by_a_service_that_was_killed_before(shop: Shop) -> None:
    held(shop)
    shop.service.kill()
    assert say(shop, "drop")[0] == 0
    shop.start(max_due_at_once=4)
    eventually(lambda: len(shop.ends()) == 5)
    assert {reason for _, reason, _ in shop.ends()} == {"rule changed"}
    eventually(lambda: query(shop.db, "SELECT * FROM held_edits") == [])


def test_an_edit_that_is_taken_back_is_held_no_more(shop: Shop) -> None:
    held(shop)
    shop.write(wait="3d")
    eventually(lambda: query(shop.db, "SELECT * FROM held_edits") == [])
    assert say(shop, "send")[0] == 1
