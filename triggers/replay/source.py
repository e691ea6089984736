"""A recorded log as bytes: plain or gzipped, a file, a pipe or standard input, in chunks of whole lines."""

from __future__ import annotations

import gzip
import os
import sys
import tempfile
import zlib
from pathlib import Path
from shutil import copyfileobj
from typing import IO, TYPE_CHECKING, Final

from triggers.errors import InputUnusable, OutputUnusable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STDIN: Final = "-"
CHUNK: Final = 64 * 1024
"""Bytes read at once."""
LONGEST_LINE: Final = 16 * 1024 * 1024
"""What is longer is cut here; it is far too large for an event anyway."""

FETCHERS: Final[dict[str, Callable[[str, IO[bytes]], None]]] = {}
"""Who writes to a file what a name stands for, by how the name begins; the command line knows them."""

_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"


class Source:
    """One log. ``name`` is for messages, ``size`` and ``position`` are bytes of the file, ``zipped`` tells gzip.

    Standard input, pipes and what has to be fetched are kept in a temporary file first, since a log may have to be read
    more than once.
    """

    __slots__ = ("_spooled", "name", "path", "position", "size", "zipped")

    def __init__(self, name: str) -> None:
        self._spooled: IO[bytes] | None = None
        self.name = "standard input" if name == STDIN else name
        self.path = Path(name)
        self.position = 0
        fetch = next((fetch for begin, fetch in FETCHERS.items() if name.startswith(begin)), None)
        try:
            if fetch is not None:
                self._keep(lambda file: fetch(name, file))
            elif name == STDIN:
                self._spool(sys.stdin.buffer)
            elif self.path.is_fifo():
                with self.path.open("rb") as pipe:
                    self._spool(pipe)
            if self.path.is_dir():
                raise InputUnusable(f"{name}: this is a folder; a log is a file of JSON lines")
            with self.path.open("rb") as file:
                self.zipped = file.read(len(_GZIP)) == _GZIP
            self.size = self.path.stat().st_size
        except OSError as error:
            raise InputUnusable(f"{name}: {os.strerror(error.errno or 0)}") from error

    def _spool(self, stream: IO[bytes]) -> None:
        """Copy what can be read only once."""
        self._keep(lambda file: copyfileobj(stream, file, CHUNK))

    def _keep(self, write: Callable[[IO[bytes]], None]) -> None:
        """Have the log written to a temporary file, which goes when it is closed."""
        try:
            self._spooled = tempfile.NamedTemporaryFile(prefix="triggers-")  # noqa: SIM115  it lives as long as its source
            try:
                write(self._spooled)
                self._spooled.flush()
            except BaseException:
                self._spooled.close()
                raise
        except OSError as error:
            words = os.strerror(error.errno or 0)
            raise OutputUnusable(f"{self.name} cannot be kept in {tempfile.gettempdir()}: {words}") from error
        self.path = Path(self._spooled.name)

    def chunks(self) -> Iterator[bytes]:
        """Give the log in chunks of whole lines; InputUnusable where it cannot be read (any more)."""
        self.position = 0
        try:
            with self.path.open("rb", buffering=0) as raw:
                if self.zipped:
                    with gzip.GzipFile(fileobj=raw) as stream:
                        yield from self._whole_lines(raw, stream)
                else:
                    yield from self._whole_lines(raw, raw)
        except EOFError as error:
            raise InputUnusable(f"{self.name}: the gzip file ends in the middle: it was cut off") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise InputUnusable(f"{self.name}: the gzip file is damaged: {error}") from error
        except OSError as error:
            raise InputUnusable(f"{self.name}: {os.strerror(error.errno or 0)}") from error
        self.position = self.size

    def _whole_lines(self, raw: IO[bytes], stream: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
        rest, first, skipping = b"", True, False
        while data := stream.read(CHUNK):
            self.position = raw.tell()
            if first:
                data, first = data.removeprefix(_BOM), False
            if skipping:
                start = data.find(b"\n") + 1
                if not start:
                    continue
                data, skipping = data[start:], False
            end = data.rfind(b"\n") + 1
            if end:
                yield rest + data[:end]
                rest = data[end:]
            else:
                rest += data
                if len(rest) > LONGEST_LINE:
                    yield rest[:LONGEST_LINE] + b"\n"
                    rest, skipping = b"", True
        if rest:
            yield rest
