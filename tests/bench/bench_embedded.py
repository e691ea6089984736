"""How many events a second the service takes over HTTP in batches of 500, decided and on the disk.

One line, ``NAME: FIGURE UNIT (floor F, aim A)``; the raw runs go to var/bench/embedded.json. The exit status is 1 below
the floor. The clock stops when the last event is decided, not when it is accepted.
"""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

ROOT = Path(__file__).parents[2]
FLOOR, AIM = 5_000, 20_000
EVENTS, CUSTOMERS, BATCH, SENDERS, RUNS = 60_000, 6_000, 500, 4, 3


def batches() -> list[bytes]:
    """Make events of a shop, one object a line, 500 lines a body."""
    now = int(time.time() * 1_000)
    kinds = ("store.visited", "favorite.added", "order.created", "order.paid", "favorite.added")
    lines = []
    for number in range(EVENTS):
        kind, customer = kinds[number % len(kinds)], f"c{number * 7919 % CUSTOMERS}"
        event = {"id": f"e{number}", "type": kind, "customer": customer, "at": now}
        if kind.startswith("order"):
            event |= {"order_id": f"o{number}", "amount": 99.5, "category": "A"}
        elif kind.startswith("favorite"):
            event |= {"product_id": f"p{number % 500}", "category": "B"}
        lines.append(json.dumps(event).encode())
    return [b"\n".join(lines[start : start + BATCH]) for start in range(0, EVENTS, BATCH)]


async def feed(address: str, bodies: list[bytes]) -> float:
    """Send everything, wait until it is decided, and tell the events a second."""
    waiting = list(reversed(bodies))
    async with aiohttp.ClientSession() as session:

        async def send() -> None:
            while waiting:
                async with session.post(f"{address}/v1/events", data=waiting.pop()) as answer:
                    counts = await answer.json()
                    if counts["accepted"] != BATCH:
                        raise SystemExit(f"not accepted: {counts}")

        began = time.perf_counter()
        await asyncio.gather(*(send() for _ in range(SENDERS)))
        position = 0
        while position < EVENTS:
            async with session.get(f"{address}/healthz") as answer:
                position = (await answer.json())["position"]
            await asyncio.sleep(0.01)
        return EVENTS / (time.perf_counter() - began)


def run_once(bodies: list[bytes]) -> float:
    """Start a service on a new database, feed it, stop it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "triggers", "run", "--rules", str(ROOT / "rules"), "--log-format", "json"]
        service = subprocess.Popen(
            [*command, "--port", "0", "--db", f"{folder}/t.db"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            found = next(m for line in service.stderr or () if (m := re.search(r'"address": "(http://[^"]+)"', line)))
            return asyncio.run(feed(found[1], bodies))
        finally:
            service.terminate()
            service.wait()
            if service.stderr:
                service.stderr.close()


def main() -> int:
    """Run, print, keep."""
    bodies = batches()
    runs = [run_once(bodies) for _ in range(RUNS)]
    figure = statistics.median(runs)
    kept = ROOT / "var" / "bench" / "embedded.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps({"events": EVENTS, "customers": CUSTOMERS, "batch": BATCH, "events_per_s": runs}) + "\n")
    print(f"embedded-http: {figure:,.0f} events/s (floor {FLOOR:,}, aim {AIM:,})")  # noqa: T201  its output
    return int(figure < FLOOR)


if __name__ == "__main__":
    sys.exit(main())
