"""What messages say, and what their parts cost: hostile values, lengths, defaults."""

from __future__ import annotations

import string
import unicodedata
from decimal import Decimal
from typing import Any

import pytest
import smsutil
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import DAY, event, rule, shop
from stories import FREE, Story

from triggers.core.rules import Placeholder
from triggers.core.texts import GSM_BASIC, GSM_EXTENDED, VALUE_LIMIT, clean, fill, length, segments

PLAIN = sorted(GSM_BASIC - {"\r"})


def told(text: str, *, in_shop: Any = None, before: tuple[Any, ...] = (), send: Any = None, **fields: Any) -> Story:
    """Send a text about an order, to a customer of whom something is known."""
    made = rule(
        in_shop=in_shop,
        when={"event": "order.created", "per": "order_id"},
        wait="0min",
        send={**FREE, "text": text, **(send or {})},
    )
    return Story(made, in_shop=in_shop).known(*before).tell(event("order.created", 0, **fields)).until(DAY)


def said(text: str, **keys: Any) -> str:
    (send,) = told(text, **keys).sends
    return send.text


def named(name: str) -> tuple[Any, ...]:
    return (event("customer.updated", -1, name=name),)


# Parts, against an oracle of others' making


@given(st.text(alphabet=st.sampled_from(PLAIN + sorted(GSM_EXTENDED - {"\f"}) * 8), max_size=500))
@settings(max_examples=400, deadline=None)
def test_gsm_texts_take_as_many_parts_as_smsutil_says(text: str) -> None:
    assert segments(text) == max(1, len(smsutil.split(text).parts))


@given(st.text(alphabet="a中é€^ё文", min_size=1, max_size=400).map(lambda text: text + "中"))
@settings(max_examples=200, deadline=None)
def test_wide_texts_take_as_many_parts_as_smsutil_says(text: str) -> None:
    assert segments(text) == len(smsutil.split(text).parts)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("a" * 158 + "€", 1),
        ("a" * 159 + "€", 2),
        ("^" * 80, 1),
        ("^" * 81, 2),
        ("a" * 152 + "^" + "a" * 151, 2),
        ("a" * 152 + "^" + "a" * 152, 3),  # the escape is not split: 152 + 153 + 1
        ("a" * 153 + "^" + "a" * 151, 2),
        ("a" * 70 + "中", 2),
        ("中" * 70, 1),
        ("中" * 71, 2),
        ("中" * 134, 2),
        ("中" * 135, 3),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
        ("`" * 71, 2),
    ],
)
def test_parts_at_their_boundaries(text: str, parts: int) -> None:
    assert segments(text) == parts


@pytest.mark.parametrize(("text", "parts"), [("a" * 70, 1), ("a" * 71, 2), ("a" * 134, 2), ("a" * 135, 3)])
def test_where_china_counts_every_character_is_one_of_seventy(text: str, parts: int) -> None:
    assert segments(text, "china") == parts
    assert length(text, "china") == len(text)


def test_the_alphabet_is_the_one_of_smsutil() -> None:
    for char in map(chr, range(0x20, 0x2100)):
        if char.isprintable():
            assert (char in GSM_BASIC or char in GSM_EXTENDED) == smsutil.is_valid_gsm(char), char


# Hostile values


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Mei", "Mei"),
        ("  Mei\n\r\n\tLi ", "Mei Li"),
        ("Mei\u2028Li\u2029", "Mei Li"),
        ("\u202eieM\u202c", "ieM"),
        ("M\u200be\u200di\ufeff", "Mei"),
        ("Mei\x00\x1b[31m", "Mei[31m"),
        ("M" * 1000, "M" * 40),
        ("\u200b\n\u202e", "dear"),
        ("", "dear"),
        ("{link}{customer.phone}", "{link}{customer.phone}"),
        ("%s{0}$name", "%s{0}$name"),
        ("张伟", "张伟"),
        ("José Ångström", "José Ångström"),
    ],
)
def test_a_name_is_made_harmless(name: str, shown: str) -> None:
    assert said("Hi {customer.name|dear}!", before=named(name)) == f"Hi {shown}!"


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_value_brings_lines_controls_or_length_into_a_text(value: str) -> None:
    shown = clean(value)
    assert len(shown) <= VALUE_LIMIT
    assert shown == clean(shown)
    assert all(unicodedata.category(char)[0] != "C" for char in shown)
    assert not {"\n", "\r", "\t", "\u2028", "\u2029"} & set(shown)


def test_an_id_of_invisible_characters_is_no_error() -> None:
    assert said("Order {event.order_id}.", order_id="\u200b\u2060") == "Order ."


def test_a_gap_without_value_and_default_is_an_error_of_the_code() -> None:
    with pytest.raises(KeyError, match=r"customer\.name"):
        fill((Placeholder("customer", "name"),), {})


def test_a_name_that_becomes_known_while_waiting_is_in_the_text() -> None:
    assert said("Hi {customer.name|dear}!") == "Hi dear!"
    assert said("Hi {customer.name|dear}!", before=named("Mei")) == "Hi Mei!"


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("99", "99"),
        ("99.90", "99.90"),
        ("1E+3", "1000"),
        ("0.125", "0.13"),
        ("1E-5", "0.00"),
        ("123456789.5", "123456789.5"),
    ],
)
def test_amounts_are_written_as_people_read_them(amount: str, shown: str) -> None:
    assert said("{event.amount} yuan", amount=Decimal(amount)) == f"{shown} yuan"


def test_a_mean_has_two_decimals() -> None:
    before = tuple(
        event("order.paid", -1, order_id=f"o{i}", amount=Decimal(amount)) for i, amount in enumerate((10, 10, 11))
    )
    assert said("{customer.avg_order_value|0}", before=before) == "10.33"


def test_coupon_shop_and_link_fill_their_gaps() -> None:
    named_shop = shop(name="Fox", link_base="f.x/")
    coupon = {"batch": "B1", "amount": Decimal("5.50"), "min_spend": 50, "valid_for": "7d"}
    text = "{shop.name} {coupon.batch} {coupon.amount} {coupon.min_spend} {coupon.valid_for} {link}"
    parts = said(text, in_shop=named_shop, send={"coupon": coupon, "link": "coupon"}).split()
    assert parts[:5] == ["Fox", "B1", "5.5", "50", "7d"]
    assert parts[5].startswith("f.x/")
    assert len(parts[5]) == len("f.x/") + 8
    assert set(parts[5][4:]) <= set(string.ascii_lowercase + string.digits)


def test_a_short_link_is_the_messages_own_and_always_the_same() -> None:
    def link(order: str) -> str:
        return said("{link}", send={"link": "store"}, order_id=order, id=f"e{order}")

    assert link("1") == link("1")
    assert link("1") != link("2")


def test_a_full_address_stays_as_it_is() -> None:
    address = "https://shop.example/sale?a=1"
    assert said("{link}", send={"link": address}) == address


# Too long


def test_values_that_make_a_message_cost_more_than_allowed_give_way_to_their_defaults() -> None:
    strict = shop(copy={"max_segments": 1}, signature="[S] ", opt_out=" R")
    text = "Hi {customer.name|dear}" + "a" * 140
    assert said(text, in_shop=strict, before=named("Mei")).startswith("[S] Hi Mei")
    (send,) = told(text, in_shop=strict, before=named("M" * 30)).sends
    assert send.text.startswith("[S] Hi dear")
    assert send.segments == 1
    (send,) = told(text, in_shop=strict, before=named("梅")).sends  # one wide character makes all of it wide
    assert send.text.startswith("[S] Hi dear")


def test_a_message_too_long_even_with_its_defaults_is_not_sent() -> None:
    strict = shop(copy={"max_segments": 1})
    story = told("{event.order_id}" + "a" * 150, in_shop=strict, order_id="o" * 40)
    assert story.sends == []
    assert story.ends == ["text too long"]


def test_a_plain_text_that_is_too_long_is_not_sent_either() -> None:
    assert told("a" * 161, in_shop=shop(copy={"max_segments": 1})).ends == ["text too long"]


def test_a_message_costs_its_parts_signature_and_opt_out_included() -> None:
    priced = shop(price_per_message=Decimal("0.05"), signature="[S] ", opt_out=" R")
    for size, parts in ((152, 1), (153, 2)):
        (send,) = told("a" * size, in_shop=priced).sends
        assert (send.segments, send.cost) == (parts, parts * 5_000)


def test_a_notice_carries_no_opt_out() -> None:
    signed = shop(signature="[S] ", opt_out=" R")
    made = rule(in_shop=signed, **{"class": "notice", "wait": "0min", "when": {"event": "order.created"}, "send": FREE})
    (send,) = Story(made, in_shop=signed).tell(event("order.created", 0)).until(DAY).sends
    assert send.text == "[S] x"
