"""A world for the model: people, a shop, gateways and time, of which all is drawn from a seed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from model_gateways import Fickle, Given, Truth
from model_lives import Lives
from offices import Office, send

from triggers.core.times import DAY, HOUR, MINUTE, SECOND
from triggers.dispatch.gateway import Fate, Heard, Receipt, Reply
from triggers.dispatch.promises import CLASSES
from triggers.store.claims import engine_is_behind, pause, resume
from triggers.store.outbox import cancel

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from triggers.core.decisions import Send
    from triggers.dispatch.gateway import Outgoing

PHONES: Final = ("+8613800001234", "+8613900005678", "+6591234567", "+6591234567")
"""The customers' numbers: the last two share one, where START is understood."""


def make_database(path: Path) -> None:
    """Make a database that knows the customers, for the sequences to begin with a copy of it."""
    office = Office(path, Fickle("first", Truth(0), _nothing))
    for who, phone in enumerate(PHONES):
        office.tell("customer.updated", f"c{who}", phone=phone)
    office.close()


async def _nothing(*_: object) -> None:
    pass


class World(Lives):
    """One sequence: all that happens is drawn from its seed."""

    def __init__(self, seed: int, path: Path) -> None:
        super().__init__(seed, path)
        self.chance = self.truth.chance("world")
        self.commands: dict[str, Send] = {}
        self.phones: dict[str, str] = {}
        self.queued_at: dict[str, int] = {}
        self.stopped: dict[str, str] = {}
        self.cancelled: set[str] = set()
        self.behind: set[str] = set()
        self.serial = 0

    # What happens while a message is leaving

    async def during(self, gateway: str, message: Outgoing) -> None:
        """Note what a gateway is given, and perhaps let something happen before its answer."""
        send = self.commands[message.command]
        if send.rule and send.customer in self.behind:
            self.wrong.append(f"{send.id} left before the engine had seen all")
        stopped = self.stopped.get(message.phone) or self.stopped.get(send.customer) or ""
        self.truth.given.append(Given(gateway, message, self.clock.at, stopped))
        chance = self.truth.chance("during", message.command, message.attempt)
        what = chance.random()
        if what < 0.05:
            self.kill(0)
        if what < 0.1:
            self.beside(self.reply(chance.choice(("R", "退订", "STOP")), message.phone))
        if what < 0.2:  # a report before the answer
            fate = chance.choice((Fate.DELIVERED, Fate.UNDELIVERED))
            await self.report(gateway, Receipt(fate, None, command=message.command, phone=message.phone))
        if what < 0.3:
            await asyncio.sleep(0.001)

    # Steps

    async def step(self) -> None:
        """Let one thing happen."""
        if self.chance.random() < 0.2:
            self.kill(self.chance.randrange(6), writes_last=self.chance.random() < 0.5)
        steps: dict[Callable[[], Coroutine[Any, Any, None]], int] = {
            self.more: 2, self.busy_minute: 4, self.drain: 2, self.wait: 3, self.some_report: 4, self.some_reply: 1,
            self.opt_out_by_event: 1, self.upkeep: 1, self.take_back: 1, self.pause_or_resume: 1, self.mend: 1,
        }  # fmt: skip
        (what,) = self.chance.choices(list(steps), list(steps.values()))
        await self.live(what())

    async def more(self) -> None:
        """Queue a few commands."""
        for _ in range(self.chance.randint(2, 6)):
            self.serial += 1
            who = self.chance.randrange(len(PHONES))
            klass = self.chance.choice((*CLASSES, "verification", "notice", "marketing"))
            of_rule = "" if klass == "verification" else self.chance.choice(("r", "q", "gone"))
            lasts = (
                self.chance.choice((MINUTE, 5 * MINUTE))
                if klass == "verification"
                else self.chance.choice((HOUR, DAY, 2 * DAY))
            )
            name = f"m{self.serial}"
            self.commands[name] = send(
                name, rule=of_rule, customer=f"c{who}", klass=klass, anchor=self.serial, cost=7, at=self.clock.at,
                segments=self.chance.randint(1, 3), expires=self.clock.at + lasts,
            )  # fmt: skip
            self.phones[name], self.queued_at[name] = PHONES[who], self.clock.at
            with self.another():
                self.office.put(self.commands[name], phone=PHONES[who])

    async def drain(self) -> None:
        """Send what can leave, mostly after the engine has seen all events."""
        if self.truth.healthy or self.chance.random() < 0.7:
            with self.another():
                self.office.decided()
        people = {send.customer for send in self.commands.values()}
        self.behind = {who for who in people if engine_is_behind(self.office.reader, who)}
        await self.office.dispatch.dispatcher.drain()

    async def busy_minute(self) -> None:
        """Send what can leave, again and again within a short time."""
        for _ in range(4):
            await self.drain()
            self.clock.at += self.chance.choice((2 * SECOND, 4 * SECOND, 9 * SECOND))

    async def upkeep(self) -> None:
        """Look after everything once."""
        await self.office.dispatch.upkeep.turn()

    async def wait(self) -> None:
        """Let time pass."""
        self.clock.at += self.chance.choice(
            (1, SECOND, 20 * SECOND, 20 * SECOND, 2 * MINUTE, 20 * MINUTE, 3 * HOUR, 11 * HOUR, 26 * HOUR)
        )

    async def some_report(self) -> None:
        """Tell something of a message: the truth, again, otherwise, or of what nobody sent."""
        if not self.truth.given:
            return
        given = self.truth.given[self.chance.randrange(len(self.truth.given))]
        ids = [
            each for gateway, each, name in self.truth.ids if (gateway, name) == (given.gateway, given.message.command)
        ]
        by_id = bool(ids) and self.chance.random() < 0.7
        receipt = Receipt(
            self.chance.choice((Fate.DELIVERED, Fate.DELIVERED, Fate.UNDELIVERED, Fate.ON_ITS_WAY)),
            max(ids) if by_id else None,
            command=None if by_id else given.message.command,
            phone=self.chance.choice((given.message.phone, None, "+8613711112222")),
            at=self.clock.at,
            invalid_number=self.chance.random() < 0.1,
            blacklisted=self.chance.random() < 0.05,
        )
        if self.chance.random() < 0.1:
            receipt = receipt._replace(provider_id="never heard of", command=None)
        gateway = given.gateway if self.chance.random() < 0.9 else "second"
        for _ in range(self.chance.choice((1, 1, 2))):
            await self.report(gateway, receipt)

    async def report(self, gateway: str, receipt: Receipt) -> None:
        """Let a gateway tell of a message."""
        self.truth.told.append((gateway, receipt))
        await self.office.dispatch.hearing.hear(gateway, Heard((receipt,)))

    async def some_reply(self) -> None:
        """Let somebody answer."""
        await self.reply(self.chance.choice(("R", "START", "hello", "TD", "START")), self.chance.choice(PHONES))

    async def reply(self, text: str, phone: str) -> None:
        """Let a handset answer; an opt-out is in force when that is acknowledged, and START ends it at once."""
        self.serial += 1
        if text == "START" and phone.startswith("+65"):
            self.stopped.pop(phone, None)
            for who, each in enumerate(PHONES):
                if each == phone:
                    self.stopped.pop(f"c{who}", None)
        number = self.serial
        await self.office.dispatch.hearing.hear("first", Heard(replies=(Reply(phone, text, f"r{number}"),)))
        if text not in ("START", "hello"):
            self.stopped[phone] = f"reply {number}"

    async def opt_out_by_event(self) -> None:
        """Let the shop tell of an opt-out, as the service takes it in."""
        who = f"c{self.chance.randrange(len(PHONES))}"
        self.serial += 1
        with self.another():
            self.office.tell("customer.unsubscribed", who, id=f"u{self.serial}")
        await self.office.dispatch.inflight.over({who})
        self.stopped[who] = "event"

    async def take_back(self) -> None:
        """Cancel a command, as the engine does."""
        if not self.commands:
            return
        name = self.chance.choice(sorted(self.commands))
        gone, now = self.commands[name], self.clock.at
        wait = (gone.rule, gone.identity, gone.anchor)
        done = self.office.writer.submit(lambda connection: cancel(connection, gone.customer, wait, "by test", now))
        if await asyncio.wrap_future(done):
            self.cancelled.add(name)

    async def pause_or_resume(self) -> None:
        """Let somebody pause a rule, or let it go on."""
        work = pause if self.chance.random() < 0.4 else None
        now = self.clock.at
        done = self.office.writer.submit(
            lambda connection: pause(connection, "r", "test", now) if work else resume(connection, "r", now)
        )
        await asyncio.wrap_future(done)

    async def mend(self) -> None:
        """Let a person mend the gateways that barred us."""
        for road in self.office.dispatch.traffic.roads.values():
            road.breaker.reset(self.clock.at)

    async def finish(self) -> None:
        """Let everything be well from now on, until nothing is open any more."""
        self.truth.healthy = True
        self.fuse.heard = None
        self.office.writer.submit(lambda connection: resume(connection, "r", self.clock.at)).result(10)
        for passes in (0, MINUTE, 10 * HOUR, 2 * DAY, 2 * DAY):
            self.clock.at += passes
            await self.mend()
            await self.live(self.drain())
            await self.live(self.upkeep())
