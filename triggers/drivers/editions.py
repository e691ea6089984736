"""Makes the set of rules that is safe to use of what a folder holds (S37).

A file with an error, or whose own tests fail, keeps its last good version; the other files load.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from triggers.language import Finding, load_contents
from triggers.language.contents import SHOP_FILE, as_bytes, revision_of
from triggers.replay.cases import run_cases

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from triggers.language import Loaded, RuleFile

Contents: TypeAlias = "Mapping[str, bytes | str]"
"""What the files of a folder hold, by name; a text tells why one cannot be read."""


class Fault(NamedTuple):
    """What keeps a file as it is now from being used; ``digest`` names that content, ``kept`` says that an older one is.

    A warning keeps nothing from being used.
    """

    name: str
    digest: str
    finding: Finding
    kept: bool


class Edition(NamedTuple):
    """A set of rules to use, the contents of its files, what is wrong with the others, and what the folder held."""

    loaded: Loaded
    contents: dict[str, bytes]
    faults: tuple[Fault, ...]
    found: Contents

    @property
    def revision(self) -> str:
        """What names the set: a hash of the files in use."""
        return self.loaded.revision


def choose(
    folder: Path, found: Contents, good: Mapping[str, bytes], *, refused: Collection[tuple[str, str]] = ()
) -> Edition:
    """Choose for each file what it holds now, or else its last good version; where there is neither it is left out.

    ``good`` are the files in use until now; ``refused`` are contents (name, digest) that are not to be used. Where the
    edited ``_shop.yaml`` spoils a rule file that was not edited, the shop's file is the one that goes back.
    """
    use: dict[str, bytes | str] = dict(found)
    for name, digest in refused:
        if name in use and digest_of(use[name]) == digest:
            _send_back(use, good, name)
    faults: dict[Finding, Fault] = {}
    while True:
        same = {name for name, content in use.items() if good.get(name) == content}
        loaded = load_contents(folder, use, trusted=same)
        wrong = _by_file(loaded)
        unfit = set(wrong) - _names(loaded.files.values())
        back = _to_send_back(unfit, use, good)
        if not back:
            failing = _failing(loaded, _names(loaded.files.values()) - (same if SHOP_FILE in same else set()))
            wrong |= failing
            unfit |= set(failing)
            back = _to_send_back(unfit, use, good)
        if SHOP_FILE in back and SHOP_FILE not in wrong:  # what else is wrong may be right without it
            wrong = {name: wrong[name] for name in unfit & same} | {SHOP_FILE: [_spoils(folder, unfit & same)]}
        for name, findings in wrong.items():
            if use[name] == found[name]:
                kept = name in back or name in same
                faults |= {each: Fault(name, digest_of(found[name]), each, kept) for each in findings}
        if not back:
            return _made(loaded, use, unfit, tuple(faults.values()), found)
        for name in back:
            _send_back(use, good, name)


def digest_of(content: bytes | str) -> str:
    """Name a file's content."""
    return hashlib.sha256(as_bytes(content)).hexdigest()


def _to_send_back(unfit: Collection[str], use: Contents, good: Mapping[str, bytes]) -> set[str]:
    """Name the files whose last good version helps; none where there is nothing to go back to."""
    edited = {name for name in unfit if name in good and use[name] != good[name]}
    spoilt = {name for name in unfit if name in good} - edited
    if spoilt and SHOP_FILE in good and use[SHOP_FILE] != good[SHOP_FILE]:
        return {SHOP_FILE}
    return edited


def _spoils(folder: Path, names: Collection[str]) -> Finding:
    """Word what an edited ``_shop.yaml`` does to files that nobody edited."""
    first, *others = sorted(names)
    words = f"{first} and {len(others)} more" if others else first
    return Finding(str(folder / SHOP_FILE), 1, 1, "error", f"with it {words} cannot be used any more; mend that first")


def _send_back(use: dict[str, bytes | str], good: Mapping[str, bytes], name: str) -> None:
    if name in good:
        use[name] = good[name]
    else:
        del use[name]


def _failing(loaded: Loaded, names: Collection[str]) -> dict[str, list[Finding]]:
    """Run the tests of files. Those that need a rule which is not loaded cannot run, and are no fault of the file."""
    there = {rule.id for rule in loaded.rules}
    failing: dict[str, list[Finding]] = {}
    for file in loaded.files.values():
        if file.id not in there or Path(file.path).name not in names:
            continue
        able = {case.name for case in file.tests if there.issuperset(case.with_rules)}
        for result in run_cases(file, loaded, wanted=able.__contains__):
            findings = [replace(each, message=f"test '{result.name}': {each.message}") for each in result.failures]
            if findings:
                failing.setdefault(Path(file.path).name, []).extend(findings)
    return failing


def _made(loaded: Loaded, use: Contents, unfit: Collection[str], faults: tuple[Fault, ...], found: Contents) -> Edition:
    files = {each.id: each for each in loaded.files.values() if Path(each.path).name not in unfit}
    usable = {SHOP_FILE, *_names(files.values())} if loaded.shop is not None else set()
    contents = {name: content for name in sorted(usable) if isinstance(content := use[name], bytes)}
    rules = tuple(rule for rule in loaded.rules if rule.id in files)
    warnings = [
        Fault(name, digest_of(contents[name]), each, kept=True)
        for each in loaded.findings
        if each.severity != "error" and (name := Path(each.path).name) in contents
    ]
    made = replace(loaded, rules=rules, files=files, revision=revision_of(contents))
    return Edition(made, contents, (*faults, *warnings), found)


def _by_file(loaded: Loaded) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in loaded.errors:
        found.setdefault(Path(finding.path).name, []).append(finding)
    return found


def _names(files: Iterable[RuleFile]) -> set[str]:
    return {Path(each.path).name for each in files}
