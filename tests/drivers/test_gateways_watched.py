"""A service with two gateways: one that gets worse, or does not answer at all, loses its messages to the other."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import running
from running import ROOT, Running, query
from stub_gateway import stub_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STUB = ROOT / "tests" / "dispatch" / "stub_gateway.py"
eventually = partial(running.eventually, within_s=60.0)
SHOP = "shop: v1\nname: Test\ntimezone: Asia/Shanghai\nopt_out: ' Reply R'\n"
WISH = """
rule: v1
id: wish
title: A wish
status: live
class: marketing
when: {event: favorite.added, per: product_id}
wait: 0min
send: {text: "your wish is here"}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


class Stub:
    """A gateway in a process of its own, of whose messages a share arrives."""

    def __init__(self, folder: Path, port: int, arrival: float) -> None:
        told = folder / f"port-{port}-{arrival}"
        self._process = subprocess.Popen(
            [sys.executable, str(STUB), "--port", str(port), "--port-file", str(told), "--arrival", str(arrival)],
            cwd=folder,
        )
        eventually(lambda: told.exists() and bool(told.read_text().strip()), "the stub did not start")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(10)


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Callable[[int, float], Stub]]:
    started: list[Stub] = []

    def start(port: int, arrival: float) -> Stub:
        started.append(Stub(tmp_path, port, arrival))
        return started[-1]

    yield start
    for each in started:
        each.stop()


class Scene:
    """The service, and a shop whose customers make wishes."""

    def __init__(self, folder: Path, first: int, second: int) -> None:
        self.folder, self.port, self.customers = folder, free_port(), 0
        rules = folder / "rules"
        rules.mkdir()
        (rules / "_shop.yaml").write_text(SHOP)
        (rules / "wish.yaml").write_text(WISH)
        self.delivery = folder / "delivery.yaml"
        self.delivery.write_text(json.dumps(self._delivery(first, second)))
        self.running = Running(
            folder, "--delivery", str(self.delivery), "--settle", "0", rules=rules, port=self.port, upkeep_s=0.2
        )
        self.running.address()

    def _delivery(self, first: int, second: int) -> dict[str, Any]:
        more = {"secret": "what-they-know", "rate": 2_000, "at_once": 32, "connect_timeout_s": 1, "timeout_s": 5}
        return {
            "delivery": "v1",
            "public_url": f"http://127.0.0.1:{self.port}",
            "hours": {"CN": {"open": "00:00-24:00"}},
            "routes": {"default": ["first", "second"]},
            "gateways": {
                name: stub_settings(f"http://127.0.0.1:{port}/send", **more)
                for name, port in {"first": first, "second": second}.items()
            },
        }

    def wish(self, count: int) -> None:
        """Let so many new customers sign up and wish for something."""
        now = int(time.time() * 1_000)
        events = []
        for number in range(self.customers, self.customers + count):
            told = {"id": f"u{number}", "type": "customer.updated", "phone": f"+861380{number:07}", "consent": True}
            wish = {"id": f"w{number}", "type": "favorite.added", "product_id": "p"}
            events += [{**each, "customer": f"c{number}", "at": now} for each in (told, wish)]
        self.customers += count
        assert self.running.post(json.dumps(events).encode())[0] == 200

    def settled(self) -> None:
        """Wait until all that was wished for has its receipt."""
        ended = "SELECT count(*) FROM outbox WHERE state IN ('delivered', 'undelivered')"
        eventually(lambda: query(self.running.db, ended) == [(self.customers,)], "not all receipts came")

    def took(self, gateway: str) -> int:
        return int(query(self.running.db, f"SELECT count(*) FROM outbox WHERE gateway = '{gateway}'")[0][0])  # noqa: S608

    def table(self) -> dict[tuple[str, str], dict[str, Any]]:
        command = [sys.executable, "-m", "triggers", "gateways", "--db", str(self.running.db), "--json"]
        shown = subprocess.run(
            [*command, "--delivery", str(self.delivery)], check=True, capture_output=True, text=True, timeout=30
        )
        return {(row["gateway"], row["class"]): row for row in json.loads(shown.stdout)}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Callable[[int, int], Scene]]:
    begun: list[Scene] = []

    def begin(first: int, second: int) -> Scene:
        begun.append(Scene(tmp_path, first, second))
        return begun[-1]

    yield begin
    for each in begun:
        each.running.kill()


def test_a_gateway_whose_arrival_drops_from_97_to_60_per_cent_is_demoted_and_the_other_takes_over(
    stub: Callable[[int, float], Stub], scene: Callable[[int, int], Scene]
) -> None:
    first, second = free_port(), free_port()
    good = stub(first, 0.97)
    stub(second, 0.97)
    shop = scene(first, second)
    shop.wish(400)
    shop.settled()
    assert (shop.took("first"), shop.took("second")) == (400, 0)
    time.sleep(1)  # five times as long as the service takes to judge
    assert shop.table()["first", "marketing"]["state"] == "good"
    good.stop()
    stub(first, 0.6)
    shop.wish(400)
    shop.settled()
    eventually(lambda: shop.table()["first", "marketing"]["state"] == "demoted", "it was not demoted")
    before = shop.took("first")
    shop.wish(300)
    shop.settled()
    assert 0 < shop.took("first") - before < 30, "a few of 300 are probes"
    row = shop.table()["first", "marketing"]
    assert 0.7 < row["arrival"] < 0.9
    changes = query(shop.running.db, "SELECT gateway, class, old, new FROM gateway_changes WHERE new = 'demoted'")
    assert changes == [("first", "marketing", changes[0][2], "demoted")]
    assert any('"new": "demoted"' in line for line in shop.running.err)


def test_a_gateway_that_refuses_connections_is_left_alone_and_messages_flow_through_the_other(
    stub: Callable[[int, float], Stub], scene: Callable[[int, int], Scene]
) -> None:
    first, second = free_port(), free_port()
    stub(second, 1.0)
    shop = scene(first, second)
    shop.wish(200)
    shop.settled()
    assert (shop.took("first"), shop.took("second")) == (0, 200)
    assert "open" in shop.table()["first", "marketing"]["state"]
    assert shop.table()["second", "marketing"]["delivered"] == 200
    opened = "SELECT count(*) FROM gateway_changes WHERE gateway = 'first' AND new = 'open'"
    assert query(shop.running.db, opened) == [(1,)]
