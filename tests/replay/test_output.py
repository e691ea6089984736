"""What a replay writes: instants, money and files, as exact as the slow way and as safe."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest

from triggers.core.decisions import Send
from triggers.core.times import iso
from triggers.errors import OutputUnusable
from triggers.replay.output import Lines, SendLine, instant, yuan

if TYPE_CHECKING:
    from pathlib import Path


def test_an_instant_is_written_as_the_core_writes_it() -> None:
    chance = random.Random(7)  # noqa: S311  a test's choice
    for at in [0, 86_399_999, 86_400_000, *(chance.randrange(4_000_000_000_000) for _ in range(20_000))]:
        assert instant(at) == iso(at)


@pytest.mark.parametrize(
    ("cost", "written"),
    [(0, "0.00"), (5_000, "0.05"), (4_500, "0.045"), (100_000, "1.00"), (123_456_789, "1234.56789"), (-5_000, "-0.05")],
)
def test_money_is_written_exactly_with_two_places_or_more(cost: int, written: str) -> None:
    assert yuan(cost) == written


def send(customer: str, text: str = "hello", identity: str | None = None) -> Send:
    return Send(
        id="0" * 64,
        rule="rule",
        customer=customer,
        identity=identity,
        anchor=0,
        due=1,
        at=2,
        withheld=False,
        shadow=False,
        variant=None,
        wave=None,
        coupon=None,
        text=text,
        segments=1,
        cost=5_000,
        revision="r",
        klass="marketing",
        expires=9,
    )


@pytest.mark.parametrize("name", ['"', "\\", "a\tb", "王小美", "\u2028", "x y", '","rule":"other', "é"])
def test_no_text_breaks_out_of_its_line(name: str) -> None:
    line = SendLine().of(send(name, name, name), "050")
    key, _, written = line.partition(b"\t")
    read = json.loads(written)
    assert (read["customer"], read["text"], read["identity"]) == (name, name, name)
    assert (line.count(b"\n"), key.startswith(b"1970-01-01T00:00:00.002Z050")) == (1, True)


def test_the_kept_ends_of_lines_never_mix_up_two_sends() -> None:
    lines = SendLine()
    for number in range(10_000):  # more than are kept
        read = json.loads(lines.of(send("c", f"text {number % 6_000}"), "050").partition(b"\t")[2])
        assert read["text"] == f"text {number % 6_000}"


def fill(line: bytes, times: int = 1, raised: type[Exception] | None = None) -> None:
    with Lines("/dev/full") as lines:
        for _ in range(times):
            lines.write(line)
        if raised is not None:
            raise raised


def test_a_full_disk_is_named_whether_it_shows_while_writing_or_at_the_end() -> None:
    for size, times in ((1, 1), (1_000, 3_000)):
        with pytest.raises(OutputUnusable, match="/dev/full cannot be written: No space left on device"):
            fill(b"x" * size, times)


def test_an_error_inside_is_not_hidden_by_one_at_the_end(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        fill(b"x\n", raised=ZeroDivisionError)
    with pytest.raises(OutputUnusable, match="Is a directory"):
        Lines(str(tmp_path))
