"""A year and a half in a made-up shop, one event after the other, in the order in which they were received.

One queue holds what is still to come: sign-ups, the next visit of everybody, and events on their way to the log. So
memory grows with the customers, not with the days. All chance comes from one seeded generator, asked in the queue's
order, hence the same arguments give the same log.

The shop opens with customers: at ``start`` it brings in what it knows of them, with ``at`` of long ago and a
``received_at`` of that instant. It kept orders and wish lists for good, but visits for a month only.
"""

from __future__ import annotations

import heapq
import random
from typing import TYPE_CHECKING

from triggers.simulate.goods import Product, basket, look, yuan
from triggers.simulate.people import CHANNELS, Person, card, pick
from triggers.simulate.rhythm import DAY_MS, HOUR_MS, Rhythm, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

SECOND_MS = 1000
MINUTE_MS = 60_000
PAST_MS = 500 * DAY_MS
"""How long before the start the first customer signed up."""
VISITS_KEPT_MS = 30 * DAY_MS
FIRST_CLICK_MS = 3 * DAY_MS
"""No message was sent before the start, so nobody follows one in the first days."""

SIGNED_UP_BEFORE = 0.6

# What happens on a visit.
CAME_BY_MESSAGE = 0.10
LIKES = 0.30
LIKES_ONE_MORE = 0.45
WISHES = 10
CHANGES_MIND = 0.10
BUYS = 0.16
BUYS_IN_FESTIVAL = 0.26
STAYS_AWAY = 0.02
UNSUBSCRIBES = 0.003
SUBSCRIBES_AGAIN = 0.10

# What becomes of an order: these, and the rest is left unpaid.
PAYS_AT_ONCE = 0.66
PAYS_LATER = 0.76
CANCELS = 0.84
REFUNDED = 0.07
BECOMES_MEMBER = 0.20

# What becomes of an event on its way.
LATE = 0.02
TWICE = 0.015


class Shop:
    """The shop with everything that is still to happen in it."""

    def __init__(self, days: int, customers: int, seed: int, start: int) -> None:
        self.start = start
        self.end = start + days * DAY_MS
        self._rng = random.Random(seed)
        self._rhythm = Rhythm(start - PAST_MS, self.end)
        self._queue: list[tuple[int, int, Person | int | dict[str, object]]] = []
        self._count = 0
        self._orders = 0
        self._prefix = f"s{seed}"
        before = round(customers * SIGNED_UP_BEFORE)
        for number in range(1, customers + 1):
            begins, ends = (start - PAST_MS, start) if number <= before else (start, self.end)
            self._push(self._rhythm.within(begins, ends, self._rng), number)

    def log(self) -> Iterator[dict[str, object]]:
        """Let time pass, and hand out each event as the log receives it."""
        while self._queue:
            instant, _, what = heapq.heappop(self._queue)
            if instant >= self.end:
                return
            if isinstance(what, int):
                self._sign_up(instant, what)
            elif isinstance(what, Person):
                self._visit(instant, what)
            else:
                what["received_at"] = text_of(max(instant, self.start))
                yield what

    def _push(self, instant: int, what: Person | int | dict[str, object]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (instant, self._count, what))

    def _tell(self, at: int, kind: str, person: Person, **fields: object) -> None:
        """Put an event on its way to the log: soon, late, or twice."""
        rng = self._rng
        event: dict[str, object] = {"id": f"{self._prefix}-{self._count + 1}", "type": kind, "customer": person.id}
        event["at"] = text_of(at)
        event |= fields
        if at < self.start:
            self._push(at, event)
            return
        late = rng.random() < LATE
        received = at + (int(rng.expovariate(1 / (3 * HOUR_MS))) + 5 * MINUTE_MS if late else rng.randrange(2000))
        self._push(received, event)
        if rng.random() < TWICE:
            self._push(received + 1 + int(rng.expovariate(1 / (10 * MINUTE_MS))), event.copy())

    def _sign_up(self, at: int, number: int) -> None:
        rng = self._rng
        person = Person(number, rng)
        self._tell(at, "customer.registered", person, channel=pick(rng, CHANNELS))
        self._tell(at + rng.randrange(5, 300) * SECOND_MS, "customer.updated", person, **card(number, person, rng))
        self._push(at + rng.randrange(1, 20) * MINUTE_MS, person)

    def _visit(self, at: int, person: Person) -> None:
        rng = self._rng
        if at >= self.start + FIRST_CLICK_MS and person.subscribed and rng.random() < CAME_BY_MESSAGE:
            self._tell(at, "message.clicked", person)
            at += rng.randrange(1, 20) * SECOND_MS
        product = look(rng)
        if at >= self.start - VISITS_KEPT_MS:
            self._tell(at, "store.visited", person, page=rng.choice(("home", "new", f"category/{product.category}")))
        if rng.random() < LIKES:
            self._like(at, person, product)
        if rng.random() < (BUYS_IN_FESTIVAL if self._rhythm.festive(at) else BUYS):
            self._order(at + rng.randrange(2, 15) * MINUTE_MS, person, product)
        self._opt_out(at, person)
        if rng.random() >= STAYS_AWAY:
            self._push(self._rhythm.next_visit(at + 20 * MINUTE_MS, person.pace_ms, self.end, rng), person)

    def _like(self, at: int, person: Person, product: Product) -> None:
        rng = self._rng
        if person.liked and rng.random() < CHANGES_MIND:
            self._tell(at, "favorite.removed", person, **_on_list(person.liked.pop()))
        while product not in person.liked:
            at += rng.randrange(20, 400) * SECOND_MS
            person.liked = [*person.liked[1 - WISHES :], product]
            self._tell(at, "favorite.added", person, **_on_list(product))
            if rng.random() >= LIKES_ONE_MORE:
                return
            product = look(rng)

    def _order(self, at: int, person: Person, product: Product) -> None:
        rng = self._rng
        self._orders += 1
        order_id = f"o{self._orders:07d}"
        total_fen, items = basket(product, rng)
        amount = yuan(total_fen)
        order = {"order_id": order_id, "amount": amount, "category": product.category, "items": items}
        self._tell(at, "order.created", person, **order)
        fate = rng.random()
        if fate < PAYS_LATER:
            delay_ms = rng.randrange(1, 12) * MINUTE_MS if fate < PAYS_AT_ONCE else rng.randrange(HOUR_MS, 20 * HOUR_MS)
            self._tell(at + delay_ms, "order.paid", person, **order)
            self._after_payment(at + delay_ms, person, order_id, total_fen)
        elif fate < CANCELS:
            delay_ms = rng.randrange(10 * MINUTE_MS, 5 * HOUR_MS)
            self._tell(at + delay_ms, "order.cancelled", person, order_id=order_id, amount=amount)

    def _after_payment(self, at: int, person: Person, order_id: str, total_fen: int) -> None:
        rng = self._rng
        if rng.random() < REFUNDED:
            refunded_at = at + rng.randrange(6 * HOUR_MS, 10 * DAY_MS)
            self._tell(refunded_at, "order.refunded", person, order_id=order_id, amount=yuan(total_fen))
            return
        person.paid_fen += total_fen
        joins = not person.is_member and rng.random() < BECOMES_MEMBER
        person.is_member = person.is_member or joins
        if person.promote() or joins:
            told_at = at + rng.randrange(1, 60) * SECOND_MS
            self._tell(told_at, "customer.updated", person, is_member=person.is_member, level=person.level)

    def _opt_out(self, at: int, person: Person) -> None:
        rng = self._rng
        if at < self.start:
            return
        if person.subscribed and rng.random() < UNSUBSCRIBES:
            person.subscribed = False
            self._tell(at + MINUTE_MS, "customer.unsubscribed", person)
        elif not person.subscribed and rng.random() < SUBSCRIBES_AGAIN:
            person.subscribed = True
            self._tell(at + MINUTE_MS, "customer.subscribed", person)


def _on_list(product: Product) -> dict[str, object]:
    return {"product_id": product.id, "category": product.category, "price": yuan(product.price_fen)}
