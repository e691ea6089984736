"""A folder of rules to write into, and its findings as short lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from triggers.language import Loaded, load

if TYPE_CHECKING:
    from pathlib import Path

SHOP = "shop: v1\nname: Test\ntimezone: Asia/Shanghai\n"


class Folder:
    """A folder with a plain shop, and rules whose first five lines are always the same."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shop(SHOP)

    def shop(self, text: str) -> None:
        self.file("_shop.yaml", text)

    def file(self, name: str, text: str | bytes) -> None:
        (self.path / name).write_bytes(text.encode() if isinstance(text, str) else text)

    def rule(self, body: str, name: str = "r", *, status: str = "draft", klass: str = "marketing") -> Folder:
        head = f"rule: v1\nid: {name}\ntitle: A rule\nstatus: {status}\nclass: {klass}\n"
        self.file(f"{name}.yaml", head + body)
        return self

    def load(self, today: int | None = None) -> Loaded:
        return load(self.path, since=5, today=today)

    def findings(self, today: int | None = None) -> list[str]:
        return [str(finding).removeprefix(f"{self.path}/") for finding in self.load(today).findings]

    def said(self) -> list[str]:
        """List the findings of r.yaml without its name."""
        return [each.removeprefix("r.yaml:") for each in self.findings()]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)
