"""Reads the texts of messages: literal words and ``{gaps}``, and guesses how long the message will be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from triggers.core.rules import Placeholder
from triggers.core.texts import length, segments
from triggers.language.expressions import customer_fields, event_fields
from triggers.language.findings import Misfit, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from triggers.core.rules import Coupon, Shop, Text
    from triggers.language.expressions import Type

LINK_CODE = 8
"""Characters of a short link after the shop's base."""

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|\{|\}")
_TYPICAL_TEXT = "typically"
_COUPON = ("batch", "amount", "min_spend", "valid_for")
_LINKS = ("coupon", "store", "member_page", "order", "event_page")


@dataclass(frozen=True, slots=True)
class Gaps:
    """What the texts of a rule may use; ``unsure`` names the sources that have a finding of their own."""

    event: str | None = None
    coupon: Coupon | None = None
    link: str | None = None
    unsure: frozenset[str] = frozenset()

    def known(self) -> Mapping[str, Type | None]:
        """List the placeholders by name; a type of None never comes out empty."""
        names: dict[str, Type | None] = {f"customer.{name}": kind for name, kind in customer_fields().items()}
        if self.event:
            names |= {f"event.{name}": kind for name, kind in event_fields(self.event).items() if name != "id"}
        names = {name: kind for name, kind in names.items() if kind and kind.kind in ("string", "number")}
        names |= {f"coupon.{name}": None for name in _COUPON}
        return names | {"shop.name": None, "link": None}


def parse(text: str, gaps: Gaps) -> tuple[Text, list[Misfit]]:
    """Read a text; the misfits are all that is wrong with it. Literal braces are written twice."""
    parts: list[str | Placeholder] = []
    misfits: list[Misfit] = []
    place, literal = 0, ""
    known = gaps.known()
    for brace in _BRACES.finditer(text):
        literal += text[place : brace.start()]
        place = brace.end()
        if brace[0] in ("{{", "}}"):
            literal += brace[0][0]
        elif brace[1] is None:
            misfits.append(Misfit(f"a single '{brace[0]}'; write '{brace[0] * 2}' for the character", brace.start()))
        else:
            try:
                gap = _gap(brace[1], gaps, known)
            except Misfit as error:
                misfits.append(Misfit(error.message, brace.start()))
                continue
            parts += [literal, gap] if literal else [gap]
            literal = ""
    literal += text[place:]
    return (*parts, literal) if literal else tuple(parts), misfits


def _gap(inside: str, gaps: Gaps, known: Mapping[str, Type | None]) -> Placeholder:
    name, bar, default = inside.partition("|")
    source, _, field = name.partition(".")
    if source in gaps.unsure:
        return Placeholder(source, field, default)
    if name not in known:
        raise Misfit(_unknown(name, gaps, known))
    if source == "link" and gaps.link is None:
        raise Misfit("{link} without 'link:'; say where it leads: link: store")
    if source == "coupon" and gaps.coupon is None:
        raise Misfit(f"{{{name}}} without 'coupon:'; say which one is sent")
    if name == "coupon.valid_for" and gaps.coupon and not gaps.coupon.valid_for:
        raise Misfit("{coupon.valid_for} without 'valid_for:' in the coupon")
    kind = known[name]
    if kind is not None and kind.optional and not default:
        raise Misfit(f"{name} may be empty; give a default: {{{name}|{_sample(name)}}}")
    if "{" in default or any(char < " " for char in default):
        raise Misfit("a default is plain words")
    return Placeholder(source, field, default if bar else None)


def _sample(name: str) -> str:
    return "dear customer" if name == "customer.name" else "…"


def _unknown(name: str, gaps: Gaps, known: Mapping[str, Type | None]) -> str:
    if name.startswith("event.") and gaps.event is None:
        return f"{{{name}}}: there is no event; only a rule with 'when' has one"
    guess = did_you_mean(name, known, name="{{{}}}")
    return f"unknown placeholder {{{name}}}" + (guess or f"; known: {', '.join(known)}")


def check_link(link: str, gaps: Gaps) -> None:
    """See that a link leads somewhere. Raises Misfit."""
    if link.startswith("https://"):
        if not re.fullmatch(r"https://[A-Za-z0-9.-]+\.[A-Za-z]{2,}(:[0-9]+)?(/[!-~]*)?", link):
            raise Misfit(f"'{link}' is not an address; write https://shop.example/page")
        return
    if link not in _LINKS:
        known = ", ".join(_LINKS)
        raise Misfit(f"unknown link '{link}'; it is one of {known} or https://…{did_you_mean(link, _LINKS)}")
    if link == "coupon" and gaps.coupon is None and "coupon" not in gaps.unsure:
        raise Misfit("'link: coupon' without 'coupon:'")
    of_order = gaps.event is not None and "order_id" in event_fields(gaps.event)
    if link == "order" and not of_order and "event" not in gaps.unsure:
        raise Misfit("'link: order' needs a rule that waits for an event of an order")


def sample(text: Text, gaps: Gaps, shop: Shop, *, opt_out: bool) -> str:
    """Make a message as it will typically look, with signature and opt-out."""
    filled = "".join(part if isinstance(part, str) else _typical(part, gaps, shop) for part in text)
    return f"{shop.signature}{filled}{shop.opt_out if opt_out else ''}"


def _typical(gap: Placeholder, gaps: Gaps, shop: Shop) -> str:
    if gap.source == "link":
        return shop.link_base + "x" * LINK_CODE
    if gap.source == "coupon" and gaps.coupon:
        return str(getattr(gaps.coupon, gap.name))
    if gap.default:
        return gap.default
    if gap.source == "shop":
        return shop.name
    kind = gaps.known().get(f"{gap.source}.{gap.name}")
    return "199" if kind and kind.kind == "number" else _TYPICAL_TEXT


def too_long(text: Text, gaps: Gaps, shop: Shop, *, opt_out: bool) -> str | None:
    """Say that a text will cost more parts than the shop wants, or None."""
    if shop.max_segments is None:
        return None
    message = sample(text, gaps, shop, opt_out=opt_out)
    parts = segments(message, shop.counting)
    if parts <= shop.max_segments:
        return None
    size = length(message, shop.counting)
    with_what = "with signature and opt-out" if opt_out else "with signature"
    return f"about {size} characters {with_what}: {parts} messages are charged instead of {shop.max_segments}"


def find_word(folded: str, word: str) -> int:
    """Find a word in a case-folded text, -1 if it is not there: Latin ones whole, others anywhere."""
    edge = r"\b" if word.isascii() else ""
    found = re.search(edge + re.escape(word) + edge, folded)
    return found.start() if found else -1
