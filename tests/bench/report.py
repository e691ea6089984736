"""One line a benchmark, ``NAME: FIGURE UNIT (floor F, aim A)``, and its raw runs in a file."""

from __future__ import annotations

import json
from pathlib import Path

RAW = Path(__file__).parents[2] / "var" / "bench"


def report(name: str, figure: float, unit: str, *, floor: float, aim: float) -> bool:
    """Print a benchmark's line; tells whether it is on the right side of its floor, which may be a ceiling."""
    print(f"{name}: {figure:.3g} {unit} (floor {floor:g}, aim {aim:g})", flush=True)  # noqa: T201
    return figure >= floor if aim > floor else figure <= floor


def keep(name: str, runs: object) -> None:
    """Keep the raw runs of a benchmark."""
    RAW.mkdir(parents=True, exist_ok=True)
    (RAW / f"{name}.json").write_text(json.dumps(runs, indent=1), encoding="utf-8")
