from __future__ import annotations

import gzip
import json
import threading
from typing import TYPE_CHECKING

import pytest

from triggers.clock import FastClock, WallClock
from triggers.drivers.embedded.feed import HEAD, LINES_AT_ONCE, LONGEST_LINE, Feed, Tape, first_moment
from triggers.errors import InputUnusable
from triggers.store.event_log import EventLog, Place, read_events, read_place

if TYPE_CHECKING:
    from pathlib import Path

    from triggers.store.database import Connection
    from triggers.store.writer import Writer

START = 1_788_000_000_000
ZIPPED = gzip.compress(b"one\n" * 1_000, mtime=0)  # the same in every process: it is part of the name of a test


def visit(name: str, at: int, received_at: int | None = None) -> str:
    event = {"id": name, "type": "store.visited", "customer": "c1", "at": at, "received_at": received_at}
    return json.dumps(event) + "\n"


def test_a_line_that_is_still_being_written_is_left_until_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"one\n\ntw")
    tape = Tape(path, 0)
    assert tape.read(to_the_end=False) == [(b"one", 4)]
    assert tape.read(to_the_end=False) == []
    with path.open("ab") as file:
        file.write(b"o\nthree")
    assert tape.read(to_the_end=False) == [(b"two", 9)]
    assert tape.read(to_the_end=True) == [(b"three", 14)]
    tape.close()


def test_reading_goes_on_at_a_place_also_in_a_gzipped_file(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(b"one\ntwo\nthree"))
    tape = Tape(path, 4)
    assert tape.read(to_the_end=False) == [(b"two", 8), (b"three", 13)]
    tape.close()


def test_a_file_that_was_cut_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"one\ntwo\n")
    tape = Tape(path, 8)
    assert not tape.begun_anew()
    path.write_bytes(b"new\n")
    assert tape.begun_anew()
    assert tape.read(to_the_end=False) == [(b"new", 4)]
    tape.close()


def test_a_last_line_without_an_end_is_read_once_it_is_a_whole_event(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    whole = visit("a", START).strip().encode()
    path.write_bytes(whole[:-1])
    tape = Tape(path)
    assert tape.read(to_the_end=False) == []
    path.write_bytes(whole)
    assert tape.read(to_the_end=False) == [(whole, len(whole))]
    path.write_bytes(whole + b"\n" + whole + b"\n")
    assert tape.read(to_the_end=False) == [(whole, 2 * len(whole) + 2)]
    tape.close()


def test_a_file_put_in_the_place_of_another_is_read_from_its_start_also_if_it_is_longer(tmp_path: Path) -> None:
    path, other = tmp_path / "log.jsonl", tmp_path / "other"
    path.write_bytes(b"one\ntwo\n")
    tape = Tape(path)
    assert [line for line, _ in tape.read(to_the_end=False)] == [b"one", b"two"]
    path.unlink()
    assert not tape.begun_anew()  # between the two there is none
    other.write_bytes(b"three\nfour\nfive\n")
    other.rename(path)
    assert tape.begun_anew()
    assert [line for line, _ in tape.read(to_the_end=False)] == [b"three", b"four", b"five"]
    tape.close()


def test_a_file_written_over_with_more_than_was_read_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"one\ntwo\n")
    tape = Tape(path)
    tape.read(to_the_end=False)
    place, head = tape.offset, tape.head
    path.write_bytes(b"three\nfour\nfive\n")
    assert tape.begun_anew()
    assert tape.read(to_the_end=False)[0] == (b"three", 6)
    tape.close()
    later = Tape(path, place, head)  # and so after a restart
    assert later.read(to_the_end=False)[0] == (b"three", 6)
    later.close()


def test_a_copy_of_the_file_with_more_lines_is_read_on(tmp_path: Path) -> None:
    path, copy = tmp_path / "log.jsonl", tmp_path / "copy"
    path.write_bytes(b"one\ntwo\n")
    tape = Tape(path)
    tape.read(to_the_end=False)
    copy.write_bytes(b"one\ntwo\nthree\n")
    copy.rename(path)
    assert not tape.begun_anew()
    assert tape.read(to_the_end=False) == [(b"three", 14)]
    tape.close()


def test_a_gzipped_file_that_ends_early_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(b"one\ntwo\n" * 1_000)[:-12])
    tape = Tape(path)
    with pytest.raises(InputUnusable, match="cannot be read on after byte"):
        list(iter(lambda: tape.read(to_the_end=True), []))
    tape.close()


@pytest.mark.parametrize("whole", [b"", b"{", ZIPPED[:20], ZIPPED[:12] + b"\xff" * 300])
def test_where_a_damaged_log_begins_is_a_clear_error(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(whole)
    with pytest.raises(InputUnusable, match=r"log.jsonl.gz (holds no event yet|cannot be read)"):
        first_moment(path)


def test_what_is_gzipped_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "zipped.jsonl").write_bytes(gzip.compress(visit("a", START).encode()))
    (tmp_path / "plain.gz").write_text(visit("a", START))
    for name, grows in (("zipped.jsonl", False), ("plain.gz", True)):
        assert first_moment(tmp_path / name) == START
        tape = Tape(tmp_path / name)
        assert tape.grows == grows
        tape.close()


def test_the_rest_of_a_line_that_is_too_long_is_no_line_of_its_own_also_after_a_restart(tmp_path: Path) -> None:
    path, hidden = tmp_path / "log.jsonl", visit("hidden", START)
    path.write_bytes(b"x" * (2 * LONGEST_LINE) + hidden.strip().encode())
    tape = Tape(path)
    assert tape.read(to_the_end=False) == [(b"x" * LONGEST_LINE, LONGEST_LINE)]
    with path.open("a") as file:
        file.write(hidden + visit("b", START))
    size = path.stat().st_size
    assert tape.read(to_the_end=False) == [(visit("b", START).strip().encode(), size)]
    tape.close()
    later = Tape(path, LONGEST_LINE, b"x" * HEAD)
    assert later.read(to_the_end=False) == [(visit("b", START).strip().encode(), size)]
    later.close()


def test_the_clock_of_a_log_starts_at_its_first_event(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("nonsense\n" + visit("a", START, START + 60_000) + visit("b", START))
    assert first_moment(path) == START + 60_000
    path.write_text("nonsense\n")
    with pytest.raises(InputUnusable, match="holds no event yet"):
        first_moment(path)
    with pytest.raises(InputUnusable, match="No such file"):
        first_moment(tmp_path / "missing.jsonl")


def test_a_replayed_log_is_stamped_as_recorded_and_its_place_is_kept(
    tmp_path: Path, writer: Writer, reader: Connection
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(
        visit("a", START)
        + visit("b", START, START + 9_000)
        + "nonsense\n"
        + visit("late", START + 5)
        + visit("d", START + 20_000)
    )
    clock = FastClock(START, 0)
    log = EventLog(writer, clock.now)
    results: list[str] = []
    feed = Feed(
        path, Place(str(path)), log, clock=clock, ends=True, stopping=threading.Event(),
        arrived=lambda entries: results.extend(entry.result for entry in entries),
    )  # fmt: skip
    feed.run()
    assert feed.done.is_set()
    assert [(each.event.id, each.received_at - START) for each in read_events(reader, 0, 10)] == [
        ("a", 0),
        ("b", 9_000),
        ("late", 9_000),
        ("d", 20_000),
    ]
    assert results == ["accepted", "accepted", "rejected", "accepted", "accepted"]
    assert clock.now() == START + 20_000
    assert read_place(reader, str(path)) == (str(path), path.stat().st_size, path.read_bytes()[:HEAD])
    assert reader.execute("SELECT origin, body FROM dead_letters").fetchall()[0][1] == b"nonsense"


def test_the_clock_never_passes_an_event_that_has_not_entered(
    tmp_path: Path, writer: Writer, reader: Connection
) -> None:
    count = 3 * LINES_AT_ONCE
    path = tmp_path / "log.jsonl"
    path.write_text("".join(visit(f"e{number}", START + number * 10) for number in range(count)))
    clock = FastClock(START, 0)
    log = EventLog(writer, clock.now)
    passed: list[int] = []

    def arrived(_entries: object) -> None:
        (latest,) = reader.execute("SELECT max(received_at) FROM events").fetchone()
        passed.append(clock.now() - latest)

    Feed(path, Place(str(path)), log, clock=clock, ends=True, stopping=threading.Event(), arrived=arrived).run()
    assert len(passed) > 2
    assert max(passed) <= 0


def test_a_growing_file_is_followed_in_real_time(tmp_path: Path, writer: Writer, reader: Connection) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(visit("a", START))
    clock, stopping, arrived = WallClock(), threading.Event(), threading.Semaphore(0)
    log = EventLog(writer, clock.now)
    feed = Feed(
        path, Place(str(path)), log, clock=clock, ends=False, stopping=stopping,
        arrived=lambda entries: [arrived.release() for _ in entries] and None,
    )  # fmt: skip
    thread = threading.Thread(target=feed.run)
    thread.start()
    try:
        assert arrived.acquire(timeout=10)
        before = clock.now()
        with path.open("a") as file:
            file.write(visit("b", START))
        assert arrived.acquire(timeout=10)
    finally:
        stopping.set()
        thread.join(10)
    second = read_events(reader, 1, 10)
    assert [each.event.id for each in second] == ["b"]
    assert second[0].received_at >= before
