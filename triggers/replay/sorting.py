"""Sorting more lines than fit into memory: sorted runs in temporary files, merged."""

from __future__ import annotations

import os
import tempfile
from bisect import bisect_right
from contextlib import contextmanager
from itertools import chain
from typing import IO, TYPE_CHECKING, Final

from triggers.errors import OutputUnusable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST_HELD: Final = 8 * 1024 * 1024
"""How many bytes of lines are held in memory, and how many a run has at first."""
FAN_IN: Final = 64
"""How many runs are merged at once; more are merged in levels, so that few files are open."""

BLOCK: Final = 64 * 1024
"""How many bytes of a run are read at once."""

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
        runs = [_blocks(run) for level in self._levels for run in level]
        return chain.from_iterable(_merged([*runs, iter([self._held])])) if runs else iter(self._held)

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
            self._put(level + 1, chain.from_iterable(_merged([_blocks(run) for run in runs])))


def _blocks(run: IO[bytes]) -> Iterator[list[bytes]]:
    with run:  # what has been read is let go
        while block := run.readlines(BLOCK):
            yield block


def _merged(runs: list[Iterator[list[bytes]]]) -> Iterator[list[bytes]]:
    """Merge runs block by block: what is not after the first end of a block can be sorted and given at once."""
    blocks = [next(run, []) for run in runs]
    while ends := [block[-1] for block in blocks if block]:
        first_end = min(ends)
        ready: list[bytes] = []
        for i, block in enumerate(blocks):
            if block:
                cut = bisect_right(block, first_end)
                ready += block[:cut]
                blocks[i] = block[cut:] or next(runs[i], [])
        ready.sort()  # quick, since it is made of a few sorted stretches
        yield ready


@contextmanager
def room() -> Iterator[None]:
    """Say so where there is no room for temporary files."""
    try:
        yield
    except OSError as error:
        words = os.strerror(error.errno or 0)
        raise OutputUnusable(f"{tempfile.gettempdir()}: {words}; TMPDIR names a folder with room") from error
