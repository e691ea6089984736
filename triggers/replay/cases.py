"""Runs the tests of a rule file on the core, in virtual time, and says what happened instead and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from triggers.language.findings import Finding
from triggers.replay.case_plan import plan
from triggers.replay.case_rules import CaseFile, CaseRules, Unplayable
from triggers.replay.case_run import Run
from triggers.replay.case_verdict import Failure, judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from triggers.core.decisions import Send
    from triggers.language.folder import Loaded, RuleFile


@dataclass(frozen=True, slots=True)
class CaseResult:
    """How one test went. ``failures`` are findings at their lines; ``story`` tells what happened instead."""

    path: str
    rule: str
    name: str
    line: int
    column: int
    failures: tuple[Finding, ...] = ()
    story: tuple[str, ...] = ()
    sends: tuple[Send, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether everything was as expected."""
        return not self.failures

    def __str__(self) -> str:
        here = f"{self.path}:{self.line}:{self.column}"
        if self.passed:
            return f"{here}: passed: {self.name}"
        failures = [f"  {each.path}:{each.line}:{each.column}: {each.message}" for each in self.failures]
        return "\n".join([f"{here}: failed: {self.name}", *failures, *(f"    {line}" for line in self.story)])


def run_cases(file: RuleFile, loaded: Loaded, *, wanted: Callable[[str], bool] | None = None) -> list[CaseResult]:
    """Run the tests of a file, or those whose name is ``wanted``, each by itself, in the order of the file."""
    of = CaseFile(file, loaded)
    chosen = [index for index, case in enumerate(file.tests) if wanted is None or wanted(case.name)]
    return [_run(of, index) for index in chosen]


def _run(of: CaseFile, index: int) -> CaseResult:
    file, path = of.file, ("tests", index)
    try:
        rules = CaseRules(of, file.tests[index])
    except Unplayable as error:
        return _result(file, index, [Failure((*path, error.key), str(error))])
    made = plan(file, index, rules)
    if made.problems:
        return _result(file, index, [Failure(problem.path, problem.message) for problem in made.problems])
    run = Run(made, rules)
    run.play()
    if run.failures:
        return _result(file, index, run.failures)
    failures = judge(made, path, run.sends, run.ended, rules.shop.zone)
    if not failures:
        return _result(file, index, [], sends=tuple(run.sends))
    again = Run(made, CaseRules(of, file.tests[index]), explain=True)
    again.play()
    return _result(file, index, failures, tuple(again.story(failures)), tuple(again.sends))


def _result(
    file: RuleFile, index: int, failures: list[Failure], story: tuple[str, ...] = (), sends: tuple[Send, ...] = ()
) -> CaseResult:
    findings = [Finding(file.path, *file.line_of(failure.path), "error", failure.message) for failure in failures]
    line, column = file.line_of(("tests", index))
    name = file.tests[index].name
    return CaseResult(file.path, file.id, name, line, column, tuple(sorted(findings)), story, sends)
