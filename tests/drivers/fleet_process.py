"""A process of a fleet on Kafka, such as a worker or the dispatcher."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from triggers.drivers.kafka.settings import KafkaSettings

ENDS_WITHIN_S = 30.0


class FleetProcess:
    """A process of a fleet, such as ``triggers worker``; what it says on stderr is in ``log``."""

    def __init__(self, command: str, settings: KafkaSettings, log: Path) -> None:
        self.log = log
        given = {name: value for name, value in settings.model_dump(mode="json").items() if value is not None}
        given["sources"] = ",".join(settings.sources)
        # It must not outlive tests that were killed.
        ends_with_us = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        with log.open("ab") as output:
            self._begin = output.tell()
            self._process = subprocess.Popen(
                [*ends_with_us, sys.executable, "-m", "triggers", command, "--log-format", "json"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | {f"TRIGGERS_KAFKA_{name.upper()}": str(value) for name, value in given.items()},
            )
        self.pid = self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.poll()

    @property
    def said(self) -> str:
        """All that it has written."""
        with self.log.open("rb") as file:
            file.seek(self._begin)
            return file.read().decode(errors="replace")

    @property
    def address(self) -> str | None:
        """Where it answers, once it listens."""
        found = re.search(r'"address": "(http://[^"]+)"', self.said)
        return found and found[1]

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.status is None:
            self._process.send_signal(number)

    async def ended(self, within_s: float = ENDS_WITHIN_S) -> int:
        """Wait for its end; gives the exit status."""
        end = time.monotonic() + within_s
        while (status := self.status) is None:
            assert time.monotonic() < end, f"it does not end:\n{self.said[-3_000:]}"
            await asyncio.sleep(0.02)
        return status

    def close(self) -> None:
        """Kill it if it still runs."""
        self.signal(signal.SIGKILL)
        self._process.wait()
