"""What is done to a fleet in chaos: each deed once, in an order and at moments that chance gives."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from fleet_process import FleetProcess

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from random import Random

    from kafka_broker import Cluster
    from kafka_chaos_left import Left
    from kafka_chaos_rules import Size
    from kafka_chaos_shop import Flow
    from kafka_chaos_watch import Watch

    from triggers.drivers.kafka.dispatch_settings import DispatchSettings
    from triggers.drivers.kafka.settings import KafkaSettings

SESSION_S: Final = 6.0
BEFORE_S: Final = 4.0
"""So long all goes well before the first deed."""
BEYOND_S: Final = (2.0, 5.0)
"""How long beyond its session a worker is stopped."""
STOPS_WITHIN_S: Final = 30.0


class Deed(StrEnum):
    """What is done to the fleet, in any order."""

    KILL = "kill -9 a worker"
    STALL = "stop a worker beyond its session"
    BROKER = "restart the broker"
    JOIN = "add a worker"
    LEAVE = "remove a worker"
    DISPATCHER = "kill -9 the dispatcher"


class Outage(StrEnum):
    """How the broker ends."""

    KILLED = "kill -9"
    STOPPED = "stopped"


class Place:
    """A place for a process, which a supervisor keeps filled while it is ``wanted``. ``killed``: its end is ours."""

    def __init__(self, command: str, settings: KafkaSettings, log: Path) -> None:
        self.name = log.stem
        self.wanted = True
        self.killed = False
        self._given = (command, settings, log)
        self.fill()

    def fill(self) -> None:
        """Start a process."""
        self.process = FleetProcess(*self._given)

    @property
    def runs(self) -> bool:
        """Whether its process runs."""
        return self.process.status is None


@dataclass
class Chaos:
    """What was done, and when, for the checks and the figures. Times in epoch ms."""

    settings: KafkaSettings
    folder: Path
    size: Size
    flow: Flow
    watch: Watch
    began: int
    workers: list[Place] = field(default_factory=list)
    notes: list[tuple[int, str]] = field(default_factory=list)
    outages: list[tuple[int, int]] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)
    settled: bool = False
    dispatcher: Place = field(init=False)
    left: Left = field(init=False)

    @property
    def places(self) -> list[Place]:
        """All places, the dispatcher's last."""
        return [*self.workers, self.dispatcher]

    @property
    def ledger(self) -> Path:
        """What the gateway took."""
        return self.folder / "ledger.jsonl"

    @property
    def database(self) -> Path:
        """The dispatcher's."""
        return self.folder / "dispatcher.db"

    def hire(self) -> Place:
        """Start another worker."""
        name = f"worker-{len(self.workers) + 1}.log"
        self.workers.append(Place("worker", self.settings, self.folder / name))
        return self.workers[-1]

    def open_office(self, settings: DispatchSettings) -> None:
        """Start the dispatcher."""
        self.dispatcher = Place("dispatcher", settings, self.folder / "dispatcher.log")

    def close(self) -> None:
        """Kill what still runs."""
        for place in self.places:
            place.process.close()

    def note(self, what: str) -> None:
        """Write down that something is done now."""
        self.notes.append((now_ms(), what))


def now_ms() -> int:
    """Tell the time, epoch ms."""
    return time.time_ns() // 1_000_000


def some_order(chance: Random) -> list[Deed]:
    """Put the deeds in any order in which somebody is left to take over from a worker that stands still.

    Two begin; where one is removed before the third is added and the last one is stopped, nobody can be in time.
    """
    deeds = list(Deed)
    chance.shuffle(deeds)
    while deeds.index(Deed.LEAVE) < deeds.index(Deed.STALL) < deeds.index(Deed.JOIN):
        chance.shuffle(deeds)
    return deeds


async def do_all(chaos: Chaos, cluster: Cluster, chance: Random) -> None:
    """Do every deed, with time between them for the fleet to get over it, where the size leaves it."""
    deeds = some_order(chance)
    doing: dict[Deed, Callable[[], Awaitable[None]]] = {
        Deed.KILL: lambda: _kill(chaos, _some(chaos, chance), Deed.KILL),
        Deed.STALL: lambda: _stall(chaos, chance),
        Deed.BROKER: lambda: _restart(chaos, cluster, chance),
        Deed.JOIN: lambda: _join(chaos),
        Deed.LEAVE: lambda: _leave(chaos, chance),
        Deed.DISPATCHER: lambda: _kill(chaos, chaos.dispatcher, Deed.DISPATCHER),
    }
    size = chaos.size
    spare_s = max(0.0, size.events / size.rate - BEFORE_S - len(deeds) * size.gap_s)
    moments = [0.0, *sorted(chance.uniform(0, spare_s) for _ in deeds)]
    await asyncio.sleep(BEFORE_S)
    for number, deed in enumerate(deeds):
        await asyncio.sleep(moments[number + 1] - moments[number])
        await doing[deed]()
        await asyncio.sleep(size.gap_s)


def _some(chaos: Chaos, chance: Random) -> Place:
    return chance.choice([place for place in chaos.workers if place.wanted and place.runs])


async def _kill(chaos: Chaos, place: Place, deed: Deed) -> None:
    chaos.note(f"{deed}: {place.name}")
    place.killed = True
    place.process.signal(signal.SIGKILL)


async def _stall(chaos: Chaos, chance: Random) -> None:
    place, span_s = _some(chaos, chance), SESSION_S + chance.uniform(*BEYOND_S)
    chaos.note(f"{Deed.STALL}: {place.name} for {span_s:.1f} s")
    place.process.signal(signal.SIGSTOP)
    await asyncio.sleep(span_s)
    place.process.signal(signal.SIGCONT)
    chaos.note(f"{place.name} goes on")


async def _restart(chaos: Chaos, cluster: Cluster, chance: Random) -> None:
    how = chance.choice(list(Outage))
    chaos.note(f"{Deed.BROKER}: {how}")
    down = now_ms()
    broker = cluster.brokers[0]
    if how is Outage.KILLED:
        broker.kill()
    else:
        broker.signal(signal.SIGTERM)
        async with asyncio.timeout(STOPS_WITHIN_S):
            while broker.alive:  # noqa: ASYNC110  it tells nobody
                await asyncio.sleep(0.05)
    await cluster.restart(0)
    chaos.outages.append((down, now_ms()))
    chaos.note(f"the broker is back after {(now_ms() - down) / 1_000:.1f} s")


async def _join(chaos: Chaos) -> None:
    chaos.note(f"{Deed.JOIN}: {chaos.hire().name}")


async def _leave(chaos: Chaos, chance: Random) -> None:
    place, began_s = _some(chaos, chance), time.monotonic()
    chaos.note(f"{Deed.LEAVE}: {place.name}")
    place.wanted = False
    place.process.signal(signal.SIGTERM)
    status = await place.process.ended()
    chaos.ended[f"removed, with {status}"] += 1
    chaos.note(f"{place.name} ended with {status} after {time.monotonic() - began_s:.1f} s")
