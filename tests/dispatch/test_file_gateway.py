from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import stat
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from triggers.dispatch.gateway import Accepted, Outgoing, Template, TryLater, Unknown
from triggers.dispatch.gateways.file import FileGateway, FileSettings

if TYPE_CHECKING:
    from pathlib import Path

MESSAGE = Outgoing(
    command="c1",
    attempt=2,
    phone="+8613800001234",
    text="【三只松鼠】您好\n“再来”😀",
    klass="marketing",
    valid_until=1_788_010_000_000,
    rule="welcome",
    at=1_788_000_000_000,
)
LATER = TryLater("cannot write the file", refused_connection=True)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


async def test_a_message_is_a_line_that_only_the_owner_may_read(tmp_path: Path) -> None:
    gateway = FileSettings(type="file", path=str(tmp_path / "sent.jsonl")).open("disk")
    assert (gateway.name, gateway.receipts) == ("disk", False)
    assert await gateway.send(MESSAGE) == Accepted(None)
    assert lines(tmp_path / "sent.jsonl") == [
        {
            "command": "c1",
            "attempt": 2,
            "at": "2026-08-29T10:40:00.000Z",
            "valid_until": "2026-08-29T13:26:40.000Z",
            "class": "marketing",
            "rule": "welcome",
            "phone": "+8613800001234",
            "text": "【三只松鼠】您好\n“再来”😀",
            "template": None,
            "params": None,
        }
    ]
    assert stat.S_IMODE((tmp_path / "sent.jsonl").stat().st_mode) == 0o600
    await gateway.close()


async def test_messages_at_once_are_lines_of_their_own(tmp_path: Path) -> None:
    gateway = FileGateway("disk", str(tmp_path / "f"))
    messages = [
        Outgoing(str(n), 1, "+1", "x" * 3_000, "notice", 1, template=Template("T", {"n": str(n)})) for n in range(40)
    ]
    answers = await asyncio.gather(*map(gateway.send, messages))
    assert set(answers) == {Accepted(None)}
    found = lines(tmp_path / "f")
    assert sorted(int(line["command"]) for line in found) == list(range(40))
    assert all(line["template"] == "T" and line["params"] == {"n": line["command"]} for line in found)


async def test_a_line_is_on_the_disk_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.pread(file, 10_000, 0)))
    await FileGateway("disk", str(tmp_path / "f")).send(MESSAGE)
    assert synced == [(tmp_path / "f").read_bytes()]


async def test_what_may_not_have_reached_the_disk_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_file: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    assert await FileGateway("disk", str(tmp_path / "f")).send(MESSAGE) == Unknown("not on the disk")


async def test_a_file_that_others_could_read_is_closed_to_them_before_a_message_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "f").touch(mode=0o644)
    await FileGateway("disk", str(tmp_path / "f")).send(MESSAGE)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o600


async def test_a_line_that_a_crash_cut_off_spoils_no_other(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b'{"command":"old"}\n{"comm')
    await FileGateway("disk", str(tmp_path / "f")).send(MESSAGE)
    first, torn, last = (tmp_path / "f").read_bytes().splitlines()
    assert (first, torn) == (b'{"command":"old"}', b'{"comm')
    assert json.loads(last)["command"] == "c1"


async def test_a_full_disk_leaves_no_half_line_and_the_message_goes_later(tmp_path: Path) -> None:
    path = tmp_path / "f"
    gateway = FileGateway("disk", str(path))
    assert await gateway.send(MESSAGE) == Accepted(None)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, limits[1]))
    try:
        assert await gateway.send(MESSAGE) == LATER
        assert path.read_bytes() == before
        os.truncate(path, len(before))
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before), limits[1]))
        assert await gateway.send(MESSAGE) == LATER
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert await gateway.send(MESSAGE) == Accepted(None)


async def test_what_cannot_be_opened_or_is_no_file_takes_no_message(tmp_path: Path) -> None:
    missing = FileGateway("disk", str(tmp_path / "no" / "folder"))
    assert await missing.send(MESSAGE) == TryLater("cannot open the file", refused_connection=True)
    os.mkfifo(tmp_path / "pipe")
    pipe = FileGateway("disk", str(tmp_path / "pipe"))
    assert await asyncio.wait_for(pipe.send(MESSAGE), 5) == TryLater("not a file", refused_connection=True)


async def test_half_a_surrogate_pair_is_replaced(tmp_path: Path) -> None:
    gateway = FileGateway("disk", str(tmp_path / "f"))
    await gateway.send(Outgoing("c", 1, "+1", "a\ud800b", "notice", 1, template=Template("T", {"n": "\udfff"})))
    (line,) = lines(tmp_path / "f")
    assert (line["text"], line["params"]) == ("a?b", {"n": "?"})


@pytest.mark.parametrize("path", ["", "a\0b", "x" * 1_001, 5, None])
def test_a_path_that_is_none_is_refused(path: object) -> None:
    with pytest.raises(ValidationError):
        FileSettings.model_validate({"type": "file", "path": path})
