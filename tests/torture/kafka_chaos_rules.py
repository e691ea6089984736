"""The rules of a fleet in chaos: of every kind, with waits of seconds, and limits that run out in the middle."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from triggers.core.times import MINUTE, SECOND, iso

if TYPE_CHECKING:
    from pathlib import Path

ASKING: Final = 0.04
"""The share of orders and favourites that rules with shared limits look at."""
DEAREST: Final = 1_000
_LONGEST_S: Final = 45
_SLOTS_MS: Final = (30 * SECOND, MINUTE)
"""When the slots open: the first full minute this long after the start, and so much later."""

_SHOP = """shop: v1
name: Chaos
timezone: UTC
signature: "[Chaos] "
opt_out: " Reply R to stop"
price_per_message: 0.05
look_ahead: {3}
caps:
  marketing: [2 / {20}]
  all: [6 / {60}]
"""
_RULE = """rule: v1
id: {id}
title: Chaos
owner: crm@yunque.example
status: live
class: {klass}
priority: {priority}
{body}
"""
_LEFT = """when: {{event: order.created, per: order_id, where: event.amount >= {dear}}}
wait: {10}
unless: [{{event: [order.paid, order.cancelled]}}]
send: {{expires: {20}, text: "You left something"}}
limits: {{per_day: {per_day}}}"""
_WISH = """when: {{event: favorite.added, per: product_id, again: restart, where: event.category == "B"}}
wait: {12}
audience: {{did: store.visited, within: 1h}}
send: {{expires: {20}, text: "Still there"}}
limits: {{total: {total}}}"""
_WELCOME = """when: {{event: customer.registered}}
wait: {5}
send: {{expires: {30}, text: "Welcome"}}"""
_PAID = """when: {{event: order.paid, per: order_id}}
wait: {2}
send: {{expires: {30}, text: "Thank you"}}"""
_VISIT = """when: {{event: store.visited, again: restart}}
wait: {15}
send: {{expires: {20}, text: "Come again"}}
limits: {{per_customer: 1 / {30}}}"""
_SLOT = """schedule: {{at: {first}, spread: 20s}}
audience: {{did: order.created, within: 1h}}
send: {{expires: 25s, text: "A minute for you"}}"""
_WAVES = """audience: {{did: store.visited, within: 1h}}
waves:
  responded: [order.paid]
  within: 1h
  min_size: 5
  list:
    - {{id: w1, at: {first}, take: {take}}}
    - {{id: w2, at: {second}}}
send: {{expires: 25s, text: "Wave"}}"""
_ALWAYS = {
    "left": ("marketing", 50, _LEFT),
    "wish": ("marketing", 60, _WISH),
    "welcome": ("notice", 50, _WELCOME),
    "paid": ("notice", 50, _PAID),
    "visit": ("member", 30, _VISIT),
}
_AT_A_MINUTE = {"slot": ("greeting", 40, _SLOT), "waves": ("marketing", 70, _WAVES)}


class Size(NamedTuple):
    """How much flows, in all and each second, of so many customers, and how fast all goes.

    ``gap_s`` is left after each deed. The waits are ``pace`` times as short as in a long run. ``slots``: there are rules
    for a minute of the day, too. ``bounded``: the fleet has got over a deed before the next, so no message may be late.
    """

    events: int
    rate: int
    customers: int
    gap_s: float
    pace: float = 1.0
    slots: bool = True
    bounded: bool = True

    @property
    def longest_wait_s(self) -> float:
        """After so long without an event nothing waits any more: the longest wait, and how late it may still be useful."""
        return _LONGEST_S / self.pace

    def seconds(self) -> list[str]:
        """Write 0 s to 60 s of a long run as the durations that they are in this one."""
        return [f"{max(1, round(number / self.pace))}s" for number in range(61)]


def write_rules(folder: Path, began: int, size: Size) -> Path:
    """Write the rules; ``began`` is now, epoch ms."""
    folder.mkdir()
    first = -(-(began + _SLOTS_MS[0]) // MINUTE) * MINUTE
    words = {
        "first": _minute(first),
        "second": _minute(first + _SLOTS_MS[1]),
        "take": size.customers // 10,
        "dear": int(DEAREST * (1 - ASKING)),
        "per_day": int(size.events * ASKING / 20),
        "total": int(size.events * ASKING / 40),
    }
    seconds = size.seconds()
    (folder / "_shop.yaml").write_text(_SHOP.format(*seconds))
    for name, (klass, priority, body) in (_ALWAYS | (_AT_A_MINUTE if size.slots else {})).items():
        text = _RULE.format(id=name, klass=klass, priority=priority, body=body.format(*seconds, **words))
        (folder / f"{name}.yaml").write_text(text)
    return folder


def _minute(at: int) -> str:
    return iso(at)[:16].replace("T", " ")


def write_delivery(path: Path, ledger: Path) -> Path:
    """Write the file of gateways: one, which writes each message into a ledger. JSON is YAML."""
    delivery = {
        "delivery": "v1",
        "country": "CN",
        "consent": "assumed",
        "hours": {"CN": {"open": "00:00-24:00"}},
        "routes": {"default": ["ledger"]},
        "gateways": {"ledger": {"type": "file", "path": str(ledger), "rate": 2_000}},
    }
    path.write_text(json.dumps(delivery))
    return path
