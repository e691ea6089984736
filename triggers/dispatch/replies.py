"""Understands what a handset answered: stop, start again, help, a complaint, or something else (SMS.md section 4)."""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from typing import NamedTuple

LONGEST = 2_000
"""Characters that are read; nobody needs more to say stop, and folding marks may take the square of their number."""

# fmt: off
_WHOLE = frozenset({
    "r", "t", "td", "n", "tdd", "0000", "退订", "退订t", "退", "拒收", "取消", "取消订阅", "停止", "不要发了", "别发了",
    "勿发", "屏蔽", "stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout", "remove", "arret",
})
# fmt: on
_BEGINNINGS = ("stop", "unsubscribe", "td", "退订")
_ANYWHERE = ("退订", "拒收", "别再发", "不要再发", "取消订阅", "骚扰")
_COMPLAINTS = ("投诉", "12321", "举报")
_HELP = frozenset({"help", "info", "帮助"})
_AGAIN = frozenset({"start", "unstop"})
_NOT_AGAIN = frozenset({"CN"})

# Everything but letters and digits: also what Unicode calls a symbol or a mark (~ + ^ emoji, accents, what selects a
# variant of an emoji). The two fillers are letters that show nothing.
_BETWEEN = re.compile("[\\W_\u115f\u1160]+")
# The words as they are written in Hong Kong, Macau and Taiwan.
_SIMPLER = str.maketrans("訂閱發別騷擾訴舉報幫", "订阅发别骚扰诉举报帮")


class Meaning(StrEnum):
    """What a customer wants. STOP is an opt-out, START takes it back, HELP asks who this is."""

    STOP = "stop"
    START = "start"
    HELP = "help"
    OTHER = "other"


class Read(NamedTuple):
    """What a reply means; ``alarm``: it is a complaint, which a person should see."""

    meaning: Meaning
    alarm: bool


def read_reply(text: str, country: str) -> Read:
    """Read a reply from a number of a country (ISO 3166 alpha-2). Who complains wants no more messages, either."""
    said = _folded(text)
    alarm = any(word in said for word in _COMPLAINTS)
    if alarm or said in _WHOLE or said.startswith(_BEGINNINGS) or any(word in said for word in _ANYWHERE):
        return Read(Meaning.STOP, alarm)
    if said in _HELP:
        return Read(Meaning.HELP, alarm=False)
    if said in _AGAIN and country not in _NOT_AGAIN:
        return Read(Meaning.START, alarm=False)
    return Read(Meaning.OTHER, alarm=False)


def _folded(text: str) -> str:
    """Leave letters and digits, all alike: full-width as plain, capitals as small, accented as not, old as simple."""
    alike = unicodedata.normalize("NFKC", text[:LONGEST]).casefold()
    return _BETWEEN.sub("", unicodedata.normalize("NFKD", alike)).translate(_SIMPLER)
