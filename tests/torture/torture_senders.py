"""Those who bring things to a tortured service, and bring them again until it has said that it has them."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

import aiohttp
from torture_shop import call_urls, event

if TYPE_CHECKING:
    from torture_shop import Person
    from torture_world import World

AT_ONCE = 4
AGAIN_S = 0.02
PAUSE_S = 0.04
OPT_OUT_WORDS = ("R", "退订", "STOP", "td", "拒收 ")


@dataclass(slots=True)
class Post:
    """Something to bring, so many times at once. ``cancels`` is an order, ``stops`` a customer who opts out by it."""

    path: str
    body: Any
    headers: dict[str, str] = field(default_factory=dict)
    events: tuple[str, ...] = ()
    cancels: str | None = None
    stops: str | None = None
    message: str | None = None
    times: int = 1


class Senders:
    """Make up what happens in the shop, from a seed; what was answered is kept with the time, epoch ms of the wall."""

    def __init__(self, world: World, customers: list[Person], seed: int) -> None:
        self._world = world
        self.customers = customers
        self._chance = Random(f"senders {seed}")  # noqa: S311  a seed repeats it
        self._open: deque[Post] = deque()
        self._number = 0
        self._replies = {**call_urls(world.port, "replies")}
        self._orders: deque[tuple[str, str]] = deque(maxlen=200)
        self.recent: deque[Person] = deque(maxlen=60)
        """Customers to whom something may be leaving."""
        self.events: set[str] = set()
        self.messages: dict[str, str] = {}
        """Those posted and answered: their class by command id."""
        self.stopped_at: dict[str, float] = {}
        self.cancelled_at: dict[str, float] = {}
        self.refused: list[str] = []

    def introduce(self) -> None:
        """Have every customer told to the service."""
        at = self._world.time.now()
        told = [
            event(f"u-{person.id}", "customer.updated", person.id, at, phone=person.phone, consent=person.consents)
            for person in self.customers
        ]
        for start in range(0, len(told), 500):
            self._open.append(_events(told[start : start + 500]))

    async def bring(self, most: int, over: asyncio.Event, *, opt_outs: bool) -> None:
        """Bring up to so many new things, and what is still open, until the life is over."""
        left = [most]

        async def sender() -> None:
            while not over.is_set():
                post = self._next(left, opt_outs=opt_outs)
                if post is None:
                    return
                if not await self.brought(post):
                    await asyncio.sleep(AGAIN_S)
                elif most:
                    await asyncio.sleep(self._chance.random() * PAUSE_S)

        await asyncio.gather(*(sender() for _ in range(AT_ONCE)))

    @property
    def waiting(self) -> int:
        """How much is not answered yet."""
        return len(self._open)

    async def brought(self, post: Post) -> bool:
        """Bring something; twice at once where it is told to, as gateways do that wait for an answer too shortly."""
        return any(await asyncio.gather(*(self._post(post) for _ in range(post.times)))) or self._again(post)

    def _again(self, post: Post) -> bool:
        self._open.append(post)
        return False

    async def _post(self, post: Post) -> bool:
        url = post.path if post.path.startswith("http") else self._world.address + post.path
        try:
            async with self._world.session.post(url, json=post.body, headers=post.headers) as answer:
                status, said = answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            return False
        if status in (200, 202):
            self._note(post, time.time() * 1_000, said)
        elif status not in (429, 503):  # 429: the number has enough codes, and is sent no more
            self.refused.append(f"{post.path.partition('?')[0]} {status} {said[:200]!r}")
        return status in (200, 202, 429)

    def _note(self, post: Post, at: float, said: bytes) -> None:
        self.events.update(post.events)
        if post.stops is not None:
            self.stopped_at.setdefault(post.stops, at)
        if post.cancels is not None:
            self.cancelled_at.setdefault(post.cancels, at)
        if post.message is not None:
            self.messages[json.loads(said)["id"]] = post.message

    def _next(self, left: list[int], *, opt_outs: bool) -> Post | None:
        if self._open:
            return self._open.popleft()
        if left[0] <= 0:
            return None
        left[0] -= 1
        draw = self._chance.random()
        if draw < (0.5 if opt_outs else 0.08):
            return self.opt_out(self._someone())
        if draw < 0.6:
            return self._shopping()
        return self._message() if draw < 0.75 or not self._orders else self._payment()

    def _name(self, what: str) -> str:
        self._number += 1
        return f"{what}{self._number}"

    def _someone(self) -> Person:
        return self._chance.choice(self.recent or self.customers)

    def opt_out(self, person: Person) -> Post:
        """Have somebody opt out, by an event or by a reply."""
        name = self._name("x")
        if self._chance.random() < 0.4:
            told = event(name, "customer.unsubscribed", person.id, self._world.time.now())
            return _events([told], stops=person.id)
        body = {"from": person.phone.removeprefix("+"), "text": self._chance.choice(OPT_OUT_WORDS), "id": name}
        return Post(self._replies[self._chance.choice(list(self._replies))], body, stops=person.id, times=2)

    def _message(self) -> Post:
        person, key = self._chance.choice(self.customers), self._name("k")
        klass = self._chance.choice(("notice", "verification"))
        body = {"class": klass, "to": person.phone, "text": f"Your code is {self._number}", "customer": person.id}
        return Post("/v1/messages", body, {"Idempotency-Key": key}, message=klass)

    def _payment(self) -> Post:
        order, customer = self._orders.popleft() if self._chance.random() < 0.5 else self._orders.pop()
        told = event(self._name("p"), "order.paid", customer, self._world.time.now(), order_id=order, amount=9)
        return _events([told], cancels=order)

    def _shopping(self) -> Post:
        at, told = self._world.time.now(), []
        for _ in range(3):
            person, name = self._chance.choice(self.customers), self._name("e")
            if self._chance.random() < 0.6:
                told.append(event(name, "order.created", person.id, at, order_id=f"o-{name}", amount=9))
                self._orders.append((f"o-{name}", person.id))
            else:
                told.append(event(name, "favorite.added", person.id, at, product_id=f"w-{name}"))
            self.recent.append(person)
        return _events(told)


def _events(told: list[dict[str, Any]], *, stops: str | None = None, cancels: str | None = None) -> Post:
    return Post("/v1/events", told, events=tuple(each["id"] for each in told), stops=stops, cancels=cancels)
