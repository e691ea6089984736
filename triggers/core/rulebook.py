"""The set of rules that is in force, indexed by what an event or an instant sets in motion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from triggers.core.calendar import Calendar
from triggers.core.conditions import Did, Where, walk
from triggers.core.events import EVENT_TYPES, MessageSent
from triggers.core.facts import LEARNERS, TEACHES
from triggers.core.gates import always_open, ending_gates
from triggers.core.plans import Armer, Canceller, Plan
from triggers.core.sending import ready_message
from triggers.core.slots import answered
from triggers.core.times import DAY, NEVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from triggers.core.customer import Customer
    from triggers.core.events import Event
    from triggers.core.gates import Gate
    from triggers.core.rules import Rule, Sending, Shop, Wave

ALWAYS_KNOWN = {"unsubscribed", "name", "phone", "consent"}
"""Facts that sending needs, whatever the rules ask."""


@dataclass(frozen=True, slots=True)
class Pins:
    """What a test fixes: holdout (None: by hash), a variant by id, and whether slots are spread."""

    holdout: bool | None = None
    variant: str | None = None
    spread: bool = True


class Rulebook:
    """Rules, shop and everything derived from them. Never changed once made: an edit makes a new one (S38).

    ``removed`` maps a vanished rule's id to the instant it vanished (S36); ``segments`` are given memberships;
    ``keep_all`` keeps every event for the shop's history, since tomorrow's rules may ask for it; ``lateness`` is how
    long after it occurred an event may still arrive, in ms (None: any time): what only late events would look back at is
    not kept for longer; ``settle`` is the time in ms after due before a try (S16); ``narrates`` is whether steps also
    tell of waits that begin, of tries held back, and what an audience's nearest miss was; ``recalls`` whether they call
    back what was decided and may not have left yet; ``overdue`` says of a rule what becomes of the waits that are due when
    customers are moved over to this set: they leave one after the other ("spread") or end ("drop") (S38).
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        shop: Shop,
        *,
        revision: str = "",
        removed: Mapping[str, int] | None = None,
        segments: Mapping[str, frozenset[str]] | None = None,
        pins: Pins | None = None,
        keep_all: bool = False,
        lateness: int | None = None,
        settle: int = 0,
        narrates: bool = True,
        recalls: bool = False,
        overdue: Mapping[str, str] | None = None,
    ) -> None:
        self.shop = shop
        self.rules = {rule.id: rule for rule in sorted(rules, key=lambda rule: rule.id)}
        self.revision = revision
        self.removed = dict(removed or {})
        self.segments = dict(segments or {})
        self.pins = pins or Pins()
        self.narrates = narrates
        self.recalls = recalls
        self.overdue = dict(overdue or {})
        self.keep_all = keep_all
        self.lateness = NEVER if lateness is None else lateness
        self.settle = settle
        self.keepers = {
            rule.waves.keep_as: rule for rule in self.rules.values() if rule.waves and rule.waves.keep_as is not None
        }
        self.sharing = {rule.id for rule in self.rules.values() if rule.sharing}
        self.renamed = {rule.renamed_from: rule.id for rule in self.rules.values() if rule.renamed_from}
        self._former = {new: old for old, new in self.renamed.items() if old not in self.rules}
        self.gates: dict[str, tuple[Gate, ...]] = {rule.id: ending_gates(rule, shop) for rule in self.rules.values()}
        self.armers = {rule.id: Armer(rule, shop) for rule in self.rules.values() if rule.when}
        self.open = {rule.id for rule in self.rules.values() if rule.arms and always_open(rule)}
        self.ready = {
            rule.id: message for rule in self.rules.values() if (message := ready_message(rule, shop)) is not None
        }
        self.plans = {cls: self._plan(kind, cls) for kind, cls in EVENT_TYPES.items()}
        self.chains = self._heeds_sent()
        self._slotted = [rule for rule in self.rules.values() if (rule.schedule or rule.waves) and rule.arms]
        self.has_slots = bool(self._slotted)
        self._calendar = Calendar(self._slotted)
        self.sends_kept_ms = self._sends_kept_ms()

    @property
    def shares(self) -> bool:
        """Whether any rule's leaving must be asked of its owner."""
        return bool(self.sharing)

    # Slots

    def next_slot(self, after: int) -> int:
        """Find the first instant after ``after`` at which a slot opens; NEVER if there is none."""
        return self._calendar.next_after(after) if self._slotted else NEVER

    def slots_at(self, at: int) -> Iterator[tuple[Rule, Wave | None]]:
        """List the rules, and waves, whose slot opens at an instant."""
        for rule in self._calendar.rules_at(at):
            if rule.waves is None:
                yield rule, None
            else:
                yield from ((rule, wave) for wave in rule.waves.waves if wave.slot == at)

    # Segments

    def in_segment(self, customer: Customer, segment: str, now: int) -> bool:
        """Tell whether a customer is in a segment: given, or kept by waves as who answered the last."""
        given = self.segments.get(segment)
        if given is not None:
            return customer.id in given
        keeper = self.keepers.get(segment)
        if keeper is None or keeper.waves is None:
            return segment in customer.segments
        last = max((wave for wave in keeper.waves.waves if wave.slot <= now), key=lambda wave: wave.slot, default=None)
        return last is not None and answered(customer, keeper.id, last.id, now + 1)

    # What each event type sets in motion

    def _plan(self, kind: str, cls: type[Event]) -> Plan:
        plan = Plan(kind)
        active = [rule for rule in self.rules.values() if rule.status != "draft"]
        plan.armers = tuple(
            self.armers[rule.id] for rule in active if rule.arms and rule.when and rule.when.event == kind
        )
        plan.cancellers = tuple(
            Canceller(rule, unless) for rule in active for unless in rule.unless if kind in unless.types
        )
        plan.responders = tuple((rule, rule.waves) for rule in active if rule.waves and kind in rule.waves.responded)
        plan.keep_ms = max((self._keeps(rule, kind) for rule in active), default=0)
        if self.keep_all:
            plan.keep_ms = max(plan.keep_ms, self.shop.history.at_most())
        if cls in LEARNERS and (self.keep_all or self._wanted_facts() & set(TEACHES[cls])):
            plan.learner = LEARNERS[cls]
        return plan

    def _keeps(self, rule: Rule, kind: str) -> int:
        keeps = [0]
        if rule.when and (kind == rule.when.event or any(kind in unless.types for unless in rule.unless)):
            keeps.append(min(rule.wait.at_most() + _leaves_within(rule.sending), self.lateness))
        if rule.recency and kind in rule.recency.types:
            keeps.append(rule.recency.within.at_most())
        for condition in walk(rule.audience):
            if isinstance(condition, Did):
                without = condition.without.types if condition.without else ()
                if kind in condition.types or kind in without:
                    keeps.append(condition.within.at_most())
        return max(keeps)

    def _wanted_facts(self) -> set[str]:
        wanted = set(ALWAYS_KNOWN)
        for rule in self.rules.values():
            wheres = [rule.when.where if rule.when else None, *(unless.where for unless in rule.unless)]
            wheres += [
                condition if isinstance(condition, Where) else getattr(condition, "where", None)
                for condition in walk(rule.audience)
            ]
            for where in wheres:
                wanted |= {name[9:] for name in where.names if name.startswith("customer.")} if where else set()
            for sending in sendings(rule):
                for variant in sending.texts:
                    wanted |= {
                        gap.name for gap in variant.text if not isinstance(gap, str) and gap.source == "customer"
                    }
        return wanted

    def _heeds_sent(self) -> bool:
        """Tell whether anything comes of the word that a message left: then the core itself passes it on (S2)."""
        plan = self.plans[MessageSent]
        return bool(plan.armers or plan.cancellers or plan.responders) or any(
            self._keeps(rule, plan.type) for rule in self.rules.values()
        )

    def name_of(self, rule: str) -> str:
        """Tell what a rule is called by now: a rule that is there by its own name, another by its new one (S39)."""
        return rule if rule in self.rules else self.renamed.get(rule, rule)

    def names_of(self, rule: str) -> tuple[str, ...]:
        """List the names under which messages of a rule may wait to leave: its own, and the one before it (S39)."""
        former = self._former.get(rule)
        return (rule,) if former is None else (rule, former)

    def _sends_kept_ms(self) -> int:
        keeps = [DAY]
        for caps in self.shop.caps.values():
            keeps += [span.at_most() for _, span in caps]
        for rule in self.rules.values():
            if rule.limits.per_customer is not None:
                span = rule.limits.per_customer[1]
                keeps.append(NEVER if span is None else span.at_most())
            if rule.waves:
                keeps.append(NEVER)
            if rule.unless:  # what has not left yet may be called back
                keeps += [rule.wait.at_most() + _leaves_within(sending) for sending in sendings(rule)]
        if self.keep_all:
            keeps.append(self.shop.history.at_most())
        return max(keeps)


def _leaves_within(sending: Sending) -> int:
    """Tell how long after its due a message may leave, in ms: as it says, else two days (S18)."""
    return 2 * DAY if sending.expires is None else sending.expires.at_most()


def sendings(rule: Rule) -> Iterator[Sending]:
    """List the ``send`` parts of a rule: its own, and those of its waves."""
    yield rule.sending
    for wave in rule.waves.waves if rule.waves else ():
        if wave.sending is not None:
            yield wave.sending
