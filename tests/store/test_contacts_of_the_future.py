from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from triggers.core.intake import decode
from triggers.store.contacts import Contacts, contact_of
from triggers.store.database import open_database
from triggers.store.event_log import Arrival, EventLog
from triggers.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1_788_000_000_000
YEAR = 365 * 86_400_000


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    open_database(tmp_path / "t.db")
    writer = Writer(tmp_path / "t.db")
    yield writer
    writer.close()


@pytest.mark.parametrize(
    ("wanted", "unwanted"),
    [
        ({"type": "customer.updated", "consent": True}, {"type": "customer.updated", "consent": False}),
        ({"type": "customer.subscribed"}, {"type": "customer.unsubscribed"}),
    ],
)
def test_who_opts_out_is_heeded_though_the_event_before_was_dated_a_year_ahead(
    writer: Writer, wanted: dict[str, Any], unwanted: dict[str, Any]
) -> None:
    now = [NOW]
    log = EventLog(writer, lambda: now[0], heed=Contacts(lambda phone: phone).heed)
    for number, (told, at) in enumerate([(wanted, NOW + YEAR), (unwanted, NOW + 1_000)]):
        now[0] += 1_000
        body = json.dumps({"id": f"e{number}", "customer": "c1", "at": at, **told}).encode()
        (entry,) = log.append([Arrival(body, decode(body, far_future_ok=True), "test")]).result(10)
        assert entry.result == "accepted"
        assert bool(entry.note) is (number == 0)
    contact = writer.submit(lambda connection: contact_of(connection, "c1")).result(10)
    assert contact.unsubscribed or contact.consent is False
