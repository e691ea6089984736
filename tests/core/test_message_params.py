"""The values of a text's gaps are kept beside it where a gateway may want them: for texts approved as templates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from scenes import DAY, event, rule, shop
from stories import FREE, Story

if TYPE_CHECKING:
    from triggers.core.decisions import Send

TEXT = "{customer.name|friend}, {shop.name} has {event.amount} for you {link}"


def sent(text: str = TEXT, *, name: str | None = "Mei", in_shop: Any = None, **keys: Any) -> Send:
    made = rule(
        in_shop=in_shop,
        when={"event": "order.created", "per": "order_id"},
        wait="0min",
        send={**FREE, "text": text, "link": "https://shop.example/x"},
    )
    known = [] if name is None else [event("customer.updated", -1, name=name)]
    story = Story(made, in_shop=in_shop, **keys).known(*known)
    (send,) = story.tell(event("order.created", 0, amount=9)).until(DAY).sends
    return send


def test_a_service_keeps_what_fills_each_gap() -> None:
    send = sent(keep_all=True)
    assert send.params == {
        "customer.name": "Mei",
        "shop.name": "Test",
        "event.amount": "9",
        "link": "https://shop.example/x",
    }
    assert send.text == "Mei, Test has 9 for you https://shop.example/x"


def test_a_replay_keeps_nothing_of_it() -> None:
    send = sent(keep_all=False)
    assert send.params is None
    assert send.text == sent(keep_all=True).text


@pytest.mark.parametrize(("name", "filled"), [(None, "friend"), ("\u202eMei\n", "Mei"), ("x" * 500, "x" * 40)])
def test_values_are_those_that_the_text_says(name: str | None, filled: str) -> None:
    send = sent("hello {customer.name|friend}", name=name, keep_all=True)
    assert send.params is not None
    assert send.params["customer.name"] == send.text.removeprefix("hello ")
    assert send.params["customer.name"].startswith(filled[:20])


def test_where_the_text_would_be_too_long_the_defaults_are_kept_too() -> None:
    in_shop = shop(copy={"max_segments": 1})
    send = sent("{customer.name|friend} " + "x" * 140, name="M" * 40, in_shop=in_shop, keep_all=True)
    assert send.params == {"customer.name": "friend"}
    assert send.text.startswith("friend xxx")


def test_a_text_without_gaps_has_no_values() -> None:
    assert sent("hello", keep_all=True).params in (None, {})
