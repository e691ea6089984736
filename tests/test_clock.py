from __future__ import annotations

import time

from triggers.clock import FastClock, WallClock, wall_ms

START = 1_788_000_000_000
FAR = START + 10**12


def test_the_wall_clock_tells_real_time() -> None:
    before = time.time() * 1_000
    assert before - 1 <= WallClock().now() <= time.time() * 1_000
    assert WallClock().seconds_until(wall_ms() - 5) == 0
    assert 9 < WallClock().seconds_until(wall_ms() + 10_000) <= 10


def test_fast_time_runs_so_many_times_as_fast_from_its_start() -> None:
    clock = FastClock(START, 1_000_000)
    clock.let_go()
    time.sleep(0.01)
    assert 10_000_000 <= clock.now() - START < 10_000_000_000
    assert clock.seconds_until(clock.now() + 1_000_000) <= 0.001


def test_fast_time_does_not_pass_the_next_event() -> None:
    clock = FastClock(START, 1_000_000)
    time.sleep(0.002)
    assert clock.now() == START
    clock.hold(START + 7)
    assert clock.now() == START + 7
    clock.hold(START + 3)
    assert clock.now() == START + 7
    assert clock.seconds_until(START + 8) == float("inf")


def test_at_speed_0_time_is_where_the_next_event_is() -> None:
    clock = FastClock(START, 0)
    assert (clock.now(), clock.free_runs) == (START, False)
    clock.hold(FAR)
    assert clock.now() == FAR
    assert clock.free() > FAR


def test_begun_again_it_never_shows_what_was_before() -> None:
    clock = FastClock(START, 1)
    clock.start(FAR)
    assert clock.now() == FAR
