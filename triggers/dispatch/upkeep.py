"""What the dispatcher does from time to time: it asks after what is unknown, ends what is overdue, and watches.

Gateways are watched by the arrival of what they took, rules by how many of their messages arrive and how many people
answer with an opt-out. Each change is a row in the database and a line in the log.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from triggers.core.times import DAY, HOUR, MINUTE
from triggers.dispatch.arrival import Standing, judge
from triggers.dispatch.gateway import Fate, Heard, Receipt, Rejected, Settles, Sought
from triggers.dispatch.promises import CLASSES
from triggers.dispatch.resets import Resets
from triggers.store.claims import pause, pauses
from triggers.store.gateway_log import Fared, counted_since, fared, last_changes, rule_fared, tells
from triggers.store.outbox import move
from triggers.store.overdue import gateways_with, open_since, overdue
from triggers.store.states import ACCEPTED, EXPIRED, UNKNOWN, UNKNOWN_FINAL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from triggers.core.rules import Stop
    from triggers.dispatch.claiming import Rules
    from triggers.dispatch.hearing import Hearing
    from triggers.dispatch.traffic import Traffic
    from triggers.store.claims import Pause
    from triggers.store.database import Connection
    from triggers.store.gateway_log import Response
    from triggers.store.overdue import Open
    from triggers.store.writer import Writer

UNKNOWN_FOR: Final = DAY
NO_RECEIPT_FOR: Final = 72 * HOUR
OLD_ENOUGH: Final = 30 * MINUTE
"""A message so old that has no receipt counts as not arrived."""
WATCHED: Final = DAY
RULE_WATCHED: Final = 30 * DAY
ASKED_AT: Final = (MINUTE, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 8 * HOUR, 23 * HOUR)
"""How old an unknown message is when its gateway is asked for it."""
MOST_AT_ONCE: Final = 1_000
MOST_ASKED: Final = 20

T = TypeVar("T")

_log = structlog.get_logger("dispatch")


class Upkeep:
    """Runs on the event loop, and reads by a ``reader`` of its own.

    ``now`` is the wall's time in epoch ms; ``paused`` is told of rules that were paused.
    """

    def __init__(
        self,
        writer: Writer,
        reader: Connection,
        traffic: Traffic,
        hearing: Hearing,
        rules: Callable[[], Rules],
        *,
        now: Callable[[], int],
        moved: Callable[[str, str, int], None],
        paused: Callable[[], None],
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._traffic = traffic
        self._hearing = hearing
        self._rules = rules
        self._now = now
        self._moved = moved
        self._paused = paused
        self._resets = Resets(writer, traffic, hearing, now)
        self._asked: dict[int, int] = {}
        self._gone: dict[str, bool] = {}
        self._warned: dict[tuple[str, Stop], int] = {}
        self._standings: dict[tuple[str, str], Standing] = {}
        self._known_pauses: list[Pause] = []

    async def begin(self) -> None:
        """Take up where the database says that things stood."""
        await self._resets.begin()
        changes = await self._look(last_changes)
        for (name, klass), change in changes.items():
            if klass and change.new in set(Standing) and name in self._traffic.roads:
                self._standings[name, klass] = Standing(change.new)
                if change.new == Standing.DEMOTED:
                    self._traffic.demoted.add((name, klass))
        self._known_pauses = await self._look(pauses)

    async def run(self, every_s: float) -> None:
        """Look after everything again and again, until cancelled; a gateway that does not answer delays nothing else."""
        async with asyncio.TaskGroup() as group:
            for work in (self.watch, self.ask):
                group.create_task(_repeat(work, every_s))

    async def turn(self) -> None:
        """Look after everything once."""
        await self.watch()
        await self.ask()

    async def watch(self) -> None:
        """End what is overdue, and judge gateways and rules."""
        await self._resets.turn()
        await self._end_overdue()
        await self._watch_gateways()
        await self._watch_rules()

    async def _look(self, work: Callable[[Connection], T]) -> T:
        """Read beside the writer: to count a month of messages takes a while, and nothing should wait for it."""
        return await asyncio.to_thread(work, self._reader)

    async def _commit(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.wrap_future(self._writer.submit(work))

    # What is overdue

    async def _end_overdue(self) -> None:
        now, telling = self._now(), await self._look(self._telling)

        def work(connection: Connection) -> tuple[int, int]:
            unknown = overdue(connection, UNKNOWN, now - UNKNOWN_FOR, MOST_AT_ONCE)
            for seq in unknown:
                move(connection, seq, UNKNOWN, UNKNOWN_FINAL, now, reason="no word within 24 h")
            silent = [
                seq
                for name in telling
                for seq in overdue(connection, ACCEPTED, now - NO_RECEIPT_FOR, MOST_AT_ONCE, gateway=name)
            ]
            for seq in silent:
                move(connection, seq, ACCEPTED, EXPIRED, now, reason="no receipt within 72 h")
            return len(unknown), len(silent)

        unknown, silent = await self._commit(work)
        if unknown:
            self._moved(UNKNOWN, UNKNOWN_FINAL, unknown)
        if silent:
            self._moved(ACCEPTED, EXPIRED, silent)

    def _telling(self, connection: Connection) -> list[str]:
        """List the gateways whose accepted messages wait for a receipt; one that left the settings told if it ever did."""
        roads = self._traffic.roads
        names = gateways_with(connection, ACCEPTED)
        for name in names:
            if name not in roads and name not in self._gone:
                self._gone[name] = tells(connection, name)
        return [name for name in names if (roads[name].receipts if name in roads else self._gone[name])]

    async def ask(self) -> None:
        """Ask the gateways that can be asked what became of messages that may have left, all at the same time."""
        asked = {name: road.gateway for name, road in self._traffic.roads.items() if isinstance(road.gateway, Settles)}
        if not asked:
            return
        now = self._now()
        found = await self._look(lambda connection: open_since(connection, UNKNOWN, list(asked), MOST_AT_ONCE))
        self._asked = {each.seq: self._asked.get(each.seq, 0) for each in found}
        due = [each for each in found if self._is_due(each, now)]
        await asyncio.gather(
            *(self._ask_one(gateway, [each for each in due if each.gateway == name]) for name, gateway in asked.items())
        )

    async def _ask_one(self, gateway: Settles, due: list[Open]) -> None:
        for each in due[:MOST_ASKED]:
            self._asked[each.seq] += 1
            sought = Sought(each.command, each.provider_id, each.phone, each.left_at)
            try:
                told = await gateway.settle(sought)
            except Exception as error:  # noqa: BLE001  it is asked again later
                _log.warning("a gateway could not be asked", gateway=each.gateway, error=type(error).__name__)
                continue
            if told is not None:
                await self._hearing.hear(each.gateway, Heard(receipts=(_receipt(each, told),)))

    def _is_due(self, each: Open, now: int) -> bool:
        times = self._asked[each.seq]
        return times < len(ASKED_AT) and now - each.left_at >= ASKED_AT[times]

    # Gateways

    async def _watch_gateways(self) -> None:
        now = self._now()
        since = await self._look(lambda connection: counted_since(connection, Standing.DEMOTED))
        for name, road in self._traffic.roads.items():
            if road.receipts:
                for klass in CLASSES:
                    await self._watch(name, klass, max(now - WATCHED, since.get((name, klass), 0)), now)

    async def _watch(self, name: str, klass: str, since: int, now: int) -> None:
        """Judge a gateway by what left since; while it is demoted all of that are probes."""
        old = self._standings.get((name, klass), Standing.GOOD)
        seen = await self._look(lambda connection: fared(connection, name, klass, since, now - OLD_ENOUGH))
        new = _judge(old, seen)
        if new is old:
            return
        self._standings[name, klass] = new
        (self._traffic.demoted.add if new is Standing.DEMOTED else self._traffic.demoted.discard)((name, klass))
        share = seen.delivered / max(1, seen.judged - seen.invalid)
        why = f"{seen.delivered} of {seen.judged - seen.invalid} arrived ({share:.1%})"
        await self._hearing.gateway_changed(name, klass, str(old), str(new), why=why)

    # Rules

    async def _watch_rules(self) -> None:
        now, rules = self._now(), self._rules()
        known = await self._look(pauses)
        if known != self._known_pauses:  # somebody let one go on
            self._known_pauses = known
            self._paused()
        resumed = {each.rule: each.resumed_at for each in known}
        for rule in rules.rules.values():
            stops = rule.stop_if + rules.shop.safety
            if not stops or (rule.id in resumed and resumed[rule.id] is None):
                continue
            since = max(now - RULE_WATCHED, resumed.get(rule.id) or 0)
            seen = await self._look(partial(rule_fared, rule=rule.id, since=since, old_enough=now - OLD_ENOUGH))
            for stop in stops:
                if why := exceeded(stop, seen):
                    await self._stop(rule.id, stop, why, now)

    async def _stop(self, rule: str, stop: Stop, why: str, now: int) -> None:
        if stop.only_warn:
            if now - self._warned.get((rule, stop), -DAY) >= DAY:
                self._warned[rule, stop] = now
                _log.warning("a rule's messages do badly", rule=rule, why=why)
            return
        if await self._commit(lambda connection: pause(connection, rule, why, now)):
            _log.error("a rule was paused; `triggers rules resume` lets it go on", rule=rule, why=why)
            self._known_pauses = await self._look(pauses)
            self._paused()


async def _repeat(work: Callable[[], Awaitable[None]], every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        await work()


def exceeded(stop: Stop, seen: Response) -> str:
    """Tell what is too low or too high; empty where nothing is, or too few messages left to tell."""
    if stop.delivered_below is not None and seen.judged >= stop.after_sends:
        share = seen.delivered / seen.judged
        if share < stop.delivered_below:
            return f"{share:.1%} of {seen.judged} messages arrived, below {stop.delivered_below:.1%}"
    if stop.unsubscribed_above is not None and seen.sent >= stop.after_sends:
        share = seen.opted_out / seen.sent
        if share > stop.unsubscribed_above:
            return (
                f"{seen.opted_out} of {seen.sent} people opted out ({share:.1%}), above {stop.unsubscribed_above:.1%}"
            )
    return ""


def _judge(old: Standing, seen: Fared) -> Standing:
    valid = seen.judged - seen.invalid
    if old is Standing.DEMOTED:
        return judge(old, arrived=0, judged=0, probes_arrived=seen.delivered, probes_judged=valid)
    return judge(old, arrived=seen.delivered, judged=valid, probes_arrived=0, probes_judged=0)


def _receipt(each: Open, told: Receipt | Rejected) -> Receipt:
    """Name our command in what a gateway answered: it was asked for that one, so nothing is guessed."""
    if isinstance(told, Rejected):
        return Receipt(
            Fate.UNDELIVERED, None, each.command, None, told.code, None, told.invalid_number, told.blacklisted
        )
    return told._replace(command=each.command)
