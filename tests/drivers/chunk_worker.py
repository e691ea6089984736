"""A worker for the tests of the transport: it notes in a file what it handles, gains and loses, as it happens.

Lines are ``at what partition first last values…``; ``at`` is the machine's clock in seconds, the same for all processes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from triggers.drivers.kafka.faust_app import make_app, on_chunks, run
from triggers.drivers.kafka.settings import KafkaSettings

if TYPE_CHECKING:
    from aiokafka import ConsumerRecord

SESSION_S = 3.0


class Note(NamedTuple):
    at: float
    what: str
    partition: int
    first: int = -1
    last: int = -1
    values: tuple[str, ...] = ()


class Worker:
    """A worker in a process of its own."""

    def __init__(self, folder: Path, name: str, bootstrap: str, group: str, topic: str, *options: str) -> None:
        self.path = folder / f"{name}.notes"
        self.path.touch()
        self._errors = folder / f"{name}.stderr"
        with self._errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, __file__, bootstrap, group, topic, str(self.path), *options], stderr=errors
            )

    def end(self) -> None:
        """Kill it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    def notes(self, *whats: str) -> list[Note]:
        text = self.path.read_text()
        found = []
        for line in text[: text.rfind("\n") + 1].splitlines():
            at, what, partition, first, last, *values = line.split(" ")
            if not whats or what in whats:
                found.append(Note(float(at), what, int(partition), int(first), int(last), tuple(values)))
        return found

    def handled(self) -> list[str]:
        return [value for note in self.notes("handled") for value in note.values]

    def owned(self) -> set[int]:
        owned = set()
        for note in self.notes("gained", "lost"):
            owned = owned | {note.partition} if note.what == "gained" else owned - {note.partition}
        return owned


async def main(bootstrap: str, group: str, topic: str, path: str, *options: str) -> None:
    given = dict(option.split("=") for option in options)
    file = os.open(path, os.O_WRONLY | os.O_APPEND)

    def note(what: str, partition: int, records: list[ConsumerRecord[bytes, bytes]] = ()) -> None:  # type: ignore[assignment]
        places = f"{records[0].offset} {records[-1].offset}" if records else "-1 -1"
        values = "".join(f" {(r.value or b'')[:20].decode()}" for r in records)
        os.write(file, f"{time.time():.3f} {what} {partition} {places}{values}\n".encode())

    async def handle(partition: int, records: list[ConsumerRecord[bytes, bytes]]) -> None:
        note("begun", partition, records)
        await asyncio.sleep(float(given.get("slow_s", 0)))
        if any(record.value == b"poison" for record in records) and not Path(path).with_suffix(".cured").exists():
            raise ValueError("poison")
        note("handled", partition, records)

    async def gained(partition: int) -> None:
        await asyncio.sleep(float(given.get("loading_s", 0)))
        note("gained", partition)

    async def lost(partition: int) -> None:
        note("lost", partition)

    settings = KafkaSettings(
        bootstrap=bootstrap,
        app=group,
        session_timeout_s=SESSION_S,
        heartbeat_s=0.3,
        max_chunk=int(given.get("max_chunk", "4096")),
    )
    app = make_app(settings)
    on_chunks(app, topic, handle, on_gained=gained, on_lost=lost)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    note("started", -1)
    try:
        await run(app, stop)
    finally:
        note("ended", -1)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
