"""What comes back: receipts and replies, stored with the moves and the events they cause, in one transaction each.

A delivery becomes ``message.delivered`` or ``.undelivered`` in the log; an opt-out suppresses the number and becomes
``customer.unsubscribed`` for each customer who has it, before whoever told it is answered.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import structlog

from triggers.core.decisions import Send
from triggers.core.intake import decode
from triggers.dispatch.gateway import Fate, Reply
from triggers.dispatch.phones import country_of, read_phone
from triggers.dispatch.replies import Meaning, read_reply
from triggers.store.contacts import customers_with
from triggers.store.event_log import Arrival
from triggers.store.gateway_log import Change, note_change
from triggers.store.outbox import ACCEPTED, UNKNOWN, give_back, move, name
from triggers.store.receipts import Credited, Report, catch_up, named_by, report
from triggers.store.replies import Answered, keep_reply
from triggers.store.suppressions import Suppression, allow, suppress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from triggers.dispatch.gateway import Answer, Heard, Receipt
    from triggers.dispatch.inflight import InFlight
    from triggers.dispatch.settings import Delivery
    from triggers.store.database import Connection
    from triggers.store.event_log import Entry, EventLog
    from triggers.store.outbox import Leaving
    from triggers.store.writer import Writer

SOURCE: Final = "triggers.dispatch"
"""The source of the events that delivery brings."""
MOST_CODE: Final = 120
MOST_TEXT: Final = 1_000
CHINA: Final = "CN"

_log = structlog.get_logger("dispatch")
_send = msgspec.json.Decoder(Send)


class Followed(NamedTuple):
    """What followed from something that was heard: moves between states, and events that entered the log."""

    moves: list[tuple[str, str]]
    entries: list[Entry]


class Hearing:
    """Takes what gateways tell. ``now`` is the wall's time, ``engine_now`` the log's; both epoch ms.

    ``moved`` is told of moves between states, ``entered`` of events that entered the log; both from any thread.
    """

    def __init__(
        self,
        writer: Writer,
        log: EventLog,
        inflight: InFlight,
        delivery: Delivery,
        *,
        now: Callable[[], int],
        engine_now: Callable[[], int],
        moved: Callable[[str, str, int], None],
        entered: Callable[[list[Entry]], None],
    ) -> None:
        self._writer = writer
        self._log = log
        self._inflight = inflight
        self._delivery = delivery
        self._now = now
        self._engine_now = engine_now
        self._moved = moved
        self._entered = entered

    async def hear(self, gateway: str, heard: Heard) -> None:
        """Store what a gateway told; returns when it is on the disk and every opt-out in it holds."""
        work = _Work(self, gateway)
        await self._done(work, lambda connection: work.take(connection, heard))

    async def stop(self, phone: str, reason: str, author: str) -> None:
        """Suppress a number (E.164); returns when nothing commercial leaves to it any more."""
        work = _Work(self, "")
        await self._done(work, lambda connection: work.opt_out(connection, phone, reason, author))

    async def gateway_changed(self, gateway: str, klass: str, old: str, new: str, *, why: str) -> None:
        """Write a change of a gateway's standing down, and tell it."""
        change = Change(self._now(), gateway, klass, old, new, why[:MOST_CODE])
        await asyncio.wrap_future(self._writer.submit(lambda connection: note_change(connection, change)))
        _log.warning("a gateway changed", gateway=gateway, klass=klass or "all", old=old, new=new, why=why[:MOST_CODE])

    async def _done(self, work: _Work, begin: Callable[[Connection], None]) -> None:
        def transaction(connection: Connection) -> Followed:
            begin(connection)
            return Followed(work.moves, work.enter(connection))

        self.tell(await asyncio.wrap_future(self._writer.submit(transaction)))
        if work.stopped:
            await self._inflight.over(work.stopped)

    def tell(self, followed: Followed) -> None:
        """Tell what followed, once that is on the disk."""
        for old, new in followed.moves:
            self._moved(old, new, 1)
        if followed.entries:
            self._entered(followed.entries)

    # Inside the dispatcher's own transactions, on the writer's thread

    def answered(self, connection: Connection, leaving: Leaving, answer: Answer, now: int) -> Followed:
        """Take in what an answer says beside its state, and the receipts that were faster than it."""
        work = _Work(self, leaving.go.gateway)
        if getattr(answer, "blacklisted", False):
            work.opt_out(connection, leaving.go.phone, "blacklisted", f"gateway {leaving.go.gateway}")
        work.credit(connection, catch_up(connection, leaving.queued.seq, now))
        return Followed(work.moves, work.enter(connection))

    def early(self, connection: Connection, leaving: Leaving, now: int) -> None:
        """Take in the receipts for a message whose answer was lost when the service was killed."""
        work = _Work(self, leaving.go.gateway)
        work.credit(connection, catch_up(connection, leaving.queued.seq, now))
        work.enter(connection)


class _Work:
    """What one transaction does, on the writer's thread, and what must follow it: ``moves`` and ``stopped``."""

    def __init__(self, hearing: Hearing, gateway: str) -> None:
        self._hearing = hearing
        self._delivery = hearing._delivery  # noqa: SLF001  its own
        self._gateway = gateway
        self._now = hearing._now()  # noqa: SLF001
        self._at = hearing._engine_now()  # noqa: SLF001
        self._events: list[dict[str, object]] = []
        self.moves: list[tuple[str, str]] = []
        self.stopped: set[str] = set()

    def take(self, connection: Connection, heard: Heard) -> None:
        for receipt in heard.receipts:
            self._take_receipt(connection, receipt)
        for reply in heard.replies:
            self._take_reply(connection, reply)

    def _take_receipt(self, connection: Connection, receipt: Receipt) -> None:
        told = Report(
            self._gateway,
            receipt.provider_id,
            receipt.command,
            None,
            str(receipt.fate),
            receipt.code[:MOST_CODE],
            receipt.at,
            receipt.invalid_number,
            receipt.blacklisted,
        )
        readings = [told._replace(phone=phone) for phone in self._phones(receipt.phone or "")] or [told]
        told = next((each for each in readings if named_by(connection, each) is not None), readings[0])
        if receipt.fate is Fate.ON_ITS_WAY:
            found = named_by(connection, told)
            if found is not None and found[1] == UNKNOWN:  # so the gateway has it
                move(connection, found[0], UNKNOWN, ACCEPTED, self._now, reason="on its way")
                name(connection, found[0], receipt.provider_id)
                self.moves.append((UNKNOWN, ACCEPTED))
                self.credit(connection, catch_up(connection, found[0], self._now))
            return
        self.credit(connection, report(connection, told, self._now))

    def credit(self, connection: Connection, credited: Credited | None) -> None:
        """Tell the log what became of a message, and see to the money."""
        if credited is None:
            return
        new = str(credited.report.fate)
        self.moves.append((credited.old, new))
        settings = self._delivery.gateways.get(credited.report.gateway)
        if new == Fate.UNDELIVERED and settings is not None and settings.billing == "delivered":
            give_back(connection, credited.seq)
        if credited.report.blacklisted and credited.phone is not None:
            self.opt_out(connection, credited.phone, "blacklisted", f"gateway {credited.report.gateway}")
        if credited.rule:
            send = _send.decode(credited.body)
            self._events.append(
                {
                    "id": f"{new}:{credited.command}",
                    "type": f"message.{new}",
                    "customer": credited.customer,
                    "rule_id": send.rule,
                    "wave": send.wave,
                    "variant": send.variant,
                }
            )

    def _take_reply(self, connection: Connection, reply: Reply) -> None:
        phones = self._phones(reply.phone)
        if not phones:
            _log.warning("a reply came from what is no number", gateway=self._gateway)
            return
        phone = next((each for each in phones if customers_with(connection, each)), phones[0])
        read = read_reply(reply.text, country_of(phone) or self._delivery.country)
        kept = Answered(self._gateway, reply.id, phone, reply.text[:MOST_TEXT], str(read.meaning), read.alarm, reply.at)
        number = keep_reply(connection, kept, self._now)
        if number is None:  # told again, perhaps before the first telling is answered: this one waits, too
            if read.meaning is Meaning.STOP:
                self.stopped.update(phones, *(customers_with(connection, each) for each in phones))
            return
        if read.alarm:
            _log.error("a reply threatens a complaint", gateway=self._gateway, reply=number)
        if read.meaning is Meaning.STOP:
            for each in phones:  # better one person too many than the right one not
                self.opt_out(connection, each, "reply", f"gateway {self._gateway}", cause=f"reply-{number}")
        elif read.meaning is Meaning.START:
            self._opt_in(connection, phone, f"reply-{number}")

    def opt_out(self, connection: Connection, phone: str, reason: str, author: str, cause: str = "") -> None:
        """Suppress a number, and unsubscribe the customers who have it."""
        added = suppress(connection, Suppression(phone, reason, author, self._now))
        customers = customers_with(connection, phone)
        self.stopped |= {phone, *customers}
        if added or cause:
            self._say("customer.unsubscribed", customers, cause or f"{reason}-{self._now}")

    def _opt_in(self, connection: Connection, phone: str, cause: str) -> None:
        allow(connection, Suppression(phone, "reply", f"gateway {self._gateway}", self._now))
        self._say("customer.subscribed", customers_with(connection, phone), cause)

    def _say(self, kind: str, customers: Iterable[str], cause: str) -> None:
        self._events += [
            {"id": f"{kind}:{customer}:{cause}", "type": kind, "customer": customer} for customer in customers
        ]

    def enter(self, connection: Connection) -> list[Entry]:
        """Put the events into the log: the last step of the transaction."""
        arrivals: Sequence[Arrival] = [self._arrival(event) for event in self._events]
        return self._hearing._log.enter(connection, arrivals) if arrivals else []  # noqa: SLF001

    def _arrival(self, event: dict[str, object]) -> Arrival:
        told = {key: value for key, value in event.items() if value is not None}
        body = msgspec.json.encode({**told, "source": SOURCE, "at": self._at})
        return Arrival(body, decode(body, far_future_ok=True), SOURCE)

    def _phones(self, text: str) -> list[str]:
        """Read a number as gateways write it: digits alone may begin with a country's code, or be a local number."""
        written = (text,) if text.startswith("+") else (f"+{text}", text)
        found = (read_phone(each, self._delivery.country) for each in written)
        return list(dict.fromkeys(each.e164 for each in found if each is not None))
