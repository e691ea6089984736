"""The broker's jars are fetched once, whole or not at all, and what is missing is said in one line."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from kafka_broker import FETCH

USED = ("bash", "cat", "flock", "grep", "mkdir", "mktemp", "mv", "rm", "sleep", "tail", "timeout", "touch")
JAVA = "echo 'openjdk version \"{version}\" 2025-04-15' >&2"
MAVEN = """
for word; do case $word in -DoutputDirectory=*) folder=${word#*=};; esac; done
echo run >>"$HOME/runs"
sleep 0.3
mkdir "$folder"
touch "$folder/kafka_2.13-4.1.0.jar" "$folder/scala-library.jar"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose PATH has what any system has, but neither Java nor Maven."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in USED:
        (programs / name).symlink_to(_found(name))
    return tmp_path


def _found(name: str) -> Path:
    return next(path for each in os.get_exec_path() if (path := Path(each) / name).exists())


def _program(home: Path, name: str, text: str) -> None:
    path = home / "bin" / name
    path.write_text(f"#!{home}/bin/bash\n{text}\n")
    path.chmod(0o755)


def _start(home: Path) -> subprocess.Popen[str]:
    environment = {"PATH": str(home / "bin"), "HOME": str(home)}
    return subprocess.Popen(["bash", FETCH], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _fetch(home: Path) -> tuple[int, str, str]:
    with _start(home) as run:
        out, err = run.communicate(timeout=30)
    return run.returncode, out, err


def _jars(home: Path) -> Path:
    return home / ".cache" / "triggers-tests" / "kafka-4.1.0" / "jars"


def test_it_prints_where_the_jars_are(home: Path) -> None:
    _program(home, "java", JAVA.format(version="17.0.15"))
    _program(home, "mvn", MAVEN)
    assert _fetch(home) == (0, f"{_jars(home)}\n", "")
    assert sorted(path.name for path in _jars(home).iterdir()) == ["kafka_2.13-4.1.0.jar", "scala-library.jar"]
    (home / "bin" / "mvn").unlink()  # needed no more
    assert _fetch(home) == (0, f"{_jars(home)}\n", "")
    assert sorted(path.name for path in _jars(home).parent.iterdir()) == ["jars", "lock"]


def test_two_at_once_fetch_once(home: Path) -> None:
    _program(home, "java", JAVA.format(version="21"))
    _program(home, "mvn", MAVEN)
    with _start(home) as one, _start(home) as other:
        assert [run.communicate(timeout=30) for run in (one, other)] == [(f"{_jars(home)}\n", "")] * 2
    assert (home / "runs").read_text() == "run\n"


def test_without_java_it_says_so(home: Path) -> None:
    assert _fetch(home) == (1, "", "Kafka cannot be had: no java; install Java 17 or newer\n")


@pytest.mark.parametrize(("version", "release"), [("11.0.2", "11"), ("1.8.0_402", "1")])
def test_a_java_that_is_too_old_is_told(home: Path, version: str, release: str) -> None:
    _program(home, "java", JAVA.format(version=version))
    assert _fetch(home) == (1, "", f"Kafka cannot be had: Java {release} is too old; install Java 17 or newer\n")


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("echo broken >&2; exit 1", "java does not run; install Java 17 or newer"),
        ("echo java >&2", "no version in what 'java -version' says"),
    ],
)
def test_a_java_that_is_none_is_told(home: Path, program: str, reason: str) -> None:
    _program(home, "java", program)
    assert _fetch(home) == (1, "", f"Kafka cannot be had: {reason}\n")


def test_without_maven_it_says_so(home: Path) -> None:
    _program(home, "java", JAVA.format(version="17.0.15"))
    assert _fetch(home) == (1, "", "Kafka cannot be had: no mvn; install Maven\n")


def test_a_fetch_that_fails_leaves_nothing_and_the_next_begins_anew(home: Path) -> None:
    _program(home, "java", JAVA.format(version="17.0.15"))
    _program(home, "mvn", "echo '[ERROR] no such host'; echo '[ERROR] more of it'; exit 1")
    assert _fetch(home) == (1, "", "Kafka cannot be had: Maven cannot fetch it: [ERROR] no such host\n")
    _program(home, "mvn", "exit 0")
    assert _fetch(home) == (1, "", "Kafka cannot be had: Maven fetched no kafka_2.13-4.1.0.jar\n")
    assert [path.name for path in _jars(home).parent.iterdir()] == ["lock"]
    _program(home, "mvn", MAVEN)
    assert _fetch(home) == (0, f"{_jars(home)}\n", "")
