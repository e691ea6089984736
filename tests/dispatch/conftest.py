"""Dispatchers for the tests, closed at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from offices import Office

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Callable[..., Office]]:
    """Open dispatchers, each on a database of its own."""
    opened: list[Office] = []

    def begin(*gateways: Any, **more: Any) -> Office:
        opened.append(Office(tmp_path / f"{len(opened)}.db", *gateways, **more))
        return opened[-1]

    yield begin
    for each in opened:
        each.close()
