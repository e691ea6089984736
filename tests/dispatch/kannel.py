"""Kannel, a real SMS gateway, on free ports of 127.0.0.1: bearerbox, smsbox, and fakesmsc as the handsets.

The programs come from the system or from .ci/kannel. Where they cannot be had the tests are skipped, but fail in CI.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.error import URLError
from urllib.parse import quote_plus, unquote_to_bytes
from urllib.request import urlopen

import pytest

from triggers.dispatch.gateways.http import kannel_replies

if TYPE_CHECKING:
    from collections.abc import Iterator

FETCH = Path(__file__).parents[2] / ".ci" / "kannel"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "triggers-tests" / "kannel"
PLACES = ("/usr/sbin", "/usr/bin", "/usr/lib/kannel/test")
FETCHING_S = 600
READY_S = 20.0
STOPPING_S = 2.0
LONGEST_RUN_S = 1_800
"""The programs end by then, should the tests be killed before they can end them."""

NAME, SECRET = "kannel", "what-only-kannel-knows"
USERNAME, PASSWORD = "shop", "pass word&{x}"
SHORT_CODE = "10690"
UNICODE_PART = (132, 134)
"""Bytes of a full part in UTF-16, the former where a pair would be cut; in GSM it has more."""

_GOT = re.compile(rb"Got message \d+: <(\S+) (\S+) (?:udh (\S+) )?(text|data|ucs-2) (.*)>$", re.MULTILINE)


class Got(NamedTuple):
    """A message that reached a handset."""

    sender: str
    phone: str
    text: str
    parts: int


class Programs(NamedTuple):
    """Where the programs are, and the environment they need."""

    folders: str
    libraries: str

    def start(self, name: str, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a program in a group of its own."""
        program = shutil.which(name, path=self.folders)
        assert program is not None
        with log.open("ab") as output:
            return subprocess.Popen(
                ["timeout", "--foreground", str(LONGEST_RUN_S), program, *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {"LD_LIBRARY_PATH": self.libraries, "LC_ALL": "C.UTF-8"},
                start_new_session=True,
            )


@cache
def programs() -> Programs | str:
    """Find Kannel, fetch it where it is not there; or tell why it cannot be had."""
    found = _found()
    if found is None:
        run = subprocess.run([FETCH], capture_output=True, text=True, timeout=FETCHING_S, check=False)
        found = _found()
        if found is None:
            return (run.stderr.strip().splitlines() or [f"{FETCH} found nothing"])[-1]
    return found


def _found() -> Programs | None:
    root = CACHE / "root"
    folders = os.pathsep.join([*PLACES, *(f"{root}{place}" for place in PLACES)])
    libraries = os.pathsep.join(map(str, [*root.glob("usr/lib/*-linux-gnu*"), *root.glob("lib/*-linux-gnu*")]))
    wanted = ("bearerbox", "smsbox", "fakesmsc")
    return Programs(folders, libraries) if all(shutil.which(name, path=folders) for name in wanted) else None


class Kannel:
    """A Kannel at work. ``url`` is its sendsms address; it hands replies to the service at ``public_url``.

    Nothing listens there yet: a test starts what it wants to be called at ``public_port``. ``throughput`` is how many
    messages a second go to the handsets.
    """

    username, password = USERNAME, PASSWORD

    def __init__(self, found: Programs, folder: Path, *, throughput: float = 0, recode: bool = True) -> None:
        self._programs = found
        self._folder = folder
        self._admin, self._boxes, self._handsets, self._sendsms, self.public_port = _free_ports(5)
        self.public_url = f"http://127.0.0.1:{self.public_port}"
        self.url = f"http://127.0.0.1:{self._sendsms}/cgi-bin/sendsms"
        self._config = folder / "kannel.conf"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        replies = kannel_replies(self.public_url, NAME, SECRET)
        self._config.write_text(
            _CONFIG.format(
                admin=self._admin,
                boxes=self._boxes,
                handsets=self._handsets,
                throughput=throughput,
                sendsms=self._sendsms,
                username=USERNAME,
                password=PASSWORD,
                short_code=SHORT_CODE,
                recode=str(recode).lower(),
                replies=replies,
            )
        )

    def start(self) -> None:
        """Start everything and wait until it is ready."""
        self._start("bearerbox", str(self._config), ready="Status: running")
        self._start("smsbox", str(self._config), ready="smsbox:(none)")
        self.plug_in()

    def stop(self) -> None:
        """End everything, the quick way where it does not end by itself."""
        for name in reversed(list(self._running)):
            self.end(name)

    def plug_in(self) -> None:
        """Connect the handsets."""
        self._start("fakesmsc", "-i", "0.01", "-H", "127.0.0.1", "-r", str(self._handsets), ready="(online")

    def unplug(self) -> None:
        """Disconnect the handsets, so that messages wait in Kannel."""
        self.end("fakesmsc")
        self._wait("fakesmsc", "(re-connecting")

    def end(self, name: str) -> None:
        """End one of the programs: bearerbox, smsbox or fakesmsc."""
        program = self._running.pop(name)
        assert program.stdin is not None
        program.stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            if program.poll() is None:
                os.killpg(program.pid, number)
                try:
                    program.wait(STOPPING_S)
                except subprocess.TimeoutExpired:
                    continue

    def received(self, phone: str | None = None) -> list[Got]:
        """List the messages that reached handsets, or one of them, whole, in the order of their last parts."""
        log = self._log("fakesmsc").read_bytes() if self._log("fakesmsc").exists() else b""
        found: list[Got] = []
        parts: dict[tuple[str, bytes], dict[int, bytes]] = {}
        for sender, to, header, kind, content in _GOT.findall(log):
            if not header:
                found.append(Got(sender.decode(), to.decode(), _text(kind, content), 1))
                continue
            _, _, _, reference, total, number = unquote_to_bytes(header.replace(b"+", b" "))
            whole = parts.setdefault((to.decode(), bytes([reference])), {})
            whole[number] = unquote_to_bytes(content.replace(b"+", b" "))
            if len(whole) == total:
                joined = b"".join(whole[number] for number in sorted(whole))
                charset = "utf-16-be" if len(whole[1]) in UNICODE_PART else "utf-8"
                found.append(Got(sender.decode(), to.decode(), joined.decode(charset), total))
        return [got for got in found if phone in (None, got.phone)]

    async def wait_for(self, count: int, phone: str | None = None, *, within_s: float = 10.0) -> list[Got]:
        """Wait until so many messages reached handsets, or one of them."""
        until = time.monotonic() + within_s
        while len(found := self.received(phone)) < count:
            assert time.monotonic() < until, f"{len(found)} of {count} messages reached the handsets"
            await asyncio.sleep(0.02)
        return found

    def reply(self, phone: str, text: str, *, to: str = SHORT_CODE, kind: str = "ucs2") -> None:
        """Send a message from a handset: in UTF-16 (``ucs2``), in the GSM alphabet (``text``), or as bytes (``data``)."""
        content = {
            "ucs2": quote_plus(text.encode("utf-16-be"), safe=""),
            "text": text,
            "data": quote_plus(text, safe=""),
        }[kind]
        handset = self._running["fakesmsc"].stdin
        assert handset is not None
        before = self._heard()
        handset.write(f"{phone} {to} {kind} {content}\n".encode())
        handset.flush()
        until = time.monotonic() + READY_S
        while self._heard() == before:  # fakesmsc would leave a second line lying that it reads with the first
            assert time.monotonic() < until, "the reply did not reach Kannel"
            time.sleep(0.01)

    def _heard(self) -> str:
        found = re.search(r"rcvd: sms ([0-9]+)", self._status())
        return found[1] if found else ""

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _start(self, name: str, *arguments: str, ready: str) -> None:
        self._running[name] = self._programs.start(name, *arguments, log=self._log(name))
        self._wait(name, ready)

    def _wait(self, name: str, ready: str) -> None:
        until = time.monotonic() + READY_S
        while ready not in self._status() or (name == "smsbox" and not _listens(self._sendsms)):
            program = self._running.get(name)
            if time.monotonic() > until or (program is not None and program.poll() is not None):
                last = self._log(name).read_text(errors="replace")[-2_000:]
                self.stop()
                pytest.fail(f"{name} did not come up:\n{last}")
            time.sleep(0.02)

    def _status(self) -> str:
        try:
            with urlopen(f"http://127.0.0.1:{self._admin}/status.txt?password={SECRET}", timeout=5) as answer:
                return str(answer.read(), "utf-8", "replace")
        except (URLError, ConnectionError):
            return ""  # it does not listen yet


@pytest.fixture(scope="session")
def kannel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kannel]:
    """One Kannel for all tests, started when the first one needs it."""
    running = Kannel(needed(), tmp_path_factory.mktemp("kannel"))
    running.start()
    yield running
    running.stop()


def needed() -> Programs:
    """Find Kannel, or skip the test; in CI it must be there."""
    found = programs()
    if isinstance(found, Programs):
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(found)
    pytest.skip(found)


def _free_ports(count: int) -> list[int]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in taken]
    for each in taken:
        each.close()
    return ports


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _text(kind: bytes, content: bytes) -> str:
    if kind == b"text":
        return content.decode()
    return unquote_to_bytes(content.replace(b"+", b" ")).decode("utf-16-be" if kind == b"ucs-2" else "utf-8")


_CONFIG = """
group = core
admin-port = {admin}
admin-interface = 127.0.0.1
admin-password = what-only-kannel-knows
smsbox-port = {boxes}
smsbox-interface = 127.0.0.1
box-allow-ip = 127.0.0.1
box-deny-ip = "*.*.*.*"
sms-resend-freq = 1

group = smsc
smsc = fake
smsc-id = handsets
host = 127.0.0.1
our-host = 127.0.0.1
port = {handsets}
connect-allow-ip = 127.0.0.1
throughput = {throughput}

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-interface = 127.0.0.1
sendsms-port = {sendsms}
global-sender = {short_code}
mo-recode = {recode}
http-request-retry = 20
http-queue-delay = 1

group = sendsms-user
username = {username}
password = "{password}"
max-messages = 10
concatenation = true

group = sms-service
keyword = default
catch-all = true
max-messages = 0
get-url = "{replies}"
"""
