"""What gateways tell, taken in: receipts credited, opt-outs in force, and the events that they become, at one stroke."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from triggers.core.decisions import Send
from triggers.core.flaws import MAX_KEY
from triggers.core.intake import decode
from triggers.core.times import NEVER
from triggers.dispatch.gateway import Fate, Reply
from triggers.dispatch.phones import country_of, read_phone
from triggers.dispatch.replies import Meaning, read_reply
from triggers.store.contacts import customers_with
from triggers.store.event_log import Arrival
from triggers.store.outbox import give_back, move, name
from triggers.store.receipts import Credited, Report, catch_up, named_by, report
from triggers.store.replies import Answered, keep_reply
from triggers.store.states import ACCEPTED, UNKNOWN
from triggers.store.suppressions import Suppression, allow, suppress, suppression_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from triggers.dispatch.gateway import Heard, Receipt
    from triggers.dispatch.settings import Delivery
    from triggers.store.database import Connection
    from triggers.store.event_log import Entry, Log

SOURCE: Final = "triggers.dispatch"
"""The source of the events that delivery brings."""
REPLY: Final = "reply"
"""Why a number is suppressed whose owner said so."""
MOST_CODE: Final = 120
MOST_TEXT: Final = 1_000
MOST_ID: Final = 500

_log = structlog.get_logger("dispatch")
_send = msgspec.json.Decoder(Send)


class Tidings:
    """What one transaction takes in, on the writer's thread, and what must follow it: ``moves`` and ``stopped``.

    ``now`` is the wall's time, ``at`` the log's; both epoch ms. ``stopped`` are phones and customers who opted out.
    """

    def __init__(self, gateway: str, delivery: Delivery, log: Log, *, now: int, at: int) -> None:
        self._gateway = gateway
        self._delivery = delivery
        self._log = log
        self._now = now
        self._at = at
        self._events: list[dict[str, object]] = []
        self.moves: list[tuple[str, str]] = []
        self.stopped: set[str] = set()

    def take(self, connection: Connection, heard: Heard) -> None:
        """Take in what a gateway told."""
        for receipt in heard.receipts:
            self._take_receipt(connection, receipt)
        for reply in heard.replies:
            self._take_reply(connection, reply)

    def _take_receipt(self, connection: Connection, receipt: Receipt) -> None:
        told = Report(
            self._gateway,
            _id(receipt.provider_id),
            _id(receipt.command),
            None,
            str(receipt.fate),
            _whole(receipt.code, MOST_CODE),
            _instant(receipt.at),
            receipt.invalid_number,
            receipt.blacklisted,
        )
        readings = [told._replace(phone=phone) for phone in self._phones(receipt.phone or "")] or [told]
        told = next((each for each in readings if named_by(connection, each) is not None), readings[0])
        if receipt.fate is Fate.ON_ITS_WAY:
            found = named_by(connection, told)
            if found is not None and found[1] == UNKNOWN:  # so the gateway has it
                move(connection, found[0], UNKNOWN, ACCEPTED, self._now, reason="on its way")
                name(connection, found[0], told.provider_id)
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
        text = _whole(reply.text, MOST_TEXT)
        kept = Answered(
            self._gateway,
            _id(reply.id),
            phone,
            text,
            str(read.meaning),
            read.alarm,
            _instant(reply.at),
        )
        number = keep_reply(connection, kept, self._now)
        if number is None:  # told again, perhaps before the first telling is answered: this one waits, too
            if read.meaning is Meaning.STOP:
                self.stopped.update(phones, *(customers_with(connection, each) for each in phones))
            return
        if read.alarm:
            _log.error("a reply threatens a complaint", gateway=self._gateway, reply=number)
        if read.meaning is Meaning.STOP:
            for each in phones:  # better one person too many than the right one not
                self.opt_out(connection, each, REPLY, f"gateway {self._gateway}", cause=f"reply-{number}")
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
        """Take back what the person themselves asked for; what others put on the list, only they take off it."""
        if suppression_of(connection, phone) not in (None, REPLY):
            _log.warning(
                "a START changes nothing: others put the number on the list", gateway=self._gateway, cause=cause
            )
            return
        allow(connection, Suppression(phone, REPLY, f"gateway {self._gateway}", self._now))
        self._say("customer.subscribed", customers_with(connection, phone), cause)

    def _say(self, kind: str, customers: Iterable[str], cause: str) -> None:
        self._events += [
            {"id": _event_id(kind, customer, cause), "type": kind, "customer": customer} for customer in customers
        ]

    def enter(self, connection: Connection) -> list[Entry]:
        """Put the events into the log: the last step of the transaction."""
        arrivals: Sequence[Arrival] = [self._arrival(event) for event in self._events]
        return self._log.enter(connection, arrivals) if arrivals else []

    def _arrival(self, event: dict[str, object]) -> Arrival:
        told = {key: value for key, value in event.items() if value is not None}
        body = msgspec.json.encode({**told, "source": SOURCE, "at": self._at})
        return Arrival(body, decode(body, far_future_ok=True), SOURCE)

    def _phones(self, text: str) -> list[str]:
        """Read a number as gateways write it: digits alone may begin with a country's code, or be a local number."""
        written = (text,) if text.startswith("+") else (f"+{text}", text)
        found = (read_phone(each, self._delivery.country) for each in written)
        return list(dict.fromkeys(each.e164 for each in found if each is not None))


def _event_id(kind: str, customer: str, cause: str) -> str:
    """Name an event, also where the customer's name leaves no room for it: else the log would not take it."""
    whole = f"{kind}:{customer}:{cause}"
    return whole if len(whole) <= MAX_KEY else f"{kind}:{hashlib.sha256(whole.encode()).hexdigest()}"


def _whole(text: str, most: int) -> str:
    """Bound a text, and replace what no disk takes: half of a surrogate pair."""
    return text[:most].encode(errors="replace").decode()


def _id(text: str | None) -> str | None:
    """Take an id that is too long to be kept for untold: the first half of it may be another's."""
    return None if text is None or len(text) > MOST_ID else _whole(text, MOST_ID)


def _instant(at: int | None) -> int | None:
    """Take a time that nobody can mean for untold."""
    return at if at is not None and 0 <= at < NEVER else None
