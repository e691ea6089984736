"""The last look at a message, in the transaction that claims it: may it leave now, later, or not at all, and why.

The engine decided when the message was due; since then the customer may have opted out, the cap may be full, the window
shut or the money spent. What may not leave for good is ended with its reason; what may leave later is held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from triggers.core.decisions import Reason
from triggers.core.times import DAY, MINUTE, NEVER
from triggers.dispatch.copytext import Copy, refusal
from triggers.dispatch.phones import country_of
from triggers.dispatch.promises import COMMERCIAL, PROMISES
from triggers.dispatch.routing import choose
from triggers.store.claims import commercial_since, engine_is_behind, rule_pause
from triggers.store.contacts import NOBODY, NOT_VALID, Contact, contact_of
from triggers.store.receipts import was_delivered
from triggers.store.spending import month_spent, rule_spent
from triggers.store.states import CANCELLED, EXPIRED, SUPPRESSED, End, Go, Hold
from triggers.store.suppressions import suppression_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from triggers.core.decisions import Send
    from triggers.core.rules import Rule, Shop
    from triggers.dispatch.hours import Hours
    from triggers.dispatch.settings import Delivery
    from triggers.store.database import Connection
    from triggers.store.states import Queued, Ruling

LAST_MINUTE = MINUTE
"""Nothing leaves so shortly before its window shuts, in ms: it would arrive outside."""
ENGINE_LAG = 100
"""A customer whose events are not decided yet is looked at again after so many ms."""
DOUBT_AGAIN = 1_000
LOOK_AGAIN = 60_000
NO_GATEWAY_AGAIN = 1_000
LONGEST_CAP = 400 * DAY
WORTH_TELLING = (Reason.CAPPED, Reason.PAUSED)
"""What held a message back until it was too late is told where it was not only the hour."""


class Rules(NamedTuple):
    """What the rules at hand say: the shop, the rules by id, the texts' demands, and when a rule's message may leave.

    ``of`` finds a rule by its id or by its former one (S39). ``opening`` gives the first instant at or after another that
    is inside all windows and periods of a send's rule, ``closing`` the first after one inside that is not.
    """

    shop: Shop
    rules: Mapping[str, Rule]
    of: Callable[[str], Rule | None]
    copy: Copy
    opening: Callable[[Send, int], int]
    closing: Callable[[Send, int], int]


class Roads(NamedTuple):
    """What the gateways can take now: how many messages each, which are demoted, and what a part costs (1/1000 fen).

    ``room`` is how many messages to look at: what they may be given together is more, since some must go elsewhere.
    """

    permits: dict[str, int]
    demoted: Collection[str]
    prices: Mapping[str, int]
    room: int


class _Look:
    """One message being looked at, and what the gates find out about it on the way."""

    __slots__ = ("connection", "contact", "now", "phone", "queued", "rules", "send", "valid_until")

    def __init__(self, connection: Connection, queued: Queued, rules: Rules, now: int) -> None:
        self.connection, self.queued, self.rules, self.now = connection, queued, rules, now
        self.send = send = queued.send
        self.contact = contact_of(connection, send.customer) if send.customer else NOBODY
        told = self.contact.phone if send.rule else None
        self.phone = queued.phone if told is None else told
        self.valid_until = send.expires


class Claiming:
    """Rules on messages. ``rules`` gives those at hand; ``hours`` the outer hours of a country.

    ``virtual`` is true where the messages' own time is not the wall's: then nothing is late, shut or capped, since the
    engine decided that in its own time. ``doubts`` tells, at an instant (epoch ms), why it is not sure what is known of a
    message; empty where it is.
    """

    def __init__(
        self,
        delivery: Delivery,
        rules: Callable[[], Rules],
        hours: Callable[[str], Hours],
        *,
        virtual: bool = False,
        doubts: Callable[[Send, int], str] | None = None,
    ) -> None:
        self._delivery = delivery
        self._rules = rules
        self._hours = hours
        self._virtual = virtual
        self._doubts = doubts

    def rule(self, connection: Connection, queued: Queued, roads: Roads, now: int) -> Ruling:
        """Say whether a message may leave now; ``now`` epoch ms. Takes its permit from ``roads`` if so."""
        look = _Look(connection, queued, self._rules(), now)
        if self._doubts is not None and (why := self._doubts(look.send, now)):
            return Hold(now + DOUBT_AGAIN, why)
        if not self._virtual:
            for gate in (self._behind, self._late):
                if (ruling := gate(look)) is not None:
                    return ruling
        for gate in (self._paused, self._arrived, self._unwanted):
            if (ruling := gate(look)) is not None:
                return ruling
        if not self._virtual:
            for gate in (self._shut, self._capped):
                if (ruling := gate(look)) is not None:
                    return ruling
        return self._road(look, roads)

    def _behind(self, look: _Look) -> Ruling | None:
        """Hold a message while the customer has events that the engine has not decided on: one may cancel it."""
        behind = look.send.rule and engine_is_behind(look.connection, look.send.customer)
        return Hold(look.now + ENGINE_LAG, "engine behind") if behind else None

    def _late(self, look: _Look) -> Ruling | None:
        if look.now < look.send.expires:
            return None
        held = look.queued.reason
        return End(EXPIRED, held if held in WORTH_TELLING else Reason.EXPIRED)

    def _paused(self, look: _Look) -> Ruling | None:
        """Hold what its rule, as it is now, would not send. What a pause held stays so where the file is gone (S36)."""
        rule = look.send.rule
        known = look.rules.of(rule)
        stopped = look.queued.reason == Reason.PAUSED if known is None else known.status != "live"
        if not (rule and stopped) and rule_pause(look.connection, rule) is None:
            return None
        again = look.now + LOOK_AGAIN
        return Hold(again if self._virtual else min(again, look.send.expires), Reason.PAUSED)

    def _arrived(self, look: _Look) -> Ruling | None:
        """End what came by an earlier attempt, and what may have and is too late for another."""
        queued = look.queued
        if not queued.ambiguous:
            return None
        if was_delivered(look.connection, look.send.id):
            return End(CANCELLED, "delivered by an earlier attempt")
        within = PROMISES[look.send.klass].within
        late = within is not None and look.now >= queued.queued_at + within
        return End(EXPIRED, "too late for another attempt") if late else None

    def _unwanted(self, look: _Look) -> Ruling | None:
        """End what has no number to go to, nobody who wants it, or a text that may not leave."""
        send, phone = look.send, look.phone
        if not phone:
            return End(SUPPRESSED, "phone not valid" if phone == NOT_VALID else "no phone")
        if send.klass in COMMERCIAL:
            if look.contact.unsubscribed or suppression_of(look.connection, phone) is not None:
                return End(SUPPRESSED, Reason.UNSUBSCRIBED)
            if not self._agreed(look.contact):
                return End(SUPPRESSED, "no consent")
        refused = refusal(send.text, send.klass, look.rules.copy)
        return End(SUPPRESSED, refused) if refused else None

    def _agreed(self, contact: Contact) -> bool:
        match self._delivery.consent:
            case "required":
                return contact.consent is True
            case "registration":
                return contact.consent is True or (contact.consent is None and contact.registered)
            case "assumed":
                return contact.consent is not False

    def _shut(self, look: _Look) -> Ruling | None:
        """Hold a message until its window and the hours of the customer's country are open (S17)."""
        opens, look.valid_until = self._open(look.rules, look.send, look.phone or "", look.now)
        return _later(look, opens, Reason.WINDOW) if opens > look.now else None

    def _capped(self, look: _Look) -> Ruling | None:
        """Hold a commercial message while a cap is full; it frees a time after the n-th last send (S20)."""
        send, shop = look.send, look.rules.shop
        if send.klass not in COMMERCIAL or not (shop.caps.get(send.klass) or shop.caps.get("all")):
            return None
        left = commercial_since(look.connection, send.customer, look.now - LONGEST_CAP)
        frees = look.now
        for klass in (send.klass, "all"):
            times = [at for each, at in left if klass in ("all", each)]
            for most, span in shop.caps.get(klass, ()):
                if most <= 0:
                    frees = NEVER
                elif len(times) >= most:
                    frees = max(frees, shop.zone.add(times[-most], span))
        return _later(look, frees, Reason.CAPPED) if frees > look.now else None

    def _open(self, rules: Rules, send: Send, phone: str, now: int) -> tuple[int, int]:
        """Find when the message may leave, and until when it may then arrive."""
        at, commercial = now, send.klass in COMMERCIAL
        hours = self._hours(country_of(phone) or self._delivery.country) if commercial else None
        while at < send.expires:
            before = at
            at = rules.opening(send, at)
            at = hours.opening(at) if hours is not None and at < NEVER else at
            if at >= NEVER:
                break
            if at != before:
                continue
            closes = rules.closing(send, at)
            closes = min(closes, hours.closing(at)) if hours is not None else closes
            if closes - at > LAST_MINUTE:
                return at, min(send.expires, closes)
            at = closes
        return at, send.expires

    def _road(self, look: _Look, roads: Roads) -> Ruling:
        """Choose the gateway, and see whether there is money for it."""
        queued, send = look.queued, look.send
        elsewhere = queued.gateway if queued.ambiguous and PROMISES[send.klass].elsewhere else None
        gateway = choose(
            self._delivery.routes[send.klass],
            send.id,
            permits=roads.permits,
            demoted=roads.demoted,
            avoid=queued.tried,
            must_differ=elsewhere,
        )
        if gateway is None:
            return Hold(look.now + NO_GATEWAY_AGAIN, "no gateway")
        cost = roads.prices[gateway] * send.segments
        rule = look.rules.of(send.rule)
        budget = None if rule is None else rule.limits.budget
        if budget is not None and rule_spent(look.connection, send.rule) + cost > budget:
            return End(SUPPRESSED, Reason.BUDGET)
        most = self._delivery.month_budget
        if most is not None and send.klass in COMMERCIAL and month_spent(look.connection, queued.month) + cost > most:
            return End(SUPPRESSED, "budget of the month")
        roads.permits[gateway] -= 1
        return Go(gateway, look.phone or "", cost, look.valid_until)


def _later(look: _Look, until: int, reason: Reason) -> Ruling:
    """Hold a message, or end it where later is too late (S18)."""
    if until < look.send.expires:
        return Hold(until, reason)
    return End(EXPIRED, Reason.EXPIRED) if reason is Reason.WINDOW else End(SUPPRESSED, reason)
