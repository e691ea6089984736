"""Which numbers our processes give, read from our own source; and which ones a query asks for."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final

from deploy_tools import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDINGS: Final = {
    "Counter": ("_total",),
    "CounterMetricFamily": ("_total",),
    "Gauge": ("",),
    "GaugeMetricFamily": ("",),
    "Histogram": ("_bucket", "_sum", "_count"),
    "_gauge": ("",),
    "_counter": ("_total",),
}
"""What Prometheus sees of each kind of number, behind its name; those that begin with _ are shorthands of ours."""

PROMISED: Final[dict[str, set[str]]] = {}
"""Numbers that are asked for before they are given, with their labels."""

FOREIGN: Final = {
    "up": set(),
    "ALERTS": {"alertname", "alertstate", "severity"},
    "kubelet_volume_stats_available_bytes": {"namespace", "persistentvolumeclaim"},
}
"""Numbers of Prometheus itself and of a cluster."""
OF_PROMETHEUS: Final = {"job", "instance"}

_NAME = re.compile(r"\b(triggers_[a-z0-9_]+|kubelet_[a-z_]+|ALERTS|up)\b(?:\{([^}]*)\})?")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"")
_BY = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")


def given() -> dict[str, set[str]]:
    """List the numbers that our processes give, as Prometheus names them, with their labels."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "triggers").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                kind = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                for name, labels in _named(node) if kind in ENDINGS else ():
                    for ending in ENDINGS[kind]:
                        found[name.removesuffix("_total") + ending] = labels | (
                            {"le"} if ending == "_bucket" else set()
                        )
    return found


def _named(call: ast.Call) -> Iterator[tuple[str, set[str]]]:
    first = call.args[0] if call.args else None
    if isinstance(first, ast.Constant) and isinstance(first.value, str) and first.value.startswith("triggers_"):
        listed = [*call.args[2:], *(each.value for each in call.keywords if each.arg in {"labelnames", "labels"})]
        labels = {
            element.value
            for each in listed
            for element in (each.elts if isinstance(each, ast.List | ast.Tuple) else [each])
            if isinstance(element, ast.Constant) and isinstance(element.value, str)
        }
        yield first.value, labels


def asked(query: str) -> set[str]:
    """List the numbers that a query asks for."""
    return {name for name, _ in _NAME.findall(_without_text(query))}


def wrong_in(query: str, known: dict[str, set[str]]) -> list[str]:
    """Tell of the numbers and labels in a query that nobody gives."""
    wrong, labels = [], set(OF_PROMETHEUS)
    for name, selected in _NAME.findall(query):
        if name not in known:
            wrong.append(f"nobody gives {name}")
            continue
        labels |= known[name]
        wrong += [
            f"{name} has no label {label}"
            for label in _LABEL.findall(selected)
            if label not in known[name] | OF_PROMETHEUS
        ]
    grouped = {label.strip() for listed in _BY.findall(query) for label in listed.split(",") if label.strip()}
    return wrong + [f"nothing in it has a label {label}" for label in sorted(grouped - labels)]


def _without_text(query: str) -> str:
    return re.sub(r"\"[^\"]*\"", '""', query)
