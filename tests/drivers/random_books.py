"""Random rules, their edits, and random events, as a seed has them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from scenes import DAY, HOUR, MINUTE, START, book, rule, shop

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from triggers.core.rulebook import Rulebook

SPAN = 8 * DAY
ARMING = (
    "order.created",
    "order.paid",
    "favorite.added",
    "customer.registered",
    "store.visited",
    "message.sent",
    "message.clicked",
)
CANCELLING = ("order.paid", "order.cancelled", "favorite.removed", "store.visited", "message.sent")
HAPPENING = (
    *ARMING[:5],
    *ARMING,
    "order.paid",
    "order.cancelled",
    "favorite.removed",
    "customer.updated",
    "customer.unsubscribed",
    "customer.subscribed",
)
OFTEN = ("store.visited", "store.visited", "favorite.added", "message.sent", "order.created")
FIELDS = {"order.created": "order_id", "order.paid": "order_id", "favorite.added": "product_id"}
ROUND = (0, 0, 0, HOUR, 2 * HOUR, 90 * MINUTE, DAY)


class Came(NamedTuple):
    """An event as it stands in the log."""

    at: int
    customer: str
    body: bytes


# Rules


def some_shop(chance: random.Random) -> Any:
    caps = chance.choice(({}, {}, {"marketing": ["1 / 1d"]}, {"marketing": ["1 / 12h", "2 / 3d"], "all": ["2 / 1d"]}))
    keys: dict[str, Any] = {"caps": caps, "price_per_message": Decimal("0.05")}
    if chance.random() < 0.3:
        keys["look_ahead"] = chance.choice(("1h", "6h"))
    if chance.random() < 0.3:
        keys["window"] = chance.choice((["10:00-12:00", "19:00-22:00"], ["00:00-23:00"]))
    if chance.random() < 0.2:
        keys["holdout"] = "20%"
    if chance.random() < 0.2:
        keys["copy"] = {"max_segments": 1}
    if chance.random() < 0.2:
        keys["timezone"] = "America/New_York"
    return shop(**keys)


def some_rule(chance: random.Random, name: str, in_shop: Any) -> Any:
    keys: dict[str, Any] = {
        "status": chance.choice(("live",) * 6 + ("shadow", "paused")),
        "class": chance.choice(("marketing", "marketing", "member", "notice")),
        "priority": chance.choice((10, 50, 50, 90)),
        "send": some_send(chance),
    }
    kind = chance.choice(("when",) * 5 + ("schedule", "waves", "waves"))
    if kind == "when":
        keys |= some_when(chance)
    elif kind == "schedule":
        keys["schedule"] = chance.choice(
            (
                {"every": "day", "at": "12:00"},
                {"every": "day", "at": "19:00", "spread": "2h"},
                {"at": f"2026-09-0{chance.randint(2, 8)} 12:00"},
            )
        )
    else:
        keys["waves"] = some_waves(chance)
    limits = some_limits(chance)
    if limits:
        keys["limits"] = limits
    if chance.random() < 0.3:
        keys["audience"] = chance.choice(
            (
                {"did": "order.paid", "within": "5d"},
                {"not": {"did": "favorite.added", "within": "2d"}},
                {"not": {"did": "message.sent", "within": "1d"}},
                {"where": "customer.orders_paid >= 1"},
                {"where": "customer.total_paid < 200"},
                {"in": "kept"},
            )
        )
    return rule(name, in_shop=in_shop, **keys)


def some_when(chance: random.Random) -> dict[str, Any]:
    event = chance.choice(ARMING)
    when: dict[str, Any] = {"event": event, "again": chance.choice(("ignore", "restart", "each"))}
    if event in FIELDS and chance.random() < 0.5:
        when["per"] = FIELDS[event]
    if event.startswith("message.") and chance.random() < 0.7:
        when["where"] = f'event.rule_id == "r{chance.randrange(6)}"'
    elif event.startswith("order.") and chance.random() < 0.3:
        when["where"] = chance.choice(("event.amount > 50", "customer.orders_paid < 2"))
    keys: dict[str, Any] = {"when": when, "wait": chance.choice(("0min", "1h", "2h", "12h", "1d", "3d"))}
    if chance.random() < 0.5:
        match = chance.choice(("same", "customer")) if when.get("per") else "customer"
        types = chance.sample(CANCELLING, chance.randint(1, 2))
        fitting = [each for each in types if match == "customer" or each.startswith(event.partition(".")[0])]
        if fitting:
            keys["unless"] = [{"event": fitting, "match": match}]
    return keys


def some_chained_rule(chance: random.Random, name: str, in_shop: Any) -> Any:
    """Make a rule that begins with messages, is cancelled by them or answered with them, and shares something, mostly.

    What is held back for a day and then cancelled by a message that leaves meanwhile lets a later match ask at once.
    """
    keys: dict[str, Any] = {
        "class": chance.choice(("marketing", "notice", "notice")),
        "priority": chance.choice((10, 50, 90)),
        "send": {"text": "x", "window": ["00:00-24:00"], "expires": "5d"},
    }
    if chance.random() < 0.15:
        keys["waves"] = some_waves(chance) | {"responded": ["message.sent", "store.visited"], "min_size": 2}
    else:
        event = chance.choice(("message.sent", "store.visited", "store.visited", "favorite.added"))
        again = chance.choice(("ignore", "ignore", "ignore", "restart", "each"))
        keys |= {"when": {"event": event, "again": again}, "wait": chance.choice(("0min", "0min", "1h", "2h", "12h"))}
        if event == "message.sent" and chance.random() < 0.5:
            keys["when"]["where"] = _of_rule(chance)
        if chance.random() < 0.6:
            unless: dict[str, Any] = {"event": ["message.sent"], "match": "customer"}
            keys["unless"] = [unless | ({"where": _of_rule(chance)} if chance.random() < 0.7 else {})]
    few = {"per_day": chance.randint(1, 2), "total": chance.choice((3, 5, 9))}
    keys["limits"] = chance.choice((few, few, {"total": 9}, {"per_customer": "2 / 9d"}))  # else some go on for ever
    return rule(name, in_shop=in_shop, **keys)


def _of_rule(chance: random.Random) -> str:
    return f'event.rule_id == "r{chance.randrange(3)}"'


def some_waves(chance: random.Random) -> dict[str, Any]:
    first = chance.randint(2, 4)
    days = range(first, first + 2 * chance.randint(2, 3), chance.choice((1, 2)))
    hour = chance.choice(("10:00", "12:00"))
    waves: list[dict[str, Any]] = [{"id": f"w{day}", "at": f"2026-09-{day:02} {hour}"} for day in days]
    for wave in waves:
        if chance.random() < 0.5:
            wave["take"] = chance.randint(1, 4)
    return {
        "responded": chance.sample(("order.paid", "store.visited", "message.clicked", "message.sent"), 2),
        "within": chance.choice(("12h", "2d")),
        "min_size": chance.choice((0, 1, 2, 3)),
        "list": waves,
    } | ({"keep_as": "kept"} if chance.random() < 0.2 else {})


def some_send(chance: random.Random) -> dict[str, Any]:
    send: dict[str, Any] = {"text": chance.choice(("x", "x", "{customer.name|dear}"))}
    if chance.random() < 0.5:
        send["window"] = chance.choice((["00:00-24:00"], ["10:00-12:00"], ["08:00-09:00", "20:00-21:00"]))
    if chance.random() < 0.2:
        send["holdout"] = "30%"
    if chance.random() < 0.3:
        send["expires"] = chance.choice(("1h", "1d", "5d"))
    return send


def some_limits(chance: random.Random) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    for name, values, share in (
        ("per_day", (1, 2, 3), 0.3),
        ("total", (1, 3, 6), 0.3),
        ("budget", (Decimal("0.10"), Decimal("0.30")), 0.15),
        ("per_customer", ("once", "1 / 2d", "2 / 3d"), 0.2),
    ):
        if chance.random() < share:
            limits[name] = chance.choice(values)
    return limits


def some_book(chance: random.Random, *, edits: bool) -> Rulebook:
    """Make rules; those that are edited keep all that happens, as a service's do."""
    in_shop = some_shop(chance)
    rules: list[Any] = []
    made = some_chained_rule if chance.random() < 0.3 else some_rule
    for number in range(chance.randint(1, 6)):
        _add(rules, made(chance, f"r{number}", in_shop))
    options: dict[str, Any] = {"settle": chance.choice((0, 0, 2 * MINUTE)), "keep_all": edits or chance.random() < 0.7}
    return book(*rules, in_shop=in_shop, revision="v1", **options)


def _add(rules: list[Any], made: Any) -> None:
    """Add a rule, unless it keeps the segment that another one keeps."""
    if not any(made.waves and made.waves.keep_as and each.waves and each.waves.keep_as for each in rules):
        rules.append(made)


def edited(chance: random.Random, old: Rulebook, at: int) -> Rulebook:
    """Make the rules another day's: some stay, some are other ones, some are gone or have another name."""
    in_shop: Any = chance.choice((old.shop, some_shop(chance)))
    rules: list[Any] = []
    removed: dict[str, int] = {}
    for name, was in old.rules.items():
        what = chance.choice(("same", "same", "other", "gone", "renamed", "status"))
        if what == "same":
            _add(rules, was)
        elif what == "other":
            _add(rules, replace(some_rule(chance, name, in_shop), since=at))
        elif what == "renamed":
            _add(rules, replace(was, id=f"n{name}", renamed_from=name))
        elif what == "status":
            _add(rules, replace(was, status=chance.choice(("live", "paused", "shadow", "draft"))))
        else:
            removed[name] = at
    if chance.random() < 0.3:
        _add(rules, replace(some_rule(chance, "r9", in_shop), since=at))
    return book(*rules, in_shop=in_shop, revision="v2", settle=old.settle, removed=removed)


# Events


def some_events(chance: random.Random) -> list[Came]:
    names = [f"c{number}" for number in range(chance.choice((1, 3, 8, 14)))]
    happening = chance.choice((HAPPENING, HAPPENING, OFTEN))
    at = START
    came: list[Came] = []
    for number in range(chance.choice((5, 30, 120))):
        if chance.random() < 0.8:
            at = min(at + chance.choice(ROUND), START + SPAN)
        customer = chance.choice(names)
        came.append(Came(at, customer, some_body(chance, number, customer, at, happening)))
        if chance.random() < 0.05:
            came.append(came[chance.randrange(len(came))]._replace(at=at))
    return came


def some_body(chance: random.Random, number: int, customer: str, at: int, happening: Sequence[str]) -> bytes:
    kind = chance.choice(happening)
    late = chance.choice((0, 0, 0, 0, HOUR, DAY, 3 * DAY, -3 * MINUTE, -HOUR))
    body: dict[str, Any] = {"id": f"e{number}", "type": kind, "customer": customer, "at": at - late}
    if kind.startswith("order."):
        body |= {"order_id": f"o{chance.randrange(4)}", "amount": chance.choice((10, 60, 100))}
    elif kind.startswith("favorite."):
        body["product_id"] = f"p{chance.randrange(3)}"
    elif kind.startswith("message.") and chance.random() < 0.8:
        body["rule_id"] = f"r{chance.randrange(6)}"
    elif kind == "customer.updated":
        body["name"] = chance.choice(("Mei", "Mei" * 70))
    return msgspec.json.encode(body)
