"""An event that comes after its message was decided on takes it back as long as it has not left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from triggers.core.intake import decode
from triggers.core.rulebook import Rulebook
from triggers.core.times import HOUR, MINUTE
from triggers.drivers.embedded.driver import Driver, Outcome
from triggers.drivers.embedded.shelf import Limit
from triggers.language.folder import build_rule, build_shop
from triggers.store.event_log import Arrival, EventLog
from triggers.store.outbox import claim
from triggers.store.progress import load_progress
from triggers.store.states import Go

if TYPE_CHECKING:
    from triggers.store.database import Connection
    from triggers.store.writer import Writer

START = 1_790_769_600_000  # 2026-09-30 20:00 in Shanghai
RULE = {
    "rule": "v1", "id": "unpaid", "title": "x", "status": "live", "class": "notice",
    "when": {"event": "order.created", "per": "order_id"}, "wait": "5h", "unless": [{"event": "order.paid"}],
    "send": {"text": "hello"},
}  # fmt: skip


class Wall:
    """A clock that is set by hand; ``virtual`` as the test wants it."""

    def __init__(self, *, virtual: bool) -> None:
        self.at = START
        self.virtual = virtual

    def now(self) -> int:
        return self.at

    def seconds_until(self, at: int) -> float:
        return max(0, at - self.at) / 1_000


class Shop:
    """An engine on a database, and what it told."""

    def __init__(self, writer: Writer, reader: Connection, *, virtual: bool) -> None:
        self.clock = Wall(virtual=virtual)
        self.outcomes: list[Outcome] = []
        self._reader, self._writer = reader, writer
        self._log = EventLog(writer, self.clock.now)
        shop = build_shop({"shop": "v1", "name": "Test", "timezone": "Asia/Shanghai"})
        self._driver = Driver(
            Rulebook([build_rule(RULE, shop)], shop, keep_all=True, recalls=not virtual),
            reader,
            writer,
            self._log,
            load_progress(reader),
            clock=self.clock,  # type: ignore[arg-type]
            now=self.clock.now,
            told=self.outcomes.append,
            in_memory=Limit(1_000, 10**8),
        )

    def event(self, kind: str, order: str, **fields: Any) -> None:
        body = msgspec.json.encode(
            {"id": f"{kind}-{order}", "type": kind, "customer": "c1", "order_id": order, "amount": 9} | fields
        )
        self._log.append([Arrival(body, decode(body), "test")]).result(10)

    def decide(self) -> None:
        while self._driver.turn():
            pass

    def leave(self) -> None:
        """Let everything that is queued begin to leave."""
        now = self.clock.at
        self._writer.submit(
            lambda connection: claim(connection, "notice", 9, now, lambda _: Go("main", "+8613800001234", 1, now))
        ).result(10)

    def outbox(self) -> list[tuple[Any, ...]]:
        return self._reader.execute(
            "SELECT body ->> 'identity', state, reason, moved_at FROM outbox ORDER BY seq"
        ).fetchall()


def decided(writer: Writer, reader: Connection, *, virtual: bool = False) -> Shop:
    """Two orders were not paid within five hours, as far as was known then."""
    shop = Shop(writer, reader, virtual=virtual)
    for order in ("o1", "o2"):
        shop.event("order.created", order, at=START)
    shop.decide()
    shop.clock.at += 5 * HOUR + MINUTE
    shop.decide()
    assert [row[:2] for row in shop.outbox()] == [("o1", "queued"), ("o2", "queued")]
    return shop


def test_a_late_event_cancels_the_message_of_its_wait_in_the_transaction_that_decides_on_it(
    writer: Writer, reader: Connection
) -> None:
    shop = decided(writer, reader)
    shop.clock.at += MINUTE
    shop.event("order.paid", "o2", at=START + HOUR)
    shop.decide()
    assert shop.outbox() == [
        ("o1", "queued", "", START + 5 * HOUR + MINUTE),
        ("o2", "cancelled", "by order.paid", shop.clock.at),
    ]
    assert [outcome.cancelled for outcome in shop.outcomes if outcome.cancelled] == [1]
    history = "SELECT old, new, reason, at FROM transitions"
    assert reader.execute(history).fetchall() == [("queued", "cancelled", "by order.paid", shop.clock.at)]


def test_an_event_that_happens_while_the_message_waits_to_leave_recalls_it(writer: Writer, reader: Connection) -> None:
    shop = decided(writer, reader)
    shop.clock.at += MINUTE
    shop.event("order.paid", "o1", at=shop.clock.at)
    shop.decide()
    assert [row[:3] for row in shop.outbox()] == [("o1", "cancelled", "by order.paid"), ("o2", "queued", "")]
    late = "SELECT count(*) FROM decisions WHERE kind = 'late cancel'"
    assert reader.execute(late).fetchone() == (0,)  # nobody need be told: it was in time


def test_what_leaves_already_is_not_taken_back(writer: Writer, reader: Connection) -> None:
    shop = decided(writer, reader)
    shop.leave()
    shop.event("order.paid", "o2", at=START + HOUR)
    shop.decide()
    assert [row[1] for row in shop.outbox()] == ["sending", "sending"]
    assert not any(outcome.cancelled for outcome in shop.outcomes)


def test_in_virtual_time_a_message_has_left_by_the_time_of_any_later_event(writer: Writer, reader: Connection) -> None:
    shop = decided(writer, reader, virtual=True)
    shop.event("order.paid", "o2", at=START + HOUR)
    shop.decide()
    assert [row[1] for row in shop.outbox()] == ["queued", "queued"]


@pytest.mark.parametrize("kind", ["order.paid", "order.refunded"])
def test_only_what_the_rule_names_cancels(writer: Writer, reader: Connection, kind: str) -> None:
    shop = decided(writer, reader)
    shop.event(kind, "o1", at=START + HOUR)
    shop.decide()
    assert [row[1] for row in shop.outbox()] == ["cancelled" if kind == "order.paid" else "queued", "queued"]


def test_the_money_of_a_message_counts_in_the_shops_month(writer: Writer, reader: Connection) -> None:
    decided(writer, reader)  # 2026-10-01 01:00 in Shanghai, September still in London
    assert reader.execute("SELECT DISTINCT month FROM outbox").fetchall() == [("2026-10",)]
