"""Loads a folder of rule files: the rules and the shop as the core reads them, or findings that name place and mend."""

from __future__ import annotations

import hashlib
import json
from codecs import BOM_UTF8
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from triggers.language import lint
from triggers.language.across import across
from triggers.language.building import Building, build
from triggers.language.contents import SHOP_FILE, as_bytes, content_of, contents_of, revision_of
from triggers.language.model import RuleModel
from triggers.language.places import Places
from triggers.language.reading import Reading, from_plain, no_empty_values, validated
from triggers.language.shop import SharedShop, shop_of
from triggers.language.tree import read

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path as FilePath

    from triggers.core.rules import Rule, Shop
    from triggers.language.cases_model import Case
    from triggers.language.findings import Finding
    from triggers.language.tree import Document, Path

_FILL = {
    "rule": "v1", "id": "rule", "title": "rule", "status": "draft", "class": "marketing", "send": {"text": "…"}
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RuleFile:
    """One rule file that loaded: its plain values, its tests, and where everything stands."""

    path: str
    id: str
    data: dict[str, Any]
    tests: list[Case]
    document: Document = field(repr=False)

    def line_of(self, path: Path) -> tuple[int, int]:
        """Tell line and column of a path of keys and indices, such as ("tests", 0, "expect")."""
        return self.document.places.at(self.document.offset(path))


@dataclass(frozen=True, slots=True)
class Loaded:
    """A folder of rules: those that are without an error, and all findings.

    ``shop`` is None, and ``rules`` are empty, while ``_shop.yaml`` has errors. ``revision`` names the content of all
    files.
    """

    rules: tuple[Rule, ...]
    shop: SharedShop | None
    files: dict[str, RuleFile]
    findings: list[Finding]
    revision: str

    @property
    def errors(self) -> list[Finding]:
        """The findings that keep a file from being used."""
        return [finding for finding in self.findings if finding.severity == "error"]


class Draft:
    """A rule file on its way: read, checked by itself, not yet against the others."""

    def __init__(self, reading: Reading, name: str) -> None:
        self.reading = reading
        self.name = name
        self.model: RuleModel | None = None
        self.building: Building | None = None
        self.rule: Rule | None = None
        self.data: dict[str, Any] = {}

    @property
    def id(self) -> str:
        """The id that the file gives itself, or else its name."""
        return self.model.id if self.model else self.name


def load(folder: FilePath, *, since: int = 0, today: int | None = None) -> Loaded:
    """Load the rule files of a folder.

    ``since`` (epoch ms) is when they come into force; ``today`` (days since 1970-01-01) lets holidays without a coming
    date be noticed. Raises RulesUnusable when the folder cannot be read; what is wrong inside is a finding.
    """
    return load_contents(folder, contents_of(folder), since=since, today=today)


def load_contents(
    folder: FilePath,
    contents: Mapping[str, bytes | str],
    *,
    trusted: Collection[str] = (),
    since: int = 0,
    today: int | None = None,
) -> Loaded:
    """Load rule files whose contents are at hand, the shop's among them, as if the folder held these.

    The ``trusted`` ones are in use: if another file takes what one of them says or lacks, that is no fault of theirs.
    """
    names = sorted(name for name in contents if name != SHOP_FILE)
    shop_reading, shop = _shop(folder, contents[SHOP_FILE])
    lint_shop = shop or _stand_in()
    salt = as_bytes(contents[SHOP_FILE])
    drafts = [_draft(folder, name, contents[name], lint_shop, since=since, salt=salt) for name in names]
    held = {str(folder / name) for name in trusted}
    alone = [draft for draft in drafts if draft.rule is not None and not draft.reading.faulty]
    across(sorted(drafts, key=lambda draft: draft.reading.path not in held), lint_shop, today)
    usable = shop is not None and not shop_reading.faulty
    good = [draft for draft in alone if not draft.reading.faulty or draft.reading.path in held]
    return Loaded(
        rules=tuple(draft.rule for draft in good if draft.rule is not None) if usable else (),
        shop=shop if usable else None,
        files={draft.id: _file(draft) for draft in good},
        findings=[finding for reading in (shop_reading, *(d.reading for d in drafts)) for finding in reading.shown()],
        revision=revision_of(contents),
    )


def read_file(path: FilePath) -> Reading:
    """Read one YAML file with its findings; its ``document`` is None where there is too little to go on."""
    return _read(str(path), content_of(path))


def _read(path: str, content: bytes | str) -> Reading:
    reading = Reading(path)
    found: list[tuple[int, str]] = []
    if isinstance(content, str):
        reading.report(Places(""), 0, content)
        return reading
    source, document = read(content, lambda offset, message: found.append((offset, message)))
    reading.document = document
    places = document.places if document else Places(source)
    for offset, message in found:
        reading.report(places, offset, message)
    if content.startswith(BOM_UTF8):
        reading.report(places, 0, "starts with a byte order mark; save the file as UTF-8 without one", "warning")
    return reading


def _shop(folder: FilePath, content: bytes | str) -> tuple[Reading, SharedShop | None]:
    reading = _read(str(folder / SHOP_FILE), content)
    return reading, shop_of(reading) if reading.document else None


def _stand_in() -> SharedShop:
    return replace(build_shop({"shop": "v1", "name": "Shop", "timezone": "UTC"}), whole=False)


def _draft(folder: FilePath, name: str, content: bytes | str, shop: SharedShop, *, since: int, salt: bytes) -> Draft:
    reading = _read(str(folder / name), content)
    draft = Draft(reading, name.rpartition(".")[0])
    if reading.document is not None:
        draft.data = reading.document.root.plain()
        revision = hashlib.sha256(salt + b"\0" + as_bytes(content)).hexdigest()[:12]
        _check(draft, shop, since=since, revision=revision, name=draft.name)
    return draft


def _check(draft: Draft, shop: SharedShop, *, since: int, revision: str, name: str) -> None:
    reading = draft.reading
    assert reading.document is not None  # noqa: S101  the caller has read it
    no_empty_values(reading, reading.document.root)
    draft.model = validated(reading, RuleModel, {**_FILL, "id": name})
    if draft.model is not None:
        draft.building = Building(reading, draft.model, shop)
        draft.rule = build(draft.building, since=since, revision=revision)
        lint.within(draft.building, draft.rule, name)


def _file(draft: Draft) -> RuleFile:
    assert draft.model is not None  # noqa: S101  it has loaded
    assert draft.reading.document is not None  # noqa: S101
    return RuleFile(draft.reading.path, draft.model.id, draft.data, list(draft.model.tests), draft.reading.document)


def build_rule(data: Mapping[str, Any], shop: Shop, *, since: int = 0) -> Rule:
    """Build one rule from plain values, as a test's ``edit:`` makes them. Raises ValueError with the findings."""
    shared = shop if isinstance(shop, SharedShop) else _shared(shop)
    draft = Draft(Reading("rule", from_plain({**data, "tests": []})), str(data.get("id", "")))
    revision = hashlib.sha256(json.dumps(data, default=str, sort_keys=True).encode()).hexdigest()[:12]
    _check(draft, shared, since=since, revision=revision, name=draft.name)
    _raise(draft.reading)
    assert draft.rule is not None  # noqa: S101  without an error there is a rule
    return draft.rule


def build_shop(data: Mapping[str, Any]) -> SharedShop:
    """Build a shop from plain values. Raises ValueError with the findings."""
    reading = Reading(SHOP_FILE, from_plain(data))
    shop = shop_of(reading)
    _raise(reading)
    assert shop is not None  # noqa: S101  without an error there is a shop
    return shop


def _shared(shop: Shop) -> SharedShop:
    return SharedShop(**{name: getattr(shop, name) for name in shop.__dataclass_fields__})


def _raise(reading: Reading) -> None:
    errors = [finding.message for finding in reading.shown() if finding.severity == "error"]
    if errors:
        raise ValueError("; ".join(errors))


def overlay(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lay changes over plain values: mappings go together key by key, null takes a key away, the rest is replaced."""
    result = dict(data)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = overlay(result[key], value)
        else:
            result[key] = value
    return result
