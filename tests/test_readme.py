"""What the README says is so."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from triggers.cli import COMMANDS, group

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(begins: str) -> str:
    """Find the fenced block that begins with these words."""
    return next(text for text in re.findall(r"```\w*\n(.*?)```", README, re.DOTALL) if text.startswith(begins))


def test_the_example_rule_passes_its_check_beside_the_sample_rules(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "rules", tmp_path / "rules")
    (tmp_path / "rules" / "second-thoughts.yaml").write_text(block("rule: v1"), encoding="utf-8")
    arguments = [sys.executable, "-m", "triggers", "rules", "check", "rules"]
    run = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.stdout + run.stderr == block("$ triggers rules check rules").split("\n", 1)[1]
    assert run.returncode == 0


def test_its_mistakes_are_found_where_the_readme_says(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "rules", tmp_path / "rules")
    wrong = block("rule: v1").replace("event.price", "event.prize").replace("wait:", "wiat:")
    (tmp_path / "rules" / "second-thoughts.yaml").write_text(wrong, encoding="utf-8")
    arguments = [sys.executable, "-m", "triggers", "rules", "check", "rules"]
    run = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert block("rules/second-thoughts.yaml:10:16:") in run.stdout + run.stderr


def test_the_table_of_commands_names_all_of_them() -> None:
    named = re.findall(r"^\| `triggers ([\w-]+)", README, re.MULTILINE)
    assert sorted(named) == sorted(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_option_that_the_readme_uses_exists(name: str) -> None:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    used = {
        option for line in README.splitlines() if f"triggers {name} " in line for option in re.findall(r"--\w+", line)
    }
    known = {option for parameter in command.params for option in parameter.opts}
    assert used <= known


def test_the_folders_are_those_of_the_map() -> None:
    drawn = re.findall(r"^  (\w+)/", block("triggers/\n"), re.MULTILINE)
    there = [path.name for path in (ROOT / "triggers").iterdir() if (path / "__init__.py").exists()]
    assert sorted(drawn) == sorted(there)


def test_what_make_is_asked_for_it_can_make() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    asked = set(
        re.findall(r"\bmake (run|test|check|bench-dispatch|bench-kafka|bench|torture-kafka|torture|clean)\b", README)
    )
    assert asked == set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))


def test_the_story_that_it_tells_is_the_one_that_why_tells(tmp_path: Path) -> None:
    told = block("$ triggers why").splitlines()
    for arguments in ("simulate --out shop.jsonl", told[0].removeprefix("$ triggers ")):
        command = [sys.executable, "-m", "triggers", *arguments.split()]
        folder = [] if "simulate" in command else ["--rules", str(ROOT / "rules")]
        run = subprocess.run([*command, *folder], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "\n".join(told[1:]) in run.stdout
