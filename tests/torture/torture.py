"""``make torture``: the service is killed a hundred times while it sends thousands of messages through a bad gateway.

``--seed`` repeats one; ``--lives`` and ``--commands`` change the size; ``--keep`` leaves its files in a folder.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from torture_checks import Findings
from torture_lives import LONG, SHORT, torture


def figures(findings: Findings) -> str:
    """Say in a few lines what was done and what was found."""
    record = findings.record
    ended, stories = record.ended, record.stories.values()
    taken = Counter(each.row["klass"] for each in stories for _ in range(each.taken))
    twice = Counter(each.row["klass"] for each in stories if each.taken > 1)
    fates = Counter(line["fate"] for line in record.truth)
    last = Counter(each.row["state"] for each in stories)
    before = Counter(ended.before_the_end.values())
    senders = ended.senders
    lines = [
        f"kills: {ended.kills.total()}",
        *(f"  {point}: {count}" for point, count in sorted(ended.kills.items())),
        f"commands: {len(stories)} ({len(ended.queued)} queued, {len(senders.messages)} posted)",
        f"events: {len(senders.events)}",
        f"opt-outs answered: {len(senders.stopped_at)}",
        f"cancels answered: {len(senders.cancelled_at)}",
        f"asked of the gateway: {_told(fates)}",
        f"taken by it: {_told(taken)}",
        f"taken more than once: {_told(twice) or 'none'}",
        f"states before the last leap in time: {_told(before)}",
        f"states at the end: {_told(last)}",
        *(f"{name}: {len(told)}" for name, told in findings.found.items()),
    ]
    return "\n".join(lines)


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def main() -> int:
    """Torture, tell, and say whether everything held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--lives", type=int)
    parser.add_argument("--commands", type=int, help="in each life")
    parser.add_argument("--keep", type=Path, help="a new folder")
    given = parser.parse_args()
    size = SHORT if given.short else LONG
    size = dataclasses.replace(size, lives=given.lives or size.lives, commands=given.commands or size.commands)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "world" if given.keep is None else given.keep
        kept.mkdir(parents=True)
        print(f"seed: {given.seed}")  # noqa: T201
        findings = Findings(asyncio.run(torture(kept, given.seed, size, say=sys.stdout.isatty())))
        print(figures(findings))  # noqa: T201
    for name, told in findings.broken.items():
        print(f"BROKEN {name}: {told}")  # noqa: T201
    print(f"{time.monotonic() - began:.0f} s")  # noqa: T201
    return int(bool(findings.broken))


if __name__ == "__main__":
    sys.exit(main())
