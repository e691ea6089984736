"""A gateway that fails gets nothing for a time, is tried with three messages, and old answers do not count."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from triggers.core.times import NEVER
from triggers.dispatch.breaker import UNLIMITED, Breaker, State
from triggers.dispatch.gateway import Accepted, Answer, Barred, Rejected, TryLater, Unknown

NOW = 1_780_000_000_000
S = 1_000

ACCEPTED, REJECTED = Accepted("1"), Rejected("bad number")
REFUSED, THROTTLED = TryLater("refused", refused_connection=True), TryLater("429", after_s=1)
UNKNOWN, BARRED = Unknown("time-out"), Barred("401")

OPENS = (State.CLOSED, State.OPEN)
REOPENS = (State.HALF_OPEN, State.OPEN)
CLOSES = (State.HALF_OPEN, State.CLOSED)


def told(breaker: Breaker, *answers: Answer, at: int = NOW) -> list[tuple[State, State] | None]:
    return [breaker.note(answer, at) for answer in answers]


def opened(at: int = NOW) -> Breaker:
    breaker = Breaker()
    assert told(breaker, *[REFUSED] * 5, at=at) == [None] * 4 + [OPENS]
    return breaker


def test_it_begins_closed_and_lets_all_through() -> None:
    breaker = Breaker()
    assert breaker.state(NOW) is State.CLOSED
    assert breaker.allows(NOW) == UNLIMITED
    assert breaker.retry_at == 0


def test_five_connections_refused_in_a_row_open_it() -> None:
    breaker = opened()
    assert breaker.state(NOW) is State.OPEN
    assert breaker.allows(NOW) == 0
    assert breaker.retry_at == NOW + 30 * S
    assert breaker.allows(NOW + 30 * S - 1) == 0


@pytest.mark.parametrize("between", [ACCEPTED, REJECTED, UNKNOWN, THROTTLED])
def test_another_answer_between_them_ends_the_row(between: Answer) -> None:
    breaker = Breaker()
    assert told(breaker, *[REFUSED] * 4, between, *[REFUSED] * 4) == [None] * 9
    assert breaker.note(REFUSED, NOW) == OPENS


def test_half_of_twenty_failures_in_a_minute_open_it() -> None:
    breaker = Breaker()
    assert told(breaker, *[UNKNOWN, ACCEPTED] * 9, UNKNOWN) == [None] * 19
    assert breaker.note(REJECTED, NOW) == OPENS


def test_fewer_failures_do_not_open_it() -> None:
    breaker = Breaker()
    assert told(breaker, *[UNKNOWN] * 9, *[REJECTED] * 11, *[UNKNOWN, ACCEPTED] * 100) == [None] * 220
    assert breaker.note(UNKNOWN, NOW) is None  # 110 of 221
    assert breaker.note(UNKNOWN, NOW) == OPENS  # 111 of 222


def test_nineteen_failures_are_not_enough_to_tell() -> None:
    breaker = Breaker()
    assert told(breaker, *[UNKNOWN] * 19) == [None] * 19
    assert breaker.note(UNKNOWN, NOW) == OPENS


def test_only_the_last_minute_counts() -> None:
    breaker = Breaker()
    told(breaker, *[UNKNOWN] * 19)
    assert breaker.note(UNKNOWN, NOW + 60 * S) is None
    told(breaker, *[UNKNOWN] * 18, at=NOW + 61 * S)
    assert breaker.note(UNKNOWN, NOW + 119 * S) == OPENS


def test_old_successes_are_forgotten_as_well() -> None:
    breaker = Breaker()
    told(breaker, *[ACCEPTED] * 1_000)
    assert told(breaker, *[UNKNOWN] * 20, at=NOW + 59 * S) == [None] * 20
    assert breaker.note(UNKNOWN, NOW + 60 * S) == OPENS


def test_throttling_says_neither_that_it_works_nor_that_it_fails() -> None:
    breaker = Breaker()
    assert told(breaker, *[THROTTLED] * 1_000) == [None] * 1_000
    told(breaker, *[UNKNOWN] * 19)
    assert breaker.note(UNKNOWN, NOW) == OPENS
    probing = opened()
    assert told(probing, *[THROTTLED] * 10, at=NOW + 30 * S) == [None] * 10
    assert probing.allows(NOW + 30 * S) == 3


@pytest.mark.parametrize("good", [ACCEPTED, REJECTED])
def test_three_good_probes_close_it(good: Answer) -> None:
    breaker = opened()
    now = NOW + 30 * S
    assert breaker.state(now) is State.HALF_OPEN
    for left, change in ((3, None), (2, None), (1, CLOSES)):
        assert breaker.allows(now) == left
        assert breaker.note(good, now, sent_at=now) == change
    assert breaker.state(now) is State.CLOSED
    assert breaker.allows(now) == UNLIMITED
    assert breaker.retry_at == 0


@pytest.mark.parametrize("bad", [UNKNOWN, REFUSED])
def test_one_bad_probe_opens_it_for_twice_as_long(bad: Answer) -> None:
    breaker, now, waits = opened(), NOW, []
    for _ in range(7):
        waits.append((breaker.retry_at - now) // S)
        now = breaker.retry_at
        told(breaker, ACCEPTED, ACCEPTED, at=now)
        assert breaker.note(bad, now) == REOPENS
        assert breaker.allows(now) == 0
    assert waits == [30, 60, 120, 240, 480, 600, 600]
    assert breaker.allows(breaker.retry_at) == 3  # the good probes of the time before are over


def test_once_closed_it_begins_anew() -> None:
    breaker = opened()
    breaker.note(UNKNOWN, NOW + 30 * S)
    now = breaker.retry_at
    assert told(breaker, *[ACCEPTED] * 3, at=now)[-1] == CLOSES
    assert told(breaker, *[REFUSED] * 5, at=now) == [None] * 4 + [OPENS]
    assert breaker.retry_at == now + 30 * S


def test_failures_of_before_it_opened_are_forgotten_once_it_is_closed() -> None:
    breaker = Breaker()
    assert told(breaker, *[UNKNOWN] * 20)[-1] == OPENS
    now = NOW + 30 * S  # within the minute
    assert told(breaker, *[ACCEPTED] * 3, at=now)[-1] == CLOSES
    assert told(breaker, *[UNKNOWN] * 19, at=now) == [None] * 19


def test_what_was_sent_before_it_opened_closes_nothing() -> None:
    breaker = opened()
    assert told(breaker, *[ACCEPTED] * 10, at=NOW + S) == [None] * 10
    half_open = NOW + 30 * S
    for _ in range(10):
        assert breaker.note(ACCEPTED, half_open + S, sent_at=NOW - S) is None
        assert breaker.note(UNKNOWN, half_open + S, sent_at=half_open - 1) is None
    assert breaker.allows(half_open + S) == 3
    assert breaker.retry_at == half_open


def test_probes_of_the_time_before_say_nothing_of_this_one() -> None:
    breaker = opened()
    first = breaker.retry_at
    assert breaker.note(UNKNOWN, first + S, sent_at=first) == REOPENS
    second = breaker.retry_at
    assert told(breaker, ACCEPTED, ACCEPTED, at=second) == [None, None]
    assert breaker.note(ACCEPTED, second, sent_at=first) is None
    assert breaker.note(UNKNOWN, second, sent_at=first) is None
    assert breaker.note(ACCEPTED, second, sent_at=second) == CLOSES


def test_what_was_sent_before_it_closed_opens_nothing() -> None:
    breaker = opened()
    closed = NOW + 30 * S
    told(breaker, *[ACCEPTED] * 3, at=closed)
    for _ in range(30):
        assert breaker.note(REFUSED, closed + S, sent_at=closed - 1) is None
    assert breaker.state(closed + S) is State.CLOSED


@pytest.mark.parametrize("state", [State.CLOSED, State.OPEN, State.HALF_OPEN])
def test_a_barred_gateway_waits_for_a_person(state: State) -> None:
    breaker = Breaker() if state is State.CLOSED else opened()
    now = NOW + (30 * S if state is State.HALF_OPEN else 0)
    assert breaker.note(BARRED, now, sent_at=NOW - S) == (state, State.BARRED)
    for later in (0, 30 * S, 86_400 * S):
        assert breaker.note(ACCEPTED, now + later) is None
        assert breaker.note(BARRED, now + later) is None
        assert breaker.allows(now + later) == 0
        assert breaker.state(now + later) is State.BARRED
    assert breaker.retry_at == NEVER
    assert breaker.reset(now) == (State.BARRED, State.CLOSED)
    assert breaker.allows(now) == UNLIMITED
    assert breaker.retry_at == 0


def test_a_person_counts_for_more_than_what_was_sent_before() -> None:
    breaker = Breaker()
    breaker.note(BARRED, NOW)
    breaker.reset(NOW + S)
    assert breaker.note(BARRED, NOW + 2 * S, sent_at=NOW) is None
    assert breaker.note(BARRED, NOW + 2 * S, sent_at=NOW + S) == (State.CLOSED, State.BARRED)


def test_a_reset_opens_the_way_from_any_state() -> None:
    breaker = Breaker()
    told(breaker, *[REFUSED] * 4)
    assert breaker.reset(NOW) is None
    assert told(breaker, *[REFUSED] * 4) == [None] * 4  # the row began anew
    assert breaker.note(REFUSED, NOW) == OPENS
    assert breaker.reset(NOW) == (State.OPEN, State.CLOSED)
    assert opened().reset(NOW + 30 * S) == CLOSES


def test_a_clock_that_goes_back_does_not_keep_it_open_or_blind() -> None:
    breaker = opened()
    back = NOW - 3_600 * S
    assert breaker.allows(back) == 0
    assert breaker.allows(back + 30 * S) == 3
    assert told(breaker, *[ACCEPTED] * 3, at=back + 30 * S)[-1] == CLOSES
    again = back - 3_600 * S
    assert told(breaker, *[UNKNOWN] * 20, at=again)[-1] == OPENS


def test_answers_from_before_the_clock_went_back_are_forgotten() -> None:
    breaker = Breaker()
    told(breaker, *[ACCEPTED] * 100)
    assert told(breaker, *[UNKNOWN] * 20, at=NOW - 3_600 * S)[-1] == OPENS


class AnyGateway(RuleBasedStateMachine):
    """Messages leave when they may and are answered at any later time, in any order; a naive model says what follows."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.now = NOW
        self.under_way: list[int] = []
        self.state = State.CLOSED
        self.begun = self.closed = 0
        self.open_for = 30
        self.answers: list[tuple[int, Answer]] = []

    def become(self, state: State, begun: int) -> None:
        self.state, self.begun, self.answers = state, begun, []
        self.closed = begun if state is State.CLOSED else self.closed

    @rule(passed=st.sampled_from([0, 1, S, 7 * S, 29 * S, 30 * S, 61 * S, 601 * S]))
    def wait(self, passed: int) -> None:
        self.now += passed
        if self.state is State.OPEN and self.now >= self.begun + self.open_for * S:
            self.become(State.HALF_OPEN, self.begun + self.open_for * S)

    @rule(wanted=st.integers(1, 30))
    def send(self, wanted: int) -> None:
        room = self.breaker.allows(self.now) - len(self.under_way)
        self.under_way += [self.now] * max(0, min(room, wanted))

    @precondition(lambda self: self.under_way)
    @rule(
        data=st.data(),
        answer=st.sampled_from([ACCEPTED, REJECTED, REFUSED, THROTTLED, UNKNOWN, BARRED]),
        times=st.sampled_from([1, 1, 5, 10]),
    )
    def answer(self, data: st.DataObject, answer: Answer, times: int) -> None:
        for _ in range(min(times, len(self.under_way))):
            sent_at = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
            before = self.state
            self.expect(answer, sent_at)
            change = self.breaker.note(answer, self.now, sent_at)
            assert change == ((before, self.state) if before is not self.state else None)

    def expect(self, answer: Answer, sent_at: int) -> None:
        late = sent_at < self.begun
        if answer is BARRED and self.state is not State.BARRED and sent_at >= self.closed:
            self.become(State.BARRED, self.now)
        if self.state in (State.OPEN, State.BARRED) or late:
            return
        self.answers.append((self.now, answer))
        failed = [each in (REFUSED, UNKNOWN) for at, each in self.answers if each is not THROTTLED]
        if self.state is State.HALF_OPEN:
            if any(failed):
                self.open_for = min(2 * self.open_for, 600)
                self.become(State.OPEN, self.now)
            elif len(failed) == 3:
                self.become(State.CLOSED, self.now)
            return
        second = self.now // S
        recent = [each for at, each in self.answers if each is not THROTTLED and at // S > second - 60]
        share = sum(each in (REFUSED, UNKNOWN) for each in recent) / len(recent) if recent else 0
        in_a_row = [each for _, each in self.answers[-5:]] == [REFUSED] * 5
        if in_a_row or (len(recent) >= 20 and share >= 0.5):
            self.open_for = 30
            self.become(State.OPEN, self.now)

    @precondition(lambda self: self.state is State.BARRED)
    @rule()
    def reset(self) -> None:
        assert self.breaker.reset(self.now) == (State.BARRED, State.CLOSED)
        self.become(State.CLOSED, self.now)

    @invariant()
    def is_as_the_model_says(self) -> None:
        assert self.breaker.state(self.now) is self.state
        allowed = self.breaker.allows(self.now)
        match self.state:
            case State.CLOSED:
                assert allowed == UNLIMITED
                assert self.breaker.retry_at == 0
            case State.HALF_OPEN:
                assert allowed == 3 - sum(each is not THROTTLED for _, each in self.answers)
            case State.OPEN:
                assert allowed == 0
                assert self.breaker.retry_at == self.begun + self.open_for * S
            case State.BARRED:
                assert allowed == 0
                assert self.breaker.retry_at == NEVER


AnyGateway.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestAnyGateway = AnyGateway.TestCase
