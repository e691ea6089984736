"""Waits grow and are spread, and no more leaves than a gateway takes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from triggers.dispatch.pacing import Bucket, backoff_s

NOW = 1_780_000_000_000


@pytest.mark.parametrize(
    ("attempt", "bound"),
    [(1, 1), (2, 2), (3, 4), (5, 16), (10, 512), (11, 900), (12, 900), (1_000, 900), (0, 1), (-5, 1)],
)
def test_the_bound_of_a_wait_doubles_up_to_15_minutes(attempt: int, bound: int) -> None:
    assert backoff_s(attempt, 0.0, None) == 0
    assert backoff_s(attempt, 0.5, None) == bound / 2
    assert bound * 0.99 < backoff_s(attempt, 0.999, None) < bound


@pytest.mark.parametrize(
    ("wish", "least"),
    [(0, 0), (30, 30), (0.5, 0.5), (3_600, 3_600), (86_400, 3_600), (-5, 0), (math.inf, 3_600), (math.nan, 0)],
)
def test_a_gateways_wish_is_the_least_wait_up_to_an_hour(wish: float, least: float) -> None:
    assert backoff_s(4, 0.0, wish) == least
    assert backoff_s(4, 0.25, wish) == least + 2  # spread even so: all would come back at once otherwise


@given(st.integers(-5, 10_000), st.floats(0, 1, exclude_max=True), st.none() | st.floats())
def test_no_wait_is_endless(attempt: int, chance: float, wish: float | None) -> None:
    assert 0 <= backoff_s(attempt, chance, wish) <= 4_500


def test_a_bucket_begins_full_and_fills_steadily() -> None:
    bucket = Bucket(10, 5)
    assert bucket.take(NOW, 100) == 5
    assert bucket.take(NOW, 1) == 0
    assert bucket.ready_in_s(NOW) == pytest.approx(0.1)
    assert bucket.take(NOW + 99, 1) == 0
    assert bucket.take(NOW + 100, 100) == 1
    assert bucket.take(NOW + 350, 100) == 2
    assert bucket.take(NOW + 400, 100) == 1  # half a token was left
    assert bucket.take(NOW + 3_600_000, 100) == 5


def test_a_reserve_is_left_for_urgent_messages() -> None:
    bucket = Bucket(10, 5)
    assert bucket.take(NOW, 100, reserve=2) == 3
    assert bucket.take(NOW, 100, reserve=2) == 0
    assert bucket.ready_in_s(NOW, reserve=2) == pytest.approx(0.1)
    assert bucket.ready_in_s(NOW) == 0
    assert bucket.take(NOW, 100) == 2
    assert bucket.ready_in_s(NOW, reserve=2) == pytest.approx(0.3)
    assert bucket.take(NOW + 299, 100, reserve=2) == 0
    assert bucket.take(NOW + 300, 100, reserve=2) == 1


@pytest.mark.parametrize("burst", [1, 1.5, 2, 5])
def test_a_reserve_never_locks_the_others_out(burst: float) -> None:
    bucket = Bucket(1, burst)
    assert bucket.ready_in_s(NOW, reserve=100) == 0
    assert bucket.take(NOW, 100, reserve=100) == 1


def test_what_did_not_leave_is_given_back_but_not_more_than_fits() -> None:
    bucket = Bucket(1, 5)
    assert bucket.take(NOW, 4) == 4
    bucket.give(NOW, 3)
    assert bucket.take(NOW, 100) == 4
    bucket.give(NOW, 100)
    assert bucket.take(NOW, 100) == 5
    bucket.give(NOW + 10_000, 5)  # it is full by then
    assert bucket.take(NOW + 10_000, 100) == 5


def test_a_clock_that_goes_back_neither_fills_nor_stops_a_bucket() -> None:
    bucket = Bucket(10, 5)
    bucket.take(NOW, 5)
    assert bucket.take(NOW - 3_600_000, 5) == 0
    assert bucket.take(NOW - 3_600_000 + 200, 5) == 2


def test_a_slow_bucket_fills_however_often_it_is_asked() -> None:
    bucket = Bucket(0.01, 1)
    bucket.take(NOW, 1)
    taken = [step for step in range(1, 100_003) if bucket.take(NOW + step, 1)]
    assert taken == [100_000]


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (math.nan, 1), (math.inf, 1), (1, 0.9), (1, math.inf)])
def test_a_bucket_that_could_never_give_is_refused(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="a bucket needs"):
        Bucket(rate, burst)


class Takers(RuleBasedStateMachine):
    """Takes tokens at any time; never more than were saved and came since."""

    @initialize(rate=st.floats(0.1, 5_000), burst=st.integers(1, 50) | st.floats(1, 50))
    def open(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self.now, self.taken = NOW, 0
        self.bucket = Bucket(rate, burst)

    @rule(passed=st.integers(0, 2_000))
    def wait(self, passed: int) -> None:
        self.now += passed

    @rule(n=st.integers(0, 100), reserve=st.integers(0, 60) | st.floats(0, 60))
    def take(self, n: int, reserve: float) -> None:
        ready = self.bucket.ready_in_s(self.now, reserve)
        taken = self.bucket.take(self.now, n, reserve)
        assert 0 <= taken <= n
        assert (taken > 0) == (ready == 0 and n > 0)
        self.taken += taken

    @rule(reserve=st.integers(0, 60) | st.floats(0, 60))
    def wait_until_ready(self, reserve: float) -> None:
        self.now += math.ceil(1_000 * self.bucket.ready_in_s(self.now, reserve))
        taken = self.bucket.take(self.now, 1, reserve)
        assert taken == 1
        self.taken += 1

    @precondition(lambda self: self.taken)
    @rule()
    def give_back(self) -> None:
        self.bucket.give(self.now, 1)
        self.taken -= 1

    @invariant()
    def keeps_the_rate(self) -> None:
        if hasattr(self, "bucket"):
            assert self.taken <= self.burst + (self.now - NOW) * self.rate / 1_000 + 0.01


TestTakers = Takers.TestCase
