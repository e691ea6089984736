from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from triggers.cli import main

if TYPE_CHECKING:
    from pathlib import Path

SHOP = "shop: v1\nname: Test\ntimezone: Asia/Shanghai\nopt_out: ''\n"
RULE = """\
rule: v1
id: {id}
title: Left order
status: {status}
class: marketing
when: {{event: order.created}}
wait: {wait}
send: {{text: "hello"}}
tests:
  - name: left is reminded
    start: 2026-09-01 10:30
    feed: [{{at: +0d, event: order.created, order_id: o1, amount: 1}}]
    expect: [{{at: {at}}}]
  - name: nothing fed, nothing sent
    expect: []
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "_shop.yaml").write_text(SHOP, encoding="utf-8")
    return tmp_path


def write(folder: Path, name: str, *, wait: str = "1d", at: str = "+1d", status: str = "draft") -> None:
    (folder / f"{name}.yaml").write_text(RULE.format(id=name, wait=wait, at=at, status=status), encoding="utf-8")


def test_a_folder_without_a_fault_is_one_line_and_status_0(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "a")
    write(folder, "b")
    assert main(["rules", "check", str(folder)]) == 0
    assert capsys.readouterr().out == "2 rules: no findings; 4 tests passed\n"


def test_findings_come_first_then_failing_tests_then_the_summary(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, "a", at="+2d")
    write(folder, "b", wait="1x")
    assert main(["rules", "check", str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{folder}/b.yaml:7:7: error: '1x'")
    assert lines[1] == f"{folder}/a.yaml:10:5: failed: left is reminded"
    expected = "expected a send at 2026-09-03 10:30; sent instead: at 2026-09-02 10:30"
    assert lines[2] == f"  {folder}/a.yaml:13:14: {expected}"
    assert lines[-1] == "1 rule: 1 error; 1 of 2 tests failed; nothing ran of 1 file with errors"


def test_findings_are_in_the_order_of_files_and_lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("c", "a", "b"):
        write(folder, name, wait="1x", at="soon")
    assert main(["rules", "check", str(folder)]) == 1
    places = [line.split(":")[:2] for line in capsys.readouterr().out.splitlines()[:-1]]
    assert places == [[f"{folder}/{name}.yaml", line] for name in "abc" for line in ("7", "13")]


def test_warnings_alone_are_fine(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "a", status="live")
    text = (folder / "a.yaml").read_text(encoding="utf-8")
    (folder / "a.yaml").write_text(text[: text.index("tests:")], encoding="utf-8")
    assert main(["rules", "check", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "warning" in out
    assert out.endswith("1 rule: 1 warning; no tests ran\n")


def test_a_shop_with_errors_lets_nothing_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "a")
    (folder / "_shop.yaml").write_text(SHOP.replace("Shanghai", "Shanghia"), encoding="utf-8")
    assert main(["rules", "check", str(folder)]) == 1
    assert capsys.readouterr().out.endswith("1 error; no tests ran; nothing ran of 1 file with errors\n")


@pytest.mark.parametrize("command", ["check", "test"])
def test_a_folder_that_is_not_there_is_status_2(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rules", command, str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_only_the_tests_of_a_rule_or_of_a_name_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "a", at="+2d")
    write(folder, "b")
    assert main(["rules", "test", str(folder), "--rule", "b"]) == 0
    assert capsys.readouterr().out == "2 tests passed\n"
    assert main(["rules", "test", str(folder), "--name", "NOTHING"]) == 0
    assert capsys.readouterr().out == "2 tests passed\n"
    assert main(["rules", "test", str(folder)]) == 1
    assert capsys.readouterr().out.endswith("1 of 4 tests failed\n")


def test_a_name_or_rule_that_is_not_there_is_status_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "abandoned")
    assert main(["rules", "test", str(folder), "--name", "elsewhere"]) == 2
    assert capsys.readouterr().err == "no test has 'elsewhere' in its name\n"
    assert main(["rules", "test", str(folder), "--rule", "abandonned"]) == 2
    assert capsys.readouterr().err == "there is no rule 'abandonned'; did you mean 'abandoned'?\n"


def test_the_tests_of_a_rule_with_errors_cannot_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "a", wait="1x")
    assert main(["rules", "test", str(folder), "--rule", "a"]) == 1
    assert "'1x'" in capsys.readouterr().out


def test_verbose_shows_what_passing_tests_send(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "a")
    assert main(["rules", "test", str(folder), "-v"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{folder}/a.yaml:10:5: passed: left is reminded",
        '    2026-09-02 10:30 a to c1, "hello"',
        f"{folder}/a.yaml:14:5: passed: nothing fed, nothing sent",
        "2 tests passed",
    ]


def test_the_schemas_are_printed_for_editors(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "schema"]) == 0
    assert "when" in json.loads(capsys.readouterr().out)["properties"]
    assert main(["rules", "schema", "--shop"]) == 0
    assert "timezone" in json.loads(capsys.readouterr().out)["properties"]
