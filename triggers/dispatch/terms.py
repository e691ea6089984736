"""What the rules at hand say of a message that is about to leave: its windows and periods, and what its text needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triggers.core.gates import in_period, opening
from triggers.core.times import NEVER
from triggers.dispatch.claiming import Rules
from triggers.dispatch.copytext import Copy

if TYPE_CHECKING:
    from triggers.core.decisions import Send
    from triggers.core.rulebook import Rulebook
    from triggers.core.rules import Rule, Sending


def rules_of(book: Rulebook) -> Rules:
    """Make what a claim asks of a set of rules."""
    shop = book.shop
    copy = Copy(shop.signature, shop.opt_out, shop.banned, shop.max_segments, shop.counting)

    def of(rule: str) -> Rule | None:
        return book.rules.get(book.name_of(rule))

    def opens(send: Send, at: int) -> int:
        rule = of(send.rule)
        if rule is None:  # removed since, or a message that no rule sends
            return shop.window.opening(shop.zone, at) if send.rule and send.klass != "notice" else at
        return opening(book, rule, _sending(rule, send), at)

    def closes(send: Send, at: int) -> int:
        rule = of(send.rule)
        if rule is None:
            return shop.window.closing(shop.zone, at) if send.rule and send.klass != "notice" else NEVER
        ends = [_sending(rule, send).window.closing(shop.zone, at), rule.valid.end]
        ends += [max(period.end for period in rule.during if period.start <= at < period.end)] if rule.during else []
        ends += [period.start for period in rule.not_during if period.start > at]
        assert in_period(rule, at) == at, "only an open rule closes"  # noqa: S101  a broken invariant
        return min(ends)

    return Rules(shop, book.rules, of, copy, opens, closes)


def _sending(rule: Rule, send: Send) -> Sending:
    if rule.waves is not None and send.wave is not None:
        wave = next((wave for wave in rule.waves.waves if wave.id == send.wave), None)
        if wave is not None and wave.sending is not None:
            return wave.sending
    return rule.sending
