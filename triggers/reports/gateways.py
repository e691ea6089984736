"""How the gateways do: what each took of each class, how much of it arrived and how fast, and what is thought of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from triggers.core.times import iso
from triggers.replay.output import yuan
from triggers.store.gateway_log import arrival_times, fared, last_changes, tells, took

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from triggers.store.database import Connection
    from triggers.store.gateway_log import Change, Fared

HEADINGS = (
    "gateway", "class", "state", "sent", "arrival", "of valid", "p50", "p95", "price", "cost", "since",
)  # fmt: skip
GOOD, CLOSED = "good", "closed"
"""The states of a gateway that nothing is held against."""
NOTHING = "-"


class Known(NamedTuple):
    """What the settings say of a gateway. ``receipts``: it tells of delivery; ``price`` in 1/1000 fen, None: the shop's."""

    classes: frozenset[str]
    receipts: bool
    price: int | None


class Gateway(NamedTuple):
    """A gateway and a class. Rates are None where nothing can be said, times in ms, money in 1/1000 fen.

    ``arrival`` is the share that arrived of all that were judged, ``of_valid`` of those to numbers that exist. ``since``
    is when it came into its state (epoch ms), None if it has always been in it.
    """

    name: str
    klass: str
    state: str
    sent: int
    judged: int
    delivered: int
    invalid: int
    arrival: float | None
    of_valid: float | None
    p50: int | None
    p95: int | None
    price: int | None
    cost: int
    since: int | None


def gateways(
    connection: Connection, *, since: int, old_enough: int, known: Mapping[str, Known] | None = None
) -> list[Gateway]:
    """Tell how the gateways did since an instant; what left before ``old_enough`` counts as lost without a receipt.

    Without what is ``known`` from the settings, those that took something are told of, and those something is held against.
    """
    changes = last_changes(connection)
    pairs = set(took(connection, since))
    if known is None:
        pairs |= {pair for pair, change in changes.items() if change.new not in (GOOD, CLOSED)}
    else:
        pairs |= {(name, klass) for name, each in known.items() for klass in each.classes or ("",)}
    with_class = {name for name, klass in pairs if klass}
    found = []
    for name, klass in sorted(pairs):
        if not klass and name in with_class:
            continue
        settings = None if known is None else known.get(name)
        told = tells(connection, name) if settings is None else settings.receipts
        found.append(_gateway(connection, name, klass, (since, old_enough), changes, told, settings))
    return found


def _gateway(
    connection: Connection,
    name: str,
    klass: str,
    span: tuple[int, int],
    changes: Mapping[tuple[str, str], Change],
    told: bool,  # noqa: FBT001  private
    settings: Known | None,
) -> Gateway:
    seen = fared(connection, name, klass, *span)
    times = arrival_times(connection, name, klass, span[0])
    valid = seen.judged - seen.invalid
    state, since = _state(changes.get((name, "")), changes.get((name, klass)) if klass else None)
    return Gateway(
        name,
        klass,
        state,
        seen.sent,
        seen.judged,
        seen.delivered,
        seen.invalid,
        seen.delivered / seen.judged if told and seen.judged else None,
        seen.delivered / valid if told and valid else None,
        _percentile(times, 50),
        _percentile(times, 95),
        _price(settings, seen),
        seen.cost,
        since,
    )


def _state(breaker: Change | None, standing: Change | None) -> tuple[str, int | None]:
    """Join what is thought of a gateway's connection and of its arrivals; gives the state and since when."""
    held = [each for each in (breaker, standing) if each is not None and each.new not in (GOOD, CLOSED)]
    if held:
        return ", ".join(each.new for each in held), max(each.at for each in held)
    known = [each.at for each in (breaker, standing) if each is not None]
    return GOOD, max(known, default=None)


def _price(settings: Known | None, seen: Fared) -> int | None:
    if settings is not None and settings.price is not None:
        return settings.price
    return round(seen.cost / seen.parts) if seen.parts else None


def _percentile(ascending: Sequence[int], percent: int) -> int | None:
    """Find the least value that so many percent are not above."""
    return ascending[-(-len(ascending) * percent // 100) - 1] if ascending else None


def as_data(rows: Iterable[Gateway]) -> list[dict[str, Any]]:
    """Give rows for machines: times in seconds and RFC 3339, money in yuan."""
    return [
        {
            "gateway": row.name,
            "class": row.klass or None,
            "state": row.state,
            "sent": row.sent,
            "judged": row.judged,
            "delivered": row.delivered,
            "invalid": row.invalid,
            "arrival": row.arrival,
            "arrival_of_valid": row.of_valid,
            "p50_s": None if row.p50 is None else row.p50 / 1_000,
            "p95_s": None if row.p95 is None else row.p95 / 1_000,
            "price": None if row.price is None else yuan(row.price),
            "cost": yuan(row.cost),
            "since": None if row.since is None else iso(row.since),
        }
        for row in rows
    ]


def cells(row: Gateway) -> list[str]:
    """Write a row for people, a cell a heading; times in UTC."""
    return [
        row.name,
        row.klass or NOTHING,
        row.state,
        f"{row.sent:,}",
        _share(row.arrival),
        _share(row.of_valid),
        _seconds(row.p50),
        _seconds(row.p95),
        NOTHING if row.price is None else yuan(row.price),
        yuan(row.cost),
        NOTHING if row.since is None else f"{iso(row.since)[:16].replace('T', ' ')} UTC",
    ]


def plain(rows: Sequence[Gateway]) -> Iterator[str]:
    """Write a table as aligned lines, for files and pipes."""
    table = [list(HEADINGS), *(cells(row) for row in rows)]
    widths = [max(len(line[place]) for line in table) for place in range(len(HEADINGS))]
    for line in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _share(share: float | None) -> str:
    return NOTHING if share is None else f"{share:.1%}"


def _seconds(ms: int | None) -> str:
    return NOTHING if ms is None else f"{ms / 1_000:,.1f} s"
