"""Follows an input file: its lines enter the log as they are written, or in virtual time as their moments come."""

from __future__ import annotations

import gzip
import os
import threading
import zlib
from collections import deque
from contextlib import closing
from typing import IO, TYPE_CHECKING, NamedTuple

import structlog

from triggers.clock import FastClock
from triggers.core.events import Event
from triggers.core.intake import MAX_EVENT_BYTES, Malformed, decode, decode_many
from triggers.errors import InputUnusable
from triggers.store.event_log import Arrival, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from triggers.clock import Clock
    from triggers.store.event_log import Entry, EventLog

LINES_AT_ONCE = 500
POLL_S = 0.1
TICK_S = 0.02
LONGEST_LINE = 8 * MAX_EVENT_BYTES
"""A line is kept up to this and the rest of it left out; what is longer is no event anyhow."""

GZIP = b"\x1f\x8b"
"""How a gzipped file begins, whatever its name."""
HEAD = 1_024
"""So many bytes at its start tell one file from another."""

_log = structlog.get_logger("feed")


class Line(NamedTuple):
    """A line of the file, what it means, and the place behind it."""

    body: bytes
    meaning: Event | Malformed
    end: int


class Tape:
    """Reads whole lines of a file from a place on, also as it grows; a gzipped file to its end.

    ``head`` is how the file began where it was read before; one that begins otherwise is read from its start.
    """

    def __init__(self, path: Path, offset: int = 0, head: bytes = b"") -> None:
        self.path = path
        self.offset = offset
        self.head = head
        self._skipping = False
        self._file, self.grows = _open(path)
        try:
            self._find_place()
        except InputUnusable:
            self._file.close()
            raise

    def read(self, *, to_the_end: bool) -> list[tuple[bytes, int]]:
        """Read the next lines, each with the place behind it.

        A last line without an end is still being written, unless it is a whole event, or ``to_the_end``.
        """
        lines: list[tuple[bytes, int]] = []
        for line in self._lines():
            ends = line.endswith(b"\n")
            if not (ends or self._skipping or to_the_end or _is_whole(line)) and self.grows:
                self._file.seek(self.offset)
                break
            if self.offset < HEAD:
                self.head = (self.head + line)[:HEAD]
            self.offset += len(line)
            if not self._skipping and (body := line.strip()):
                lines.append((body, self.offset))
            self._skipping = not ends and (self._skipping or len(line) >= LONGEST_LINE)
            if len(lines) >= LINES_AT_ONCE:
                break
        return lines

    def begun_anew(self) -> bool:
        """Tell whether the file was cut or replaced, and if so go to its start, or on where the new one is longer."""
        if not self.grows:
            return False
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return False  # it is being replaced
        known = os.fstat(self._file.fileno())
        same = (found.st_dev, found.st_ino) == (known.st_dev, known.st_ino)
        if same and known.st_size >= self.offset and os.pread(self._file.fileno(), HEAD, 0).startswith(self.head):
            return False
        before = self.offset
        self._file.close()
        self._file, self.grows = _open(self.path)
        self._find_place()
        return self.offset < before

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _find_place(self) -> None:
        try:
            first = self._file.read(HEAD)
            self._file.seek(0, os.SEEK_END if self.grows else os.SEEK_SET)
            if not first.startswith(self.head) or (self.grows and self._file.tell() < self.offset):
                self.offset = 0
            self.head = first[: self.offset]
            self._file.seek(max(self.offset - 1, 0))
            self._skipping = self.offset > 0 and self._file.read(1) != b"\n"  # inside a line whose start is known
        except (OSError, EOFError, zlib.error) as error:
            raise InputUnusable(f"{self.path} cannot be read: {error}") from error

    def _lines(self) -> Iterator[bytes]:
        try:
            while line := self._file.readline(LONGEST_LINE):
                yield line
        except (OSError, EOFError, zlib.error) as error:
            raise InputUnusable(f"{self.path} cannot be read on after byte {self.offset}: {error}") from error


def _is_whole(line: bytes) -> bool:
    return len(line) >= LONGEST_LINE or isinstance(decode(line.strip(), far_future_ok=True), Event)


def _open(path: Path) -> tuple[IO[bytes], bool]:
    """Open an input file and tell whether it may grow: a gzipped one does not. Raises InputUnusable."""
    try:
        with path.open("rb") as file:
            zipped = file.read(len(GZIP)) == GZIP
        return (gzip.open(path), False) if zipped else (path.open("rb"), True)  # type: ignore[return-value]
    except OSError as error:
        raise InputUnusable(f"the input {path} cannot be read: {error.strerror}") from error


def first_moment(path: Path) -> int:
    """Find when the first event of a log was received, in epoch ms. Raises InputUnusable if it has none."""
    with closing(Tape(path)) as tape:
        while lines := tape.read(to_the_end=True):
            for body, _ in lines:
                event = decode(body)
                if isinstance(event, Event):
                    return moment_of(event, 0)
    raise InputUnusable(f"{path} holds no event yet; --speed starts its clock at the first one")


def moment_of(event: Event | Malformed, before: int) -> int:
    """Tell when a recorded event entered its log: received_at, or at; what is no event came with the one before."""
    if isinstance(event, Malformed):
        return before
    moment = event.at if event.received_at is None else event.received_at
    assert isinstance(moment, int), "intake turns times into integers"  # noqa: S101  a broken invariant
    return max(before, moment)


class Feed:
    """Brings a file into the log, on a thread of its own. ``arrived`` is told what became of each batch."""

    def __init__(
        self,
        path: Path,
        place: Place,
        log: EventLog,
        *,
        clock: Clock,
        ends: bool,
        arrived: Callable[[list[Entry]], None],
        stopping: threading.Event,
    ) -> None:
        self._key = place.path
        self._name = path.name
        self._tape = Tape(path, place.offset, place.head)
        self._log, self._clock, self._ends = log, clock, ends
        self._arrived, self._stopping = arrived, stopping
        self.done = threading.Event()

    def run(self) -> None:
        """Bring lines in until told to stop, or until the end of a file that does not grow or is not to be followed."""
        try:
            if isinstance(self._clock, FastClock):
                self._replay(self._clock)
            else:
                self._follow()
        finally:
            self._tape.close()

    def _follow(self) -> None:
        while not self._stopping.is_set():
            lines = self._read()
            if lines:
                self._enter(lines, None)
            elif self._at_end():
                return

    def _replay(self, clock: FastClock) -> None:
        """Let each line in when the clock comes to its recorded moment; the clock never passes the next one."""
        waiting: deque[tuple[Line, int]] = deque()
        last = clock.now()
        while not self._stopping.is_set():
            if not waiting:
                for line in self._read():
                    last = moment_of(line.meaning, last)
                    waiting.append((line, last))
            if waiting:
                clock.hold(waiting[0][1])
                self._enter_due(waiting, clock)
                continue
            if self._ends or not clock.free_runs:
                clock.hold(last)
            else:
                clock.let_go()
            self._arrived([])
            if self._at_end():
                return

    def _enter_due(self, waiting: deque[tuple[Line, int]], clock: FastClock) -> None:
        now = clock.free()
        due: list[tuple[Line, int]] = []
        while waiting and waiting[0][1] <= now:
            due.append(waiting.popleft())
        if due:
            self._enter([line for line, _ in due], [moment for _, moment in due])
        else:
            self._stopping.wait(TICK_S)

    def _read(self) -> list[Line]:
        found = self._tape.read(to_the_end=self._ends)
        meanings = decode_many([body for body, _ in found], far_future_ok=not self._clock.virtual)
        return [Line(body, meaning, end) for (body, end), meaning in zip(found, meanings, strict=True)]

    def _enter(self, lines: Sequence[Line], moments: Sequence[int] | None) -> None:
        arrivals = [Arrival(line.body, line.meaning, f"{self._name} before byte {line.end}") for line in lines]
        place = Place(self._key, lines[-1].end, self._tape.head[: lines[-1].end])
        self._arrived(self._log.append(arrivals, stamps=moments, read_to=place).result())

    def _at_end(self) -> bool:
        """Tell whether nothing more is to come; else wait for the file to grow."""
        if self._ends or not self._tape.grows:
            self.done.set()
            self._arrived([])
            return True
        if self._tape.begun_anew():
            _log.warning("the input was cut or replaced; reading it from its start", input=self._name)
        self._stopping.wait(POLL_S)
        return False
