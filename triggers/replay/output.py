"""What a replay writes: one JSON line a send, one an end of a wait, one a rejected line."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self

import msgspec

from triggers.core.times import DAY, MINUTE, SECOND, iso
from triggers.errors import OutputUnusable
from triggers.replay.sorting import SortedLines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from triggers.core.decisions import Ended, Send
    from triggers.core.rulebook import Rulebook
    from triggers.replay.log import Rejected

STDOUT: Final = "-"
BUFFER: Final = 1024 * 1024
"""Bytes kept before they are written."""
MILLI_FEN: Final = 100_000
"""1/1000 fen in a yuan."""

LOWEST_RANK: Final = 100
"""The rank of priority 0; what has priority 100 comes first."""

_REMEMBERED = 4_096  # days and message ends that are kept written out
_encode = msgspec.json.encode


class Lines:
    """A file of lines, or standard output. OutputUnusable names it when it cannot be written."""

    def __init__(self, name: str) -> None:
        self.name = "standard output" if name == STDOUT else name
        self._file: IO[bytes]
        try:
            self._file = sys.stdout.buffer if name == STDOUT else Path(name).open("wb", BUFFER)  # noqa: SIM115  closed below
        except OSError as error:
            raise self._unusable(error) from error

    def write(self, line: bytes) -> None:
        """Write a line, which ends with its newline."""
        try:
            self._file.write(line)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> Exception:
        if error.errno == errno.EPIPE:
            return error  # whoever read it has had enough
        return OutputUnusable(f"{self.name} cannot be written: {os.strerror(error.errno or 0)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.name == "standard output":
                self._file.flush()
            else:
                self._file.close()
        except OSError as failed:
            with suppress(OSError):  # closing once more only lets go of the file: its buffer failed just now
                self._file.close()
            if error is None:
                raise self._unusable(failed) from failed


def refuse_to_overwrite(names: Sequence[str | None], logs: Sequence[str]) -> None:
    """Raise OutputUnusable where an output is one of the logs, or two outputs are one file."""
    given = [Path(name) for name in names if name is not None and name != STDOUT]
    for i, path in enumerate(given):
        if any(path.resolve() == Path(log).resolve() for log in logs):
            raise OutputUnusable(f"{path} is a log to read; write to another file")
        if path.resolve() in [other.resolve() for other in given[:i]] and not path.is_char_device():
            raise OutputUnusable(f"{path} is given for two outputs")


class Outputs:
    """The files that a replay writes, those that are wanted: sends, ends of waits, rejected lines.

    Sends and ends come customer by customer and are written in the order of S23, once all are there.
    """

    def __init__(self, book: Rulebook, sends: str | None, ends: str | None, rejected: str | None) -> None:
        self._ranks = {rule.id: f"{LOWEST_RANK - rule.priority:03d}" for rule in book.rules.values()}
        self._stack = ExitStack()
        with self._stack:
            self._sends, self._ends, self._rejected = (self._open(name) for name in (sends, ends, rejected))
            self._stack = self._stack.pop_all()
        self.wants_ends = self._ends is not None
        self.wants_ends = ends is not None
        self._sorted_sends, self._sorted_ends = SortedLines(), SortedLines()
        self._send_line = SendLine()

    def _open(self, name: str | None) -> Lines | None:
        return None if name is None else self._stack.enter_context(Lines(name))

    def send(self, send: Send) -> None:
        """Write a send, a withheld one too; one of a rule on trial is left out, since it never leaves."""
        if self._sends is not None and not send.shadow:
            self._sorted_sends.add(self._send_line.of(send, self._ranks[send.rule]))

    def end(self, ended: Ended) -> None:
        """Write an end of a wait."""
        if self._ends is not None:
            self._sorted_ends.add(ended_line(ended, self._ranks.get(ended.wait.rule, "000")))

    def reject(self, rejected: Rejected) -> None:
        """Write a line that is no event."""
        if self._rejected is not None:
            self._rejected.write(rejected_line(rejected))

    def finish(self) -> None:
        """Write what was sorted."""
        for file, lines in ((self._sends, self._sorted_sends), (self._ends, self._sorted_ends)):
            if file is not None:
                for line in lines:
                    file.write(line.partition(b"\t")[2])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


class SendLine:
    """Writes sends as lines; the end of a line is the same for many sends and is kept."""

    def __init__(self) -> None:
        self._ends: dict[tuple[object, ...], str] = {}

    def of(self, send: Send, rank: str) -> bytes:
        """Write one send, behind the key that orders it: up to the first tab, bytes compare as S23 wants.

        Instants of one length compare as the times they mean, and so do ranks.
        """
        values = (send.text, send.withheld, send.variant, send.coupon, send.segments, send.cost, send.revision)
        end = self._ends.get(values)
        if end is None:
            end = self._end(send, values)
        customer, identity, rule = _text(send.customer), _text(send.identity), send.rule
        at = instant(send.at)
        due = at if send.due == send.at else instant(send.due)
        return (
            f"{at}{rank}{due}{rule} {customer} {identity}\t"
            f'{{"id":"{send.id}","rule":"{rule}","customer":{customer},"identity":{identity},'
            f'"anchor":"{instant(send.anchor)}","due":"{due}","at":"{at}",{end}'
        ).encode()

    def _end(self, send: Send, values: tuple[object, ...]) -> str:
        if len(self._ends) >= _REMEMBERED:
            self._ends.clear()
        end = self._ends[values] = (
            f'"withheld":{_text(send.withheld)},"variant":{_text(send.variant)},"coupon":{_text(send.coupon)},'
            f'"text":{_text(send.text)},"segments":{send.segments},"cost":"{yuan(send.cost)}",'
            f'"revision":{_text(send.revision)}}}\n'
        )
        return end


def ended_line(ended: Ended, rank: str) -> bytes:
    """Write an end of a wait, behind the key that orders it, as ``SendLine`` does."""
    wait = ended.wait
    customer, identity, at, due = _text(ended.customer), _text(wait.identity), instant(ended.at), instant(wait.due)
    return (
        f"{at}{rank}{due}{wait.rule} {customer} {identity}\t"
        f'{{"rule":"{wait.rule}","customer":{customer},"identity":{identity},"slot":{_text(wait.slot)},'
        f'"anchor":"{instant(wait.anchor)}","due":"{due}","at":"{at}",'
        f'"reason":"{ended.reason.value}","detail":{_text(ended.detail or None)}}}\n'
    ).encode()


def rejected_line(rejected: Rejected) -> bytes:
    """Write a line that was no event, with the reason, and as it was received."""
    return _encode(rejected) + b"\n"


def yuan(cost: int) -> str:
    """Write 1/1000 fen as a decimal of yuan with two places or more: "0.05", "0.045", "-1.00"."""
    whole, rest = divmod(abs(cost), MILLI_FEN)
    places = f"{rest:05d}".rstrip("0")
    return f"{'-' if cost < 0 else ''}{whole}.{places:0<2}"


def _text(value: str | bool | None) -> str:  # noqa: FBT001  any plain value of a line
    if value.__class__ is str and value.isalnum():
        return f'"{value}"'  # most are, and nothing in them is to be escaped
    return _encode(value).decode()


_days: dict[int, str] = {}
_minutes = [f"{minute // 60:02d}:{minute % 60:02d}:" for minute in range(DAY // MINUTE)]
_seconds = [f"{second:02d}." for second in range(MINUTE // SECOND)]
_milliseconds = [f"{ms:03d}Z" for ms in range(SECOND)]


def instant(at: int) -> str:
    """Write an instant as ``iso`` does, several times faster where days repeat."""
    day, rest = divmod(at, DAY)
    date = _days.get(day)
    if date is None:
        if len(_days) >= _REMEMBERED:
            _days.clear()
        date = _days[day] = iso(at)[:11]
    minute, rest = divmod(rest, MINUTE)
    second, ms = divmod(rest, SECOND)
    return f"{date}{_minutes[minute]}{_seconds[second]}{_milliseconds[ms]}"
