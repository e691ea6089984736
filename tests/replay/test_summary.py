"""The summary: figures that add up, and sentences that a person understands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triggers.core.customer import Customer, Wait
from triggers.core.decisions import Reason
from triggers.core.times import Zone
from triggers.replay.log import Log
from triggers.replay.playing import Played
from triggers.replay.progress import plain_lines
from triggers.replay.summary import Tally, counted, heading, money, plain, remarks

if TYPE_CHECKING:
    from pathlib import Path


def test_only_columns_in_which_something_happened_are_shown_and_totals_add_up() -> None:
    tally = Tally(["b", "a", "idle"])
    tally.ended["a"][Reason.SENT] = 1_200
    tally.ended["b"][Reason.CAPPED] = 3
    tally.parts["a"], tally.cost["a"] = 2_400, 12_000_000
    customer = Customer(id="c")
    customer.put("b", Wait("b", None, 0, 0, 0, 0))
    tally.finish({"c": customer})
    assert tally.table() == [
        ["rule", "waits", "sent", "capped", "still waiting", "parts", "cost"],
        ["a", "1,200", "1,200", ".", ".", "2,400", "120.00"],
        ["b", "4", ".", "3", "1", ".", "0.00"],
        ["idle", ".", ".", ".", ".", ".", "0.00"],
        ["all", "1,204", "1,200", "3", "1", "2,400", "120.00"],
    ]


def test_a_table_is_aligned_names_left_and_figures_right() -> None:
    assert plain([["rule", "sent"], ["a-long-name", "1"], ["b", "1,000"]]) == (
        "rule          sent\n"
        "a-long-name      1\n"
        "b            1,000"
    )  # fmt: skip


def test_heads_of_several_words_stand_one_word_a_line() -> None:
    assert plain([["rule", "not in audience", "still waiting"], ["a", "1", "2"]]) == (
        "           not\n"
        "            in    still\n"
        "rule  audience  waiting\n"
        "a            1        2"
    )  # fmt: skip


def test_numbers_are_words_for_people() -> None:
    assert (counted(1, "line"), counted(2_000, "line"), money(123_456_700_000)) == (
        "1 line",
        "2,000 lines",
        "1,234,567.00",
    )


def test_nothing_is_remarked_of_a_log_in_order_and_everything_of_one_that_is_not(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    at = 1_788_229_800_000
    good = '{"id":"1","type":"store.visited","customer":"c","at":%d,"received_at":%d}\n'
    path.write_text(good % (at, at))
    log = Log([str(path)])
    list(log.read())
    assert remarks(log, Tally([]), None) == []
    path.write_text(good % (at + 400_000, at) + "{\n")
    list(log.read())
    tally = Tally([])
    tally.late_cancels = 1
    assert remarks(log, tally, None) == [
        "1 line could not be understood and was left out (--rejected FILE keeps them):",
        f"  1 not JSON; first {path}:2: not JSON: Input data was truncated",
        "1 event from the future (over 5 min ahead) was taken to have happened when received",
        "1 cancel came after the message had left",
    ]


def test_the_heading_tells_what_was_read_and_how_fast(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("")
    log = Log([str(path)])
    log.events = 1_000
    tally = Tally([])
    tally.customers = 1
    zone = Zone("UTC")
    assert heading(log, Played(tally, (0, 86_400_000)), zone, 2.0) == (
        "1,000 events, 1 customer, 1970-01-01 00:00 to 1970-01-02 00:00 (UTC); decided in 2.0 s, 500 events/s"
    )
    assert heading(log, Played(tally, None), zone, 2.0) == "no event to play"


def test_progress_is_a_plain_line_now_and_then() -> None:
    said: list[str] = []
    times = iter([0.0, 1.0, 10.0, 11.0, 21.0])
    report = plain_lines(said.append, lambda: next(times), every_s=10)
    for share in (0.1, 0.5, 0.6, 1.0):
        report(share, int(share * 1_000_000))
    assert said == [" 50%  500,000 events read, 10 s", "100%  1,000,000 events read, 21 s"]
