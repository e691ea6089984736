"""Sorting more than fits into memory: sorted runs in temporary files, merged."""

from __future__ import annotations

import os
import tempfile
from heapq import merge
from typing import IO, TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec

from triggers.errors import OutputUnusable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

RUN: Final = 50_000
"""How many things are held in memory, and how many a run has."""
FAN_IN: Final = 64
"""How many runs are merged at once; more are merged in levels, so that few files are open."""

_READ = 64 * 1024

Thing = TypeVar("Thing", bound=msgspec.Struct)


class Sorting(Generic[Thing]):
    """Collects things of a struct type and gives them back in the order of a key; equal ones stay as they came."""

    def __init__(self, kind: Any, key: Callable[[Thing], Any], *, run: int = RUN) -> None:
        self._key = key
        self._run = run
        self._held: list[Thing] = []
        self._levels: list[list[IO[bytes]]] = []  # runs by level, each level's older than the one's below it
        self._encoder = msgspec.json.Encoder()
        self._decoder: msgspec.json.Decoder[Thing] = msgspec.json.Decoder(kind)

    def add(self, things: Iterable[Thing]) -> None:
        """Take things in; OutputUnusable if there is no room for the temporary files."""
        self._held.extend(things)
        if len(self._held) >= self._run:
            self._held.sort(key=self._key)
            self._put(0, self._held)
            self._held = []

    def __iter__(self) -> Iterator[Thing]:
        """Give all things in order."""
        self._held.sort(key=self._key)
        runs = [run for level in reversed(self._levels) for run in level]
        if not runs:
            return iter(self._held)
        return merge(*map(self._read, runs), self._held, key=self._key)

    def _put(self, level: int, things: Iterable[Thing]) -> None:
        if level == len(self._levels):
            self._levels.append([])
        runs = self._levels[level]
        runs.append(self._write(things))
        if len(runs) == FAN_IN:
            self._levels[level] = []
            self._put(level + 1, merge(*map(self._read, runs), key=self._key))
            for run in runs:
                run.close()

    def _write(self, things: Iterable[Thing]) -> IO[bytes]:
        try:
            file = tempfile.TemporaryFile(prefix="triggers-")  # noqa: SIM115  it lives as long as the sorting
            for thing in things:
                file.write(self._encoder.encode(thing))
                file.write(b"\n")
            file.flush()
        except OSError as error:
            words = os.strerror(error.errno or 0)
            raise OutputUnusable(f"{tempfile.gettempdir()}: {words}; TMPDIR names a folder with room") from error
        return file

    def _read(self, file: IO[bytes]) -> Iterator[Thing]:
        """Read a run; every reader has its own place in the file."""
        place, rest = 0, b""
        while data := os.pread(file.fileno(), _READ, place):
            place += len(data)
            end = data.rfind(b"\n") + 1
            if end:
                yield from self._decoder.decode_lines(rest + data[:end])
                rest = data[end:]
            else:
                rest += data
