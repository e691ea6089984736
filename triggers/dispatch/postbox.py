"""Takes messages that no rule sends, codes and notices, into the outbox: each once, by the key of whoever posts it.

A message is looked at here as it will be in the claim, so that whoever posts one that cannot leave is told at once.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import msgspec

from triggers.core.decisions import Send
from triggers.core.texts import segments
from triggers.core.times import DAY, HOUR, MINUTE, SECOND, month_text
from triggers.dispatch.copytext import MOST_PARTS, Copy, Flaw, refusal
from triggers.dispatch.phones import read_phone
from triggers.dispatch.promises import NOTICE, VERIFICATION
from triggers.language.findings import did_you_mean
from triggers.store.messages import codes_since, send_of
from triggers.store.outbox import queue
from triggers.store.states import Command

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from triggers.dispatch.claiming import Rules
    from triggers.dispatch.settings import Delivery
    from triggers.store.database import Connection
    from triggers.store.writer import Writer

EXPIRES_IN: Final = {VERIFICATION: 5 * MINUTE, NOTICE: DAY}
"""How long a message that does not say so itself may take to leave, in ms, by class: those that may be posted."""
LONGEST_CODES: Final = 31 * DAY
"""So far back the codes to a number are counted."""
SOONEST: Final = 10 * SECOND
LATEST: Final = {VERIFICATION: HOUR, NOTICE: 7 * DAY}


class Wanted(NamedTuple):
    """A message as it is asked for. ``to`` is a number as people write it.

    ``params`` and ``template`` are for gateways that have the text as a template: the values of its gaps, and its name
    among the templates of the class. ``expires_in`` in ms; None: what is usual for the class.
    """

    klass: str
    to: str
    text: str
    customer: str = ""
    params: Mapping[str, str] | None = None
    template: str | None = None
    expires_in: int | None = None


class Posted(NamedTuple):
    """The message is in the outbox under this command id; ``new`` is false where it was there before."""

    id: str
    new: bool


class PostedOtherwise(NamedTuple):
    """Another message was posted with the same key: this one is not taken."""

    id: str


class Unfit(NamedTuple):
    """The message cannot leave as it is; ``why`` is for whoever posts it."""

    why: str


class TooMany(NamedTuple):
    """The number got as many codes as it may; another may be posted after ``after_s`` seconds."""

    after_s: int


Answered: TypeAlias = Posted | PostedOtherwise | Unfit | TooMany


class Postbox:
    """Takes messages. ``now`` is the wall's time, ``at`` that of the engine; epoch ms.

    ``queued`` is told the class of each new message, on the event loop.
    """

    def __init__(
        self,
        writer: Writer,
        delivery: Delivery,
        rules: Callable[[], Rules],
        *,
        now: Callable[[], int],
        at: Callable[[], int],
        queued: Callable[[str], None],
    ) -> None:
        self._writer = writer
        self._delivery = delivery
        self._rules = rules
        self._now = now
        self._at = at
        self._queued = queued

    async def post(self, key: str, wanted: Wanted) -> Answered:
        """Queue a message, once by its key; returns when it is on the disk."""
        command = self._command(key, wanted)
        name, content, now = _id(key), self._content(wanted), self._now()
        zone = self._rules().shop.zone

        def work(connection: Connection) -> Answered:
            known = send_of(connection, name)
            if known is not None:
                return Posted(name, new=False) if known.revision == content else PostedOtherwise(name)
            if isinstance(command, Command):
                wait = self._wait(connection, command, now)
                if wait:
                    return TooMany(-(-wait // SECOND))
                queue(connection, [command], now, lambda send: month_text(zone.wall(send.at)))
                return Posted(name, new=True)
            return command

        answer = await asyncio.wrap_future(self._writer.submit(work))
        if isinstance(answer, Posted) and answer.new:
            self._queued(wanted.klass)
        return answer

    def _wait(self, connection: Connection, command: Command, now: int) -> int:
        """Tell in how many ms a code may go to a number again; 0: it may now."""
        if command.send.klass != VERIFICATION or command.phone is None or not self._delivery.codes:
            return 0
        zone = self._rules().shop.zone
        times = codes_since(connection, command.phone, now - LONGEST_CODES)
        full = [(most, span) for most, span in self._delivery.codes if len(times) >= most]
        return max([0, *(zone.add(times[-most] if most else now, span) - now for most, span in full)])

    def _content(self, wanted: Wanted) -> str:
        """Name what is asked for, so that the same key with other content is known."""
        phone = read_phone(wanted.to, self._delivery.country)
        params = None if wanted.params is None else dict(sorted(wanted.params.items()))  # their order says nothing
        told = wanted._replace(to=phone.e164 if phone else wanted.to, params=params)
        return hashlib.sha256(msgspec.json.encode(tuple(told))).hexdigest()

    def _command(self, key: str, wanted: Wanted) -> Command | Unfit:
        rules = self._rules()
        shop, copy = rules.shop, rules.copy
        phone = read_phone(wanted.to, self._delivery.country)
        if phone is None:
            return Unfit("'to' is no number of a handset; write one number, with its country code")
        signed = wanted.text.startswith(copy.signature.strip())
        text = wanted.text if signed else f"{copy.signature}{wanted.text}"
        why = self._unfit(wanted, text, copy)
        if why:
            return Unfit(why)
        at, parts = self._at(), segments(text, copy.counting)
        send = Send(
            id=_id(key),
            rule="",
            customer=wanted.customer,
            identity=None,
            anchor=at,
            due=at,
            at=at,
            withheld=False,
            shadow=False,
            variant=wanted.template,
            wave=None,
            coupon=None,
            text=text,
            segments=parts,
            cost=parts * shop.price,
            revision=self._content(wanted),
            klass=wanted.klass,
            expires=at + _expires_in(wanted),
            params=None if wanted.params is None else dict(wanted.params),
        )
        return Command(send, phone.e164)

    def _unfit(self, wanted: Wanted, text: str, copy: Copy) -> str:
        """Say why a message cannot leave; empty where it can."""
        if not SOONEST <= _expires_in(wanted) <= LATEST[wanted.klass]:
            return f"'expires_in_s' is from {SOONEST // SECOND} to {LATEST[wanted.klass] // SECOND} for this class"
        if not wanted.text.strip():
            return "'text' is empty"
        flaw = refusal(text, wanted.klass, copy)
        if flaw is not None:
            return _worded("text", flaw, text, copy)
        unsigned = copy._replace(signature="")
        for name, value in (wanted.params or {}).items():
            flaw = refusal(value, wanted.klass, unsigned)
            if flaw is not None:
                return _worded(f"params.{name}", flaw, value, copy)
        return self._no_template(wanted)

    def _no_template(self, wanted: Wanted) -> str:
        """Say that no gateway of the route has the template; where none has any, all of them send the text itself."""
        if wanted.template is None:
            return ""
        of_class = f"{wanted.klass}/"
        routed = [self._delivery.gateways[name].templates for name in self._delivery.routes[wanted.klass]]
        known = {name.removeprefix(of_class) for each in routed for name in each if name.startswith(of_class)}
        if not any(routed) or wanted.template in known:
            return ""
        meant = did_you_mean(wanted.template, known)
        return f"no gateway for this class has a template '{of_class}{wanted.template}'{meant}"


def _id(key: str) -> str:
    return hashlib.sha256(f"api|{key}".encode(), usedforsecurity=False).hexdigest()


def _expires_in(wanted: Wanted) -> int:
    return EXPIRES_IN[wanted.klass] if wanted.expires_in is None else wanted.expires_in


def _worded(where: str, flaw: Flaw, text: str, copy: Copy) -> str:
    if flaw is Flaw.TOO_LONG:
        parts = segments(text, copy.counting)
        return f"'{where}' is too long: with the signature it takes {parts} parts, {copy.max_segments or MOST_PARTS} may be"
    return f"'{where}' cannot be sent: {flaw}"
