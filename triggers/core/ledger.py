"""What all customers of a rule share: counts and money, kept by the one owner of the rule.

The owner answers an ``Ask`` once for all: a command that was granted is granted again when it asks again, and is counted
once, so a crash between the answer and its use gives nothing twice. A grant is forgotten when its ``Send`` is noted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from triggers.core.decisions import Ask, Decision, Reason, Released, Responded, Send, Verdict

if TYPE_CHECKING:
    from triggers.core.rulebook import Rulebook
    from triggers.core.rules import Rule

GRANTED = Verdict()


class Account(msgspec.Struct, omit_defaults=True):
    """The counts of one rule: messages in all, by local day and by wave; money in 1/1000 fen; answers by wave."""

    total: int = 0
    spent: int = 0
    days: dict[int, int] = {}
    waves: dict[str, int] = {}
    answers: dict[str, int] = {}
    grants: dict[str, tuple[int, int, str | None]] = {}
    """Grants not yet used, by command: start of the local day, cost, wave."""


class Ledger(msgspec.Struct, omit_defaults=True):
    """The accounts of the rules that share something."""

    accounts: dict[str, Account] = {}

    def verdict(self, book: Rulebook, ask: Ask) -> Verdict:
        """Answer whether a command may leave: total, budget and wave end it, per_day postpones it (S19)."""
        rule = book.rules.get(ask.rule)
        account = self._account(ask.rule)
        if rule is None:
            return Verdict(Reason.RULE_REMOVED)
        if ask.command in account.grants:
            return GRANTED
        refused = self._refused(rule, account, ask) or self._day_full(book, rule, account, ask)
        if refused is not None:
            return refused
        if ask.reserve:
            self._grant(book, account, ask)
        return GRANTED

    def note(self, decision: Decision) -> None:
        """Take in what a step says of shared things: an answered wave, a grant used or given back."""
        if isinstance(decision, Responded):
            answers = self._account(decision.rule).answers
            answers[decision.wave] = answers.get(decision.wave, 0) + 1
        elif isinstance(decision, Send):
            account = self.accounts.get(decision.rule)
            if account is not None:
                account.grants.pop(decision.id, None)
        elif isinstance(decision, Released):
            self._release(self._account(decision.rule), decision.command)

    def rename(self, old: str, new: str) -> None:
        """Move a rule's account to its new name (S39)."""
        if old in self.accounts and new not in self.accounts:
            self.accounts[new] = self.accounts.pop(old)

    def _account(self, rule: str) -> Account:
        return self.accounts.setdefault(rule, Account())

    @staticmethod
    def _refused(rule: Rule, account: Account, ask: Ask) -> Verdict | None:
        limits = rule.limits
        if limits.total is not None and account.total >= limits.total:
            return Verdict(Reason.TOTAL)
        if limits.budget is not None and account.spent + ask.cost > limits.budget:
            return Verdict(Reason.BUDGET)
        if rule.waves is None:
            return None
        place = next((i for i, wave in enumerate(rule.waves.waves) if wave.id == ask.wave), 0)
        wave = rule.waves.waves[place]
        if place and account.answers.get(rule.waves.waves[place - 1].id, 0) < rule.waves.min_size:
            return Verdict(Reason.WAVE_TOO_SMALL)
        if wave.take is not None and account.waves.get(wave.id, 0) >= wave.take:
            return Verdict(Reason.WAVE_FULL)
        return None

    @staticmethod
    def _day_full(book: Rulebook, rule: Rule, account: Account, ask: Ask) -> Verdict | None:
        if rule.limits.per_day is None:
            return None
        today = book.shop.zone.midnight(ask.at)
        if account.days.get(today, 0) < rule.limits.per_day:
            return None
        return Verdict(Reason.PER_DAY, book.shop.zone.midnight(ask.at, 1))

    @staticmethod
    def _grant(book: Rulebook, account: Account, ask: Ask) -> None:
        today = book.shop.zone.midnight(ask.at)
        account.total += 1
        account.spent += ask.cost
        if today not in account.days:
            account.days = {day: count for day, count in account.days.items() if day >= today}
        account.days[today] = account.days.get(today, 0) + 1
        if ask.wave is not None:
            account.waves[ask.wave] = account.waves.get(ask.wave, 0) + 1
        account.grants[ask.command] = (today, ask.cost, ask.wave)

    @staticmethod
    def _release(account: Account, command: str) -> None:
        grant = account.grants.pop(command, None)
        if grant is None:
            return
        day, cost, wave = grant
        account.total -= 1
        account.spent -= cost
        if account.days.get(day):
            account.days[day] -= 1
        if wave is not None and account.waves.get(wave):
            account.waves[wave] -= 1
