"""Our own source, read for what the import contracts in pyproject.toml cannot show."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "triggers"
LONGEST_FUNCTION = 70
SQL = re.compile(
    r"^\s*(SELECT\s.*\sFROM\s|INSERT\s+(OR\s+\w+\s+)?INTO\s|REPLACE\s+INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s"
    r"|CREATE\s+(TABLE|INDEX|UNIQUE|VIEW|TRIGGER)\s|ALTER\s+TABLE\s|DROP\s+(TABLE|INDEX)\s|PRAGMA\s|BEGIN\s+IMMEDIATE)",
    re.DOTALL,
)
CLOCKS = {"now", "utcnow", "today", "monotonic", "monotonic_ns", "perf_counter", "time_ns"}
IMPURE_CALLS = {"open", "input", "print", "hash", "id", "eval", "exec", "breakpoint", "__import__"}
EMPTY_NAMES = re.compile(r"(Manager|Helper|Helpers|Util|Utils|Base)$")
HEAVY = ("faust", "mode", "aiokafka", "pydantic", "aiohttp", "yaml", "aiosqlite", "watchfiles", "phonenumbers")

Rule = Callable[[ast.Module], Iterator[tuple[int, str]]]


def opens_with_a_sentence(module: ast.Module) -> Iterator[tuple[int, str]]:
    text = ast.get_docstring(module) or ""
    if "." not in text and "`" not in text and not text.endswith("?"):
        yield 1, "a module opens with one sentence on what it is for"


def has_short_functions(module: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                yield node.lineno, f"{node.name} has {length} lines"


def names_things_after_the_trade(module: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef) and EMPTY_NAMES.search(node.name):
            yield node.lineno, f"{node.name} says nothing of what it is"


def hides_no_error(module: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module):
        if isinstance(node, ast.ExceptHandler):
            if node.type is None:
                yield node.lineno, "except without a class"
            elif _is_everything(node.type) and all(_does_nothing(line) for line in node.body):
                yield node.lineno, "an except for everything that does nothing"
        elif isinstance(node, ast.Call) and _called(node) == "suppress" and any(map(_is_everything, node.args)):
            yield node.lineno, "suppresses everything"


def asks_no_hash(module: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "hash":
            yield node.lineno, "hash() of text differs from run to run"


def holds_no_sql(module: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value):
            yield node.lineno, "SQL outside the store"


def is_pure(module: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield node.lineno, "async in the core"
        elif isinstance(node, ast.Call):
            name = _called(node)
            if isinstance(node.func, ast.Name) and name in IMPURE_CALLS:
                yield node.lineno, f"{name}() in the core"
            elif isinstance(node.func, ast.Attribute) and name in CLOCKS:
                yield node.lineno, f"a clock in the core: .{name}()"
        elif isinstance(node, ast.Global):
            yield node.lineno, "a module's state changed from a function"


EVERYWHERE: tuple[Rule, ...] = (
    opens_with_a_sentence,
    has_short_functions,
    names_things_after_the_trade,
    hides_no_error,
    asks_no_hash,
)


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _is_everything(node: ast.expr) -> bool:
    members = node.elts if isinstance(node, ast.Tuple) else [node]
    return any(isinstance(one, ast.Name) and one.id in {"Exception", "BaseException"} for one in members)


def _does_nothing(line: ast.stmt) -> bool:
    return isinstance(line, ast.Pass | ast.Continue) or (
        isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
    )


def findings(path: Path) -> list[str]:
    folder = path.relative_to(SOURCE).parts[0]
    rules = list(EVERYWHERE)
    if folder != "store":
        rules.append(holds_no_sql)
    if folder == "core":
        rules.append(is_pure)
    module = ast.parse(path.read_text(encoding="utf-8"))
    return [f"{path}:{line}: {what}" for rule in rules for line, what in rule(module)]


def test_our_own_source_is_tidy() -> None:
    paths = sorted(SOURCE.rglob("*.py"))
    assert SOURCE / "core" / "events.py" in paths
    assert [finding for path in paths for finding in findings(path)] == []


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (opens_with_a_sentence, "x = 1"),
        (opens_with_a_sentence, '"""Stuff"""'),
        (has_short_functions, "def f():\n" + "    x = 1\n" * LONGEST_FUNCTION),
        (names_things_after_the_trade, "class RuleManager: ..."),
        (hides_no_error, "try: f()\nexcept: g()"),
        (hides_no_error, "try: f()\nexcept Exception: pass"),
        (hides_no_error, "for x in y:\n  try: f()\n  except (OSError, Exception): continue"),
        (hides_no_error, "with contextlib.suppress(Exception): f()"),
        (asks_no_hash, "def spread(c): return hash(c) % 60"),
        (holds_no_sql, 'q = """\n  SELECT id\n  FROM events"""'),
        (holds_no_sql, 'q = f"INSERT OR IGNORE INTO {table} VALUES (?)"'),
        (holds_no_sql, 'q = "PRAGMA journal_mode = WAL"'),
        (is_pure, "async def f(): ..."),
        (is_pure, "def f(): return open('x')"),
        (is_pure, "def f(): return datetime.now(UTC)"),
        (is_pure, "def f():\n  global x\n  x = 1"),
    ],
)
def test_each_rule_finds_what_it_is_for(rule: Rule, source: str) -> None:
    assert list(rule(ast.parse(source)))


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (opens_with_a_sentence, '"""What a customer is."""'),
        (has_short_functions, "def f():\n" + "    x = 1\n" * (LONGEST_FUNCTION - 1)),
        (hides_no_error, "try: f()\nexcept OSError: pass"),
        (hides_no_error, "try: f()\nexcept Exception: report()"),
        (asks_no_hash, "class A:\n  def __hash__(self): return 1"),
        (holds_no_sql, 'help = "Select a file from the list, or update the settings"'),
        (is_pure, "def f(now, rule): return rule.open(now)"),
    ],
)
def test_no_rule_finds_what_is_fine(rule: Rule, source: str) -> None:
    assert list(rule(ast.parse(source))) == []


def test_the_command_line_starts_without_its_heavy_libraries() -> None:
    program = "import json, sys, triggers.cli; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert set(json.loads(run.stdout)) & set(HEAVY) == set()
