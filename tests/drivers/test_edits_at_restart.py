"""Rules edited between two runs of the service: what waits goes on, moves or ends as S30 to S39 say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from running import query

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from running import Running

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_788_000_000_000
RULE = """rule: v1
id: {id}
title: Reminder
owner: crm@yunque.example
status: {status}
class: notice
when: {{event: {event}}}
wait: {wait}
{more}
send: {{text: "{text}"}}
"""


class Shop:
    """A folder of rules and a log that grows; each run takes the log to its end."""

    def __init__(self, folder: Path, run: Callable[..., Running]) -> None:
        self.rules = folder / "rules"
        self.rules.mkdir()
        (self.rules / "_shop.yaml").write_text("shop: v1\nname: Test\ntimezone: Asia/Shanghai\n")
        self._log = folder / "log.jsonl"
        self._run = run
        self.write()

    def write(self, name: str = "remind", **edits: str) -> None:
        words = {
            "id": name,
            "status": "live",
            "event": "customer.registered",
            "wait": "3d",
            "more": "",
            "text": "Hello",
        }
        (self.rules / f"{name}.yaml").write_text(RULE.format(**words | edits))

    def hears(self, hours: float, kind: str, customer: str = "c1") -> None:
        event = {"type": kind, "customer": customer, "at": START + int(hours * HOUR), "order_id": "o1", "amount": 9}
        with self._log.open("a") as file:
            size = file.tell()
            file.write(json.dumps({"id": f"e{size}", **event}) + "\n")

    def runs(self) -> Running:
        running = self._run("--input", str(self._log), "--speed", "0", "--exit-at-end", rules=self.rules)
        assert running.wait() == 0, running.err
        self.db = running.db
        return running

    def ends(self) -> list[tuple[float, str, str, str]]:
        """What waits ended for: hours after the start, rule, reason, detail."""
        rows = query(self.db, "SELECT at, rule, reason, detail FROM decisions WHERE kind = 'ended' ORDER BY seq")
        return [((at - START) / HOUR, rule, reason, detail) for at, rule, reason, detail in rows]


@pytest.fixture
def shop(tmp_path: Path, run: Callable[..., Running]) -> Shop:
    shop = Shop(tmp_path, run)
    shop.hears(0, "customer.registered")
    shop.hears(2, "order.paid")
    shop.hears(24, "store.visited")
    shop.runs()
    assert shop.ends() == []
    return shop


def later(shop: Shop, hours: float = 240) -> list[tuple[float, str, str, str]]:
    shop.hears(hours, "store.visited", customer="c2")
    shop.runs()
    return shop.ends()


def test_without_an_edit_the_wait_goes_on(shop: Shop) -> None:
    assert later(shop) == [(72, "remind", "sent", "")]


def test_a_shorter_wait_that_is_over_already_leaves_at_once(shop: Shop) -> None:
    shop.write(wait="12h")
    assert later(shop) == [(24, "remind", "sent", "")]


def test_a_longer_wait_leaves_later(shop: Shop) -> None:
    shop.write(wait="5d")
    assert later(shop) == [(120, "remind", "sent", "")]


def test_a_new_unless_looks_back_to_the_anchor(shop: Shop) -> None:
    shop.write(more="unless: [{event: order.paid, match: customer}]")
    assert later(shop) == [(24, "remind", "cancelled", "order.paid")]


def test_a_new_unless_that_did_not_happen_changes_nothing(shop: Shop) -> None:
    shop.write(more="unless: [{event: order.refunded, match: customer}]")
    assert later(shop) == [(72, "remind", "sent", "")]


def test_another_trigger_ends_the_wait(shop: Shop) -> None:
    shop.write(event="order.created")
    assert later(shop) == [(24, "remind", "rule changed", "")]


def test_an_edit_never_arms_for_what_has_happened(shop: Shop) -> None:
    shop.write("paid", event="order.paid", wait="10d")
    shop.hears(25, "order.paid", customer="c3")
    assert later(shop, 480) == [(72, "remind", "sent", ""), (265, "paid", "sent", "")]


def test_the_text_is_read_when_the_message_leaves(shop: Shop) -> None:
    shop.write(text="Goodbye")
    later(shop)
    assert query(shop.db, "SELECT body ->> 'text' FROM outbox") == [("Goodbye",)]


def test_a_paused_rule_keeps_its_waits_and_sends_nothing_until_it_is_live_again(shop: Shop) -> None:
    shop.write(status="paused")
    shop.hears(80, "store.visited")
    shop.runs()
    assert shop.ends() == []
    shop.write()
    assert later(shop) == [(80, "remind", "sent", "")]


def test_a_removed_rule_sends_nothing_and_its_waits_end_after_a_day(shop: Shop) -> None:
    (shop.rules / "remind.yaml").unlink()
    shop.write("other", event="order.refunded")
    shop.hears(30, "store.visited")
    shop.runs()
    assert shop.ends() == []
    shop.runs()  # the day counts from when it was first missed
    assert later(shop) == [(48, "remind", "rule removed", "")]


@pytest.mark.parametrize("away", ["removed", "broken"])
def test_a_rule_that_is_back_within_a_day_goes_on(shop: Shop, away: str) -> None:
    shop.write("other", event="order.refunded")
    if away == "removed":
        (shop.rules / "remind.yaml").unlink()
    else:
        shop.write(more="wiat: 3d")
    shop.hears(40, "store.visited")
    running = shop.runs()
    assert any("unknown key 'wiat'" in line for line in running.err) == (away == "broken")
    shop.write()
    assert later(shop) == [(72, "remind", "sent", "")]


def test_a_renamed_rule_takes_its_waits_along(shop: Shop) -> None:
    (shop.rules / "remind.yaml").unlink()
    shop.write("nudge", more="renamed_from: remind")
    assert later(shop) == [(72, "nudge", "sent", "")]


def test_a_slot_that_passes_between_two_runs_is_opened_once_for_everybody(shop: Shop) -> None:
    slot = "rule: v1\nid: slot\ntitle: Slot\nowner: crm@yunque.example\nstatus: live\nclass: notice\n"
    slot += 'schedule: {at: 2026-08-31 12:00}\nsend: {text: "Hello"}\n'
    (shop.rules / "remind.yaml").unlink()
    (shop.rules / "slot.yaml").write_text(slot)
    shop.hears(25, "store.visited")
    shop.runs()
    shop.hears(48, "store.visited")
    shop.runs()
    shop.runs()
    sent = query(shop.db, "SELECT customer, at FROM outbox WHERE rule = 'slot'")
    assert sent == [("c1", START + 41 * HOUR + HOUR // 3)]
    assert [end for end in later(shop) if end[1] == "slot"] == [(41 + 1 / 3, "slot", "sent", "")]
