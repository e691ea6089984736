"""Sorting more lines than fit into memory: sorted runs in temporary files, merged."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from heapq import merge
from typing import IO, TYPE_CHECKING, Final

from triggers.errors import OutputUnusable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST_HELD: Final = 32 * 1024 * 1024
"""How many bytes of lines are held in memory, and how many a run has at first."""
FAN_IN: Final = 64
"""How many runs are merged at once; more are merged in levels, so that few files are open."""

_OBJECT = 40  # bytes that a line takes in memory beside its own


class SortedLines:
    """Collects lines of bytes, each with its newline, and gives them back once, in the order of their bytes."""

    def __init__(self, most_held: int = MOST_HELD) -> None:
        self._most_held = most_held
        self._held: list[bytes] = []
        self._size = 0
        self._levels: list[list[IO[bytes]]] = []

    def add(self, line: bytes) -> None:
        """Take a line; OutputUnusable if there is no room for the temporary files."""
        self._held.append(line)
        self._size += len(line) + _OBJECT
        if self._size >= self._most_held:
            self._held.sort()
            self._put(0, self._held)
            self._held, self._size = [], 0

    def __iter__(self) -> Iterator[bytes]:
        """Give the lines in order."""
        self._held.sort()
        runs = [run for level in self._levels for run in level]
        return merge(*map(_read, runs), self._held) if runs else iter(self._held)

    def _put(self, level: int, lines: Iterable[bytes]) -> None:
        if level == len(self._levels):
            self._levels.append([])
        runs = self._levels[level]
        with room():
            file = tempfile.TemporaryFile(prefix="triggers-")  # noqa: SIM115  it lives as long as the sorting
            file.writelines(lines)
            file.seek(0)
        runs.append(file)
        if len(runs) == FAN_IN:
            self._levels[level] = []
            self._put(level + 1, merge(*map(_read, runs)))


def _read(run: IO[bytes]) -> Iterator[bytes]:
    with run:  # what has been read is let go
        yield from run


@contextmanager
def room() -> Iterator[None]:
    """Say so where there is no room for temporary files."""
    try:
        yield
    except OSError as error:
        words = os.strerror(error.errno or 0)
        raise OutputUnusable(f"{tempfile.gettempdir()}: {words}; TMPDIR names a folder with room") from error
