"""``triggers rules``: checks rule files, runs the tests in them, and prints the schema that serves editors.

Exit status: 0 fine (warnings may be), 1 errors or failing tests, 2 a folder that cannot be used.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from triggers.language import Finding, Loaded, RuleFile
    from triggers.replay.cases import CaseResult

FINDINGS = 1
UNUSABLE = 2
DAY_S = 86_400

_FOLDER = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))


@click.group()
def group() -> None:
    """Check and test rule files."""


@group.command()
@_FOLDER
def check(folder: Path) -> int:
    """Check every rule file of DIR and run the tests in them."""
    loaded = _load(folder)
    for finding in sorted(loaded.findings):
        click.echo(_coloured(finding))
    results = _run(loaded)
    failed = [result for result in results if not result.passed]
    _tell(failed)
    click.echo(_summary(loaded, results, failed))
    return FINDINGS if loaded.errors or failed else 0


@group.command()
@_FOLDER
@click.option("--rule", metavar="ID", help="Only the tests of this rule.")
@click.option("--name", metavar="TEXT", help="Only tests with TEXT in their name.")
@click.option("-v", "--verbose", is_flag=True, help="Show the tests that pass, too, and what they send.")
def test(folder: Path, rule: str | None, name: str | None, verbose: bool) -> int:  # noqa: FBT001  click's way
    """Run the tests in the rule files of DIR."""
    loaded = _load(folder)
    if rule is not None and rule not in loaded.files:
        return _no_such_rule(loaded, rule)
    for finding in loaded.errors:
        click.echo(_coloured(finding))
    results = _run(loaded, rule, None if name is None else lambda each: name.lower() in each.lower())
    if not results and name is not None:
        click.echo(f"no test has '{name}' in its name", err=True)
        return UNUSABLE
    failed = [result for result in results if not result.passed]
    _tell(results if verbose else failed, loaded, sends=verbose)
    click.echo(_test_words(results, failed) + _not_run(loaded))
    return FINDINGS if failed or (loaded.errors and rule is None) else 0


@group.command()
@click.option("--shop", is_flag=True, help="The schema of _shop.yaml instead.")
def schema(shop: bool) -> None:  # noqa: FBT001  click's way
    """Print the JSON Schema of rule files, for editors."""
    from triggers.language import schema as schemas  # noqa: PLC0415  the models take their time

    click.echo(schemas.path("shop.v1.json" if shop else "rule.v1.json").read_text(encoding="utf-8"), nl=False)


def _load(folder: Path) -> Loaded:
    from triggers.language import load  # noqa: PLC0415  the models take their time

    return load(folder, today=int(time.time()) // DAY_S)


def _run(loaded: Loaded, rule: str | None = None, wanted: Callable[[str], bool] | None = None) -> list[CaseResult]:
    from triggers.replay.cases import run_cases  # noqa: PLC0415  as above

    if loaded.shop is None:
        return []
    files = sorted((loaded.files[each.id] for each in loaded.rules if rule in (None, each.id)), key=_path)
    return [result for file in files for result in run_cases(file, loaded, wanted=wanted)]


def _path(file: RuleFile) -> str:
    return file.path


def _tell(results: Iterable[CaseResult], loaded: Loaded | None = None, *, sends: bool = False) -> None:
    for result in results:
        first, *rest = str(result).split("\n")
        click.echo(_worded(first, " failed: ", "red") if not result.passed else _worded(first, " passed: ", "green"))
        for line in rest:
            click.echo(line)
        if sends and result.passed and loaded is not None and loaded.shop is not None:
            _tell_sends(result, loaded)


def _tell_sends(result: CaseResult, loaded: Loaded) -> None:
    from triggers.core.times import wall_text  # noqa: PLC0415  as above
    from triggers.replay.diary import send_words  # noqa: PLC0415  as above

    assert loaded.shop is not None  # noqa: S101  the caller looked
    for send in result.sends:
        words = "withheld from" if send.withheld else "to"
        where = f"{wall_text(loaded.shop.zone, send.at)} {send.rule} {words} {send.customer}"
        click.echo(f"    {where}, {send_words(send)}")


def _coloured(finding: Finding) -> str:
    return _worded(str(finding), f" {finding.severity}: ", "red" if finding.severity == "error" else "yellow")


def _worded(line: str, word: str, colour: str) -> str:
    before, found, after = line.partition(word)
    return before + click.style(found, fg=colour, bold=True) + after


def _summary(loaded: Loaded, results: Sequence[CaseResult], failed: Sequence[CaseResult]) -> str:
    errors = len(loaded.errors)
    warnings = len(loaded.findings) - errors
    found = ", ".join(_counted(number, word) for number, word in ((errors, "error"), (warnings, "warning")) if number)
    rules = _counted(len(loaded.files), "rule")
    return f"{rules}: {found or 'no findings'}; {_test_words(results, failed)}{_not_run(loaded)}"


def _test_words(results: Sequence[CaseResult], failed: Sequence[CaseResult]) -> str:
    if not results:
        return "no tests ran"
    if failed:
        return click.style(f"{len(failed)} of {_counted(len(results), 'test')} failed", fg="red", bold=True)
    return f"{_counted(len(results), 'test')} passed"


def _not_run(loaded: Loaded) -> str:
    faulty = {finding.path for finding in loaded.errors}
    return f"; nothing ran of {_counted(len(faulty), 'file')} with errors" if faulty else ""


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _no_such_rule(loaded: Loaded, rule: str) -> int:
    from triggers.language.findings import did_you_mean  # noqa: PLC0415  as above

    faulty = sorted({finding.path for finding in loaded.errors if Path(finding.path).stem == rule})
    if faulty:
        for finding in loaded.errors:
            if finding.path in faulty:
                click.echo(_coloured(finding))
        return FINDINGS
    click.echo(f"there is no rule '{rule}'{did_you_mean(rule, loaded.files)}", err=True)
    return UNUSABLE
