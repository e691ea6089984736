"""The service as its users start it: a process of its own on a database of its own."""

# ruff: noqa: S310  our own loopback address

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
SAMPLE_RULES = ROOT / "rules"
STARTS_WITHIN_S = 30.0
ENDS_WITHIN_S = 60.0


class Running:
    """A service in a process, ``triggers run`` or another one; ``out`` and ``err`` collect what it writes.

    ``settings`` are given in the environment.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        rules: Path = SAMPLE_RULES,
        port: int = 0,
        screen: int = subprocess.PIPE,
        most_file_bytes: int | None = None,
        service: str = "run",
        **settings: object,
    ) -> None:
        self.db = folder / "t.db"
        before = [] if most_file_bytes is None else ["prlimit", f"--fsize={most_file_bytes}"]
        command = [sys.executable, "-m", "triggers", service]
        command += ["--rules", str(rules)] if service != "web" else []
        command += ["--db", str(self.db)] if service in {"run", "dispatcher"} else []
        self._process = subprocess.Popen(
            [*before, *command, "--port", str(port), "--log-format", "json", *options],
            stdout=screen,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={
                **os.environ,
                "PYTHONUNBUFFERED": "1",
                **{f"TRIGGERS_{name.upper()}": str(value) for name, value in settings.items()},
            },
        )
        self.pid = self._process.pid
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            threading.Thread(target=lines.extend, args=(stream,), daemon=True)
            for lines, stream in ((self.out, self._process.stdout), (self.err, self._process.stderr))
            if stream
        ]
        for reader in self._readers:
            reader.start()

    def address(self) -> str:
        """Wait until it listens."""
        end = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < end:
            found = next((m for line in self.err if (m := re.search(r'"address": "(http://[^"]+)"', line))), None)
            if found:
                return found[1]
            assert self._process.poll() is None, self.err
            time.sleep(0.01)
        raise AssertionError(f"did not listen: {self.err}")

    def get(self, path: str) -> tuple[int, str]:
        """Ask it for something."""
        return self._ask(urllib.request.Request(self.address() + path))

    def post(self, body: bytes, content_type: str = "application/json") -> tuple[int, dict[str, Any]]:
        """Give it events."""
        request = urllib.request.Request(self.address() + "/v1/events", body, {"Content-Type": content_type})
        status, answer = self._ask(request)
        return status, json.loads(answer)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
        """Ask it for anything; ``_`` in the name of a header is a ``-``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._ask(urllib.request.Request(self.address() + path, body, named, method=method))

    def _ask(self, request: urllib.request.Request) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def signal(self, number: int) -> int:
        """Send a signal and wait for the end; gives the exit status."""
        self._process.send_signal(number)
        return self.wait()

    def kill(self) -> None:
        """End it as a power cut would."""
        self.signal(signal.SIGKILL)

    def wait(self) -> int:
        """Wait for its end; gives the exit status."""
        status = self._process.wait(ENDS_WITHIN_S)
        for reader in self._readers:
            reader.join()
        for stream in (self._process.stdout, self._process.stderr):
            if stream:
                stream.close()
        return status

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None


def eventually(holds: Callable[[], bool], what: str = "it did not come about", *, within_s: float = 20.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def write_shop_log(folder: Path, *, customers: int, events: int) -> Path:
    """Let the simulator write a log, and keep its first events."""
    whole = folder / "whole.jsonl.gz"
    options = ["--customers", str(customers), "--seed", "11", "--out", str(whole)]
    subprocess.run([sys.executable, "-m", "triggers", "simulate", *options], check=True, capture_output=True)
    path = folder / "shop.jsonl"
    with gzip.open(whole, "rb") as lines:
        path.write_bytes(b"".join(line for line, _ in zip(lines, range(events), strict=False)))
    assert len(path.read_bytes().splitlines()) == events
    return path


def sends_of(db: Path) -> dict[str, dict[str, Any]]:
    """Read the commands in the outbox, by id."""
    with sqlite3.connect(db) as connection:
        rows = connection.execute("SELECT body FROM outbox").fetchall()
    connection.close()
    sends = [json.loads(body) for (body,) in rows]
    assert len({send["id"] for send in sends}) == len(sends)
    return {send["id"]: send for send in sends}


def query(db: Path, sql: str) -> list[tuple[Any, ...]]:
    """Look into a database."""
    connection = sqlite3.connect(db)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()
