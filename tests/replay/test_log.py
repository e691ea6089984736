"""Reading recorded logs: every form, every order, and what cannot be read."""

from __future__ import annotations

import gzip
import io
import json
import random
import sys
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import pytest

from triggers.core.intake import MAX_EVENT_BYTES
from triggers.errors import InputUnusable
from triggers.replay import log as log_module
from triggers.replay import source
from triggers.replay.groups import Groups
from triggers.replay.log import Log, Rejected

if TYPE_CHECKING:
    from pathlib import Path

    from triggers.core.events import AnyEvent

START = 1_788_229_800_000
MINUTE = 60_000


def line(number: int, at: int, **more: object) -> bytes:
    fields = {"id": f"e{number}", "type": "store.visited", "customer": f"c{number % 7}", "at": START + at} | more
    return json.dumps(fields).encode() + b"\n"


def written(folder: Path, lines: list[bytes], name: str = "log.jsonl") -> str:
    path = folder / name
    path.write_bytes(gzip.compress(b"".join(lines)) if name.endswith("gz") else b"".join(lines))
    return str(path)


def ids(log: Log) -> list[str]:
    return [event.id for batch in log.read() for event in batch]


def events(log: Log) -> list[AnyEvent]:
    return [event for batch in log.read() for event in batch]


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz", "log.txt", "log-without-ending.gz"])
def test_a_log_is_read_plain_or_gzipped_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    log = Log([written(tmp_path, [line(i, i) for i in range(9_000)], name)])
    assert ids(log) == [f"e{i}" for i in range(9_000)]
    assert (log.events, log.share, log.sorted) == (9_000, 1.0, True)
    assert ids(log) == [f"e{i}" for i in range(9_000)], "it can be read once more"


def test_standard_input_is_read_as_often_as_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    zipped = io.BytesIO(gzip.compress(line(1, 0) + line(2, 5)))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(zipped))
    log = Log(["-"])
    assert (ids(log), ids(log)) == (["e1", "e2"], ["e1", "e2"])


def test_a_last_line_without_an_end_and_blank_lines_are_fine(tmp_path: Path) -> None:
    log = Log([written(tmp_path, [b"\xef\xbb\xbf", line(1, 0), b"\n  \r\n", line(2, 1).rstrip()])])
    assert ids(log) == ["e1", "e2"]
    assert log.reasons == {}


def test_an_empty_log_has_no_event(tmp_path: Path) -> None:
    log = Log([written(tmp_path, [])])
    assert (ids(log), log.events, log.share) == ([], 0, 1.0)


def test_lines_shuffled_within_each_minute_are_put_in_order(tmp_path: Path) -> None:
    lines = [[line(i, minute * MINUTE + i) for i in range(20)] for minute in range(500)]
    chance = random.Random(7)  # noqa: S311  a test's shuffle
    shuffled = [one for minute in lines for one in chance.sample(minute, len(minute))]
    log = Log([written(tmp_path, shuffled)])
    times = [event.at for event in events(log)]
    assert (times, log.sorted) == (sorted(times), True)
    assert len(times) == 10_000


def test_events_of_one_instant_stay_in_the_order_of_the_log(tmp_path: Path) -> None:
    assert ids(Log([written(tmp_path, [line(i, 0) for i in range(5_000)])])) == [f"e{i}" for i in range(5_000)]


def test_a_log_out_of_order_says_so_and_gives_every_event(tmp_path: Path) -> None:
    log = Log([written(tmp_path, [line(i, -i * MINUTE) for i in range(9_000)])])
    assert sorted(ids(log)) == sorted(f"e{i}" for i in range(9_000))
    assert not log.sorted


def test_few_events_are_held_however_many_come_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "MAX_HELD", 100)
    log = Log([written(tmp_path, [line(i, 0) for i in range(9_000)])])
    assert sum(len(batch) for batch in list(log.read())[:-1]) == 9_000 - 100


def test_in_order_of_occurrence_an_event_counts_as_received_when_it_happened(tmp_path: Path) -> None:
    lines = [line(1, 0, received_at=START + 10 * MINUTE), line(2, 11 * MINUTE), line(3, 50 * MINUTE, received_at=START)]
    log = Log([written(tmp_path, lines)])
    got = {event.id: (event.at - START, event.received_at) for event in events(log)}
    assert got == {"e1": (0, START), "e2": (11 * MINUTE, START + 11 * MINUTE), "e3": (0, START)}
    assert log.moved == 1, "e3 was 50 minutes ahead of its receipt"


def test_in_order_of_receipt_the_file_is_the_order_and_time_never_goes_back(tmp_path: Path) -> None:
    lines = [
        line(1, 0, received_at=START + 10),
        line(2, 5),
        line(3, 20),
        line(4, 1, received_at=START + 15),
        line(5, 9 * MINUTE, received_at=START + 30),
    ]
    log = Log([written(tmp_path, lines)], order="received")
    got = [(event.id, event.at - START, event.received_at - START) for event in events(log)]  # type: ignore[operator]
    assert got == [("e1", 0, 10), ("e2", 5, 10), ("e3", 20, 20), ("e4", 1, 20), ("e5", 30, 30)]
    assert (log.moved, log.sorted) == (1, True)


@pytest.mark.parametrize("order", ["occurred", "received"])
def test_several_logs_are_merged_in_time_and_the_first_named_goes_first(tmp_path: Path, order: str) -> None:
    one = written(tmp_path, [line(i, i * 10) for i in range(0, 6_000, 2)], "one.jsonl")
    two = written(
        tmp_path, [*(line(i, i * 10) for i in range(1, 5_999, 2)), line(9, 59_980), line(5999, 59_990)], "two.jsonl.gz"
    )
    assert ids(Log([one, two], order=order)) == [*(f"e{i}" for i in range(5_999)), "e9", "e5999"]
    times = [event.received_at for event in events(Log([one, two], order=order))]
    assert times == [START + 10 * i for i in range(5_998)] + [START + 59_980] * 2 + [START + 59_990]


def test_lines_that_are_no_events_are_counted_kept_and_stop_nothing(tmp_path: Path) -> None:
    kept: list[Rejected] = []
    bad = b'{"id":"x","type":"order.paid","customer":"c","at":1788229800000,"order_id":"o"}\n'
    lines = [line(1, 0), b"{oops\n", line(2, 1), b"\n", bad, b"\xff\xfe\n", line(3, 2)]
    path = written(tmp_path, lines)
    log = Log([path], reject=kept.append)
    assert ids(log) == ["e1", "e2", "e3"]
    assert log.reasons == {"not JSON": 1, "missing field": 1, "not UTF-8": 1}
    assert [(one.file, one.line, one.reason) for one in kept] == [
        (path, 2, "not JSON"),
        (path, 5, "missing field"),
        (path, 6, "not UTF-8"),
    ]
    assert kept[1].message == "order.paid needs 'amount'"
    raw = [(one.raw, one.raw_base64) for one in kept]
    assert raw == [
        ("{oops", None),
        (bad.decode().rstrip(), None),
        (None, "//4="),
    ]
    assert [example.line for example in log.examples["not JSON"]] == [2]


def test_line_numbers_are_right_in_every_chunk(tmp_path: Path) -> None:
    lines = [line(i, i) if i % 3_000 else b"{\n" for i in range(1, 20_001)]
    kept: list[Rejected] = []
    assert len(ids(Log([written(tmp_path, lines)], reject=kept.append))) == 20_000 - 6
    assert [one.line for one in kept] == [3_000, 6_000, 9_000, 12_000, 15_000, 18_000]


@pytest.mark.parametrize("size", [MAX_EVENT_BYTES + 1, 10_000_000, 40_000_000])
def test_a_huge_line_is_turned_away_without_being_held_whole(tmp_path: Path, size: int) -> None:
    kept: list[Rejected] = []
    lines = [line(1, 0), line(2, 1, note="x" * size), line(3, 2)]
    assert ids(Log([written(tmp_path, lines)], reject=kept.append)) == ["e1", "e3"]
    assert [(one.line, one.reason) for one in kept] == [(2, "too large")]
    assert len(kept[0].raw or "") == min(len(lines[1]) - 1, source.LONGEST_LINE)


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda _path: None, "No such file"),
        (lambda path: path.mkdir(), "this is a folder"),
        (lambda path: path.write_bytes(gzip.compress(line(1, 0) * 1_000)[:-20]), "ends in the middle: it was cut off"),
        (lambda path: path.write_bytes(gzip.compress(line(1, 0))[:12] + b"garbage!" * 9), "the gzip file is damaged"),
    ],
)
def test_a_log_that_cannot_be_read_is_named(tmp_path: Path, prepare: Any, says: str) -> None:
    path = tmp_path / "log.jsonl.gz"
    prepare(path)
    with pytest.raises(InputUnusable, match=says) as raised:
        ids(Log([str(path)]))
    assert str(path) in str(raised.value)


def test_too_many_logs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputUnusable, match="501 logs; at most 500"):
        Log([written(tmp_path, [])] * 501)


def test_batches_are_in_order_across_their_borders(tmp_path: Path) -> None:
    log = Log([written(tmp_path, [line(i, i * 1_000) for i in range(9_000)])])
    assert len(list(log.read())) > 1
    got = events(log)
    assert got == sorted(got, key=attrgetter("at"))


def mixed_lines(number: int) -> list[bytes]:
    """Write lines in order of time within some minutes; stretches of them are not kept as they stand in the log."""
    chance = random.Random(9)  # noqa: S311  a test's shuffle
    odd: list[dict[str, object]] = [{"received_at": START + 10**8}, {"id": ""}]
    lines = [line(i, i * 1_000, **(odd[i % 2] if i % 400 < 100 and not i % 17 else {})) for i in range(number)]
    return [one for start in range(0, number, 50) for one in chance.sample(lines[start : start + 50], 50)]


@pytest.mark.parametrize("number", [100, 20_000])
def test_events_kept_as_they_stand_in_the_log_are_those_that_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(source, "CHUNK", 2_000)
    log = Log([written(tmp_path, mixed_lines(number))])
    read = events(log)
    counts = (log.events, log.moved, log.sorted, dict(log.reasons))
    groups = Groups(1)
    kept = 0
    for batch, bodies in log.read_with_bodies():
        kept += bodies is not None
        groups.deal(batch, bodies)
    assert [list(group) for group in groups] == [read]
    assert (log.events, log.moved, log.sorted, dict(log.reasons)) == counts
    assert kept or number == 100


def test_events_that_were_received_at_other_times_or_are_merged_have_no_bodies(tmp_path: Path) -> None:
    names = [written(tmp_path, [line(i, i) for i in range(5_000)], name) for name in ("a.jsonl", "b.jsonl")]
    for log in (Log(names), Log(names[:1], order="received")):
        batches = list(log.read_with_bodies())
        assert {bodies is None for _, bodies in batches} == {True}
        assert [event for batch, _ in batches for event in batch] == events(log)
    assert {bodies is None for _, bodies in Log(names[:1]).read_with_bodies()} == {False}
