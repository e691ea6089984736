"""The one owner of what all customers of a rule share: it answers their questions in the order of time, for good.

A replay answers each question before anything later happens. Here questions come from many partitions, each in its own
time, and a customer waits for the answer. A question is answered once no earlier one can come any more: every partition
has promised to be past its instant (``Passed``), and every customer whose answer may still be on its way has nothing to
ask before (``Asked.next``). So the answers are a function of the log, whoever works on it and however fast.

All of it stands in records by key, so that a crash loses nothing: accounts, questions that wait, and the answers that
their partitions have not confirmed.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from msgspec.structs import replace

from triggers.core.decisions import Reason, Verdict
from triggers.core.ledger import Account, Ledger
from triggers.core.times import MINUTE, NEVER
from triggers.drivers.kafka.records import OWN, Answered, Asked, Passed, Question, Told

if TYPE_CHECKING:
    from collections.abc import Iterable

    from triggers.core.decisions import Ask
    from triggers.core.rulebook import Rulebook

Grant: TypeAlias = tuple[int, int, str | None]
"""A grant as the ledger has it: start of the local day, cost, wave."""


MOST_KEY = 200
"""How much is told of the key of a record that cannot be read."""
UNKNOWN_FOR = MINUTE
"""When it is asked again about a rule that the owner does not know yet."""


class Given(msgspec.Struct, array_like=True):
    """An answer that its partition has not confirmed: until then the customer may ask again from ``bound`` on."""

    bound: int
    rule: str
    command: str
    grant: Grant | None = None


class Standing(msgspec.Struct, array_like=True):
    """How far a partition has come: what it promised, how many answers it was given, and how many it confirmed."""

    passed: int = -1
    given: int = 0
    confirmed: int = 0


class Desk(msgspec.Struct):
    """The owner's own record: the last question read, and how many ``Told`` there were."""

    position: int = -1
    told: int = 0


Row: TypeAlias = tuple[bytes, bytes | None]
"""A record's key and value; None where there is no more of it."""

_ACCOUNT, _STANDING, _ASK, _TOLD, _GIVEN = b"account/", b"standing/", b"ask/", b"told/", b"given/"
_encode = msgspec.msgpack.Encoder().encode
_accounts = msgspec.msgpack.Decoder(Account)
_standings = msgspec.msgpack.Decoder(Standing)
_asks = msgspec.msgpack.Decoder(Asked)
_tolds = msgspec.msgpack.Decoder(Told)
_givens = msgspec.msgpack.Decoder(Given)
_desks = msgspec.msgpack.Decoder(Desk)
_Turn: TypeAlias = tuple[int, int, int, str, str, str, int]


class Owner:
    """Answers for all rules. ``rows`` are the records of triggers.limits by key; ``partitions`` is how many may ask.

    ``take`` gives what must be written, in one transaction, before it is called again. Raises msgspec.MsgspecError,
    ValueError or IndexError, with a note of the key, for a row that no owner wrote.
    """

    def __init__(self, book: Rulebook, partitions: int, rows: dict[bytes, bytes]) -> None:
        self.book = book
        self.ledger = Ledger()
        self._standings = [Standing() for _ in range(partitions)]
        self._asks: dict[tuple[int, str], Asked] = {}
        self._pending: list[tuple[_Turn, str]] = []
        self._tolds: list[tuple[int, int, Told]] = []
        self._givens: dict[tuple[int, int], Given] = {}
        self._bounds: list[tuple[int, int, int]] = []
        self._changed: dict[bytes, bytes | None] = {}
        self._accounts: set[str] = set()
        self._desk = Desk()
        for key, value in rows.items():
            try:
                self._recall(key, value)
            except Exception as error:
                error.add_note(f"key {key[:MOST_KEY]!a}")
                raise
        heapify(self._pending)
        heapify(self._tolds)
        heapify(self._bounds)
        self.adopt(book)

    def adopt(self, book: Rulebook) -> None:
        """Answer by these rules from here on; what a renamed rule has used up moves with its name (S39)."""
        self.book = book
        for old, new in book.renamed.items():
            self.ledger.rename(old, new)
            self._accounts |= {old, new}
        for place, (at, number, told) in enumerate(self._tolds):
            if (renamed := self._renamed(told)) is not told:
                self._tolds[place] = (at, number, renamed)
                self._changed[_TOLD + b"%d" % number] = _encode(renamed)

    @property
    def position(self) -> int:
        """The place of the last question read."""
        return self._desk.position

    @property
    def open(self) -> int:
        """How many questions wait for an answer."""
        return len(self._pending)

    def knows(self, question: Question) -> bool:
        """Tell whether somebody of this fleet may have asked or told that: from a partition there is, of answers it had."""
        if not 0 <= question.partition < len(self._standings):
            return False
        return not isinstance(question, Passed) or question.answers <= self._standings[question.partition].given

    def _recall(self, key: bytes, value: bytes) -> None:
        if key == OWN:
            self._desk = _desks.decode(value)
        elif key.startswith(_ACCOUNT):
            self.ledger.accounts[key.removeprefix(_ACCOUNT).decode()] = _accounts.decode(value)
        elif key.startswith(_STANDING):
            self._standings[int(key.removeprefix(_STANDING))] = _standings.decode(value)
        elif key.startswith(_ASK):
            self._wait(_asks.decode(value))
        elif key.startswith(_TOLD):
            told = _tolds.decode(value)
            self._tolds.append((told.at, int(key.removeprefix(_TOLD)), told))
        elif key.startswith(_GIVEN):
            partition, _, number = key.removeprefix(_GIVEN).partition(b"/")
            self._hold(int(partition), int(number), _givens.decode(value))

    def take(self, questions: Iterable[tuple[int, Question]]) -> tuple[list[tuple[int, Answered]], list[Row]]:
        """Take in questions, each with its place in triggers.asks; gives the answers by partition, and the rows."""
        for position, question in questions:
            if position <= self._desk.position:
                continue
            self._desk.position = position
            if isinstance(question, Asked):
                self._changed[_ask_key(question)] = _encode(question)
                self._wait(question)
            elif isinstance(question, Told):
                self._hear(question)
            else:
                self._pass(question)
        answers = self._answer()
        for rule in self._accounts:
            account = self.ledger.accounts.get(rule)
            self._changed[_ACCOUNT + rule.encode()] = None if account is None else _encode(account)
        self._accounts.clear()
        changed, self._changed = self._changed, {}
        return answers, [(OWN, _encode(self._desk)), *changed.items()]

    def _wait(self, asked: Asked) -> None:
        ask = asked.ask
        self._asks[asked.partition, ask.command] = asked
        turn = (ask.at, -ask.priority, ask.due, ask.rule, ask.customer, ask.wait.identity or "", asked.partition)
        heappush(self._pending, (turn, ask.command))

    def _hear(self, told: Told) -> None:
        """Take back a grant at once; let an answered wave wait for its time, since it counts from there on."""
        if told.answered is not None:
            told = self._renamed(told)
            self._desk.told += 1
            heappush(self._tolds, (told.at, self._desk.told, told))
            self._changed[_TOLD + b"%d" % self._desk.told] = _encode(told)
        if told.released is not None:
            given = self._given_for(told.partition, told.released.command)
            if given is not None and given.grant is not None:
                rule = self.book.name_of(given.rule)
                self.ledger.accounts.setdefault(rule, Account()).grants[given.command] = given.grant
                self.ledger.note(replace(told.released, rule=rule))
                self._accounts.add(rule)

    def _renamed(self, told: Told) -> Told:
        """Let an answered wave count for its rule, whatever that is called by now."""
        if told.answered is None or (rule := self.book.name_of(told.answered.rule)) == told.answered.rule:
            return told
        return replace(told, answered=replace(told.answered, rule=rule))

    def _given_for(self, partition: int, command: str) -> Given | None:
        standing = self._standings[partition]
        numbers = range(standing.given, standing.confirmed, -1)
        found = (self._givens.get((partition, number)) for number in numbers)
        return next((given for given in found if given is not None and given.command == command), None)

    def _pass(self, passed: Passed) -> None:
        """Take in a promise, and with it which answers have come; only one by other rules may be an earlier one."""
        partition = passed.partition
        standing = self._standings[partition]
        for number in range(standing.confirmed + 1, passed.answers + 1):
            del self._givens[partition, number]
            self._changed[_given_key(partition, number)] = None
        self._stand(partition, replace(standing, passed=passed.clock, confirmed=passed.answers))

    def _stand(self, partition: int, standing: Standing) -> None:
        self._standings[partition] = standing
        self._changed[_STANDING + b"%d" % partition] = _encode(standing)

    def _hold(self, partition: int, number: int, given: Given) -> None:
        self._givens[partition, number] = given
        heappush(self._bounds, (given.bound, partition, number))

    def _bound(self) -> int:
        """Tell from when on a customer may ask whose answer is on its way, epoch ms; NEVER if there is none."""
        while self._bounds and self._bounds[0][1:] not in self._givens:
            heappop(self._bounds)
        return self._bounds[0][0] if self._bounds else NEVER

    def _answer(self) -> list[tuple[int, Answered]]:
        """Answer every question that no earlier one can come before."""
        answers = []
        passed = min(standing.passed for standing in self._standings)
        while self._pending and self._pending[0][0][0] < min(passed, self._bound()):
            turn, command = heappop(self._pending)
            asked = self._asks.pop((turn[-1], command))
            self._count_told(asked.ask.at)
            answers.append((asked.partition, self._decide(asked)))
        return answers

    def _count_told(self, until: int) -> None:
        """Count the waves answered up to an instant, that one included: a question of the same instant comes after."""
        while self._tolds and self._tolds[0][0] <= until:
            _, number, told = heappop(self._tolds)
            assert told.answered is not None  # noqa: S101  an invariant: only those wait
            self.ledger.note(told.answered)
            self._accounts.add(told.answered.rule)
            self._changed[_TOLD + b"%d" % number] = None

    def _decide(self, asked: Asked) -> Answered:
        ask, partition = asked.ask, asked.partition
        verdict = self._verdict(ask)
        account = self.ledger.accounts.get(ask.rule)
        grant = None if account is None else account.grants.pop(ask.command, None)
        if grant is not None:
            self._accounts.add(ask.rule)
        bound = asked.next if verdict.until is None else min(asked.next, verdict.until)
        standing = self._standings[partition]
        self._stand(partition, replace(standing, given=standing.given + 1))
        number = self._standings[partition].given
        given = Given(bound, ask.rule, ask.command, grant)
        self._hold(partition, number, given)
        self._changed[_given_key(partition, number)] = _encode(given)
        self._changed[_ask_key(asked)] = None
        return Answered(number, ask.customer, ask.command, verdict)

    def _verdict(self, ask: Ask) -> Verdict:
        """Answer; about a rule that only the asking worker knows of yet it is asked again."""
        if ask.rule not in self.book.rules and ask.rule not in self.book.removed:
            return Verdict(Reason.RULE_CHANGED, ask.at + UNKNOWN_FOR)
        return self.ledger.verdict(self.book, ask)


def _ask_key(asked: Asked) -> bytes:
    return b"%s%d/%s" % (_ASK, asked.partition, asked.ask.command.encode())


def _given_key(partition: int, number: int) -> bytes:
    return b"%s%d/%d" % (_GIVEN, partition, number)
