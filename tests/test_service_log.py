from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from triggers.errors import ServiceUnusable
from triggers.log import AGAIN_S, mask_phone, printable, set_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    before = logging.root.handlers[:]
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = before


def begin(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    """Log as the service does; gives what reads the lines written."""
    set_up("json")
    return lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize(
    ("phone", "shown"),
    [
        ("+8613800001234", "+86138****1234"),
        ("13800001234", "****34"),
        ("12345", "****45"),
        ("", "no phone"),
        (None, "no phone"),
    ],
)
def test_a_phone_is_never_shown_in_full(phone: str | None, shown: str) -> None:
    assert mask_phone(phone) == shown


def test_what_could_forge_a_line_is_not_printed() -> None:
    assert printable("a\n{}\x1b[2J\u202eb") == "a\ufffd{}\ufffd[2J\ufffdb"


def test_names_texts_and_phones_are_taken_out_whoever_logs_them(capsys: pytest.CaptureFixture[str]) -> None:
    lines = begin(capsys)
    structlog.get_logger().info("told", name="Mei", text="Welcome", phone="+8613800001234", rule="r")
    (line,) = lines()
    assert (line["name"], line["text"], line["phone"], line["rule"]) == ("***", "***", "+86138****1234", "r")


def test_a_fault_is_told_by_its_kind_and_place_without_the_data_in_its_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = begin(capsys)
    try:
        {}["+8613800001234"]
    except KeyError:
        structlog.get_logger().exception("failed")
    (line,) = lines()
    assert line["error"] == "KeyError"
    assert line["at"][-1].startswith("test_service_log.py:")
    assert "1380000" not in json.dumps(line)


def test_the_words_of_our_own_faults_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    lines = begin(capsys)
    structlog.get_logger().error("failed", exc_info=ServiceUnusable("the disk is full"))
    assert lines()[0]["error"] == "the disk is full"


def test_the_lines_of_libraries_have_the_same_form_without_what_a_stranger_sent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = begin(capsys)
    try:
        int("Content-Length: +8613800001234")
    except ValueError:
        logging.getLogger("aiohttp.server").exception("Error handling request from 127.0.0.1\n+8613800001234")
    logging.getLogger("aiohttp.server").info("not worth a line")
    (line,) = lines()
    assert (line["event"], line["by"], line["level"]) == (
        "Error handling request from 127.0.0.1", "aiohttp.server", "error",
    )  # fmt: skip
    assert line["error"] == "ValueError"
    assert "1380000" not in json.dumps(line)


def test_what_a_library_says_again_and_again_is_told_once_in_a_while(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [100.0]
    monkeypatch.setattr("triggers.log.time.monotonic", lambda: seconds[0])
    lines = begin(capsys)
    library = logging.getLogger("a.library")  # not a real one, which a command may have hushed
    for node in range(50):
        library.warning("Unable to connect to node %s", node)
    library.error("Unable to connect to node %s", 1)
    library.warning("something else")
    seconds[0] += AGAIN_S
    library.warning("Unable to connect to node %s", 51)
    assert [(line["event"], line["level"], line.get("left_out")) for line in lines()] == [
        ("Unable to connect to node 0", "warning", None),
        ("Unable to connect to node 1", "error", None),
        ("something else", "warning", None),
        ("Unable to connect to node 51", "warning", 49),
    ]
