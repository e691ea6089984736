"""The image: pinned, small, run by nobody, and sound by its own words."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest
from deploy_tools import DEPLOY, ROOT
from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOCKERFILES = [DEPLOY / "Dockerfile", DEPLOY / "kannel" / "Dockerfile"]
IMAGE = DOCKERFILES[0].read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def instructions(text: str) -> list[tuple[str, str]]:
    """List the instructions of a Dockerfile with what stands behind them."""
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [(word, rest) for word, _, rest in (line.strip().partition(" ") for line in joined.splitlines()) if word]


def constraints() -> dict[str, str]:
    lines = (DEPLOY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_its_instructions_are_as_linters_want_them(file: Path) -> None:
    told = instructions(file.read_text(encoding="utf-8"))
    words = [word for word, _ in told]
    assert {"ADD", "MAINTAINER"}.isdisjoint(words)
    assert all(words.count(word) <= 1 for word in ("CMD", "ENTRYPOINT", "HEALTHCHECK"))
    for word, rest in told:
        if word in ("CMD", "ENTRYPOINT"):
            assert isinstance(json.loads(rest), list), rest  # a shell in between would keep signals to itself
        if word == "WORKDIR":
            assert rest.startswith("/"), rest
        if word == "RUN":
            check_run(rest)


def check_run(line: str) -> None:
    assert not re.search(r"\bsudo\b|\bcd /|\bapt (install|update)\b|apt-get (dist-)?upgrade", line), line
    if "apt-get install" in line:
        assert "--no-install-recommends" in line, line
        assert "apt-get update" in line, line
        assert "rm -rf /var/lib/apt/lists/*" in line, line
    if re.search(r"\bpip install", line):
        assert "--no-cache-dir" in line or "PIP_NO_CACHE_DIR" in line or "--mount=type=cache" in line, line
    assert not re.search(r"[^|]\|[^|]", line) or "pipefail" in line, line


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_what_an_image_begins_with_is_pinned_by_its_version(file: Path) -> None:
    told = instructions(file.read_text(encoding="utf-8"))
    given = dict(rest.split("=") for word, rest in told if word == "ARG")
    begins = [rest.split()[0].replace("${PYTHON}", given.get("PYTHON", "")) for word, rest in told if word == "FROM"]
    assert begins
    assert all(re.fullmatch(r"\w+:\d+\.\d+(\.\d+)?-slim(-\w+)?", each) for each in begins), begins


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_it_runs_as_a_user_with_a_number_who_may_do_nothing(file: Path) -> None:
    told = instructions(file.read_text(encoding="utf-8"))
    last = [rest for word, rest in told if word == "USER"][-1]
    assert re.fullmatch(r"[1-9]\d{4}:[1-9]\d{4}", last)  # a cluster that forbids root looks for a number
    after = [word for word, _ in told[[word for word, _ in told].index("USER") :]]
    assert "RUN" not in after
    assert "COPY" not in after


def test_every_dependency_has_one_version_and_it_is_one_that_the_project_allows() -> None:
    pinned = constraints()
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["smpp"]]
    for each in map(Requirement, wanted):
        assert pinned[each.name.lower().replace("_", "-")] in each.specifier, each
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", version) for version in pinned.values())


def test_what_is_copied_into_the_image_is_let_in_and_secrets_are_not() -> None:
    rules = [
        line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line and line[0] != "#"
    ]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        source
        for word, rest in instructions(IMAGE)
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert {source.removeprefix("./") for source in copied} == allowed
    assert all((ROOT / source).exists() for source in allowed)
    assert "**/.*" in rules  # .env, and whatever else hides


def test_the_image_has_the_version_that_the_project_has() -> None:
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    kustomization = (DEPLOY / "k8s" / "kustomization.yaml").read_text(encoding="utf-8")
    assert f"image: triggers:${{TRIGGERS_VERSION:-{PROJECT['version']}}}" in compose
    assert f"newTag: {PROJECT['version']}\n" in kustomization


class Answer(BaseHTTPRequestHandler):
    status = 200
    asked: list[str]

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        self.send_response(type(self).status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
        """Say nothing."""


@pytest.fixture
def answering() -> Iterator[tuple[type[Answer], int]]:
    class Here(Answer):
        asked: list[str] = []  # noqa: RUF012  one for each test

    with HTTPServer(("127.0.0.1", 0), Here) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Here, server.server_port
        server.shutdown()
        thread.join()


def health(port: int) -> int:
    """Run what the image asks itself."""
    [rest] = [rest for word, rest in instructions(IMAGE) if word == "HEALTHCHECK"]
    python, *arguments = json.loads(rest[rest.index("[") :])
    assert python == "python"
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, env={"TRIGGERS_KAFKA_PORT": str(port)}, capture_output=True, timeout=30, check=False
    ).returncode


@pytest.mark.parametrize(("status", "exits"), [(200, 0), (503, 1), (404, 1)])
def test_its_health_is_what_healthz_answers(answering: tuple[type[Answer], int], status: int, exits: int) -> None:
    here, port = answering
    here.status = status
    assert health(port) == exits
    assert here.asked == ["/healthz"]


def test_it_is_not_well_where_nothing_listens() -> None:
    assert health(1) == 1
