"""The fleet of docker-compose.yml, lived: each process started as it says there, on the broker that it describes.

Containers apart, nothing is different but addresses, ports, a rule that sends at once, and no time to settle.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import closing
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest
from deploy_tools import DEPLOY, ROOT, document, example, run
from kafka_broker import needed
from kafka_node import Broker
from kannel import _free_ports
from metric_names import FOREIGN, PROMISED, asked, given
from test_image import IMAGE, health, instructions
from test_kannel_try import Running as Kannel
from test_kannel_try import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVICES: dict[str, dict[str, Any]] = document(ROOT / "docker-compose.yml")["services"]
NOT_OF_THE_BROKER = {"CLUSTER_ID", "KAFKA_HEAP_OPTS"}
READY_S = 120.0
PHONE = "8613800001234"
SHOP = "shop: v1\nname: Test\ntimezone: Asia/Shanghai\nsignature: '[T] '\nopt_out: ' Reply R'\n"
PAID = """
rule: v1
id: paid
title: An order was paid
status: live
class: notice
when: {event: order.paid, per: order_id}
wait: 0min
send: {text: "thank you for everything"}
"""


def told(name: str) -> dict[str, str]:
    """Give the environment of a service as Compose would, with what the image sets."""
    [image] = [rest for word, rest in instructions(IMAGE) if word == "ENV"]
    values = dict(each.split("=", 1) for each in image.split() if each.startswith("TRIGGERS_"))
    values |= {key: str(value) for key, value in SERVICES[name]["environment"].items()}
    secrets = example()
    return {key: re.sub(r"\$\{(\w+):[?-]([^}]*)\}", lambda m: secrets.get(m[1], m[2]), v) for key, v in values.items()}


class Fleet:
    """The processes, on ports of their own: ``ports`` by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        names = ("inside", "controller", "outside", "worker-1", "worker-2", "dispatcher", "web")
        self.ports = dict(zip(names, _free_ports(len(names)), strict=True))
        self.bootstrap = f"127.0.0.1:{self.ports['inside']}"
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.broker = self._broker()
        (folder / "rules").mkdir()
        (folder / "rules" / "_shop.yaml").write_text(SHOP)
        (folder / "rules" / "paid.yaml").write_text(PAID)
        (folder / "data").mkdir()

    def _broker(self) -> Broker:
        """Describe the broker as its image does: from KAFKA_A_B in the environment becomes a.b."""
        broker = Broker(needed(), self.folder, 1, [(self.ports["inside"], self.ports["controller"])])
        environment = {key: value for key, value in told("kafka").items() if key not in NOT_OF_THE_BROKER}
        named = {key.removeprefix("KAFKA_").lower().replace("_", "."): value for key, value in environment.items()}
        lines = "\n".join(f"{key}={value}" for key, value in named.items() if not key.startswith("triggers"))
        here = {
            "INSIDE://:9092": f"INSIDE://{self.bootstrap}",
            "CONTROLLER://:9093": f"CONTROLLER://127.0.0.1:{self.ports['controller']}",
            "OUTSIDE://:29092": f"OUTSIDE://127.0.0.1:{self.ports['outside']}",
            "INSIDE://kafka:9092": f"INSIDE://{self.bootstrap}",
            "1@kafka:9093": f"1@127.0.0.1:{self.ports['controller']}",
            "127.0.0.1:29092": f"127.0.0.1:{self.ports['outside']}",
            "/var/lib/kafka/data": str(self.folder / "data-1"),
        }
        for there, value in here.items():
            assert there in lines, there
            lines = lines.replace(there, value)
        (self.folder / "broker-1.properties").write_text(lines)
        return broker

    def environment(self, name: str, port: int) -> dict[str, str]:
        """Give a service's environment with what is different here, the places of its volumes among it."""
        places = {
            "/etc/triggers/rules": self.folder / "rules",
            "/etc/triggers/delivery.yaml": self.folder / "delivery.yaml",
            "/var/lib/triggers": self.folder / "data",
        }
        values = told(name)
        for place, here in places.items():
            values = {key: value.replace(place, str(here)) for key, value in values.items()}
        assert not any(value.startswith(("/etc", "/var")) for value in values.values())
        values |= {"TRIGGERS_KAFKA_BOOTSTRAP": self.bootstrap, "TRIGGERS_KAFKA_SETTLE_S": "0"}
        values |= {"TRIGGERS_KAFKA_HOST": "127.0.0.1", "TRIGGERS_KAFKA_PORT": str(port)}
        return {key: value for key, value in os.environ.items() if not key.startswith("TRIGGERS_")} | values

    def once(self, name: str) -> str:
        command = [sys.executable, "-m", "triggers", *SERVICES[name]["command"]]
        ended = run(*command, cwd=self.folder, env=self.environment(name, 0))
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def start(self, name: str, service: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", "triggers", *SERVICES[service]["command"]],
                cwd=self.folder,
                env=self.environment(service, self.ports[name]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def well(self, name: str) -> bool:
        assert self.running[name].poll() is None, (self.folder / f"{name}.log").read_text()[-3_000:]
        return health(self.ports[name]) == 0

    def ask(self, name: str, method: str, path: str, body: object = None, **headers: str) -> tuple[int, str]:
        """Ask a process over HTTP; gives the status, and what it says."""
        with closing(HTTPConnection("127.0.0.1", self.ports[name], timeout=30)) as connection:
            connection.request(method, path, json.dumps(body), {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            return answer.status, str(answer.read(), "utf-8")

    def post(self, name: str, path: str, body: object, **headers: str) -> tuple[int, str]:
        token = f"Bearer {example()['TRIGGERS_API_TOKEN']}"
        return self.ask(name, "POST", path, body, Authorization=token, **headers)

    def stop(self, name: str) -> tuple[int, float]:
        """End a process as a container is ended; gives its exit status, and how long that took."""
        process, began = self.running.pop(name), time.monotonic()
        process.send_signal(signal.SIGTERM)
        return process.wait(60), time.monotonic() - began

    def kill(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait(10)
        self.broker.kill()
        self.broker.forget()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Start the broker and everything on it, in the order of `depends_on`."""
    here = Fleet(tmp_path_factory.mktemp("fleet"))
    try:
        assert here.broker.format().wait(READY_S) == 0, here.broker.tail()
        here.broker.start()
        until = time.monotonic() + READY_S
        while not here.broker.sees():
            assert here.broker.alive, here.broker.tail()
            assert time.monotonic() < until, here.broker.tail()
            time.sleep(0.1)
        yield here
    finally:
        here.kill()


@pytest.fixture(scope="module")
def kannel(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kannel]:
    """Start the Kannel of the compose file, which hands replies to the dispatcher's port, and name it to that one."""
    public = f"http://127.0.0.1:{fleet.ports['dispatcher']}"
    replies = told("kannel")["KANNEL_REPLIES_URL"].replace("http://dispatcher:8080", public)
    running = Kannel(tmp_path_factory.mktemp("kannel"), replies, password=told("kannel")["KANNEL_PASSWORD"])
    delivery = (DEPLOY / "delivery.kannel.yaml").read_text(encoding="utf-8")
    for there, here in {
        "http://kannel:13013": f"http://127.0.0.1:{running.sendsms}",
        "http://dispatcher:8080": public,
    }.items():
        assert there in delivery
        delivery = delivery.replace(there, here)
    (fleet.folder / "delivery.yaml").write_text(delivery)
    yield running
    running.end()


def test_the_fleet_comes_up_sends_hears_and_ends_as_its_file_says(fleet: Fleet, kannel: Kannel) -> None:
    made = fleet.once("topics").splitlines()
    assert made
    assert all(line.endswith("made") for line in made), made
    assert all("as it should be" in line for line in fleet.once("topics").splitlines())

    for name, service in {"dispatcher": "dispatcher", "worker-1": "worker", "worker-2": "worker", "web": "web"}.items():
        fleet.start(name, service)
    for name in list(fleet.running):
        eventually(lambda name=name: fleet.well(name), within_s=READY_S)  # type: ignore[misc]  # by the image's own check
    eventually(lambda: kannel.status() == 0)

    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    known = {"id": "e1", "type": "customer.updated", "customer": "c1", "at": at, "phone": f"+{PHONE}"}
    paid = {"id": "e2", "type": "order.paid", "customer": "c1", "at": at, "order_id": "o1", "amount": 5}
    for event in (known, paid):
        status, answer = fleet.post("web", "/v1/events", event)
        assert (status, json.loads(answer).get("accepted")) == (200, 1), answer
    eventually(lambda: b"everything" in kannel.log.read_bytes(), within_s=READY_S)

    code = {"class": "verification", "to": f"+{PHONE}", "text": "Your code is 4711"}
    assert fleet.post("dispatcher", "/v1/messages", code, **{"Idempotency-Key": "k1"})[0] in {200, 201, 202}
    eventually(lambda: b"4711" in kannel.log.read_bytes(), within_s=READY_S)
    listed = [
        sys.executable,
        "-m",
        "triggers",
        "suppressions",
        "list",
        "--db",
        str(fleet.folder / "data/dispatcher.db"),
    ]
    assert PHONE[-4:] not in run(*listed).stdout
    assert run(DEPLOY / "kannel" / "reply", PHONE, "R", env=kannel.environment).returncode == 0
    eventually(lambda: PHONE[-4:] in run(*listed).stdout, within_s=READY_S)

    numbers_are_there(fleet)
    for name in list(fleet.running):
        service = "worker" if name.startswith("worker") else name
        grace_s = float(SERVICES[service]["stop_grace_period"].rstrip("s"))
        ended, took_s = fleet.stop(name)
        assert ended == 0, (fleet.folder / f"{name}.log").read_text()[-3_000:]
        assert took_s < grace_s / 2


def numbers_are_there(fleet: Fleet) -> None:
    """What alerts and dashboard ask for is really shown by some process, once there was something to count."""
    shown = "".join(fleet.ask(name, "GET", "/metrics")[1] for name in fleet.running)
    there = set(re.findall(r"^# TYPE (\w+) ", shown, re.MULTILINE))
    there |= {f"{name}{end}" for name in there for end in ("_bucket", "_sum", "_count")}
    texts = (DEPLOY / "prometheus" / "alerts.yml", DEPLOY / "grafana" / "dashboards" / "triggers.json")
    wanted = {name for path in texts for name in asked(re.sub(r'"uid": "[^"]*"', "", path.read_text(encoding="utf-8")))}
    later = {name for name in PROMISED if name not in given()}
    assert {name for name in wanted if name.startswith("triggers_")} - later - FOREIGN.keys() <= there


def test_without_the_token_nobody_brings_events(fleet: Fleet) -> None:
    fleet.start("web", "web")
    eventually(lambda: fleet.well("web"), within_s=READY_S)
    assert fleet.ask("web", "POST", "/v1/events", {})[0] == 401
