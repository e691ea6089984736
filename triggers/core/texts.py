"""Message texts: filled in, signed, and counted the way gateways charge for them."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from triggers.core.rules import Placeholder, Text

GSM_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""GSM 03.38: the characters that take one septet."""
GSM_EXTENDED = frozenset("|^€{}[]~\\\f")
"""GSM 03.38: the characters that take two septets."""

GSM_ONE, GSM_MANY = 160, 153
WIDE_ONE, WIDE_MANY = 70, 67

VALUE_LIMIT = 40
"""The longest value that a placeholder may bring into a text, in characters."""


def length(text: str, counting: str = "gsm") -> int:
    """Count what a text takes: septets if all of it is GSM 03.38 and so counted, UTF-16 units otherwise."""
    if counting == "gsm" and _is_gsm(text):
        return len(text) + sum(1 for char in text if char in GSM_EXTENDED)
    return len(text) + sum(1 for char in text if char > "\uffff")


def segments(text: str, counting: str = "gsm") -> int:
    """Count the parts that are charged for a text (SMS.md section 3): 160 then 153 septets, or 70 then 67 units."""
    size = length(text, counting)
    wide = counting != "gsm" or not _is_gsm(text)
    if size <= (WIDE_ONE if wide else GSM_ONE):
        return 1
    many = WIDE_MANY if wide else GSM_MANY
    if size == len(text):  # every character takes one
        return -(-size // many)
    parts, room = 1, many
    for char in text:
        width = 2 if (char > "\uffff" if wide else char in GSM_EXTENDED) else 1
        if width > room:  # a pair, or an escaped character, is not split over two parts
            parts, room = parts + 1, many
        room -= width
    return parts


def _is_gsm(text: str) -> bool:
    return (text.isascii() and not any(char in "`\t" or char < "\n" for char in text)) or all(
        char in GSM_BASIC or char in GSM_EXTENDED for char in text
    )


def clean(value: str) -> str:
    """Make a value harmless inside a text: no control, format or surrogate characters, one line, bounded."""
    kept = "".join(char for char in value if char.isspace() or unicodedata.category(char)[0] != "C")
    return " ".join(kept.split())[:VALUE_LIMIT].strip()


def fill(text: Text, values: Mapping[str, str | None], *, plain: bool = False) -> str:
    """Fill the gaps of a text from values by "source.name"; ``plain`` takes the defaults where there are any.

    A value of which nothing harmless is left gives way to the default, or to nothing. A gap without a value or a default
    is impossible in a rule that loaded: it raises KeyError.
    """
    return "".join(part if isinstance(part, str) else _filled(part, values, plain) for part in text)


def gaps(text: Text, values: Mapping[str, str | None], *, plain: bool = False) -> dict[str, str]:
    """Give what ``fill`` puts into each gap, by "source.name", for gateways that have the text as a template."""
    return {
        f"{part.source}.{part.name}" if part.name else part.source: _filled(part, values, plain)
        for part in text
        if not isinstance(part, str)
    }


def _filled(gap: Placeholder, values: Mapping[str, str | None], plain: bool) -> str:  # noqa: FBT001  private
    if plain and gap.default is not None:
        return gap.default
    value = values.get(f"{gap.source}.{gap.name}" if gap.name else gap.source)
    if value is None and gap.default is None:
        raise KeyError(f"{gap.source}.{gap.name}")
    shown = clean(value) if value is not None and gap.source != "link" else value
    return shown or gap.default or ""
