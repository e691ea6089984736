from __future__ import annotations

from itertools import permutations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from triggers.core.decisions import Send
from triggers.core.times import HOUR, MINUTE, Zone
from triggers.replay.case_matching import Wanted, nearest, pair

SEND = Send(
    id="x",
    rule="r",
    customer="c1",
    identity=None,
    anchor=0,
    due=0,
    at=10 * HOUR + 30_000,
    withheld=False,
    shadow=False,
    variant="hook",
    wave=None,
    coupon="NEW20",
    text="20 yuan for you",
    segments=1,
    cost=5000,
    revision="",
    klass="marketing",
    expires=0,
)
PATH = ("tests", 0, "expect", 0)


def test_what_is_not_written_matches_anything() -> None:
    assert Wanted(PATH).differences(SEND) == []


def test_the_minute_must_be_the_same_and_the_second_need_not() -> None:
    assert Wanted(PATH, at=10 * HOUR).differences(SEND) == []
    assert Wanted(PATH, at=10 * HOUR + MINUTE).differences(SEND) == ["at"]


def test_each_difference_is_named() -> None:
    one = Wanted(PATH, at=0, to="c2", rule="s", variant="b", coupon="C", wave="w1", text_has="30", withheld=True)
    assert one.differences(SEND) == ["to", "rule", "variant", "coupon", "wave", "withheld", "text_has", "at"]


def test_an_expectation_reads_as_a_sentence() -> None:
    one = Wanted(PATH, at=10 * HOUR, to="c1", coupon="NEW20", text_has="20", withheld=True)
    assert one.words(Zone("UTC")) == "a withheld send to c1 at 1970-01-01 10:00 with coupon NEW20, the text '20'"


def test_an_expectation_that_says_little_leaves_the_send_of_one_that_says_more() -> None:
    assert pair([[0, 1], [0]]) == {0: 1, 1: 0}


def test_the_nearest_send_differs_in_the_fewest_keys_then_in_the_least_time() -> None:
    other = msgspec.structs.replace(SEND, customer="c2")
    late = msgspec.structs.replace(SEND, at=SEND.at + 5 * HOUR)
    wanted = Wanted(PATH, at=SEND.at + HOUR, to="c1")
    assert nearest(wanted, [other, late, SEND]) is SEND
    assert nearest(wanted, []) is None


@given(st.lists(st.lists(st.integers(0, 4), unique=True), max_size=5))
def test_no_pairing_explains_more(fits: list[list[int]]) -> None:
    found = pair(fits)
    assert all(send in fits[index] for index, send in found.items())
    assert len(set(found.values())) == len(found)
    best = max(sum(send in fit for fit, send in zip(fits, order, strict=False)) for order in permutations(range(5)))
    assert len(found) == best
