"""How fast ``triggers replay`` decides the benchmark's million events, against a bare ``orjson.loads`` loop over the log.

Both are whole processes and take turns, so that both see the same machine; the figure is the ratio of the medians. The
sends must be those that ``expected.py`` says, to the last line. Log, rules and ``expected.py`` are the shared ones:
TRIGGERS_SHARED names their folder if it is not ``../shared``. A third figure, without a floor, places the machine: the
same rules written by hand (``hard_coded.py``), against the same loop.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from statistics import median

from report import RAW, keep, report

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("TRIGGERS_SHARED", ROOT.parent / "shared")) / "bench"
EVENTS, CUSTOMERS, SEED, RUNS = 1_000_000, 100_000, 7, 3
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""Processes run as they do for users: with their byte code kept."""
BARE = "import sys, orjson\nfor line in open(sys.argv[1], 'rb'): orjson.loads(line)"


def timed(*command: str | Path) -> tuple[float, float]:
    """Run a process to its end; tells seconds and its peak memory in MB."""
    began = time.perf_counter()
    child = os.spawnve(os.P_NOWAIT, sys.executable, [sys.executable, *map(str, command)], ENVIRONMENT)  # noqa: S606  our own
    _, status, used = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - began, used.ru_maxrss / 1024


def made(name: str, *command: str | Path) -> Path:
    """Make a file with a command's output, unless it is there from an earlier run."""
    path = RAW / name
    if not path.exists():
        RAW.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            subprocess.run([sys.executable, *command], stdout=file, stderr=subprocess.DEVNULL, check=True)
        part.rename(path)
    return path


def as_expected(sends: Path, expected: Path) -> bool:
    """Tell whether the sends are, as a multiset, those expected."""
    lines = []
    for line in sends.read_bytes().splitlines():
        send = json.loads(line)
        due = round(datetime.fromisoformat(send["due"]).timestamp() * 1_000)
        known = {"rule": send["rule"], "customer": send["customer"], "due": due, "ref": send["identity"]}
        lines.append(json.dumps(known, separators=(",", ":")))
    return sorted(lines) == expected.read_text(encoding="utf-8").splitlines()


def main() -> int:
    """Run the benchmark."""
    if not (SHARED / "gen.py").exists():
        print(f"replay: not measured, since {SHARED} is not there")  # noqa: T201
        return 0
    log = made("events.jsonl", SHARED / "gen.py", str(EVENTS), str(CUSTOMERS), str(SEED))
    expected = made("expected.jsonl", SHARED / "expected.py", log)
    sends = RAW / "sends.jsonl"
    replay = ("-m", "triggers", "replay", log, "--rules", SHARED / "rules", "--out", sends, "--quiet")
    by_hand = (Path(__file__).with_name("hard_coded.py"), log, RAW / "by_hand.jsonl")
    runs = [{"bare": timed("-c", BARE, log), "replay": timed(*replay), "by hand": timed(*by_hand)} for _ in range(RUNS)]
    keep("replay", runs)
    if not as_expected(sends, expected) or (RAW / "by_hand.jsonl").read_bytes() != expected.read_bytes():
        print("replay: the sends are not those expected")  # noqa: T201
        return 1
    bare = median(run["bare"][0] for run in runs)
    ratio = bare / median(run["replay"][0] for run in runs)
    hand = bare / median(run["by hand"][0] for run in runs)
    print(f"replay, the same rules written by hand: {hand:.3g} x of a bare orjson loop", flush=True)  # noqa: T201
    fast = report("replay", ratio, "x of a bare orjson loop", floor=0.15, aim=0.35)
    small = report("replay peak memory", max(run["replay"][1] for run in runs), "MB", floor=400, aim=150)
    return 0 if fast and small else 1


if __name__ == "__main__":
    sys.exit(main())
