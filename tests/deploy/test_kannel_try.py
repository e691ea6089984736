"""The Kannel for trying out, started as its container starts it: sends, shows what arrives, and hands replies on."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import urlopen

import pytest
from deploy_tools import DEPLOY, run
from kannel import _free_ports, needed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FOLDER = DEPLOY / "kannel"
WITHIN_S = 20.0
USERNAME, PASSWORD = "shop", "a&b*c 1"


def eventually(holds: Callable[[], bool], *, within_s: float = WITHIN_S) -> None:
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.05)


class Heard(BaseHTTPRequestHandler):
    replies: list[dict[str, list[str]]]

    def do_GET(self) -> None:
        type(self).replies.append(parse_qs(urlsplit(self.path).query))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
        """Say nothing."""


@pytest.fixture
def dispatcher() -> Iterator[tuple[type[Heard], int]]:
    """Listen where the dispatcher would."""

    class Here(Heard):
        replies: list[dict[str, list[str]]] = []  # noqa: RUF012  one for each test

    with HTTPServer(("127.0.0.1", 0), Here) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Here, server.server_port
        server.shutdown()
        thread.join()


class Running:
    """A Kannel that `start` runs; ``sendsms`` is its port."""

    def __init__(self, folder: Path, replies_url: str, password: str = PASSWORD) -> None:
        found = needed()
        admin, boxes, handsets, self.sendsms = _free_ports(4)
        self.environment = os.environ | {
            "PATH": f"{found.folders}:{os.environ['PATH']}",
            "LD_LIBRARY_PATH": found.libraries,
            "KANNEL_CONF": str(FOLDER / "kannel.conf"),
            "KANNEL_FOLDER": str(folder),
            "KANNEL_LISTEN": "127.0.0.1",
            "KANNEL_ADMIN_PORT": str(admin),
            "KANNEL_BOXES_PORT": str(boxes),
            "KANNEL_HANDSETS_PORT": str(handsets),
            "KANNEL_SENDSMS_PORT": str(self.sendsms),
            "KANNEL_PASSWORD": password,
            "KANNEL_REPLIES_URL": replies_url,
        }
        self.log = folder / "log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                ["timeout", "--foreground", "300", FOLDER / "start"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )

    def status(self) -> int:
        return run(FOLDER / "status", env=self.environment).returncode

    def end(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(10)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(5)


def test_it_sends_shows_what_arrives_and_hands_replies_on(tmp_path: Path, dispatcher: tuple[type[Heard], int]) -> None:
    heard, port = dispatcher
    replies = f"http://127.0.0.1:{port}/replies?mac=m&from=%p&text=%e"
    kannel = Running(tmp_path, replies)
    try:
        eventually(lambda: kannel.status() == 0)
        query = {"username": USERNAME, "password": PASSWORD, "to": "8613800001234", "text": "put aside for you"}
        with urlopen(f"http://127.0.0.1:{kannel.sendsms}/cgi-bin/sendsms?{urlencode(query)}", timeout=10) as answer:
            assert answer.status == 202
        eventually(lambda: b"put+aside" in kannel.log.read_bytes() or b"put aside" in kannel.log.read_bytes())
        replied = run(FOLDER / "reply", "8613800001234", "R", env=kannel.environment)
        assert replied.returncode == 0, replied.stderr
        eventually(lambda: bool(heard.replies))
        assert heard.replies[0]["mac"] == ["m"]
        assert heard.replies[0]["from"] == ["8613800001234"]
        assert kannel.process.poll() is None
    finally:
        ended = kannel.end()
    assert ended in {0, 143}
    assert kannel.status() != 0


def test_it_ends_when_a_part_of_it_ends(tmp_path: Path) -> None:
    kannel = Running(tmp_path, "http://127.0.0.1:1/")
    try:
        eventually(lambda: kannel.status() == 0)
        children = run("pgrep", "-g", str(kannel.process.pid), "-x", "smsbox").stdout.split()
        assert len(children) == 1
        os.kill(int(children[0]), signal.SIGKILL)
        assert kannel.process.wait(WITHIN_S) == 1
    finally:
        kannel.end()


@pytest.mark.parametrize("value", ["", 'a"b', "a\\b", "a\nb"])
def test_a_secret_that_would_break_the_configuration_is_refused(tmp_path: Path, value: str) -> None:
    told: dict[str, Any] = {"KANNEL_CONF": str(FOLDER / "kannel.conf"), "KANNEL_FOLDER": str(tmp_path)}
    told |= {"KANNEL_PASSWORD": value, "KANNEL_REPLIES_URL": "http://127.0.0.1:1/"}
    started = run(FOLDER / "start", env=os.environ | told)
    assert started.returncode == 2
    assert "PASSWORD is empty, or has a quote" in started.stderr


@pytest.mark.parametrize("arguments", [("8613800001234",), ("8613800001234", "R text x"), ("x", "R")])
def test_a_reply_that_is_none_is_refused(arguments: tuple[str, ...], tmp_path: Path) -> None:
    refused = run(FOLDER / "reply", *arguments, env=os.environ | {"KANNEL_FOLDER": str(tmp_path)})
    assert refused.returncode == 2
    assert list(tmp_path.iterdir()) == []
