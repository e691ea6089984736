"""Takes commands from the outbox to gateways: claimed on the disk before the first byte leaves, settled on it after.

Each class of messages has a lane of its own, so that a code never waits behind a campaign. A lane claims as much as its
gateways can take now; the claim looks at each message a last time (``claiming``), and the answer moves it on by what is
promised of its class (``promises``).
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import structlog

from triggers.core.times import HOUR, MINUTE
from triggers.dispatch.callbacks import callback_url
from triggers.dispatch.gateway import Outgoing, Template, Unknown
from triggers.dispatch.promises import CLASSES, settled
from triggers.dispatch.settling import Answered, Settling
from triggers.store.outbox import being_sent, claim, counts, next_due, settle_all
from triggers.store.receipts import named_early
from triggers.store.states import QUEUED, SENDING, Hold

if TYPE_CHECKING:
    from collections.abc import Callable

    from triggers.dispatch.claiming import Claiming, Roads
    from triggers.dispatch.gateway import Answer
    from triggers.dispatch.hearing import Hearing
    from triggers.dispatch.inflight import InFlight
    from triggers.dispatch.settings import Delivery
    from triggers.dispatch.traffic import Road, Traffic
    from triggers.store.database import Connection
    from triggers.store.states import Claim, Leaving, Queued, Ruling
    from triggers.store.writer import Writer

COMMANDS_IN_A_CLAIM: Final = 200
LONGEST_SLEEP_S: Final = 5.0
HELD_SLEEP_S: Final = 0.02
FAULTY_AGAIN: Final = 10 * MINUTE
SHORTEST_SLEEP_S: Final = 0.002
"""Slots that become free within such a time are filled together."""
T = TypeVar("T")

_log = structlog.get_logger("dispatch")


class Claimed(NamedTuple):
    """What a claim brought, and when the next command of its class is due (epoch ms), if it has one."""

    claim: Claim
    due: int | None


class Dispatcher:
    """Runs on the event loop. ``now`` is the real time in epoch ms; ``moved`` and ``ended`` are told what ``Ears`` says.

    ``chance`` spreads the backoff. ``virtual`` is true where the messages' own time is not the wall's.
    """

    def __init__(
        self,
        writer: Writer,
        delivery: Delivery,
        traffic: Traffic,
        claiming: Claiming,
        hearing: Hearing,
        inflight: InFlight,
        *,
        now: Callable[[], int],
        moved: Callable[[str, str, int], None],
        ended: Callable[[str, str], None],
        virtual: bool = False,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._writer = writer
        self._delivery = delivery
        self._traffic = traffic
        self._claiming = claiming
        self._hearing = hearing
        self._inflight = inflight
        self._settling = Settling(writer, hearing)
        self._now = now
        self._moved = moved
        self._ended = ended
        self._virtual = virtual
        self._chance = chance
        self._signals = {klass: asyncio.Event() for klass in CLASSES}
        self._without_room: set[str] = set()
        self._carrying: set[asyncio.Task[None]] = set()
        self._fault: BaseException | None = None
        self._stopping = False

    # From start to end

    def recover(self) -> dict[str, int]:
        """Settle what a killed service left in ``sending``, and count the commands by state. Call it once, at start."""

        def work(connection: Connection) -> tuple[int, dict[str, int]]:
            lost, now = being_sent(connection), self._now()
            answer = Unknown("killed")
            settle_all(connection, [(each, settled(each, answer, now, self._chance())) for each in lost], now)
            told = named_early(connection) if lost else set()
            for leaving in lost:
                if leaving.queued.send.id in told:
                    self._hearing.early(connection, leaving, now)
            return len(lost), counts(connection)

        lost, states = self._writer.submit(work).result()
        if lost:
            _log.warning("messages were leaving when the service was killed; they may have left", commands=lost)
        return states

    def more(self, klass: str | None = None) -> None:
        """Tell that there are new commands, of a class or of any. Call it on the event loop."""
        for signal in self._signals.values() if klass is None else (self._signals[klass],):
            signal.set()

    async def run(self) -> None:
        """Send what is queued, and then what comes, until told to stop; then wait for what is under way."""
        await asyncio.gather(*(self._lane(klass) for klass in CLASSES))
        if self._carrying:
            await asyncio.wait(self._carrying)
        if self._fault is not None:
            raise self._fault

    async def drain(self) -> None:
        """Send what may leave now, as fast as its gateways take it, and return when nothing more may."""
        wait_s: float | None = 0.0
        while wait_s is not None and self._fault is None:
            turns = [await self._turn(klass) for klass in CLASSES]
            if self._carrying:
                await asyncio.wait(self._carrying)
            elif None not in turns:
                wait_s = await self._paced_s()
                await asyncio.sleep(wait_s or 0.0)
        if self._fault is not None:
            raise self._fault

    async def _paced_s(self) -> float | None:
        """Tell in how many seconds a gateway that works takes what waits for its rate; None where nothing does."""
        due = await self._commit(lambda connection: {klass: next_due(connection, klass) for klass in CLASSES})
        now = self._now()
        waiting = [klass for klass, at in due.items() if at is not None and at <= now]
        return min(
            (self._traffic.ready_in_s(each, now) for each in waiting if self._traffic.works(each, now)), default=None
        )

    def stop(self) -> None:
        """End ``run`` after the messages that are being sent."""
        self._stopping = True
        self.more()

    # A lane

    async def _lane(self, klass: str) -> None:
        signal = self._signals[klass]
        while not self._stopping:
            signal.clear()
            sleep_s = await self._turn(klass)
            if sleep_s is None or self._stopping:
                continue
            try:
                async with asyncio.timeout(max(sleep_s, SHORTEST_SLEEP_S)):
                    await signal.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(SHORTEST_SLEEP_S)

    async def _turn(self, klass: str) -> float | None:
        """Claim what can leave and begin to send it; gives the seconds to sleep, None where there may be more at once."""
        now = self._now()
        roads = self._traffic.ask(klass, COMMANDS_IN_A_CLAIM, now)
        if not roads.room:
            self._traffic.give_back(roads, now)
            self._without_room.add(klass)
            return self._traffic.ready_in_s(klass, now)
        try:
            found, due = await self._commit(lambda connection: self._claim(connection, klass, roads))
        finally:
            self._give_back(roads)
        for leaving in found.leaving:
            task = asyncio.create_task(self._carry(leaving, self._traffic.roads[leaving.go.gateway]))
            self._carrying.add(task)
            task.add_done_callback(self._carried)
        self._tell(found)
        now = self._now()
        if found.leaving or found.ended:
            return None
        if due is not None and due <= now:  # all that was looked at is held, the rest perhaps, too
            return HELD_SLEEP_S if found.held else None
        return LONGEST_SLEEP_S if due is None else min(LONGEST_SLEEP_S, (due - now) / 1_000)

    def _give_back(self, roads: Roads) -> None:
        """Give back what was not used, and wake the lanes that found no room since this one had it."""
        self._traffic.give_back(roads, self._now())
        if any(roads.permits.values()):
            self._wake_for_room()

    def _wake_for_room(self) -> None:
        while self._without_room:
            self._signals[self._without_room.pop()].set()

    def _claim(self, connection: Connection, klass: str, roads: Roads) -> Claimed:
        """Claim, on the writer's thread. What leaves is in flight before the transaction ends."""
        now = self._now()
        found = claim(connection, klass, roads.room, now, lambda queued: self._rule(connection, queued, roads, now))
        for leaving in found.leaving:
            self._inflight.begin(leaving.queued.seq, _keys(leaving))
        return Claimed(found, next_due(connection, klass))

    def _rule(self, connection: Connection, queued: Queued, roads: Roads, now: int) -> Ruling:
        """Look at a message; one that cannot be looked at waits, and stops nothing but itself."""
        try:
            return self._claiming.rule(connection, queued, roads, now)
        except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError):
            _log.exception("a message could not be looked at, and waits", command=queued.send.id, rule=queued.send.rule)
            return Hold(now + FAULTY_AGAIN, "fault")

    def _tell(self, found: Claim) -> None:
        if found.leaving:
            self._moved(QUEUED, SENDING, len(found.leaving))
        for queued, ruling in found.ended:
            self._moved(QUEUED, ruling.state, 1)
            self._ended(queued.send.rule, ruling.reason)

    # One message

    async def _carry(self, leaving: Leaving, road: Road) -> None:
        message, began_at = self._outgoing(leaving, road), self._now()
        try:
            answer: Answer = await road.gateway.send(message)
        except Exception as error:  # noqa: BLE001  whatever a gateway raises, the message may have left
            kind = type(error).__name__  # its words may hold a number or a text
            _log.error("a message may have left", gateway=road.gateway.name, command=message.command, error=kind)
            answer = Unknown(kind)
        now = self._now()
        self._inflight.finish(leaving.queued.seq, _keys(leaving))
        changed = self._traffic.ended(road.gateway.name, answer, now, began_at)
        self._wake_for_room()
        move = settled(leaving, answer, now, self._chance())
        followed = await self._settling.settle(Answered(leaving, answer, move, now))
        self._moved(SENDING, move.state, 1)
        self._hearing.tell(followed)
        if changed is not None:
            await self._hearing.gateway_changed(road.gateway.name, "", *map(str, changed), why=answer.code)
        if changed is not None or move.state == QUEUED:
            self.more()

    def _outgoing(self, leaving: Leaving, road: Road) -> Outgoing:
        (queued, go), settings = leaving, road.settings
        send, now = queued.send, self._now()
        of = send.rule or send.klass
        code = settings.templates.get(f"{of}/{send.variant}") or settings.templates.get(of)
        secret, public_url = settings.secret, self._delivery.public_url
        callback = None
        if secret is not None and public_url is not None and road.receipts:
            callback = callback_url(public_url, road.gateway.name, secret.get_secret_value(), send.id)
        valid_until = now + max(HOUR, go.valid_until - send.at) if self._virtual else go.valid_until
        return Outgoing(
            command=send.id,
            attempt=queued.attempts + 1,
            phone=go.phone,
            text=send.text,
            klass=send.klass,
            valid_until=valid_until,
            callback=callback,
            template=None if code is None else Template(code, send.params or {}),
            rule=send.rule,
            at=send.at if self._virtual else now,
        )

    def _carried(self, task: asyncio.Task[None]) -> None:
        self._carrying.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._fault = self._fault or task.exception()
            self.stop()

    async def _commit(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.wrap_future(self._writer.submit(work))


def _keys(leaving: Leaving) -> tuple[str, ...]:
    return tuple(filter(None, (leaving.go.phone, leaving.queued.send.customer)))
