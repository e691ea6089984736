from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from triggers.cli import main
from triggers.core.room import MOST_OF_A_RULE

if TYPE_CHECKING:
    from pathlib import Path

SHOP = """\
shop: v1
name: Test
timezone: Asia/Shanghai
opt_out: ""
window: [10:00-12:00]
look_ahead: 2h
caps: {marketing: [1 / 2d]}
recency: {marketing: {active_within: 30d, by: [order.paid, favorite.added, customer.registered, order.created]}}
"""
RULES = {
    "coupon": """
priority: 80
when: {event: order.created, where: event.amount >= 200, per: order_id}
wait: 2h
unless: [{event: order.paid}]
send:
  expires: 1d
  coupon: {batch: PAY, amount: 20, min_spend: 500}
  text: "{customer.name|dear}, come back"
""",
    "wishes": """
priority: 40
when: {event: favorite.added}
wait: 1d
recency: off
audience: {did: favorite.added, within: 7d, at_least: 2}
limits: {per_customer: 1 / 30d}
send: {text: "your wishes"}
""",
    "return": """
priority: 50
when: {event: order.paid}
wait: 40d
send: {text: "it has been long"}
""",
}


def at(day: int, clock: str, month: int = 9) -> str:
    return f"2026-{month:02d}-{day:02d}T{clock}:00+08:00"


def created(name: str, when: str, amount: int = 899) -> dict[str, object]:
    return {
        "type": "order.created",
        "id": name,
        "customer": "c1",
        "at": when,
        "order_id": f"o-{name}",
        "amount": amount,
    }


def wish(name: str, when: str, customer: str = "c1") -> dict[str, object]:
    return {"type": "favorite.added", "id": name, "customer": customer, "at": when, "product_id": "p"}


def paid(name: str, when: str, order: str = "o") -> dict[str, object]:
    return {"type": "order.paid", "id": name, "customer": "c1", "at": when, "order_id": order, "amount": 899}


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "_shop.yaml").write_text(SHOP, encoding="utf-8")
    for name, rule in RULES.items():
        head = f"rule: v1\nid: {name}\ntitle: A rule\nstatus: live\nclass: marketing"
        (folder / f"{name}.yaml").write_text(head + rule, encoding="utf-8")
    return folder


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


class Asker:
    """Asks why, on a log of events or on the database of a service that has taken them in."""

    def __init__(self, rules: Path, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.rules = rules
        self.log = log
        self.capsys = capsys

    def write(self, *events: dict[str, object]) -> None:
        self.log.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")

    def ask(self, *arguments: str, customer: str = "c1") -> list[str]:
        assert main(["why", customer, "--log", str(self.log), "--rules", str(self.rules), *arguments]) == 0
        return [line.rstrip() for line in self.capsys.readouterr().out.splitlines()]

    def serve(self) -> Path:
        database = self.log.with_name("why.db")
        run = ["run", "--rules", str(self.rules), "--db", str(database), "--port", "0", "--input", str(self.log)]
        command = [sys.executable, "-m", "triggers", *run, "--speed", "0", "--exit-at-end", "--log-format", "json"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return database

    def ask_service(self, database: Path, *arguments: str) -> list[str]:
        assert main(["why", "c1", "--db", str(database), *arguments]) == 0
        return [line.rstrip() for line in self.capsys.readouterr().out.splitlines()]


@pytest.fixture
def asker(rules: Path, log: Path, capsys: pytest.CaptureFixture[str]) -> Asker:
    return Asker(rules, log, capsys)


def test_a_timeline_tells_events_waits_and_sends_in_the_shops_zone(asker: Asker) -> None:
    asker.write(created("e1", at(1, "09:00")), wish("w9", at(3, "09:00"), "c9"))
    since = "since order.created e1 at 2026-09-01 09:00 for o-e1"
    assert asker.ask() == [
        "c1, 1 event, 1 wait, 1 message; times in Asia/Shanghai",
        "",
        "  2026-09-01 09:00  event        order.created e1 (order_id o-e1, amount 899)",
        f"                    waits        coupon: {since}, due 2026-09-01 11:00",
        '  2026-09-01 11:00  sent         coupon: coupon PAY: "dear, come back"',
        "",
        "at 2026-09-03 09:00 nothing waits",
    ]


def said(lines: list[str], kind: str) -> list[str]:
    """List what entries of a kind say, without their times."""
    return [line[33:] for line in lines if line[20:33].strip() == kind]


def test_an_end_outside_the_audience_names_the_nearest_miss(asker: Asker) -> None:
    asker.write(wish("w1", at(1, "10:30")), wish("w9", at(9, "09:00"), "c9"))
    assert said(asker.ask(), "ended") == ["wishes: not in audience: 2 favorite.added within 7d needed, had 1"]


def test_a_cancel_names_the_event_that_did_it(asker: Asker) -> None:
    asker.write(created("e1", at(1, "09:00")), paid("e2", at(1, "09:40"), "o-e1"))
    assert said(asker.ask("--rule", "coupon"), "ended") == ["coupon: cancelled by order.paid: e2 at 2026-09-01 09:40"]


def test_a_coupon_that_cannot_be_used_tells_both_amounts(asker: Asker) -> None:
    asker.write(created("e1", at(1, "09:00"), 499), wish("w9", at(9, "09:00"), "c9"))
    assert said(asker.ask(), "ended") == [
        "coupon: coupon not usable: coupon PAY needs an order of at least 500 yuan, o-e1 had 499"
    ]


def test_a_full_cap_names_the_sends_that_fill_it_and_when_it_frees(asker: Asker) -> None:
    asker.write(
        wish("w1", at(1, "10:10")),
        wish("w2", at(1, "10:20")),
        created("e1", at(3, "09:00")),
        wish("w9", at(9, "09:00"), "c9"),
    )
    lines = asker.ask("--rule", "coupon")
    filled = "1 / 2d for marketing is filled by wishes at 2026-09-02 10:10; frees 2026-09-04 10:10"
    assert said(lines, "held") == [f"coupon: capped: {filled}, tried again 2026-09-04 10:10"]
    assert said(lines, "sent") == ['wishes: "your wishes"', 'coupon: coupon PAY: "dear, come back"']


def test_yielding_names_the_rule_with_the_higher_priority(asker: Asker) -> None:
    asker.write(
        wish("w1", at(1, "10:10")),
        wish("w2", at(1, "10:20")),
        created("e1", at(2, "09:00")),
        wish("w9", at(9, "09:00"), "c9"),
    )
    held = said(asker.ask("--rule", "wishes"), "held")
    assert held[0] == (
        "wishes: yielded: to coupon (priority 80 over 40), which opens 2026-09-02 11:00, tried again 2026-09-02 11:00"
    )


def test_silence_names_the_last_activity(asker: Asker) -> None:
    asker.write(paid("e1", at(1, "10:30")), wish("w9", at(20, "09:00", 10), "c9"))
    (ended,) = said(asker.ask("--rule", "return"), "ended")
    assert ended.startswith("return: recency: order.paid or favorite.added or ")
    assert ended.endswith(" within 30d needed, last was order.paid e1 at 2026-09-01 10:30")


def test_a_limit_per_customer_names_the_earlier_send(asker: Asker) -> None:
    asker.write(
        *(wish(f"w{i}", at(1, f"10:1{i}")) for i in range(2)),
        *(wish(f"x{i}", at(6, f"10:1{i}")) for i in range(2)),
        wish("w9", at(12, "09:00"), "c9"),
    )
    assert said(asker.ask(), "ended") == [
        "wishes: per customer: 1 / 30d allowed, had wishes at 2026-09-02 10:10; free again 2026-10-02 10:10"
    ]


def test_a_match_for_which_there_was_no_room_says_how_many_are_open(asker: Asker, rules: Path) -> None:
    asker.write(*(created(f"e{i}", at(1, "09:00")) for i in range(MOST_OF_A_RULE + 1)))
    told = [f"coupon: too many waits: {MOST_OF_A_RULE} of this rule are open"]
    assert said(asker.ask(), "ended") == told
    assert said(asker.ask_service(asker.serve(), "--rules", str(rules)), "ended") == told


def test_one_that_came_too_late_tells_the_window_that_was_missed(asker: Asker, rules: Path) -> None:
    path = rules / "coupon.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("expires: 1d", "expires: 3h"), encoding="utf-8")
    asker.write(created("e1", at(1, "12:00")), wish("w9", at(9, "09:00"), "c9"))
    (ended,) = said(asker.ask(), "ended")
    bounds = "due 2026-09-01 14:00, had to leave before 2026-09-01 17:00"
    assert ended == f"coupon: expired: {bounds}, but its window opens 2026-09-02 10:00"


def test_an_event_that_began_no_wait_tells_what_was_needed(asker: Asker) -> None:
    asker.write(created("e1", at(1, "09:00"), 150))
    assert said(asker.ask(), "ignored") == ["coupon: e1 began no wait: event.amount >= 200 needed"]
    assert asker.ask("--rule", "coupon")[-1] == (
        "coupon never began a wait for c1: order.created where event.amount >= 200 is needed"
    )


def test_what_still_waits_stands_at_the_end(asker: Asker) -> None:
    asker.write(created("e1", at(1, "20:00")), wish("w9", at(1, "23:00"), "c9"))
    since = "since order.created e1 at 2026-09-01 20:00 for o-e1, due 2026-09-01 22:00, window opens 2026-09-02 10:00"
    held = "held back: window, tried next 2026-09-02 10:00"
    assert asker.ask()[-2:] == [
        "at 2026-09-01 23:00 these wait:",
        f"  2026-09-02 10:00  waiting      coupon: {since}, {held}",
    ]


def test_late_and_doubled_events_say_so(asker: Asker) -> None:
    late = {**created("e1", at(1, "09:00")), "received_at": at(1, "10:00")}
    asker.write(late, late)
    assert said(asker.ask("--order", "received"), "event") == [
        "order.created e1 (order_id o-e1, amount 899), arrived 2026-09-01 10:00",
        "order.created e1 (order_id o-e1, amount 899), arrived 2026-09-01 10:00, known already",
    ]


def test_a_message_that_left_before_its_cancel_arrived_says_so(asker: Asker) -> None:
    late = {**paid("e2", at(1, "10:30"), "o-e1"), "received_at": at(1, "11:30")}
    asker.write({**created("e1", at(1, "09:00")), "received_at": at(1, "09:00")}, late)
    assert said(asker.ask("--order", "received"), "late cancel") == [
        "coupon: order.paid e2 would have cancelled, the message had left"
    ]


def test_phones_are_masked_and_control_characters_replaced(asker: Asker) -> None:
    told = {"type": "customer.updated", "id": "u1", "customer": "c1", "at": at(1, "09:00"), "phone": "+8613812345678"}
    asker.write(told)
    text = "\n".join(asker.ask())
    assert "+86138****5678" in text
    assert "13812345678" not in text


def test_machines_get_one_json_object(asker: Asker) -> None:
    asker.write(created("e1", at(1, "09:00")), wish("w9", at(3, "09:00"), "c9"))
    story = json.loads("\n".join(asker.ask("--json", "--rule", "coupon")))
    assert [entry["kind"] for entry in story["entries"]] == ["event", "waits", "sent"]
    assert story["entries"][2] == {
        "at": "2026-09-01T03:00:00.000Z",
        "kind": "sent",
        "rule": "coupon",
        "identity": "o-e1",
        "due": "2026-09-01T03:00:00.000Z",
        "reason": "sent",
        "text": 'coupon PAY: "dear, come back"',
    }


def test_a_log_that_is_out_of_order_is_told_in_order(asker: Asker) -> None:
    events = [wish(f"w{i}", at(1 + i // 12, f"{8 + i % 12:02d}:00")) for i in range(60)]
    asker.write(*events)
    straight = asker.ask()
    asker.write(*events[30:], *events[:30])
    assert asker.ask() == straight


def test_where_customers_share_a_limit_the_others_are_played_too(asker: Asker, rules: Path) -> None:
    path = rules / "wishes.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("per_customer: 1 / 30d", "total: 1"), encoding="utf-8")
    wishes = [wish(f"{c}-{i}", at(1, f"10:{c[1]}{i}"), c) for c in ("c0", "c1") for i in range(2)]
    asker.write(*wishes, wish("w9", at(9, "09:00"), "c9"))
    assert said(asker.ask(customer="c0"), "sent") == ['wishes: "your wishes"']
    assert said(asker.ask(), "ended") == ["wishes: total"]


def test_a_customer_of_whom_nothing_is_known_is_status_1_with_a_guess(asker: Asker, rules: Path, log: Path) -> None:
    asker.write(
        wish("w1", at(1, "10:30"), "c-100"), wish("w2", at(1, "10:31"), "c-200"), wish("w3", at(1, "10:32"), "x")
    )
    assert main(["why", "c-10", "--log", str(log), "--rules", str(rules)]) == 1
    assert asker.capsys.readouterr().err == "nothing is known of the customer 'c-10'; did you mean c-100?\n"
    path = rules / "wishes.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("per_customer: 1 / 30d", "total: 1"), encoding="utf-8")
    assert main(["why", "c-10", "--log", str(log), "--rules", str(rules)]) == 1
    assert "did you mean c-100?" in asker.capsys.readouterr().err
    database = asker.serve()
    assert main(["why", "c-10", "--db", str(database)]) == 1
    assert "did you mean c-100?" in asker.capsys.readouterr().err


def test_an_unknown_rule_is_status_1_with_a_guess(asker: Asker, rules: Path, log: Path) -> None:
    asker.write(wish("w1", at(1, "10:30")))
    assert main(["why", "c1", "--log", str(log), "--rules", str(rules), "--rule", "cupon"]) == 1
    assert asker.capsys.readouterr().err == "there is no rule 'cupon'; did you mean 'coupon'?\n"


def test_without_a_log_and_a_database_it_says_what_to_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["why", "c1"]) == 2
    assert "give --db FILE, or --log LOG and --rules DIR" in capsys.readouterr().err
    assert main(["why", "c1", "--db", "none.db"]) == 2
    assert "there is no database none.db" in capsys.readouterr().err
    assert main(["why", "c1", "--db", "none.db", "--log", "x"]) == 2


def test_rules_with_errors_are_status_2(asker: Asker, rules: Path, log: Path) -> None:
    asker.write(wish("w1", at(1, "10:30")))
    (rules / "coupon.yaml").write_text("rule: v1\n", encoding="utf-8")
    assert main(["why", "c1", "--log", str(log), "--rules", str(rules)]) == 2
    assert "have errors" in asker.capsys.readouterr().err


def busy() -> list[dict[str, object]]:
    return [
        created("e1", at(1, "09:00"), 499),
        wish("w1", at(1, "10:10")),
        wish("w2", at(1, "10:20")),
        created("e2", at(3, "09:00")),
        created("e3", at(4, "09:00")),
        paid("e4", at(4, "10:00"), "o-e3"),
        created("e5", at(8, "09:00"), 100),
        wish("w9", at(9, "09:00"), "c9"),
    ]


def test_the_service_tells_the_same_story_as_a_replay_and_how_far_each_message_came(asker: Asker, rules: Path) -> None:
    (rules / "_shop.yaml").write_text(SHOP.replace('opt_out: ""', 'opt_out: " R"'), encoding="utf-8")
    phone = {"type": "customer.updated", "id": "u1", "customer": "c1", "at": at(1, "08:00"), "phone": "+8613800001234"}
    asker.write(phone, *busy())
    from_log = asker.ask("--order", "received")
    from_service = asker.ask_service(asker.serve(), "--rules", str(rules))
    assert len(said(from_log, "sent")) == 2
    assert [line.removesuffix(" (accepted)") for line in from_service] == from_log
    assert sum(line.endswith(" (accepted)") for line in from_service) == 2


def test_what_was_decided_and_did_not_leave_is_told_as_not_sent_with_the_reason(asker: Asker, rules: Path) -> None:
    asker.write(*busy())
    story = asker.ask_service(asker.serve(), "--rules", str(rules))
    assert not said(story, "sent")
    assert sum(line.endswith(" (suppressed: no phone)") for line in said(story, "not sent")) == 2


def test_the_service_tells_what_the_engine_has_forgotten_since(asker: Asker, rules: Path) -> None:
    (rules / "_shop.yaml").write_text(SHOP + "history: 40d\n", encoding="utf-8")
    asker.write(*busy(), *(paid(f"later{month}", at(20, "09:00", month), f"later{month}") for month in (10, 11, 12)))
    from_log = asker.ask("--order", "received")
    from_service = asker.ask_service(asker.serve(), "--rules", str(rules))
    assert any("since order.created e3" in line for line in from_log)
    assert any("cancelled by order.paid: e4" in line for line in from_log)
    ends = {kind: said(from_log, kind) for kind in ("waits", "ended")}
    assert {kind: said(from_service, kind) for kind in ends} == ends


def test_where_the_database_has_no_customers_what_waits_is_told_by_what_was_decided(asker: Asker, rules: Path) -> None:
    wishes = rules / "wishes.yaml"
    wishes.write_text(wishes.read_text(encoding="utf-8").replace("wait: 1d", "wait: 8d"), encoding="utf-8")
    asker.write(*busy())
    database = asker.serve()
    whole = asker.ask_service(database, "--rules", str(rules))
    waiting = next(number for number, line in enumerate(whole) if line.endswith("these wait:"))
    assert len(whole[waiting:]) >= 3
    with closing(sqlite3.connect(database)) as connection, connection:
        assert connection.execute("DELETE FROM customers").rowcount  # a fleet's are with its workers
    assert asker.ask_service(database, "--rules", str(rules)) == whole


def test_what_other_rules_decided_is_told_by_what_was_kept_of_it(asker: Asker, rules: Path) -> None:
    asker.write(*busy())
    database = asker.serve()
    path = rules / "coupon.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("min_spend: 500", "min_spend: 800"), encoding="utf-8")
    lines = asker.ask_service(database, "--rules", str(rules), "--rule", "coupon")
    assert "coupon: coupon not usable: order of at least 500 needed, had 499" in said(lines, "ended")


def test_without_rules_the_service_is_told_in_utc(
    asker: Asker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asker.write(created("e1", at(1, "09:00")), wish("w9", at(3, "09:00"), "c9"))
    database = asker.serve()
    monkeypatch.chdir(tmp_path.parent)
    lines = asker.ask_service(database)
    assert lines[0].endswith("times in UTC")
    assert any(line.startswith("  2026-09-01 03:00  not sent") for line in lines)
    assert lines[-1] == "without the rules times are in UTC, and some reasons short; give --rules DIR"
