"""What we stand on inside faust, mode and aiokafka is all listed, and is what it was when it was read."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import re
import textwrap
import tomllib
from functools import cache, reduce
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from triggers.drivers.kafka.internals import INTERNALS, VERSIONS, Internal

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "triggers" / "drivers" / "kafka"
PACKAGES = ("faust", "mode", "aiokafka")
USES = {"overridden", "called", "read", "written", "relied on", "subclassed"}


def found(internal: Internal) -> Any:
    """Find what a name stands for; for an attribute of objects, the class that has it."""
    module = importlib.import_module(internal.module)
    *outer, name = internal.path.split(".")
    owner = reduce(getattr, outer, module)
    if hasattr(owner, name):
        thing = inspect.getattr_static(owner, name) if inspect.isclass(owner) else getattr(owner, name)
        return getattr(thing, "fun", thing)  # a task of mode's is an object with the function in it
    classes = [one for one in owner.__mro__ if one is not object]
    assigned = re.compile(rf"^ +(self\.)?{name}(: [^=\n]+)?( = |$)", re.MULTILINE)
    assert any(assigned.search(inspect.getsource(one)) for one in classes), f"nobody has {internal.path} any more"
    return owner


def digest(thing: Any) -> str:
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(thing)))
    return hashlib.sha256(source.encode()).hexdigest()[:12]


@pytest.mark.parametrize("internal", INTERNALS, ids=lambda one: f"{one.module}.{one.path}")
def test_a_listed_name_is_there_and_is_what_it_was(internal: Internal) -> None:
    thing = found(internal)
    assert internal.use in USES
    assert internal.why
    if internal.digest != "-":
        assert digest(thing) == internal.digest, "read what changed, then write its new digest into internals.py"
    else:
        assert not inspect.isfunction(thing)


def test_no_name_is_listed_twice() -> None:
    names = [(internal.module, internal.path) for internal in INTERNALS]
    assert len(set(names)) == len(names) > 50


def test_the_versions_are_those_that_are_pinned_and_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = dict(line.split("==") for line in project["dependencies"] if "==" in line)
    assert {name: pins.get(name) for name in VERSIONS} == VERSIONS
    assert {name: version(name) for name in VERSIONS} == VERSIONS


@cache
def private_names_of_theirs() -> frozenset[str]:
    """All names with a leading underscore that their source gives to anything."""
    names: set[str] = set()
    for package in PACKAGES:
        for path in Path(importlib.import_module(package).__path__[0]).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_bytes())):
                match node:
                    case ast.Attribute(attr=name, ctx=ast.Store()) | ast.Name(id=name, ctx=ast.Store()):
                        names.add(name)
                    case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                        names.add(name)
    return frozenset(name for name in names if is_private(name))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def names_of_ours(sources: dict[str, ast.Module]) -> set[str]:
    """What our own classes that know nothing of theirs, and our modules, call with a leading underscore."""
    names: set[str] = set()
    for module in sources.values():
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef) and not theirs(node, module):
                names |= {inner.attr for inner in ast.walk(node) if is_own(inner)}  # type: ignore[attr-defined]
                names |= {
                    inner.name for inner in node.body if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
                }
    return {name for name in names if is_private(name)}


def is_own(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


def theirs(node: ast.ClassDef, module: ast.Module) -> bool:
    """Tell whether a class is made from one of theirs."""
    imported = set()
    for each in ast.walk(module):
        if isinstance(each, ast.Import) and any(alias.name.split(".")[0] in PACKAGES for alias in each.names):
            imported |= {alias.asname or alias.name.split(".")[0] for alias in each.names}
        elif isinstance(each, ast.ImportFrom) and (each.module or "").split(".")[0] in PACKAGES:
            imported |= {alias.asname or alias.name for alias in each.names}
    return any(inner.id in imported for base in node.bases for inner in ast.walk(base) if isinstance(inner, ast.Name))


def unlisted(sources: dict[str, ast.Module], listed: set[str]) -> list[str]:
    """Find the private names of theirs that are used, defined or spelled out, and not listed."""
    ours, found = names_of_ours(sources), []
    for path, module in sources.items():
        inside = {
            id(inner)
            for node in ast.walk(module)
            if isinstance(node, ast.ClassDef) and theirs(node, module)
            for inner in ast.walk(node)
        }
        for node in ast.walk(module):
            match node:
                case ast.Attribute(attr=name):
                    pass
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if id(node) in inside:
                    pass
                case ast.Constant(value=str(name)):
                    pass
                case ast.ImportFrom(module=str(source)) if source.split(".")[0] in PACKAGES:
                    name = next((alias.name for alias in node.names if is_private(alias.name)), "")
                case _:
                    continue
            foreign = id(node) in inside or name not in ours
            if is_private(name) and foreign and name in private_names_of_theirs() and name not in listed:
                found.append(f"{path}:{node.lineno}: {name} of another package is not in internals.py")
    return found


def our_sources() -> dict[str, ast.Module]:
    return {path.name: ast.parse(path.read_bytes()) for path in sorted(FOLDER.glob("*.py")) if path.stem != "internals"}


def listed() -> set[str]:
    return {internal.path.rpartition(".")[2] for internal in INTERNALS}


def test_we_touch_no_private_name_that_is_not_listed() -> None:
    sources = our_sources()
    assert "transport.py" in sources
    assert unlisted(sources, listed()) == []


@pytest.mark.parametrize("name", ["_coordinator", "_drain_messages", "_committed_offset", "_new_offset"])
def test_a_name_taken_from_the_list_is_found_in_our_source(name: str) -> None:
    assert any(name in finding for finding in unlisted(our_sources(), listed() - {name}))


@pytest.mark.parametrize(
    "source",
    [
        "def f(consumer): return consumer._subscription",
        "def f(consumer): return getattr(consumer, '_subscription')",
        "from faust.app import App\nclass A(App):\n    def _update_assignment(self): ...",
        "from faust.app import App\nclass A(App):\n    def f(self): self._assignment = 1",
        "from aiokafka.errors import _NoneError as x\ndef f(x): return x._fetcher",
    ],
)
def test_the_scan_finds_what_it_is_for(source: str) -> None:
    assert unlisted({"new.py": ast.parse(source)}, set())


@pytest.mark.parametrize(
    "source",
    [
        "class A:\n    def __init__(self): self._subscription = 1\n    def f(self): return self._subscription",
        "from faust.app import App\nclass A(App):\n    def f(self): self._our_own_name_for_it = 1",
    ],
)
def test_the_scan_lets_our_own_names_be(source: str) -> None:
    assert unlisted({"new.py": ast.parse(source)}, set()) == []
