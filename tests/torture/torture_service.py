"""Starts the service again and again, each life a process of its own: what takes long, the imports, is done once.

Reads one life a line from standard input and answers with two lines: the process it began, and how that ended.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import NoReturn

from triggers import clock

OFFSET_MS = [0]
UPKEEP_S = 0.3


def wall_ms() -> int:
    """Read the clock of this shop's world."""
    return time.time_ns() // 1_000_000 + OFFSET_MS[0]


clock.wall_ms = wall_ms  # before anybody imports it by name

import asyncio  # noqa: E402

import msgspec  # noqa: E402
from rich.console import Console  # noqa: E402
from torture_family import die_with_parent  # noqa: E402
from torture_points import MUTANTS, Killer, install, shorten  # noqa: E402

import triggers.dispatch.gateways.http  # noqa: E402, F401  imported once for all lives
from triggers.dispatch.phones import read_phone  # noqa: E402
from triggers.drivers.embedded.service import Service  # noqa: E402
from triggers.log import set_up  # noqa: E402
from triggers.settings import Settings  # noqa: E402


class Life(msgspec.Struct):
    """One life of the service: where everything is, and where it dies, if it does not come to its end."""

    rules: str
    db: str
    delivery: str
    log: str
    hits: str
    port: int
    offset_ms: int
    point: str | None = None
    passes: int = 1
    mutant: str | None = None


def live(life: Life) -> NoReturn:
    """Be the service, until killed or told to stop."""
    die_with_parent()
    log = os.open(life.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    OFFSET_MS[0] = life.offset_ms
    shorten()
    if life.mutant is not None:
        MUTANTS[life.mutant]()
    install(Killer(life.point, life.passes, os.open(life.hits, os.O_WRONLY | os.O_CREAT | os.O_APPEND)))
    set_up("json")
    settings = Settings(
        rules=Path(life.rules),
        db=Path(life.db),
        delivery=Path(life.delivery),
        port=life.port,
        settle_s=0,
        upkeep_s=UPKEEP_S,
    )
    with Path(os.devnull).open("w") as screen:
        asyncio.run(Service(settings, Console(file=screen)).serve())
    os._exit(0)


def main() -> None:
    """Fork a life for each line."""
    die_with_parent()
    read_phone("+8613800000000", "CN")  # its tables are read once
    for line in sys.stdin:
        life = msgspec.json.decode(line, type=Life)
        pid = os.fork()
        if pid == 0:
            try:
                live(life)
            except BaseException as error:  # noqa: BLE001  a fork must never return to the loop above
                os.write(2, f"{type(error).__name__}: {error}\n".encode())
                os._exit(1)
        print(json.dumps({"pid": pid}), flush=True)  # noqa: T201
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status)}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
