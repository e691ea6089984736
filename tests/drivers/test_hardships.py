"""What may befall a service: its disk, its clock, its senders, its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from running import SAMPLE_RULES, Running, query

from triggers.core.intake import decode
from triggers.drivers.embedded.service import Service
from triggers.errors import ServiceUnusable
from triggers.settings import Settings
from triggers.store.database import connect, open_database
from triggers.store.event_log import Arrival

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Start = Callable[..., Running]


def event(key: str, kind: str = "store.visited", customer: str = "c1", **fields: Any) -> dict[str, Any]:
    return {"id": key, "type": kind, "customer": customer, "at": int(time.time() * 1_000)} | fields


def test_a_damaged_database_is_a_clear_error(run: Start) -> None:
    first = run()
    first.post(json.dumps([event(f"e{number}") for number in range(3_000)]).encode())
    assert first.signal(signal.SIGTERM) == 0
    with first.db.open("r+b") as file:
        file.seek(8_192)
        file.write(b"\xa5" * 65_536)
    second = run()
    assert second.wait() == 2
    assert f"the database {second.db} cannot be used: database disk image is malformed" in second.err[-1]
    assert "Traceback" not in "".join(second.err)


def test_a_database_that_is_days_ahead_of_the_clock_is_refused(run: Start, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    ahead = int(time.time() * 1_000) + 3 * 86_400_000 + 60_000
    log.write_text(json.dumps(event("a", at=ahead)) + "\n")
    assert run("--input", str(log), "--speed", "0", "--exit-at-end").wait() == 0
    real = run()
    assert real.wait() == 2
    assert "3 days ahead of the clock" in real.err[-1]
    assert run("--input", str(log), "--speed", "0", "--exit-at-end").wait() == 0


def test_a_clock_that_is_a_little_behind_the_log_is_told_and_no_stamp_goes_back(run: Start, tmp_path: Path) -> None:
    open_database(tmp_path / "t.db")
    ahead = int(time.time() * 1_000) + 600_000
    writer = connect(tmp_path / "t.db")
    body = json.dumps(event("a")).encode()
    row = (1, "", "a", "store.visited", "c1", 1, ahead, body)
    writer.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)", row)
    writer.close()
    running = run()
    running.post(json.dumps(event("b")).encode())
    assert any("the clock is behind the log" in line for line in running.err)
    assert query(running.db, "SELECT received_at FROM events ORDER BY seq") == [(ahead,), (ahead,)]


def test_senders_of_the_same_events_at_once_get_each_accepted_once(run: Start) -> None:
    running = run()
    address = running.address()
    bodies = [json.dumps([event(f"e{number}", at=1_788_000_000_000) for number in range(200)]).encode()] * 8
    assert address
    with ThreadPoolExecutor(8) as senders:
        answers = [answer for _, answer in senders.map(running.post, bodies)]
    assert sum(answer["accepted"] for answer in answers) == 200
    assert sum(answer["duplicate"] for answer in answers) == 7 * 200
    assert query(running.db, "SELECT count(*), max(seq) FROM events") == [(200, 200)]


def test_stopped_under_load_it_answers_what_it_has_taken_and_keeps_what_it_answered(run: Start) -> None:
    running = run()
    running.address()
    taken: list[str] = []
    cut_off: list[OSError] = []

    def send(sender: int) -> None:
        for batch in range(10_000):
            names = [f"s{sender}-{batch}-{number}" for number in range(20)]
            try:
                _, answer = running.post(json.dumps([event(name) for name in names]).encode())
            except ConnectionResetError as error:
                cut_off.append(error)
                return
            except OSError:
                return  # it does not listen any more
            taken.extend(each["id"] for each in answer.get("results", ()))

    senders = [threading.Thread(target=send, args=(sender,)) for sender in range(4)]
    for sender in senders:
        sender.start()
    time.sleep(0.5)
    assert running.signal(signal.SIGTERM) == 0
    for sender in senders:
        sender.join()
    assert len(taken) > 100
    kept = {name for (name,) in query(running.db, "SELECT id FROM events")}
    assert kept >= set(taken)


def test_half_a_request_does_not_keep_it_from_stopping(run: Start) -> None:
    running = run()
    host, _, port = running.address().removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as half:
        half.sendall(b"POST /v1/events HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{")
        assert running.post(json.dumps(event("a")).encode())[0] == 200
        began = time.monotonic()
        assert running.signal(signal.SIGTERM) == 0
        assert time.monotonic() - began < 20


def test_no_line_of_the_log_holds_what_a_stranger_sent(run: Start) -> None:
    running = run()
    host, _, port = running.address().removeprefix("http://").partition(":")
    for request in (b"POST /v1/events HTTP/1.1\r\nContent-Length: +8613800001234\r\n\r\n", b"+8613800001234\r\n\r\n"):
        with socket.create_connection((host, int(port))) as sender:
            sender.sendall(request)
            assert b" 400 " in sender.recv(100)
    running.post(b'{"id":"a","phone":"+8613800001234","name":"Mei Secret"')
    assert running.signal(signal.SIGTERM) == 0
    assert not [line for line in running.err if "1380000" in line or "Mei" in line]
    assert all(json.loads(line) for line in running.err)


def test_started_with_standard_output_closed_it_runs_and_stops(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "triggers", "run", "--rules", str(SAMPLE_RULES), "--db", str(tmp_path / "t.db")]
    running = subprocess.Popen(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *command, "--port", "0", "--log-format", "json"],
        stderr=subprocess.PIPE,
        text=True,
    )
    with running:
        assert running.stderr is not None
        assert "listening" in running.stderr.readline()
        os.kill(running.pid, signal.SIGTERM)
        rest = running.stderr.read()
    assert running.returncode == 0, rest
    assert "Traceback" not in rest


async def test_it_is_busy_while_more_events_wait_to_be_written_than_may(tmp_path: Path) -> None:
    settings = Settings(rules=SAMPLE_RULES, db=tmp_path / "t.db", port=0, max_events_waiting=3)
    service = Service(settings, Console(file=StringIO()))
    reception = service.reception
    held: Future[None] = Future()
    service._archive.writer.submit(lambda _connection: held.result(10))  # noqa: SLF001  a disk that takes its time
    body = json.dumps(event("a")).encode()
    arrivals = [Arrival(body, decode(body), "test")] * 3
    try:
        assert not reception.busy
        entered = reception.ingest(arrivals)
        assert reception.busy
        held.set_result(None)
        assert len(entered.result(10)) == 3
        assert not reception.busy
    finally:
        service._archive.close()  # noqa: SLF001  it was never served


async def test_what_fails_when_the_last_of_it_is_written_is_told(tmp_path: Path) -> None:
    settings = Settings(rules=SAMPLE_RULES, db=tmp_path / "t.db", port=0)
    service = Service(settings, Console(file=StringIO()))
    archive = service._archive  # noqa: SLF001  nothing else shows what still waits
    close = archive.close

    def undone(connection: sqlite3.Connection) -> None:
        connection.rollback()  # as a full disk does
        raise sqlite3.OperationalError("disk full")

    def with_more_to_write() -> None:
        archive.writer.submit(undone)
        close()

    archive.close = with_more_to_write  # type: ignore[method-assign]  # as above
    asyncio.get_running_loop().call_later(0.3, os.kill, os.getpid(), signal.SIGTERM)
    with pytest.raises(ServiceUnusable, match="cannot be written: disk full"):
        async with asyncio.timeout(20):
            await service.serve()


def test_a_full_disk_ends_it_with_a_clear_error_and_keeps_what_was_answered(run: Start) -> None:
    full = run(most_file_bytes=1_000_000)
    kept = 0
    for batch in range(1_000):
        events = [event(f"{batch}-{number}", page="p" * 150) for number in range(50)]
        try:
            status, _ = full.post(json.dumps(events).encode())
        except (OSError, AssertionError):  # it has ended
            break
        if status != 200:
            break
        kept += 50
    assert full.wait() == 2
    assert "cannot be" in full.err[-1]
    assert "Traceback" not in "".join(full.err)
    again = run()
    assert json.loads(again.get("/healthz")[1])["events"] >= kept > 0


def test_another_process_that_locks_the_database_is_waited_for_but_not_when_it_is_to_stop(run: Start) -> None:
    running = run()
    running.address()
    with ThreadPoolExecutor(1) as sender, closing(connect(running.db)) as other:
        other.execute("BEGIN IMMEDIATE")
        first = sender.submit(running.post, json.dumps([event("a")]).encode())
        time.sleep(6)  # longer than one try
        other.execute("ROLLBACK")
        assert first.result(20)[1]["accepted"] == 1
        other.execute("BEGIN IMMEDIATE")
        sender.submit(running.post, json.dumps([event("b")]).encode())
        time.sleep(0.5)
        began = time.monotonic()
        assert running.signal(signal.SIGTERM) == 2
        assert time.monotonic() - began < 25
    assert sum("another process is writing the database" in line for line in running.err) >= 1
    assert "another process has kept it locked" in running.err[-1]
    assert query(running.db, "SELECT id FROM events") == [("a",)]
