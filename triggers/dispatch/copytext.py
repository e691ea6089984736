"""Takes the last look at a text before it leaves: signed, with its way out, without gaps, tricks or banned words."""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from triggers.core.texts import length, segments

ASKED_FOR = frozenset({"notice", "verification"})
"""Classes that need no opt-out text; all others are commercial."""

MOST_PARTS = 10
"""Parts that a text may take where the shop sets no limit."""
LONGEST_IN_CHINA = 500
"""Characters that a carrier takes there (SMS.md section 3)."""

_GAP = re.compile(r"\{\s*(?:customer|coupon|event|shop|link)\s*[.|}]")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # control, zero-width and bidi, surrogates, line separators
_SHOWS_NOTHING = frozenset("\u034f\u115f\u1160\u3164\uffa0")  # a mark, and letters that fill


class Flaw(StrEnum):
    """Why a text may not leave."""

    CONTROL_CHARACTER = "control character"
    UNRESOLVED_VARIABLE = "unresolved variable"
    NO_SIGNATURE = "no signature"
    NO_OPT_OUT = "no opt-out text"
    BANNED_WORD = "banned word"
    TOO_LONG = "too long"


class Copy(NamedTuple):
    """What texts of a shop must keep to: a signature in front (if there is one), an opt-out text at the end, and limits.

    ``counting`` is gsm or china; ``max_segments`` None: ten. No commercial text passes where ``opt_out`` is empty.
    """

    signature: str
    opt_out: str
    banned: tuple[str, ...] = ()
    max_segments: int | None = None
    counting: str = "gsm"


def refusal(text: str, klass: str, copy: Copy) -> Flaw | None:
    """Say why a text of a class may not leave; None: it may. Line feeds are the only control characters in a text."""
    if not (text.isprintable() and _SHOWS_NOTHING.isdisjoint(text)) and any(map(_hidden, set(text))):
        return Flaw.CONTROL_CHARACTER
    folded = unicodedata.normalize("NFKC", text).casefold()
    if _GAP.search(folded):
        return Flaw.UNRESOLVED_VARIABLE
    if not text.startswith(copy.signature.strip()):
        return Flaw.NO_SIGNATURE
    if klass not in ASKED_FOR and not _ends_with(text, copy.opt_out.strip()):
        return Flaw.NO_OPT_OUT
    if copy.banned and _banned(copy.banned).search(folded):
        return Flaw.BANNED_WORD
    return Flaw.TOO_LONG if _too_long(text, copy) else None


def _hidden(char: str) -> bool:
    return char != "\n" and (unicodedata.category(char) in _HIDDEN or char in _SHOWS_NOTHING)


def _ends_with(text: str, opt_out: str) -> bool:
    return bool(opt_out) and text.rstrip().endswith(opt_out)


@lru_cache(maxsize=64)
def _banned(words: tuple[str, ...]) -> re.Pattern[str]:
    """Find words however they are spread over spaces: Latin ones whole, others anywhere."""
    found = []
    for word in words:
        letters = "".join(unicodedata.normalize("NFKC", word).casefold().split())
        spread = r"\s*".join(re.escape(letter) for letter in letters)
        if spread:
            found.append(f"(?<![a-z0-9]){spread}(?![a-z0-9])" if letters.isascii() else spread)
    return re.compile("|".join(found) or "(?!)")


def _too_long(text: str, copy: Copy) -> bool:
    if copy.counting == "china" and length(text, copy.counting) > LONGEST_IN_CHINA:
        return True
    return segments(text, copy.counting) > (copy.max_segments or MOST_PARTS)
