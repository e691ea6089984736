"""The runbook: every command in it is one that there is."""

from __future__ import annotations

import re
import shlex

import pytest
from deploy_tools import DEPLOY, ROOT, document
from fleet_commands import unknown_in, variables

TEXT = (DEPLOY / "RUNBOOK.md").read_text(encoding="utf-8")
SECTIONS = set(re.findall(r"^##+ (.+)$", TEXT, re.MULTILINE))
PLANNED = (
    "New rules",
    "A worker more, a worker less",
    "Restoring the dispatcher's volume",
    "Growing topics",
    "Faust and other versions",
    "A message that stops a partition",
    "Before Double Eleven",
)


def spans() -> list[str]:
    """List everything that stands as code, each command once."""
    inline = [" ".join(each.split()) for each in re.findall(r"(?<!`)`([^`]+)`(?!`)", TEXT)]
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))
    return inline + [line.partition("  #")[0].strip() for line in blocks.splitlines()]


def commands() -> list[list[str]]:
    """List the commands of ours, without what runs them."""
    words = [shlex.split(each) for each in spans() if re.match(r"(t|triggers) [a-z]", each)]
    return [each[1:] for each in words]


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_each_command_of_ours_exists_with_its_options(arguments: list[str]) -> None:
    assert unknown_in(arguments) == []


def test_commands_are_found_in_it_at_all() -> None:
    first = {each[0] for each in commands()}
    assert first >= {"why", "gateways", "rules", "replay", "export", "dead-letters", "suppressions"}


def test_what_is_wrong_in_a_command_is_found() -> None:
    assert unknown_in(["whi", "c1"]) == ["whi"]
    assert unknown_in(["why", "c1", "--database", "x"]) == ["--database"]
    assert unknown_in(["rules", "chek", "rules"]) == ["chek"]
    assert unknown_in(["gateways", "reset", "kannel", "--db", "x"]) == []


def test_each_command_of_docker_names_services_that_there_are() -> None:
    services = set(document(ROOT / "docker-compose.yml")["services"])
    for words in (shlex.split(each) for each in spans() if each.startswith("docker compose ")):
        if words[2] in {"logs", "stop", "exec"}:
            assert words[3] in services, words
        if "--force-recreate" in words:
            assert set(words[words.index("--force-recreate") + 1 :]) <= services
        for scaled in re.findall(r"--scale (\w+)=", " ".join(words)):
            assert scaled in services


def test_each_command_of_kubectl_names_what_there_is() -> None:
    names = set()
    for path in (DEPLOY / "k8s").glob("*.yaml"):
        kinds = re.findall(
            r"^kind: (\w+)\nmetadata:\n  name: ([\w-]+)$", path.read_text(encoding="utf-8"), re.MULTILINE
        )
        names |= {f"{kind.lower()}/{name}" for kind, name in kinds}
    named = re.findall(r"\b((?:deployment|statefulset)/triggers-\w+)", TEXT)
    assert named
    assert set(named) <= names
    assert "job triggers-topics" in TEXT
    assert "job/triggers-topics" in names


def test_each_setting_that_it_names_exists() -> None:
    named = set(re.findall(r"\bTRIGGERS_[A-Z_]+\b", TEXT))
    assert "TRIGGERS_KAFKA_GO_ON_AT" in named
    assert named <= variables()


def test_the_work_that_is_planned_has_its_sections_and_what_it_refers_to_is_there() -> None:
    assert set(PLANNED) <= SECTIONS
    for path in re.findall(r"`((?:deploy|triggers|rules)/[\w./-]*)", TEXT):
        assert (ROOT / path).exists(), path
    for file in ("docker-compose.yml", "deploy/k8s/dispatcher.yaml", "deploy/constraints.txt"):
        for named in re.findall(r"\"([^\"]+)\" in RUNBOOK\.md", (ROOT / file).read_text(encoding="utf-8")):
            assert named in SECTIONS, named
    for named in re.findall(r"RUNBOOK\.md, \"([^\"]+)\"", (DEPLOY / "constraints.txt").read_text(encoding="utf-8")):
        assert named in SECTIONS, named
