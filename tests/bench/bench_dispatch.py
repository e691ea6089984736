"""How the dispatcher does: messages a second to an HTTP stub, claim to accepted, recovery, and an opt-out under load.

Every transition is durable (WAL, synchronous FULL, a real file); the stub is a process of its own on loopback. Marketing
has all its gates: consent, suppression, hours, caps, the text, the month's money. One line a figure,
``NAME: FIGURE UNIT (floor F, aim A)``; the raw runs go to var/bench/dispatch.json. The exit status is 1 where a floor is
missed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from loaded_service import opt_outs
from quick_gateway import Bench, stub
from report import keep, report

from triggers.clock import wall_ms
from triggers.store.outbox import counts

if TYPE_CHECKING:
    from triggers.dispatch.hearing import Followed
    from triggers.dispatch.settling import Answered

MESSAGES, RUNS = 6_000, 3
STEADY_PER_S, STEADY_S = 1_000, 8
OPEN_ROWS = 100_000


async def throughput(folder: Path, url: str, klass: str) -> float:
    """Send a queue as fast as it goes; messages a second, from the start to the last one's accepted on the disk."""
    bench = Bench(folder, url)
    bench.introduce(MESSAGES)
    bench.put(0, MESSAGES, klass)
    began = time.perf_counter()
    async with bench.running():
        await bench.until(MESSAGES)
        took = time.perf_counter() - began
    assert counts(bench.reader) == {"accepted": MESSAGES}
    bench.close()
    return MESSAGES / took


async def latency(folder: Path, url: str) -> tuple[float, float]:
    """Send at a steady rate below what it can; p50 and p99 from the claim until accepted is on the disk, in ms."""
    bench = Bench(folder, url)
    accepted: dict[int, int] = {}
    settling = bench.dispatch.dispatcher._settling  # noqa: SLF001  nobody else is told when that is
    settle = settling.settle

    async def timed(answered: Answered) -> Followed:
        followed = await settle(answered)
        accepted[answered.leaving.queued.seq] = wall_ms()
        return followed

    settling.settle = timed  # type: ignore[method-assign]
    async with bench.running():
        for step in range(STEADY_S * 20):
            bench.put(step * STEADY_PER_S // 20, STEADY_PER_S // 20)
            bench.dispatch.dispatcher.more("notice")
            await asyncio.sleep(1 / 20)
        await bench.until(STEADY_S * STEADY_PER_S)
    claims = bench.reader.execute("SELECT message, at FROM transitions WHERE new = 'sending'").fetchall()
    bench.close()
    taken = sorted(float(accepted[message] - at) for message, at in claims)
    assert len(taken) == STEADY_S * STEADY_PER_S
    return statistics.median(taken), taken[int(len(taken) * 0.99)]


def recovery(folder: Path, url: str) -> float:
    """Start with many messages that a killed service was sending; seconds until they are settled."""
    bench = Bench(folder, url)
    bench.put(0, OPEN_ROWS, "marketing")
    bench.writer.submit(
        lambda connection: connection.execute(
            "UPDATE outbox SET state = 'sending', attempts = 1, gateway = 'stub', left_at = queued_at, cost = 5000"
        )
    ).result()
    began = time.perf_counter()
    states = bench.dispatch.dispatcher.recover()
    took = time.perf_counter() - began
    assert states == {"unknown": OPEN_ROWS}
    bench.close()
    return took


def main() -> int:
    """Run, print, keep."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    runs: dict[str, Any] = {}
    with stub() as url:

        def folder() -> Any:
            return tempfile.TemporaryDirectory()

        good = True
        for klass in ("marketing", "notice"):
            rates = []
            for _ in range(RUNS):
                with folder() as place:
                    rates.append(asyncio.run(throughput(Path(place), url, klass)))
            runs[f"{klass}_per_s"] = rates
            good &= report(f"dispatch {klass}", statistics.median(rates), "messages/s", floor=500, aim=2_000)
        with folder() as place:
            p50, p99 = asyncio.run(latency(Path(place), url))
        runs["claim_to_accepted_ms"] = {"per_s": STEADY_PER_S, "p50": p50, "p99": p99}
        good &= report(f"dispatch-p99 at {STEADY_PER_S}/s", p99, "ms", floor=100, aim=50)
        with folder() as place:
            took = recovery(Path(place), url)
        runs["recovery_s"] = {"rows": OPEN_ROWS, "s": took}
        good &= report("dispatch-recovery of 100,000", took, "s", floor=5, aim=2)
    with folder() as place:
        rate, taken = asyncio.run(opt_outs(Path(place)))
    runs["opt_out"] = {"messages_per_s": rate, "s": taken}
    good &= report(f"dispatch-opt-out over HTTP, beside {rate:.0f} messages/s", max(taken), "s", floor=1, aim=0.2)
    keep("dispatch", json.loads(json.dumps(runs)))
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
