"""The benchmark's three rules written by hand, without an engine: what plain Python can do at best on this machine.

``python hard_coded.py LOG OUT``. A customer's timers are looked at when the customer is next seen. It knows no window, no
late event and no double, checks nothing, renders no text and names no command; it is a yardstick, not a peer.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import msgspec

DAY = 86_400_000
WAITS = {"welcome": 3 * DAY, "lapsed": 30 * DAY, "abandoned": DAY}


class Line(msgspec.Struct, gc=False):
    type: str
    customer: str
    at: int
    order_id: str | None = None


class Known:
    __slots__ = ("last", "lapsed", "orders", "welcome")

    def __init__(self) -> None:
        self.welcome = self.lapsed = 0
        self.last = -DAY
        self.orders: dict[str, int] = {}


def fire(customer: str, known: Known, now: int, out: list[str]) -> None:
    due: list[tuple[int, str, str | None]] = []
    for rule in ("welcome", "lapsed"):
        at = getattr(known, rule)
        if at and at < now:
            due.append((at, rule, None))
            setattr(known, rule, 0)
    for order in [order for order, at in known.orders.items() if at < now]:
        due.append((known.orders.pop(order), "abandoned", order))
    for at, rule, ref in sorted(due, key=lambda timer: (timer[0], timer[1], timer[2] or "")):
        if at - known.last >= DAY:
            known.last = at
            line = {"rule": rule, "customer": customer, "due": at, "ref": ref}
            out.append(json.dumps(line, separators=(",", ":")) + "\n")


def handle(event: Line, known: Known) -> None:
    if event.type == "customer.registered":
        known.welcome = event.at + WAITS["welcome"]
    elif event.order_id is not None and event.type == "order.created":
        known.orders[event.order_id] = event.at + WAITS["abandoned"]
    elif event.order_id is not None:
        known.orders.pop(event.order_id, None)
        if event.type == "order.paid":
            known.welcome, known.lapsed = 0, event.at + WAITS["lapsed"]


def main(log: str, out: str) -> None:
    gc.disable()
    customers: dict[str, Known] = {}
    sends: list[str] = []
    decode = msgspec.json.Decoder(Line).decode_lines
    end = 0
    with Path(log).open("rb") as file:
        while lines := file.readlines(1 << 20):
            for event in decode(b"".join(lines)):
                end = event.at
                if event.type == "favorite.added":
                    continue
                known = customers.get(event.customer)
                if known is None:
                    known = customers[event.customer] = Known()
                elif known.orders or known.welcome or known.lapsed:
                    fire(event.customer, known, end, sends)
                handle(event, known)
    for customer, known in customers.items():
        fire(customer, known, end, sends)
    Path(out).write_text("".join(sorted(sends)), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:3])
