"""``triggers replay`` as people call it: what it writes, what it says, and what it refuses."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from triggers import cli
from triggers.core.room import MOST_OF_A_RULE

DAY = 86_400_000
START = 1_788_229_800_000  # 2026-09-01T10:30:00+08:00

SHOP = """
shop: v1
name: Tea House
timezone: Asia/Shanghai
signature: "[Tea House]"
opt_out: ""
price_per_message: 0.05
window: [10:00-20:00]
caps: {marketing: [1 / 1d]}
"""
PAY = """
rule: v1
id: pay
title: An order that waits
status: STATUS
class: marketing
when: {event: order.created, per: order_id}
wait: 2h
unless: [{event: order.paid}]
recency: off
send: {text: "Your order waits"}
"""
WELCOME = """
rule: v1
id: welcome
title: Signed up
status: live
class: marketing
priority: 90
when: {event: customer.registered}
wait: 1d
recency: off
send: {text: "Welcome", holdout: HOLDOUT}
"""


def rules(folder: Path, *, status: str = "live", pay: str = PAY, holdout: str = "0%") -> str:
    folder.mkdir(exist_ok=True)
    (folder / "_shop.yaml").write_text(SHOP)
    (folder / "pay.yaml").write_text(pay.replace("STATUS", status))
    (folder / "welcome.yaml").write_text(WELCOME.replace("HOLDOUT", holdout))
    return str(folder)


def event(name: str, at: int, kind: str, customer: str = "c1", **fields: object) -> dict[str, Any]:
    return {"id": name, "type": kind, "customer": customer, "at": START + at} | fields


def order(name: str, at: int, kind: str, customer: str = "c1", number: str = "o1") -> dict[str, Any]:
    return event(name, at, kind, customer, order_id=number, amount=9.5)


EVENTS = [
    event("1", 0, "customer.registered"),
    order("2", 0, "order.created"),
    order("3", 60_000, "order.created", "c2", "o2"),
    order("4", 120_000, "order.paid", "c2", "o2"),
    event("5", 3 * DAY, "store.visited", "c3"),
]


def log(folder: Path, events: list[Any] = EVENTS, name: str = "log.jsonl") -> str:
    lines = b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in events)
    (folder / name).write_bytes(gzip.compress(lines) if name.endswith("gz") else lines)
    return str(folder / name)


def lines(path: Path | str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def replay(*arguments: str) -> int:
    return cli.main(["replay", *arguments])


def test_a_send_is_written_as_the_design_says(tmp_path: Path) -> None:
    out = tmp_path / "sends.jsonl"
    assert replay(log(tmp_path), "--rules", rules(tmp_path / "rules"), "--out", str(out), "--quiet") == 0
    first = out.read_text().splitlines()[0]
    sent = json.loads(first)
    assert list(sent) == [
        "id", "rule", "customer", "identity", "anchor", "due", "at", "withheld", "variant", "coupon", "text",
        "segments", "cost", "revision",
    ]  # fmt: skip
    assert first == json.dumps(sent, separators=(",", ":"), ensure_ascii=False)
    assert {key: sent[key] for key in list(sent)[1:13]} == {
        "rule": "pay",
        "customer": "c1",
        "identity": "o1",
        "anchor": "2026-09-01T02:30:00.000Z",
        "due": "2026-09-01T04:30:00.000Z",
        "at": "2026-09-01T04:30:00.000Z",
        "withheld": False,
        "variant": None,
        "coupon": None,
        "text": "[Tea House]Your order waits",
        "segments": 1,
        "cost": "0.05",
    }
    assert [(one["rule"], one["identity"], one["at"]) for one in lines(out)[1:]] == [
        ("welcome", None, "2026-09-02T04:30:00.000Z")  # capped until a day after the first
    ]


def test_every_end_of_a_wait_is_a_decision_with_its_reason(tmp_path: Path) -> None:
    out = tmp_path / "ends.jsonl"
    assert replay(log(tmp_path), "--rules", rules(tmp_path / "rules"), "--decisions", str(out), "--quiet") == 0
    assert [(one["at"], one["rule"], one["customer"], one["reason"], one["detail"]) for one in lines(out)] == [
        ("2026-09-01T02:32:00.000Z", "pay", "c2", "cancelled", "order.paid"),
        ("2026-09-01T04:30:00.000Z", "pay", "c1", "sent", None),
        ("2026-09-02T04:30:00.000Z", "welcome", "c1", "sent", None),
    ]


def test_a_match_beyond_the_most_waits_of_a_customer_is_in_the_decisions_and_the_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flood = [order(f"e{i}", i, "order.created", number=f"o{i}") for i in range(MOST_OF_A_RULE + 2)]
    out = tmp_path / "decisions.jsonl"
    assert replay(log(tmp_path, flood), "--rules", rules(tmp_path / "rules"), "--decisions", str(out)) == 0
    refused = [line for line in lines(out) if line["reason"] == "too many waits"]
    assert [(line["identity"], line["detail"]) for line in refused] == [
        (f"o{MOST_OF_A_RULE + i}", f"{MOST_OF_A_RULE} of this rule are open") for i in range(2)
    ]
    (figures,) = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("pay ")]
    assert figures[:2] == ["pay", str(MOST_OF_A_RULE + 2)]
    assert "2" in figures[2:]


def test_the_summary_says_what_it_came_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay(log(tmp_path), "--rules", rules(tmp_path / "rules")) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(
        "5 events, 2 customers, 2026-09-01 10:30 to 2026-09-04 10:30 (Asia/Shanghai); decided in "
    )
    assert [line.split() for line in said[-4:]] == [
        ["rule", "waits", "sent", "cancelled", "parts", "cost"],
        ["pay", "2", "1", "1", "1", "0.05"],
        ["welcome", "1", "1", ".", "1", "0.05"],
        ["all", "3", "2", "1", "2", "0.10"],
    ]


def test_lines_that_are_no_events_are_said_in_plain_words_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = log(tmp_path, [*EVENTS, b"{oops", b"{oops again", {"type": "order.payed"}])
    kept = tmp_path / "kept.jsonl"
    assert replay(path, "--rules", rules(tmp_path / "rules"), "--rejected", str(kept)) == 0
    said = capsys.readouterr().out
    assert f"3 lines could not be understood and were left out (kept in {kept}):" in said
    assert f"  2 not JSON; first {path}:6: not JSON: " in said
    assert f"  1 unknown type; first {path}:8: unknown type 'order.payed'; did you mean 'order.paid'?" in said
    assert [(one["line"], one["reason"], one["raw"]) for one in lines(kept)] == [
        (6, "not JSON", "{oops"),
        (7, "not JSON", "{oops again"),
        (8, "unknown type", '{"type": "order.payed"}'),
    ]


def test_an_event_that_says_something_else_under_a_known_id_is_turned_away_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    double, other = order("2", 0, "order.created"), order("2", 60_000, "order.paid")
    path = log(tmp_path, [*EVENTS[:2], double, other, *EVENTS[2:]])
    kept = tmp_path / "kept.jsonl"
    assert replay(path, "--rules", rules(tmp_path / "rules"), "--rejected", str(kept)) == 0
    said = capsys.readouterr().out
    assert "1 line could not be understood" in said
    assert f"  1 same id as another event; first {path}: '2' was order.created of 'c1' before; the first counts" in said
    (turned_away,) = lines(kept)
    assert json.loads(turned_away["raw"])["type"] == "order.paid"


def test_nothing_is_said_when_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay(log(tmp_path, [*EVENTS, b"{"]), "--rules", rules(tmp_path / "rules"), "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_sends_on_standard_output_stand_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert replay(log(tmp_path), "--rules", rules(tmp_path / "rules"), "--out", "-") == 0
    captured = capfd.readouterr()
    assert [json.loads(line)["rule"] for line in captured.out.splitlines()] == ["pay", "welcome"]
    assert "5 events" in captured.err


@pytest.mark.parametrize(
    ("arguments", "sends"),
    [
        ([], ["pay", "welcome"]),
        (["--from", "2026-09-02"], ["welcome"]),
        (["--from", "2026-09-01T04:30:00Z"], ["pay", "welcome"]),
        (["--from", "2026-09-01 12:31"], ["welcome"]),
        (["--until", "2026-09-02 12:30"], ["pay"]),
        (["--until", "2026-09-02T04:30:00.001Z"], ["pay", "welcome"]),
        (["--until", "2026-09-01 10:30"], []),
        (["--until", "2020-01-01"], []),
        (["--from", "2026-09-01 12:31", "--until", "2026-09-02 12:30"], []),
    ],
)
def test_a_stretch_of_time_is_reported(tmp_path: Path, arguments: list[str], sends: list[str]) -> None:
    out = tmp_path / "sends.jsonl"
    where = ("--rules", rules(tmp_path / "rules"), "--out", str(out))
    assert replay(log(tmp_path), *where, *arguments, "--quiet") == 0
    assert [one["rule"] for one in lines(out)] == sends


def test_time_goes_on_until_t_after_the_last_event(tmp_path: Path) -> None:
    out = tmp_path / "sends.jsonl"
    where = ("--rules", rules(tmp_path / "rules"), "--out", str(out), "--quiet")
    assert replay(log(tmp_path, EVENTS[:2]), *where) == 0
    assert lines(out) == []
    assert replay(log(tmp_path, EVENTS[:2]), *where, "--until", "2026-09-09") == 0
    assert len(lines(out)) == 2


def test_a_try_waits_as_long_after_due_as_that_of_a_service(tmp_path: Path) -> None:
    out = tmp_path / "sends.jsonl"
    where = ("--rules", rules(tmp_path / "rules"), "--out", str(out), "--quiet")
    late = order("paid", 2 * 3_600_000 + 90_000, "order.paid")  # a minute and a half after it was due
    assert replay(log(tmp_path, [*EVENTS[:2], late]), *where, "--until", "2026-09-01 13:00") == 0
    assert [(one["rule"], one["at"]) for one in lines(out)] == [("pay", "2026-09-01T04:30:00.000Z")]
    assert replay(log(tmp_path, [*EVENTS[:2], late]), *where, "--until", "2026-09-01 13:00", "--settle", "120") == 0
    assert lines(out) == []
    assert replay(log(tmp_path, EVENTS[:2]), *where, "--until", "2026-09-01 13:00", "--settle", "120") == 0
    assert [one["at"] for one in lines(out)] == ["2026-09-01T04:32:00.000Z"]


def big(folder: Path) -> tuple[str, list[bytes]]:
    """Write a log of a few thousand events of many customers."""
    chance = random.Random(7)  # noqa: S311  a made-up log
    events = []
    for i in range(3_000):
        at, who = i * 200_000, f"c{chance.randrange(300)}"
        events.append(event(f"r{i}", at, "customer.registered", who))
        events.append(order(f"o{i}", at + 1, "order.created", who, f"n{i}"))
        if chance.random() < 0.5:
            events.append(order(f"p{i}", at + chance.randrange(2, 150_000), "order.paid", who, f"n{i}"))
    return log(folder, events, "big.jsonl"), [json.dumps(one).encode() for one in events]


def test_order_of_lines_doubles_files_and_hash_seeds_do_not_change_a_byte(tmp_path: Path) -> None:
    path, written = big(tmp_path)
    folder = rules(tmp_path / "rules", holdout="50%")
    shuffled = random.Random(1).sample(written, len(written))  # noqa: S311  a test's shuffle
    doubled = [line for i, one in enumerate(written) for line in ([one, one] if i % 10 == 0 else [one])]
    logs = {
        "as it is": [path],
        "as it is, another seed": [path],
        "shuffled": [log(tmp_path, list(shuffled), "shuffled.jsonl")],
        "doubled": [log(tmp_path, list(doubled), "doubled.jsonl.gz")],
        "in two": [log(tmp_path, list(written[4_000:]), "b.jsonl"), log(tmp_path, list(written[:4_000]), "a.jsonl.gz")],
    }
    results = set()
    for seed, (name, paths) in enumerate(logs.items()):
        out, ends = tmp_path / f"{name} sends", tmp_path / f"{name} ends"
        command = [sys.executable, "-m", "triggers", "replay", *paths, "--rules", folder, "--quiet"]
        environment = os.environ | {"PYTHONHASHSEED": str(seed)}
        subprocess.run([*command, "--out", out, "--decisions", ends], check=True, env=environment)
        results.add((out.read_bytes(), ends.read_bytes()))
    assert len(results) == 1
    sends, _ = results.pop()
    times = [json.loads(line)["at"] for line in sends.splitlines()]
    assert times == sorted(times)
    assert {json.loads(line)["withheld"] for line in sends.splitlines()} == {True, False}
    assert len(times) > 500


def test_groups_of_customers_decide_the_same_as_all_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = big(tmp_path)
    folder = rules(tmp_path / "rules")
    for name, size in (("many", 10_000), ("one", 10**12)):
        monkeypatch.setattr("triggers.replay.playing.GROUP_BYTES", size)
        assert replay(path, "--rules", folder, "--out", str(tmp_path / name), "--quiet") == 0
    assert (tmp_path / "many").read_bytes() == (tmp_path / "one").read_bytes()


def test_shared_limits_are_kept_over_all_customers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triggers.replay.playing.GROUP_BYTES", 10_000)
    path, _ = big(tmp_path)
    out = tmp_path / "sends"
    folder = rules(tmp_path / "rules", pay=PAY + "limits: {total: 40}\n")
    assert replay(path, "--rules", folder, "--out", str(out), "--quiet") == 0
    assert sum(one["rule"] == "pay" for one in lines(out)) == 40


def test_shadow_rules_are_counted_and_never_written_as_sends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sends.jsonl"
    assert replay(log(tmp_path), "--rules", rules(tmp_path / "rules", status="shadow"), "--out", str(out)) == 0
    assert [one["rule"] for one in lines(out)] == ["welcome"]
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["pay", "2", ".", "1", "1", ".", "0.00"] in said


def test_drafts_are_played_on_request_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "sends.jsonl"
    where = (log(tmp_path), "--rules", rules(tmp_path / "rules", status="draft"), "--out", str(out))
    assert replay(*where) == 0
    assert [one["rule"] for one in lines(out)] == ["welcome"]
    assert "1 draft rule not played" in capsys.readouterr().out
    assert replay(*where, "--drafts") == 0
    assert [one["rule"] for one in lines(out)] == ["pay", "welcome"]


def test_another_set_of_rules_is_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = rules(tmp_path / "one")
    other = rules(tmp_path / "other", pay=PAY.replace("wait: 2h", "wait: 3h").replace("Your", "Dear, your"))
    out = tmp_path / "sends.jsonl"
    assert replay(log(tmp_path), "--rules", one, "--against", other, "--out", str(out)) == 0
    said = capsys.readouterr().out.splitlines()
    assert f"with the rules of {other}, against 2 sends now: 2 moved; for example:" in said
    assert "  moved: pay to c1, 2026-09-01 12:30 -> 2026-09-01 13:30" in said
    assert said[-1].split() == ["all", "2", "0", "0", "2", "0", "2", "0.00"]
    assert len(lines(out)) == 2, "the sends are those of --rules"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["LOG", "--rules", "nowhere"], "there is no such folder of rules"),
        (["nowhere.jsonl", "--rules", "RULES"], "nowhere.jsonl: No such file or directory"),
        (["LOG", "--rules", "RULES", "--out", "/dev/full"], "/dev/full cannot be written: No space left on device"),
        (["LOG", "--rules", "RULES", "--decisions", "/dev/full"], "/dev/full cannot be written: No space left"),
        (["LOG", "--rules", "RULES", "--rejected", "/dev/full"], "/dev/full cannot be written: No space left"),
        (["LOG", "--rules", "RULES", "--out", "/nowhere/x"], "/nowhere/x cannot be written: No such file"),
        (["LOG", "--rules", "RULES", "--out", "LOG"], "is a log to read; write to another file"),
        (["LOG", "--rules", "RULES", "--out", "x", "--decisions", "x"], "x is given for two outputs"),
        (
            ["LOG", "--rules", "RULES", "--from", "2026-09-02", "--until", "2026-09-01"],
            "--from 2026-09-02 is after --until",
        ),
        (["LOG", "--rules", "RULES", "--until", "soon"], "soon: not a time; write 2026-09-01"),
        (["LOG", "--rules", "FAULTY"], "pay.yaml:8:1: error: unknown key 'wiat'; did you mean 'wait'?"),
    ],
)
def test_what_cannot_be_used_is_one_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {
        "LOG": log(tmp_path, [*EVENTS, b"{"]),
        "RULES": rules(tmp_path / "rules"),
        "FAULTY": rules(tmp_path / "faulty", pay=PAY.replace("wait:", "wiat:")),
    }
    before = Path(names["LOG"]).read_bytes()
    assert replay(*(names.get(argument, argument) for argument in arguments)) == 2
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said
    assert Path(names["LOG"]).read_bytes() == before


def test_an_empty_log_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay(log(tmp_path, []), "--rules", rules(tmp_path / "rules")) == 0
    assert capsys.readouterr().out.startswith("no event to play")


def test_a_log_that_is_not_there_spoils_no_earlier_output(tmp_path: Path) -> None:
    sends = tmp_path / "sends.jsonl"
    sends.write_text("precious\n")
    assert replay("nowhere.jsonl", "--rules", rules(tmp_path / "rules"), "--out", str(sends)) == 2
    assert sends.read_text() == "precious\n"


def test_a_pipe_is_read_as_a_file_is(tmp_path: Path) -> None:
    plain, pipe, folder = log(tmp_path), tmp_path / "pipe", rules(tmp_path / "rules")
    os.mkfifo(pipe)
    writer = Thread(target=lambda: pipe.write_bytes(Path(plain).read_bytes()), daemon=True)
    writer.start()
    assert replay(str(pipe), "--rules", folder, "--out", str(tmp_path / "piped")) == 0
    writer.join(10)
    assert replay(plain, "--rules", folder, "--out", str(tmp_path / "read")) == 0
    assert (tmp_path / "piped").read_bytes() == (tmp_path / "read").read_bytes() != b""
