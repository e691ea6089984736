"""``make torture-kafka``: everything happens to a fleet while 200,000 events flow through it, and it keeps its promises.

In one run a worker is killed, another stopped beyond its session, the broker restarted, a worker added, one removed, and
the dispatcher killed. ``--seed`` repeats a run's deeds; ``--events``, ``--rate`` and ``--customers`` change its size;
``--keep`` leaves its files in a folder.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from kafka_broker import jars
from kafka_chaos_checks import Findings, ledger, outbox
from kafka_chaos_run import LONG, SHORT, play

from triggers.drivers.kafka.records import Sending


def figures(findings: Findings) -> str:
    """Say in a few lines what was done and what was found."""
    chaos, expected = findings.chaos, findings.expected
    left, watch = chaos.left, chaos.watch
    sends = Counter(each.send.rule for each in watch.commands if isinstance(each, Sending))
    reasons = Counter(row.reason for row in watch.decided if row.kind == "ended")
    late, all_late = sorted(findings.late.values()), sorted(findings.late_with_outages.values())
    lines = [
        *(f"  {(at - chaos.began) / 1_000:6.1f} s  {what}" for at, what in chaos.notes),
        f"events: {len(chaos.flow.acked)} acked, {len(left.events)} in the log with {left.ticks} ticks",
        f"customers: {len(left.states)}",
        f"messages: {_told(sends)}; {len(expected.sends)} in an undisturbed run",
        f"ends of waits: {_told(reasons)}",
        f"called back: {expected.cancels.total()}",
        f"questions: {watch.asked.total()} asked, {watch.answered.total()} answered",
        f"late: half {_at(late, 0.5)} ms, 99 of 100 {_at(late, 0.99)} ms, the latest {_at(late, 1)} ms",
        f"late, with the time that the broker was away: the latest {_at(all_late, 1)} ms",
        f"processes that ended: {_told(chaos.ended)}",
        f"outbox: {_told(Counter(outbox(chaos).values()))}",
        f"ledger: {len(ledger(chaos))} lines",
        *(f"{name}: {len(told)}" for name, told in findings.found.items()),
    ]
    return "\n".join(lines)


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def _at(values: list[int], share: float) -> int:
    return values[min(len(values) - 1, int(share * len(values)))] if values else 0


def main() -> int:
    """Make chaos, tell, and say whether everything held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--events", type=int)
    parser.add_argument("--rate", type=int, help="events a second")
    parser.add_argument("--customers", type=int)
    parser.add_argument("--keep", type=Path, help="a new folder")
    given = parser.parse_args()
    size = SHORT if given.short else LONG
    size = size._replace(**{name: each for name in ("events", "rate", "customers") if (each := getattr(given, name))})
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # its broker goes, and that is meant to be
    found = jars()
    if isinstance(found, str):
        parser.error(found)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "chaos" if given.keep is None else given.keep
        kept.mkdir(parents=True)
        print(f"seed: {given.seed}")  # noqa: T201
        findings = Findings(asyncio.run(play(found, kept, given.seed, size, say=sys.stdout.isatty())))
        print(figures(findings))  # noqa: T201
    for name, told in findings.broken.items():
        print(f"BROKEN {name}: {told}")  # noqa: T201
    print(f"{time.monotonic() - began:.0f} s")  # noqa: T201
    return int(bool(findings.broken))


if __name__ == "__main__":
    sys.exit(main())
