"""Reads the files of a folder of rules as they are, and names what they hold by one short word."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from triggers.errors import RulesUnusable
from triggers.language.tree import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SHOP_FILE = "_shop.yaml"
ENDINGS = (".yaml", ".yml")
MAX_FILES = 2_000
_MAX_READ = MAX_BYTES + 1
_REVISION_LETTERS = 12


def contents_of(folder: Path) -> dict[str, bytes | str]:
    """Read the shop's file and all rule files of a folder, by name; a text tells why one cannot be read.

    Raises RulesUnusable where the folder cannot be read.
    """
    return {name: content_of(folder / name) for name in [SHOP_FILE, *_names(folder)]}


def _names(folder: Path) -> list[str]:
    try:
        found = sorted(each.name for each in folder.iterdir())
    except FileNotFoundError:
        raise RulesUnusable(f"{folder}: there is no such folder of rules") from None
    except NotADirectoryError:
        raise RulesUnusable(f"{folder} is a file; give the folder that holds the rules") from None
    except OSError as error:
        raise RulesUnusable(f"{folder} cannot be read: {error.strerror}") from error
    names = [name for name in found if name.endswith(ENDINGS) and name != SHOP_FILE and not name.startswith(".")]
    if len(names) > MAX_FILES:
        raise RulesUnusable(f"{folder} holds {len(names)} rule files; {MAX_FILES} at most")
    return names


def content_of(path: Path) -> bytes | str:
    """Read a file; a text tells why that was not possible."""
    if path.is_dir():
        return "a folder where a rule file is expected; rename it"
    if path.exists() and not path.is_file():
        return "not a file; a pipe or a device holds no rule"
    try:
        with path.open("rb") as file:
            return file.read(_MAX_READ)
    except FileNotFoundError:
        mend = "; it holds name and timezone of the shop" if path.name == SHOP_FILE else ""
        return f"there is no {path.name}{mend}"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def as_bytes(content: bytes | str) -> bytes:
    """Take what stands for a file's content, whether it could be read or not."""
    return content.encode() if isinstance(content, str) else content


def revision_of(contents: Mapping[str, bytes | str]) -> str:
    """Name the content of all files (S38), in whatever order they are."""
    whole = hashlib.sha256()
    for name in sorted(contents):
        whole.update(name.encode() + b"\0" + hashlib.sha256(as_bytes(contents[name])).digest())
    return whole.hexdigest()[:_REVISION_LETTERS]
