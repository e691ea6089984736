"""The gateway that writes: each message as a line of JSON, on the disk before it counts as accepted."""

from __future__ import annotations

import asyncio
import os
import stat
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from pydantic import StringConstraints

from triggers.core.times import iso
from triggers.dispatch.gateway import Accepted, Answer, TryLater, Unknown
from triggers.dispatch.gateway_settings import GatewaySettings

if TYPE_CHECKING:
    from triggers.dispatch.gateway import Outgoing

OWNER_ONLY = 0o600
_FLAGS = (
    os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
)  # a pipe must not make us wait for its reader

FilePath = Annotated[str, StringConstraints(min_length=1, max_length=1_000, pattern=r"^[^\x00]+$")]


class FileSettings(GatewaySettings):
    """Messages go into the file at ``path``, which only its owner may read: phones and texts are in it."""

    type: Literal["file"]
    path: FilePath

    def open(self, name: str) -> FileGateway:
        """Make the gateway; the file is opened for each message, so that it may be moved away at any time."""
        return FileGateway(name, self.path)


class FileGateway:
    """Appends messages to a file, one after the other."""

    receipts = False

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self._path = path
        self._turn = asyncio.Lock()

    async def send(self, message: Outgoing) -> Answer:
        """Write one message. TryLater: there is nothing of it in the file."""
        line = msgspec.json.encode(_line(message)) + b"\n"
        async with self._turn:
            return await asyncio.to_thread(_append, self._path, line)

    async def close(self) -> None:
        """Keep nothing open."""


def _line(message: Outgoing) -> dict[str, object]:
    """Write a message down with what identifies it; times are RFC 3339 in UTC."""
    template = message.template
    return {
        "command": message.command,
        "attempt": message.attempt,
        "at": iso(message.at),
        "valid_until": iso(message.valid_until),
        "class": message.klass,
        "rule": message.rule,
        "phone": message.phone,
        "text": _whole(message.text),
        "template": template.code if template else None,
        "params": {name: _whole(value) for name, value in template.params.items()} if template else None,
    }


def _whole(text: str) -> str:
    """Replace what no encoding has: half of a surrogate pair."""
    return text.encode(errors="replace").decode()


def _append(path: str, line: bytes) -> Answer:
    try:
        file = os.open(path, _FLAGS, OWNER_ONLY)
    except OSError:
        return TryLater("cannot open the file", refused_connection=True)
    try:
        return _write(file, line)
    finally:
        os.close(file)


def _write(file: int, line: bytes) -> Answer:
    """Write a line so that it is there whole or not at all."""
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode):
        return TryLater("not a file", refused_connection=True)
    size = found.st_size
    try:
        if stat.S_IMODE(found.st_mode) != OWNER_ONLY:
            os.fchmod(file, OWNER_ONLY)
        torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"  # a line that a crash cut off
        whole = b"\n" + line if torn else line
        written = os.write(file, whole)
    except OSError:
        return _undo(file, size)
    if written < len(whole):
        return _undo(file, size)
    try:
        os.fsync(file)
    except OSError:
        return Unknown("not on the disk")
    return Accepted(None)


def _undo(file: int, size: int) -> Answer:
    """Take back the part of a line that was written before the disk was full."""
    try:
        os.ftruncate(file, size)
    except OSError:
        return Unknown("half a line is in the file")
    return TryLater("cannot write the file", refused_connection=True)
