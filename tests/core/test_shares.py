"""Holdouts and variants: the same for ever, and fair: S26, S27."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import DAY, HOUR, event, rule, shop
from stories import FREE, Story

from triggers.core.chance import fraction
from triggers.core.rulebook import Pins

NAMES = [f"c{i}" for i in range(2000)]


def share(text: str) -> float:
    """Work a fraction out anew, from all of the hash."""
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) / 2**256


def all_told(made: Any, names: list[str] = NAMES, at: int = 0, **keys: Any) -> Story:
    keys.setdefault("narrates", False)
    return Story(made, **keys).tell(*(event("order.created", at, customer=name) for name in names)).until(at + DAY)


def prompt(name: str = "r", **keys: Any) -> Any:
    return rule(name, **{"when": {"event": "order.created"}, "wait": "0min", "send": FREE, **keys})


@given(st.text(max_size=30))
def test_a_fraction_is_the_hash_as_a_part_of_one(text: str) -> None:
    assert fraction(text) == pytest.approx(share(text), abs=1e-15)
    assert 0 <= fraction(text) < 1


def test_fractions_never_change() -> None:
    assert [round(fraction(f"holdout|r|c{i}"), 6) for i in range(4)] == [0.217186, 0.205007, 0.625432, 0.987469]


def test_the_holdout_is_who_the_hash_says_and_no_one_else() -> None:
    story = all_told(prompt(send={**FREE, "holdout": "10%"}))
    withheld = {send.customer for send in story.sends if send.withheld}
    assert withheld == {name for name in NAMES if share(f"holdout|r|{name}") < 0.1}
    assert 150 < len(withheld) < 250
    assert Counter(story.ends) == {"withheld": len(withheld), "sent": len(NAMES) - len(withheld)}


def test_another_rule_holds_others_out() -> None:
    held = [
        {send.customer for send in all_told(prompt(name, send={**FREE, "holdout": "10%"})).sends if send.withheld}
        for name in ("r", "s")
    ]
    assert 5 < len(held[0] & held[1]) < 45


def test_the_holdout_of_the_shop_has_its_own_salt_and_adds_to_the_rules() -> None:
    kept = shop(holdout="10%")
    story = all_told(prompt(in_shop=kept, send={**FREE, "holdout": "10%"}), in_shop=kept)
    withheld = {send.customer for send in story.sends if send.withheld}
    own = {name for name in NAMES if share(f"holdout|r|{name}") < 0.1}
    whole = {name for name in NAMES if share(f"holdout-shop|{name}") < 0.1}
    assert withheld == own | whole
    assert len(own & whole) < 40


def test_a_notice_is_not_withheld_by_the_shop_but_by_its_own_holdout() -> None:
    kept = shop(holdout="100%")
    notice = {"class": "notice"}
    assert not [
        send for send in all_told(prompt(in_shop=kept, **notice), NAMES[:20], in_shop=kept).sends if send.withheld
    ]
    own = prompt(**notice, send={**FREE, "holdout": "100%"})
    assert all(send.withheld for send in all_told(own, NAMES[:20]).sends)


def test_everything_but_the_command_happens_for_the_withheld() -> None:
    made = prompt(send={**FREE, "holdout": "100%"}, audience={"where": 'customer.city == "X"'})
    story = Story(made).known(event("customer.updated", 0, customer="a", city="X"))
    story.tell(*(event("order.created", 0, customer=who) for who in "ab")).until(DAY)
    assert story.ends == ["withheld", "not in audience"]


def test_a_pinned_holdout_is_what_a_test_says() -> None:
    made = prompt(send={**FREE, "holdout": "50%"})
    for pinned in (True, False):
        assert {send.withheld for send in all_told(made, NAMES[:50], pins=Pins(holdout=pinned)).sends} == {pinned}


# Variants


def variants(*parts: tuple[str, str | None, str | None]) -> Any:
    each = []
    for name, portion, until in parts:
        variant = {"id": name, "text": f"text {name}"}
        if portion:
            variant["share"] = portion
        if until:
            variant["until"] = until
        each.append(variant)
    return prompt(send={"window": ["00:00-24:00"], "variants": each})


THREE = [("a", "50%", None), ("b", "30%", None), ("c", "20%", None)]


def chosen(made: Any, **keys: Any) -> dict[str, str]:
    return {send.customer: send.variant or "" for send in all_told(made, **keys).sends}


def test_variants_go_by_the_hash_along_the_shares_in_the_order_of_the_file() -> None:
    found = chosen(variants(*THREE))
    assert found == {
        name: "a" if (part := share(f"variant|r|{name}")) < 0.5 else "b" if part < 0.8 else "c" for name in NAMES
    }


def test_a_variants_text_is_its_own() -> None:
    assert {(send.variant, send.text) for send in all_told(variants(*THREE)).sends} == {
        (name, f"text {name}") for name in "abc"
    }


def test_variants_without_shares_are_equal() -> None:
    counts = Counter(chosen(variants(("a", None, None), ("b", None, None))).values())
    assert 900 < counts["a"] < 1100


@pytest.mark.parametrize(("at", "left"), [(HOUR - 1, "abc"), (HOUR, "ac")])
def test_a_variant_past_its_time_is_left_out_and_the_rest_is_rescaled(at: int, left: str) -> None:
    made = variants(("a", "50%", None), ("b", "30%", "2026-09-01 12:00"), ("c", "20%", None))
    found = chosen(made, at=at)
    assert set(found.values()) == set(left)
    if left == "ac":
        assert found == {name: "a" if share(f"variant|r|{name}") * 0.7 < 0.5 else "c" for name in NAMES}


def test_of_variants_that_are_all_past_their_time_the_last_is_used() -> None:
    past = "2026-09-01 10:00"
    assert set(chosen(variants(("a", "50%", past), ("b", "50%", past))).values()) == {"b"}


def test_a_pinned_variant_is_what_a_test_says() -> None:
    assert set(chosen(variants(*THREE), pins=Pins(variant="b")).values()) == {"b"}


def test_one_text_has_no_variants_name_and_one_variant_has() -> None:
    assert {send.variant for send in all_told(prompt(), NAMES[:3]).sends} == {None}
    assert set(chosen(variants(("only", None, None))).values()) == {"only"}


def test_holdout_and_variant_are_drawn_apart() -> None:
    made = variants(*THREE)
    held = {name for name in NAMES if share(f"holdout|r|{name}") < 0.2}
    counts = Counter(name for customer, name in chosen(made).items() if customer in held)
    assert 0.4 < counts["a"] / len(held) < 0.6
