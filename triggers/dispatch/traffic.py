"""How much each gateway may be given now: its rate, its connections, its breaker, and whether it is demoted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from triggers.dispatch.breaker import Breaker, State
from triggers.dispatch.claiming import Roads
from triggers.dispatch.gateway import Listens
from triggers.dispatch.pacing import Bucket
from triggers.dispatch.promises import COMMERCIAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from triggers.dispatch.gateway import Answer, Gateway
    from triggers.dispatch.gateway_settings import GatewaySettings
    from triggers.dispatch.settings import Delivery

KEPT_FOR_URGENT: Final = 0.2
"""This share of a gateway's connections, and of its tokens, is for codes and notices alone."""
LOOK_AGAIN_S: Final = 1.0


class Road:
    """A gateway and all that limits it. ``leaving`` counts what is under way.

    ``receipts`` is whether it tells of delivery: one that calls us does so only where it knows our address.
    """

    __slots__ = ("breaker", "bucket", "gateway", "leaving", "price", "receipts", "settings")

    def __init__(self, gateway: Gateway, settings: GatewaySettings, price: int, *, reached: bool = True) -> None:
        self.gateway = gateway
        self.receipts = tells(gateway, reached=reached)
        self.settings = settings
        self.price = price
        self.leaving = 0
        self.breaker = Breaker()
        self.bucket = Bucket(settings.rate, max(1.0, settings.rate))

    def room(self, *, urgent: bool, now: int) -> int:
        """Tell how many more may be under way, apart from the rate; ``now`` epoch ms."""
        slots = self.settings.at_once
        if not urgent and slots > 1:
            slots -= max(1, int(slots * KEPT_FOR_URGENT))
        return max(0, min(slots, self.breaker.allows(now)) - self.leaving)

    def reserve(self, *, urgent: bool) -> float:
        """Tell how many tokens are kept for urgent messages."""
        return 0.0 if urgent else max(1.0, self.bucket.burst * KEPT_FOR_URGENT)


def tells(gateway: Gateway, *, reached: bool) -> bool:
    """Tell whether a gateway will tell of delivery; ``reached`` is whether it was told where to call us."""
    return gateway.receipts and (reached or isinstance(gateway, Listens))


class Traffic:
    """All gateways. Lives on the event loop. ``demoted`` has the pairs of gateway and class that get probes only."""

    def __init__(self, delivery: Delivery, gateways: Mapping[str, Gateway], prices: Mapping[str, int]) -> None:
        self._delivery = delivery
        self.roads = {
            name: Road(gateway, delivery.gateways[name], prices[name], reached=delivery.public_url is not None)
            for name, gateway in gateways.items()
        }
        self._prices = {name: road.price for name, road in self.roads.items()}
        self.demoted: set[tuple[str, str]] = set()

    def ask(self, klass: str, most: int, now: int) -> Roads:
        """Take permits for up to ``most`` messages of a class; ``now`` epoch ms. What is not used must be given back.

        A route is kept in its order: messages wait for its first gateway that works, and go to the next only where they
        must. One that is tried again after a failure, or is demoted, gets a few beside.
        """
        demoted = {name for name, each in self.demoted if each == klass}
        permits: dict[str, int] = {}
        room, is_found = 0, False
        for name in self._delivery.routes[klass]:
            state = self.roads[name].breaker.state(now)
            if state in (State.OPEN, State.BARRED):
                continue
            granted = self._grant(self.roads[name], klass, most, now)
            if granted or state is State.CLOSED:  # one that works and is busy is worth waiting for
                permits[name] = granted
            if state is State.HALF_OPEN:
                room += granted
            elif not is_found and name not in demoted:
                room, is_found = room + granted, True
        if not is_found:  # all that works is demoted, or is being tried
            room = sum(permits.values())
        return Roads(permits, demoted, self._prices, min(room, most))

    def _grant(self, road: Road, klass: str, most: int, now: int) -> int:
        urgent = klass not in COMMERCIAL
        room = min(most, road.room(urgent=urgent, now=now))
        granted = road.bucket.take(now, room, road.reserve(urgent=urgent)) if room else 0
        road.leaving += granted
        return granted

    def give_back(self, roads: Roads, now: int) -> None:
        """Take back the permits that were not used."""
        for name, unused in roads.permits.items():
            self.roads[name].leaving -= unused
            self.roads[name].bucket.give(now, unused)

    def ended(self, name: str, answer: Answer, now: int, began_at: int) -> tuple[State, State] | None:
        """Note what became of a message that began to leave then; gives the breaker's old and new state if it changed."""
        road = self.roads[name]
        road.leaving -= 1
        return road.breaker.note(answer, now, began_at)

    def works(self, klass: str, now: int) -> bool:
        """Tell whether a class has a gateway that is not stopped."""
        return any(self.roads[name].breaker.state(now) is State.CLOSED for name in self._delivery.routes[klass])

    def ready_in_s(self, klass: str, now: int) -> float:
        """Tell after how long a class may be given another message, if no gateway has a free connection before."""
        urgent = klass not in COMMERCIAL
        for name in self._delivery.routes[klass]:
            road = self.roads[name]
            if road.breaker.state(now) is State.CLOSED and (name, klass) not in self.demoted:
                reserve = road.reserve(urgent=urgent)
                return road.bucket.ready_in_s(now, reserve) if road.room(urgent=urgent, now=now) else LOOK_AGAIN_S
        return LOOK_AGAIN_S
