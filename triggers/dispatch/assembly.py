"""Puts the dispatcher together: gateways, what limits them, the last look, what is heard, and the upkeep."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from triggers.dispatch.claiming import Claiming, Rules
from triggers.dispatch.dispatcher import Dispatcher
from triggers.dispatch.gateway import Listens
from triggers.dispatch.hearing import Hearing
from triggers.dispatch.hours import Hours, outer_hours
from triggers.dispatch.inflight import InFlight
from triggers.dispatch.phones import read_phone
from triggers.dispatch.postbox import Postbox
from triggers.dispatch.traffic import Traffic
from triggers.dispatch.upkeep import Upkeep
from triggers.language.amounts import in_thousandths_of_fen
from triggers.store.contacts import Contacts

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from typing import Any

    from triggers.core.decisions import Send
    from triggers.dispatch.gateway import Gateway, Heard, Hearer
    from triggers.dispatch.settings import Delivery
    from triggers.store.database import Connection
    from triggers.store.event_log import Entry, Log
    from triggers.store.writer import Writer


class Ears(NamedTuple):
    """Who is told of what happens, each on any thread.

    ``moved`` of moves between states (old, new, how many); ``ended`` of messages that will not leave (rule, reason);
    ``entered`` of events that entered the log; ``paused`` that other rules are paused now.
    """

    moved: Callable[[str, str, int], None]
    ended: Callable[[str, str], None]
    entered: Callable[[list[Entry]], None]
    paused: Callable[[], None]


class Dispatch(NamedTuple):
    """The parts of a dispatcher at work."""

    delivery: Delivery
    gateways: Mapping[str, Gateway]
    traffic: Traffic
    inflight: InFlight
    hearing: Hearing
    dispatcher: Dispatcher
    upkeep: Upkeep
    postbox: Postbox

    def listening(self) -> list[Coroutine[Any, Any, None]]:
        """Give the work of the gateways that hear over a connection of their own."""
        return [
            gateway.listen(_hearer(self.hearing, name))
            for name, gateway in self.gateways.items()
            if isinstance(gateway, Listens)
        ]

    async def close(self) -> None:
        """Close the gateways."""
        for gateway in self.gateways.values():
            await gateway.close()


def contacts(delivery: Delivery) -> Contacts:
    """Make what keeps the contacts, with numbers of the shop's country."""

    def normal(text: str) -> str | None:
        found = read_phone(text, delivery.country)
        return found.e164 if found else None

    return Contacts(normal)


def assemble(
    delivery: Delivery,
    writer: Writer,
    reader: Connection,
    log: Log,
    rules: Callable[[], Rules],
    ears: Ears,
    *,
    now: Callable[[], int],
    engine_now: Callable[[], int],
    virtual: bool = False,
    doubts: Callable[[Send, int], str] | None = None,
) -> Dispatch:
    """Make a dispatcher, with a ``reader`` of its own; for ``virtual`` and ``doubts`` see ``Claiming``.

    ``now`` is the wall's time, ``engine_now`` the log's, both epoch ms.
    """
    gateways = {name: settings.open(name) for name, settings in delivery.gateways.items()}
    prices = {
        name: rules().shop.price if settings.price is None else in_thousandths_of_fen(settings.price)
        for name, settings in delivery.gateways.items()
    }
    hours = _hours(delivery)
    hours(delivery.country)  # the first use of a country reads its zones, which no claim should wait for
    inflight = InFlight()
    traffic = Traffic(delivery, gateways, prices)
    hearing = Hearing(
        writer, log, inflight, delivery, now=now, engine_now=engine_now, moved=ears.moved, entered=ears.entered
    )
    claiming = Claiming(delivery, rules, hours, virtual=virtual, doubts=doubts)
    dispatcher = Dispatcher(
        writer,
        delivery,
        traffic,
        claiming,
        hearing,
        inflight,
        now=now,
        moved=ears.moved,
        ended=ears.ended,
        virtual=virtual,
    )
    upkeep = Upkeep(writer, reader, traffic, hearing, rules, now=now, moved=ears.moved, paused=ears.paused)
    postbox = Postbox(writer, delivery, rules, now=now, at=engine_now, queued=dispatcher.more)
    return Dispatch(delivery, gateways, traffic, inflight, hearing, dispatcher, upkeep, postbox)


def _hours(delivery: Delivery) -> Callable[[str], Hours]:
    known: dict[str, Hours] = {}

    def of(country: str) -> Hours:
        if country not in known:
            known[country] = outer_hours(country, None, delivery.hours)
        return known[country]

    return of


def _hearer(hearing: Hearing, name: str) -> Hearer:
    async def hear(heard: Heard) -> None:
        await hearing.hear(name, heard)

    return hear
