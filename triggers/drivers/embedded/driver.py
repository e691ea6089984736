"""Drives the core over the store: events in the order of the log, timers between them, all committed together.

It is the replay, with customers that live in the store. After each turn one transaction holds the touched customers,
the decisions, the commands, the ledger, and the place in the log and in time that they stand for; a crash goes back to
the last such turn and decides the same again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from triggers.core.decisions import Decision, LateCancel, Send
from triggers.core.engine import reconcile
from triggers.core.ledger import Ledger
from triggers.core.times import NEVER, month_text
from triggers.drivers.embedded.shelf import Shelf
from triggers.replay.replay import Replay
from triggers.store.customers import save_customers, waking
from triggers.store.decisions import append_decisions, row_of
from triggers.store.event_log import oldest_after, read_events
from triggers.store.outbox import cancel, queue
from triggers.store.progress import Progress, save_progress
from triggers.store.states import Command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from triggers.clock import Clock
    from triggers.core.events import AnyEvent
    from triggers.core.rulebook import Rulebook
    from triggers.drivers.embedded.shelf import Limit
    from triggers.store.database import Connection
    from triggers.store.event_log import EventLog, Logged
    from triggers.store.writer import Writer

EVENTS_IN_A_TURN = 500


class Outcome(msgspec.Struct, frozen=True):
    """What one commit brought: decisions with the customer's number at the time, and how many commands are new.

    ``cancelled`` counts those that were taken back before they left.
    """

    decisions: list[tuple[Decision, str | None]]
    new_commands: int
    clock: int
    cancelled: int = 0


class Driver(Replay):
    """The embedded engine. All of it runs on one thread; ``position`` and ``clock`` may be read from any.

    ``idle`` says that there was nothing to do at the last turn. ``told`` is called after each commit.
    """

    def __init__(
        self,
        rulebook: Rulebook,
        reader: Connection,
        writer: Writer,
        log: EventLog,
        progress: Progress,
        *,
        clock: Clock,
        now: Callable[[], int],
        told: Callable[[Outcome], None],
        in_memory: Limit,
    ) -> None:
        super().__init__(rulebook, self._take, clock=_reached(reader, progress, clock))
        self._reader, self._writer, self._log = reader, writer, log
        self._time, self._now, self._told = clock, now, told
        self.customers = self._shelf = Shelf(reader, in_memory, self._spill)
        self.position = self._applied = progress.position
        self._committed_clock = self.clock
        self._revision = progress.revision or rulebook.revision
        self.idle = False
        self._made: list[tuple[Decision, str | None]] = []
        self._ledger_kept = progress.ledger
        if progress.ledger is not None:
            self.ledger = msgspec.msgpack.decode(progress.ledger, type=Ledger)
        for wake, name in waking(reader):
            self._wanted[name] = wake
            self.wakes.add(wake, name)

    @property
    def settled(self) -> bool:
        """Whether all customers have been moved over to the rules at hand."""
        return self._revision == self.rulebook.revision

    def change(self, rulebook: Rulebook) -> None:
        """Move all customers over to an edited set of rules at the clock's instant, and commit.

        The store goes on naming the old set until the last customer has been moved, so a crash in between begins anew.
        """
        self.rulebook = rulebook
        self._notes = rulebook.shares or any(rule.waves for rule in rulebook.rules.values())
        for old, new in rulebook.renamed.items():
            self.ledger.rename(old, new)
        for name in list(self._shelf):
            customer = self.customers[name]
            # Also those who wait for nothing: limits move with a rule's name (S39), and slots of the past stay shut (S31).
            self._hand_over(reconcile(rulebook, customer, self.clock))
            self._want(customer)
        self._revision = rulebook.revision
        self._commit()

    def next_wake(self) -> int:
        """Tell the first instant at which a timer or a slot wants to act; NEVER if there is none. Epoch ms."""
        slot = self.rulebook.next_slot(self.clock - 1) if self.rulebook.has_slots else NEVER
        return min(self.wakes.next(), slot)

    def turn(self) -> bool:
        """Decide on the next events, or let time pass once the log is read to the end; False if nothing is to do."""
        events = read_events(self._reader, self.position, EVENTS_IN_A_TURN)
        self.idle = not events and self.next_wake() >= self._time.now()
        if events:
            self._shelf.fetch([logged.event.customer for logged in events])
            self.play(self._handed_out(events))
            self._applied = events[-1].seq
            self._commit()
            self.position = self._applied
            return True
        if self.idle:
            return False
        horizon = self._log.horizon().result()
        if horizon.seq == self.position:
            self.run_until(horizon.at)
            self._commit()
        return True

    def _handed_out(self, events: list[Logged]) -> Iterator[AnyEvent]:
        for logged in events:
            yield logged.event  # type: ignore[misc]  # one of AnyEvent
            self._applied = logged.seq

    def _take(self, decision: Decision) -> None:
        phone = self.customers[decision.customer].facts.phone if isinstance(decision, Send) else None
        self._made.append((decision, phone))

    def _spill(self) -> None:
        """Commit in the middle of a turn, when it touches more customers than may be in memory.

        The clock is kept where the last turn ended: after a crash the timers since then are looked at again, and those
        that have acted have nothing more to do.
        """
        self._save(self._committed_clock)

    def _commit(self) -> None:
        self._save(self.clock)
        self._committed_clock = self.clock

    def _save(self, clock: int) -> None:
        rows, made, revision = self._shelf.encoded(self._applied), self._made, self.rulebook.revision
        decided = [row for decision, _ in made if (row := row_of(decision, revision)) is not None]
        commands = [
            Command(decision, phone)
            for decision, phone in made
            if isinstance(decision, Send) and not decision.withheld and not decision.shadow
        ]
        ledger = msgspec.msgpack.encode(self.ledger) if self._notes else None
        changed = None if ledger == self._ledger_kept else ledger
        progress = Progress(self._applied, clock, changed, self._revision)
        # In virtual time a message has left by the time of any later event, however far the gateways have come.
        late = [] if self._time.virtual else [each for each, _ in made if isinstance(each, LateCancel)]
        now, zone, names_of = self._now(), self.rulebook.shop.zone, self.rulebook.names_of

        def work(connection: Connection) -> tuple[int, int]:
            save_customers(connection, rows)
            append_decisions(connection, decided)
            save_progress(connection, progress)
            new = queue(connection, commands, now, lambda send: month_text(zone.wall(send.at)))
            cancelled = [
                cancel(connection, each.customer, (name, each.identity, each.anchor), f"by {each.event}", now)
                for each in late
                for name in names_of(each.rule)
            ]
            return new, sum(cancelled)

        new, cancelled = self._writer.submit(work).result()
        self._ledger_kept = ledger or self._ledger_kept
        self._shelf.put_back()
        self._made = []
        self._told(Outcome(made, new, self.clock, cancelled))


def _reached(reader: Connection, progress: Progress, clock: Clock) -> int:
    """Tell up to when everything is decided: before the first commit that is where the log begins."""
    if progress.clock is not None:
        return progress.clock
    began = oldest_after(reader, 0)
    return clock.now() if began is None else began
