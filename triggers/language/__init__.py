"""Turns rule files into a rulebook, or into findings that name the place and the mend."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triggers.language.findings import Finding
    from triggers.language.folder import Loaded, RuleFile, build_rule, build_shop, load, load_contents, overlay

__all__ = ["Finding", "Loaded", "RuleFile", "build_rule", "build_shop", "load", "load_contents", "overlay"]


def __getattr__(name: str) -> Any:
    # Imported when first asked for: a command that reads no rules has no time for the models.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module("triggers.language." + ("findings" if name == "Finding" else "folder")), name)
    globals()[name] = value
    return value
