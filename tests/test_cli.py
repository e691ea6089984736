"""The command line's frame: starts fast, ends with the right status, and never shows a traceback."""

from __future__ import annotations

import subprocess
import sys
from gzip import BadGzipFile

import click
import pytest

from triggers import __version__, cli
from triggers.errors import InputUnusable

HEAVY = ("faust", "aiokafka", "mode", "pydantic", "aiohttp", "yaml", "rich", "msgspec")


def call(monkeypatch: pytest.MonkeyPatch, raised: BaseException | int | None) -> int:
    """Run the command line with one command that raises or returns something."""

    @click.command()
    def command() -> int | None:
        if isinstance(raised, BaseException):
            raise raised
        return raised

    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: command)
    return cli.main(["replay"])


def test_the_help_lists_every_command_without_importing_one() -> None:
    code = "import sys; from triggers.cli import main; main(['--help']); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    helped, _, modules = ran.stdout.rstrip().rpartition("\n")
    assert [name for name in cli.COMMANDS if f"\n  {name} " not in helped] == []
    assert [name for name in HEAVY if name in modules.split()] == []


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["replay", "--nonsense"]])
def test_unknown_arguments_are_named_and_end_with_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    assert "nonsense" in capsys.readouterr().err


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (1, 1)])
def test_a_command_returns_its_own_exit_status(
    returned: int | None, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(monkeypatch, returned) == status


def test_an_operating_fault_is_one_line_for_the_person_who_can_mend_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, InputUnusable("log.jsonl: there is no such file")) == 2
    assert capsys.readouterr().err == "triggers: log.jsonl: there is no such file\n"


def test_an_interrupt_ends_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, KeyboardInterrupt()) == 130
    assert capsys.readouterr().err.strip() == ""


def test_a_broken_invariant_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError):
        call(monkeypatch, AssertionError())


def test_a_reader_that_goes_away_is_no_error() -> None:
    code = (
        "import sys, click, triggers.cli as cli\n"
        "def pour(): [click.echo('x' * 1000) for _ in range(1000)]\n"
        "cli.LazyGroup.get_command = lambda *_: click.Command('replay', callback=pour)\n"
        "sys.exit(cli.main(['replay']))\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize("words", ["x", "x" * 100_000])  # written at the end, and in between
def test_standard_output_on_a_full_disk_is_one_clear_error(words: str) -> None:
    code = (
        "import sys, click, triggers.cli as cli\n"
        f"cli.LazyGroup.get_command = lambda *_: click.Command('replay', callback=lambda: click.echo({words!r}))\n"
        "sys.exit(cli.main(['replay']))\n"
    )
    with open("/dev/full", "wb") as full:  # noqa: PTH123  a device, not a file
        ran = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ran.stderr == "triggers: standard output cannot be written: No space left on device\n"
    assert ran.returncode == 2


def test_a_fault_of_another_file_is_not_laid_to_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, BadGzipFile("Not a gzipped file (b'{\"')")) == 2
    assert capsys.readouterr().err == "triggers: Not a gzipped file (b'{\"')\n"


def test_the_package_itself_runs() -> None:
    ran = subprocess.run([sys.executable, "-m", "triggers", "--version"], capture_output=True, text=True, check=True)
    assert __version__ in ran.stdout
