"""The shop that is tortured: its rules, its gateways, its customers, and the time that its service believes in."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from triggers.core.decisions import Send
from triggers.core.times import DAY, HOUR, MINUTE, days_of
from triggers.dispatch.callbacks import call_url

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

ZONE_MS = 8 * HOUR
FIRST_DAY = days_of(2027, 3, 2)
WINDOWS = ((10 * HOUR, 11 * HOUR), (15 * HOUR, 16 * HOUR))
"""Those of marketing; what members get has the outer hours alone."""
OUTER = (9 * HOUR, 21 * HOUR)
CAPS = {"marketing": 2, "member": 1, "all": 3}
"""So many a day."""
PRICE = 5_000
SECRETS = {"main": "torture-main-secret", "spare": "torture-spare-secret"}
TEXT = "[Torture] Hello Reply R to stop"
NOTICE = "[Torture] Hello"

_SHOP = """shop: v1
name: Torture
timezone: Asia/Shanghai
signature: "[Torture] "
opt_out: " Reply R to stop"
price_per_message: 0.05
window: [10:00-11:00, 15:00-16:00]
caps: {marketing: [2 / 1d], member: [1 / 1d], all: [3 / 1d]}
"""
_RULE = """rule: v1
id: {id}
title: Torture
owner: crm@yunque.example
status: live
class: {klass}
when: {{event: {event}, per: {per}}}
wait: 1s
{more}
send: {{text: "Hello"{window}}}
"""


class Rule(NamedTuple):
    """A rule of the shop: its class, what triggers it, and by which field."""

    klass: str
    event: str
    per: str


RULES = {
    "left": Rule("marketing", "order.created", "order_id"),
    "paid": Rule("notice", "order.paid", "order_id"),
    "wish": Rule("member", "favorite.added", "product_id"),
}


class Person(NamedTuple):
    """A customer, with a number of their own."""

    id: str
    phone: str
    consents: bool


def people(count: int) -> list[Person]:
    """Make up customers; one in twenty has not agreed to anything."""
    return [Person(f"c{number}", f"+86138{number:08}", number % 20 != 7) for number in range(count)]


def write_rules(folder: Path) -> Path:
    """Write the rules: what is left in a cart until it is paid, a notice of each payment, a word on each wish."""
    folder.mkdir()
    (folder / "_shop.yaml").write_text(_SHOP)
    for name, rule in RULES.items():
        more = "unless: [{event: order.paid}]" if name == "left" else ""
        window = ", window: 00:00-24:00" if rule.klass == "member" else ""
        text = _RULE.format(id=name, klass=rule.klass, event=rule.event, per=rule.per, more=more, window=window)
        (folder / f"{name}.yaml").write_text(text)
    return folder


def write_delivery(path: Path, gateway_port: int, service_port: int, *, at_once: int = 16, rate: int = 2_000) -> Path:
    """Write the file of gateways: two, at one address. JSON is YAML."""
    gateways = {
        name: {
            "type": "http",
            "price": 0.05,
            "rate": rate,
            "at_once": at_once,
            "connect_timeout_s": 0.3,
            "timeout_s": 0.5,
            "secret": secret,
            "request": {
                "url": f"http://127.0.0.1:{gateway_port}/send",
                "json": {
                    "via": name,
                    "to": "{phone}",
                    "text": "{text}",
                    "class": "{class}",
                    "reference": "{command}",
                    "attempt": "{attempt}",
                    "valid_until_s": "{valid_until_s}",
                },
                "with_callback": {"callback": "{callback}"},
            },
            "answer": {
                "code": "status",
                "id": "id",
                "accepted": ["ok"],
                "throttled": ["busy"],
                "rejected": ["refused"],
            },
            "receipts": {
                "status": "status",
                "delivered": ["delivered"],
                "undelivered": ["failed"],
                "id": "id",
                "phone": "to",
            },
            "replies": {"phone": "from", "text": "text", "id": "id"},
        }
        for name, secret in SECRETS.items()
    }
    delivery = {
        "delivery": "v1",
        "country": "CN",
        "public_url": f"http://127.0.0.1:{service_port}",
        "consent": "required",
        "routes": {"default": ["main", "spare"], "notice": ["spare", "main"]},
        "gateways": gateways,
    }
    path.write_text(json.dumps(delivery, indent=1))
    return path


def call_urls(service_port: int, kind: str) -> dict[str, str]:
    """Give the addresses of all calls of a kind, by gateway."""
    url = f"http://127.0.0.1:{service_port}"
    return {name: call_url(url, name, secret, kind) for name, secret in SECRETS.items()}


class Time:
    """The service's time: the wall's, moved on by whole leaps while the service is down."""

    def __init__(self) -> None:
        self._leaps: list[tuple[float, int]] = []

    @property
    def offset(self) -> int:
        """How far the service's clock is ahead of the wall's, in ms."""
        return self._leaps[-1][1] if self._leaps else 0

    def now(self) -> int:
        """Tell the service's time, epoch ms."""
        return time.time_ns() // 1_000_000 + self.offset

    def leap(self, day: int, of_day: int) -> None:
        """Have it that time of the shop's day, counted from the first; it never goes back."""
        at = (FIRST_DAY + day) * DAY + of_day - ZONE_MS
        assert not self._leaps or at >= self.now(), "time goes on"
        wall = time.time() * 1_000
        self._leaps.append((wall, int(at - wall)))

    def at(self, wall_ms: float) -> float:
        """Turn an instant of the wall's into the service's."""
        return wall_ms + next((offset for since, offset in reversed(self._leaps) if wall_ms >= since), 0)


def of_day(at: float) -> float:
    """Tell the time of the shop's day, in ms."""
    return (at + ZONE_MS) % DAY


def allowed(klass: str, at: float, left_ms: int = 0) -> bool:
    """Tell whether a class may leave at an instant, with so much left of its window."""
    spans = {"marketing": WINDOWS, "member": (OUTER,)}.get(klass)
    return spans is None or any(start <= of_day(at) < end - left_ms for start, end in spans)


def direct(number: int, person: Person, rule: str, at: int, chance: Random) -> Send:
    """Make a command as the engine would, but without its gates: they are the dispatcher's to keep."""
    notice = rule == "paid"
    return Send(
        id=f"{chance.getrandbits(128):032x}-{number}",
        rule=rule,
        customer=person.id,
        identity=f"d{number}",
        anchor=at - MINUTE,
        due=at,
        at=at,
        withheld=False,
        shadow=False,
        variant=None,
        wave=None,
        coupon=None,
        text=NOTICE if notice else TEXT,
        segments=1,
        cost=PRICE,
        revision="torture",
        klass=RULES[rule].klass,
        expires=at + 2 * DAY,
    )


def event(name: str, kind: str, customer: str, at: int, **more: Any) -> dict[str, Any]:
    """Make an event."""
    return {"id": name, "type": kind, "customer": customer, "at": at, **more}
