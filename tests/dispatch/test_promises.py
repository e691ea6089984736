from __future__ import annotations

import pytest
from offices import NOON, PHONE, send

from triggers.core.times import MINUTE
from triggers.dispatch.gateway import Accepted, Answer, Barred, Rejected, TryLater, Unknown
from triggers.dispatch.promises import CLASSES, COMMERCIAL, MOST_ATTEMPTS, PROMISES, settled
from triggers.store.states import Go, Leaving, Queued, Settled

ONCE, NOTICE, VERIFICATION = "marketing", "notice", "verification"


def leaving(klass: str, *, attempts: int = 0, ambiguous: int = 0, queued_at: int = NOON) -> Leaving:
    """Make a message that is being sent, as it was before this attempt."""
    queued = Queued(1, send("1", klass=klass), PHONE, attempts, ambiguous, (), "main", queued_at, None)
    return Leaving(queued, Go("main", PHONE, 5_000, NOON + MINUTE))


def answered(klass: str, answer: Answer, now: int = NOON, chance: float = 0.5, **before: int) -> Settled:
    return settled(leaving(klass, **before), answer, now, chance)


@pytest.mark.parametrize("klass", CLASSES)
def test_what_is_accepted_is_spent_and_known_by_the_gateways_id(klass: str) -> None:
    assert answered(klass, Accepted("p1", 2, "OK")) == Settled("accepted", "OK", "p1")
    assert answered(klass, Accepted(None)) == Settled("accepted")


@pytest.mark.parametrize("klass", CLASSES)
def test_what_is_rejected_is_over_and_costs_nothing(klass: str) -> None:
    assert answered(klass, Rejected("bad number")) == Settled("rejected", "bad number", spent=False)
    assert answered(klass, Rejected("", blacklisted=True)) == Settled("rejected", "rejected", spent=False)


@pytest.mark.parametrize("klass", CLASSES)
def test_where_the_gateway_bars_us_the_message_goes_elsewhere_at_once(klass: str) -> None:
    wanted = Settled("queued", "no balance", not_before=NOON, spent=False, refused=True)
    assert answered(klass, Barred("no balance")) == wanted
    assert answered(klass, Barred("no balance"), attempts=50) == wanted  # it never left: somebody must act first


@pytest.mark.parametrize("klass", CLASSES)
@pytest.mark.parametrize(
    ("attempts", "chance", "after_s", "waits"),
    [
        (0, 0.5, None, 500),
        (0, 0.0, None, 0),
        (1, 0.5, None, 1_000),
        (3, 0.5, 7.0, 7_000 + 4_000),
        (10, 0.999, None, int(899.1 * 1_000)),
    ],
)
def test_what_definitely_did_not_leave_is_tried_again_with_jitter_after_the_gateways_wish(
    klass: str, attempts: int, chance: float, after_s: float | None, waits: int
) -> None:
    found = answered(klass, TryLater("busy", after_s), chance=chance, attempts=attempts)
    assert found == Settled("queued", "busy", not_before=NOON + waits, spent=False, refused=True)


@pytest.mark.parametrize("klass", CLASSES)
def test_it_is_not_tried_for_ever_and_attempts_that_may_have_left_do_not_count(klass: str) -> None:
    last = MOST_ATTEMPTS - 1
    assert answered(klass, TryLater("busy"), attempts=last - 1).state == "queued"
    assert answered(klass, TryLater("busy"), attempts=last) == Settled("rejected", "gave up: busy", spent=False)
    assert answered(klass, TryLater("busy"), attempts=last, ambiguous=1).state == "queued"


@pytest.mark.parametrize("klass", sorted(COMMERCIAL))
@pytest.mark.parametrize("attempts", [0, 5])
def test_what_must_not_come_twice_is_never_tried_again_once_it_may_have_left(klass: str, attempts: int) -> None:
    assert answered(klass, Unknown("reset"), attempts=attempts) == Settled("unknown", "reset", ambiguous=True)


@pytest.mark.parametrize(("ambiguous", "state"), [(0, "queued"), (1, "queued"), (2, "unknown")])
def test_a_notice_may_leave_three_times(ambiguous: int, state: str) -> None:
    found = answered(NOTICE, Unknown("reset"), attempts=ambiguous, ambiguous=ambiguous)
    assert (found.state, found.ambiguous, found.spent, found.refused) == (state, True, True, False)
    if state == "queued":
        assert found.not_before == NOON + 500 * (1 << ambiguous)


def test_a_notice_has_all_the_time_in_the_world() -> None:
    assert answered(NOTICE, Unknown("reset"), queued_at=NOON - 24 * 60 * MINUTE).state == "queued"


@pytest.mark.parametrize(("ambiguous", "state"), [(0, "queued"), (1, "unknown")])
def test_a_code_may_leave_twice_the_second_time_elsewhere(ambiguous: int, state: str) -> None:
    found = answered(VERIFICATION, Unknown("reset"), attempts=ambiguous, ambiguous=ambiguous)
    assert (found.state, found.ambiguous, found.spent) == (state, True, True)
    assert found.refused is (state == "queued")


@pytest.mark.parametrize(
    ("waited", "state"), [(MINUTE - 501, "queued"), (MINUTE - 500, "unknown"), (2 * MINUTE, "unknown")]
)
def test_a_code_is_tried_again_within_a_minute_only(waited: int, state: str) -> None:
    assert answered(VERIFICATION, Unknown("reset"), queued_at=NOON - waited).state == state


@pytest.mark.parametrize("answer", [Accepted("p", code="c" * 500), Rejected("c" * 500), Unknown("c" * 500)])
def test_a_gateways_words_are_cut_short(answer: Answer) -> None:
    assert len(answered(NOTICE, answer).reason) == 120


def test_every_class_has_its_promise() -> None:
    assert set(PROMISES) == set(CLASSES)
    assert {klass: (promise.most_sends, promise.within) for klass, promise in PROMISES.items()} == {
        "verification": (2, MINUTE),
        "notice": (3, None),
        "member": (1, None),
        "greeting": (1, None),
        "marketing": (1, None),
    }
    assert [klass for klass in CLASSES if PROMISES[klass].elsewhere] == ["verification"]
    assert CLASSES[0] == "verification"  # the most urgent first
