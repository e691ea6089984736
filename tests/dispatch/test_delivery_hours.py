from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from triggers.core.times import HOUR
from triggers.dispatch.hours import Span
from triggers.dispatch.settings import load_delivery
from triggers.errors import InputUnusable

if TYPE_CHECKING:
    from pathlib import Path

FILE = """\
delivery: v1
{line}
routes: {{default: [screen]}}
gateways:
  screen: {{type: console}}
"""


@pytest.mark.parametrize(
    ("line", "place", "message"),
    [
        ("country: ZZ", "2:10", "unknown country 'ZZ'; write two capital letters, such as CN"),
        ("hours: {US: {open: 09:00-12:00, zone: Nowhere/City}}", "2:13", "unknown time zone 'Nowhere/City'"),
        ("hours: {XX: {open: 09:00-12:00}}", "2:13", "unknown country 'XX'"),
        ("hours: {RU: {open: 09:00-10:00}}", "2:13", "these hours never hold in all"),
    ],
)
def test_hours_that_cannot_be_worked_out_are_told_when_the_file_is_read(
    tmp_path: Path, line: str, place: str, message: str
) -> None:
    path = tmp_path / "delivery.yaml"
    path.write_text(FILE.format(line=line))
    with pytest.raises(InputUnusable) as told:
        load_delivery(path)
    (only,) = str(told.value).splitlines()
    assert only.startswith(f"{path}:{place}: error: {message}")


def test_hours_are_taken_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "delivery.yaml"
    path.write_text(FILE.format(line="hours: {US: {open: 09:00-12:00, days: [mon, sat], zone: America/New_York}}"))
    span = Span(9 * HOUR, 12 * HOUR, frozenset({0, 5}), "America/New_York")
    assert load_delivery(path).hours == {"US": span}
