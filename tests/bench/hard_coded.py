"""The benchmark's three rules written by hand, without an engine: what plain Python can do at best on this machine.

``python hard_coded.py LOG OUT``. A customer's timers are looked at when the customer is next seen. It knows no window, no
late event and no double, checks nothing, renders no text and names no command; it is a yardstick, not a peer.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import msgspec

DAY = 86_400_000


class Line(msgspec.Struct, gc=False):
    type: str
    customer: str
    at: int
    order_id: str | None = None


class Known:
    __slots__ = ("lapsed", "last", "orders", "welcome")

    def __init__(self) -> None:
        self.welcome = self.lapsed = 0
        self.last = -DAY
        self.orders: dict[str, int] = {}


def fire(customer: str, known: Known, now: int, out: list[str]) -> None:
    due: list[tuple[int, str, str]] = []
    if known.welcome and known.welcome < now:
        due.append((known.welcome, "welcome", "null"))
        known.welcome = 0
    if known.lapsed and known.lapsed < now:
        due.append((known.lapsed, "lapsed", "null"))
        known.lapsed = 0
    orders = known.orders
    if orders:
        due += [(orders.pop(order), "abandoned", f'"{order}"') for order in [o for o, at in orders.items() if at < now]]
    for at, rule, ref in sorted(due) if due else ():
        if at - known.last >= DAY:
            known.last = at
            out.append(f'{{"rule":"{rule}","customer":"{customer}","due":{at},"ref":{ref}}}\n')


def play(events: list[Line], customers: dict[str, Known], sends: list[str]) -> None:
    for event in events:
        kind, at, customer = event.type, event.at, event.customer
        if kind == "favorite.added":
            continue
        known = customers.get(customer)
        if known is None:
            known = customers[customer] = Known()
        elif known.orders or known.welcome or known.lapsed:
            fire(customer, known, at, sends)
        if kind == "order.created":
            known.orders[event.order_id or ""] = at + DAY
        elif kind == "customer.registered":
            known.welcome = at + 3 * DAY
        else:
            known.orders.pop(event.order_id or "", None)
            if kind == "order.paid":
                known.welcome, known.lapsed = 0, at + 30 * DAY


def main(log: str, out: str) -> None:
    gc.disable()
    customers: dict[str, Known] = {}
    sends: list[str] = []
    decode = msgspec.json.Decoder(Line).decode_lines
    events: list[Line] = []
    with Path(log).open("rb") as file:
        while lines := file.readlines(1 << 20):
            events = decode(b"".join(lines))
            play(events, customers, sends)
    for customer, known in customers.items():
        fire(customer, known, events[-1].at, sends)
    Path(out).write_text("".join(sorted(sends)), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:3])
