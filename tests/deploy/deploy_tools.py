"""What the tests of deploy/ share: its files as data, and the tools that check them, each had from where it can be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
EXAMPLE = DEPLOY / "env.example"
FETCH_PROMTOOL = ROOT / ".ci" / "promtool"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "triggers-tests"
FETCHING_S = 600
RUNNING_S = 120


def documents(path: Path) -> list[dict[str, Any]]:
    """Read all documents of a YAML file."""
    return [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each is not None]


def document(path: Path) -> dict[str, Any]:
    """Read a YAML file of one document."""
    [found] = documents(path)
    return found


def example() -> dict[str, str]:
    """Read deploy/env.example: what is set in it."""
    lines = (
        line.partition("=") for line in EXAMPLE.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"
    )
    return {name: value.strip("'") for name, _, value in lines}


def run(*command: str | Path, cwd: Path = ROOT, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end."""
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=RUNNING_S, check=False, **more)


def installed(name: str, package: str) -> Path:
    """Find a tool that a development dependency brings; skip the test without it, and fail in CI."""
    beside = shutil.which(name, path=str(Path(sys.executable).parent))
    if beside is not None:
        return Path(beside)
    return missing(f"{name} is not installed: pip install {package}")


@cache
def promtool() -> Path | str:
    """Find promtool, fetch it where it is not there; or tell why it cannot be had."""
    found = shutil.which("promtool") or shutil.which("promtool", path=str(CACHE / "promtool"))
    if found is None:
        fetched = subprocess.run([FETCH_PROMTOOL], capture_output=True, text=True, timeout=FETCHING_S, check=False)
        found = shutil.which("promtool", path=str(CACHE / "promtool"))
        if found is None:
            return (fetched.stderr.strip().splitlines() or [f"{FETCH_PROMTOOL} found nothing"])[-1]
    return Path(found)


def missing(why: str) -> Any:
    """Skip a test for want of a tool; in CI every tool must be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)
