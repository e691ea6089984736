"""What a message says: variant, values, signature and opt-out, parts and cost."""

from __future__ import annotations

import base64
import hashlib
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, NamedTuple

from triggers.core import texts
from triggers.core.chance import fraction
from triggers.core.rules import Placeholder, Sending, Variant, sending_of

if TYPE_CHECKING:
    from triggers.core.customer import Customer, Wait
    from triggers.core.rulebook import Rulebook
    from triggers.core.rules import Rule, Shop

FEN_DIGITS = -2
FEN = Decimal("0.01")

LINK_LENGTH = 8
"""Characters of a short link after its base."""


class Message(NamedTuple):
    """A composed message; ``cost`` in 1/1000 fen; ``refused`` if it takes more parts than the shop allows."""

    text: str
    segments: int
    cost: int
    variant: str | None
    coupon: str | None
    refused: bool
    params: dict[str, str] | None = None


def compose(book: Rulebook, customer: Customer, rule: Rule, wait: Wait, at: int) -> Message:
    """Write the message of a wait; values that make it cost more parts than allowed give way to their defaults."""
    ready = book.ready.get(rule.id)
    if ready is not None:
        return ready
    shop = book.shop
    sending = sending_of(rule, wait)
    variant = choose(book, customer, rule, sending, at)
    name = None if sending.plain else variant.id
    coupon = sending.coupon.batch if sending.coupon else None
    values = values_of(customer, rule, sending, wait, shop_name=shop.name, base=shop.link_base)
    message = _signed(shop, rule, texts.fill(variant.text, values), name, coupon)
    plain = message.refused
    if plain:
        message = _signed(shop, rule, texts.fill(variant.text, values, plain=True), name, coupon)
    if book.keep_all:  # a service: its gateway may have the text as a template
        message = message._replace(params=texts.gaps(variant.text, values, plain=plain))
    return message


def ready_message(rule: Rule, shop: Shop) -> Message | None:
    """Write the message of a rule that says the same to everybody; None where it depends on anything."""
    text = rule.sending.texts[0].text
    if len(rule.sending.texts) > 1 or rule.waves is not None or not all(isinstance(part, str) for part in text):
        return None
    coupon = rule.sending.coupon.batch if rule.sending.coupon else None
    return _signed(shop, rule, texts.fill(text, {}), None if rule.sending.plain else rule.sending.texts[0].id, coupon)


def _signed(shop: Shop, rule: Rule, body: str, variant: str | None, coupon: str | None) -> Message:
    text = f"{shop.signature}{body}{shop.opt_out if rule.klass != 'notice' else ''}"
    parts = texts.segments(text, shop.counting)
    refused = shop.max_segments is not None and parts > shop.max_segments
    return Message(text, parts, parts * shop.price, variant, coupon, refused)


def choose(book: Rulebook, customer: Customer, rule: Rule, sending: Sending, at: int) -> Variant:
    """Choose a customer's variant: by hash along the shares of those still in use (S27)."""
    if len(sending.texts) == 1:
        return sending.texts[0]
    usable = [variant for variant in sending.texts if variant.until is None or at < variant.until] or sending.texts[-1:]
    pinned = next((variant for variant in usable if variant.id == book.pins.variant), None)
    if pinned is not None:
        return pinned
    place = fraction(f"variant|{rule.id}|{customer.id}") * sum(variant.share for variant in usable)
    for variant in usable:
        place -= variant.share
        if place < 0:
            return variant
    return usable[-1]


def values_of(
    customer: Customer, rule: Rule, sending: Sending, wait: Wait, *, shop_name: str, base: str
) -> dict[str, str | None]:
    """Collect the values that the texts of a rule may name, by "source.name"."""
    values: dict[str, str | None] = {"shop.name": shop_name, "link": link_of(customer, rule, sending, wait, base)}
    if sending.coupon is not None:
        values["coupon.batch"] = sending.coupon.batch
        values["coupon.amount"] = sending.coupon.amount
        values["coupon.min_spend"] = sending.coupon.min_spend
        values["coupon.valid_for"] = sending.coupon.valid_for
    for variant in sending.texts:
        for gap in variant.text:
            if isinstance(gap, Placeholder) and gap.source in ("customer", "event"):
                source = customer.facts if gap.source == "customer" else wait.trigger
                value = getattr(source, gap.name, None)
                values[f"{gap.source}.{gap.name}"] = None if value is None else worded(value)
    return values


def worded(value: object) -> str:
    """Write a value as people read it: amounts of yuan to the fen at most, and never with an exponent."""
    if not isinstance(value, Decimal):
        return str(value)
    exponent = value.as_tuple().exponent
    rounded = value.quantize(FEN, ROUND_HALF_UP) if isinstance(exponent, int) and exponent < FEN_DIGITS else value
    return f"{rounded:f}"


def link_of(customer: Customer, rule: Rule, sending: Sending, wait: Wait, base: str) -> str | None:
    """Make the link of a message: one of its own for each, so that a click names its message; a full address as it is."""
    link = sending.link
    if link is None or link.startswith("https://"):
        return link
    cause = wait.trigger.id if wait.trigger is not None else wait.slot or ""
    digest = hashlib.sha256(f"link|{link}|{rule.id}|{customer.id}|{cause}".encode()).digest()
    return base + base64.b32encode(digest)[:LINK_LENGTH].decode().lower()
