"""The first gateway that may carry a message does; demoted ones carry a few, failed ones come last."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triggers.core.chance import fraction
from triggers.dispatch.routing import PROBES, choose

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

ROUTE = ("a", "b", "c")
FREE = {"a": 1, "b": 1, "c": 1}
COMMANDS = [f"command-{number}" for number in range(20_000)]
PLAIN = next(command for command in COMMANDS if fraction(f"probe|{command}") >= 3 * PROBES)
FIRST_PROBE = next(command for command in COMMANDS if fraction(f"probe|{command}") < PROBES)
SECOND_PROBE = next(command for command in COMMANDS if PROBES <= fraction(f"probe|{command}") < 2 * PROBES)


def chosen(
    route: Sequence[str] = ROUTE,
    command: str = PLAIN,
    *,
    permits: Mapping[str, int] = FREE,
    demoted: Collection[str] = (),
    avoid: Collection[str] = (),
    must_differ: str | None = None,
) -> str | None:
    return choose(route, command, permits=permits, demoted=demoted, avoid=avoid, must_differ=must_differ)


def test_the_first_of_a_route_carries_all_it_may() -> None:
    assert chosen() == "a"
    assert chosen(("c", "a")) == "c"
    assert chosen(command=FIRST_PROBE) == "a"
    assert chosen(permits={"a": 0, "b": 2}) == "b"
    assert chosen(permits={"c": 1, "other": 5}) == "c"


@pytest.mark.parametrize("permits", [{}, {"a": 0, "b": 0}, {"other": 5}])
def test_there_may_be_no_gateway_at_the_moment(permits: Mapping[str, int]) -> None:
    assert chosen(permits=permits) is None
    assert chosen(permits=permits, demoted=ROUTE, avoid=ROUTE) is None
    assert chosen((), permits=FREE) is None


def test_what_failed_it_before_comes_last() -> None:
    assert chosen(avoid={"a"}) == "b"
    assert chosen(avoid={"a", "b"}) == "c"
    assert chosen(avoid={"a", "b", "c"}) == "a"
    assert chosen(avoid={"a"}, permits={"a": 1}) == "a"
    assert chosen(avoid={"a"}, permits={"a": 1, "b": 0}) == "a"


def test_a_demoted_gateway_carries_only_probes() -> None:
    assert chosen(demoted={"a"}) == "b"
    assert chosen(command=FIRST_PROBE, demoted={"a"}) == "a"
    assert chosen(command=FIRST_PROBE, demoted={"c"}) == "c"
    assert chosen(command=FIRST_PROBE, demoted={"b", "c"}) == "b"
    assert chosen(command=SECOND_PROBE, demoted={"b", "c"}) == "c"
    assert chosen(command=SECOND_PROBE, demoted={"c"}) == "a"


def test_probes_do_not_go_where_they_may_not() -> None:
    assert chosen(command=FIRST_PROBE, demoted={"a"}, permits={"a": 0, "b": 1}) == "b"
    assert chosen(command=FIRST_PROBE, demoted={"a"}, permits={"b": 1}) == "b"
    assert chosen(command=FIRST_PROBE, demoted={"a"}, avoid={"a"}) == "b"
    assert chosen(command=FIRST_PROBE, demoted={"a"}, must_differ="a") == "b"
    assert chosen(command=FIRST_PROBE, demoted={"other"}, permits={**FREE, "other": 1}) == "a"


def test_a_good_gateway_that_is_busy_is_waited_for() -> None:
    assert chosen(demoted={"b", "c"}, permits={"a": 0, "b": 1, "c": 1}) is None
    assert chosen(command=FIRST_PROBE, demoted={"b", "c"}, permits={"a": 0, "b": 1, "c": 1}) == "b"


def test_a_demoted_gateway_carries_all_where_no_good_one_works() -> None:
    assert chosen(demoted={"b", "c"}, permits={"b": 1, "c": 1}) == "b"
    assert chosen(demoted={"b", "c"}, permits={"b": 0, "c": 1}) == "c"
    assert chosen(demoted=ROUTE) == "a"
    assert chosen(demoted=ROUTE, avoid={"a"}) == "b"
    assert chosen(demoted=ROUTE, avoid=ROUTE) == "a"
    assert chosen(command=SECOND_PROBE, demoted=ROUTE) == "b"


def test_a_good_gateway_is_asked_again_before_a_demoted_one() -> None:
    assert chosen(("a", "b"), demoted={"b"}, avoid={"a"}) == "a"
    assert chosen(demoted={"b"}, avoid={"a"}) == "c"


def test_a_second_send_goes_through_another_gateway() -> None:
    assert chosen(must_differ="a") == "b"
    assert chosen(must_differ="a", avoid={"b", "c"}) == "b"
    assert chosen(must_differ="a", demoted={"b", "c"}) == "b"
    assert chosen(must_differ="a", permits={"a": 1}) is None
    assert chosen(must_differ="a", permits={"a": 1, "b": 0}) is None
    assert chosen(must_differ="gone") == "a"


def test_a_route_of_one_has_no_other() -> None:
    assert chosen(("a",), must_differ="a") == "a"
    assert chosen(("a", "a"), must_differ="a") == "a"
    assert chosen(("a",), must_differ="a", permits={"a": 0}) is None
    assert chosen(("a",), must_differ="a", demoted={"a"}, avoid={"a"}) == "a"


@pytest.mark.parametrize("demoted", [{"a"}, {"c"}, {"a", "c"}])
def test_each_demoted_gateway_carries_about_three_percent(demoted: set[str]) -> None:
    carried = Counter(chosen(command=command, demoted=demoted) for command in COMMANDS)
    for name in demoted:
        assert 0.02 < carried[name] / len(COMMANDS) < 0.05
    assert sum(carried[name] for name in demoted) + carried["b" if "a" in demoted else "a"] == len(COMMANDS)


def test_who_probes_is_the_same_for_ever() -> None:
    probing = [number for number in range(400) if chosen(command=f"command-{number}", demoted={"c"}) == "c"]
    assert probing == [8, 171, 208, 228, 361]


@given(
    route=st.lists(st.sampled_from("abcd"), max_size=5),
    command=st.text(max_size=8),
    permits=st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2)),
    demoted=st.sets(st.sampled_from("abcd")),
    avoid=st.sets(st.sampled_from("abcd")),
    must_differ=st.none() | st.sampled_from("abcd"),
)
def test_a_choice_is_always_allowed_and_made_where_one_can_be(
    route: list[str],
    command: str,
    permits: dict[str, int],
    demoted: set[str],
    avoid: set[str],
    must_differ: str | None,
) -> None:
    name = choose(route, command, permits=permits, demoted=demoted, avoid=avoid, must_differ=must_differ)
    alone = set(route) == {must_differ}
    allowed = {each for each in route if permits.get(each) and (each != must_differ or alone)}
    good = {each for each in route if each in permits and each not in demoted and (each != must_differ or alone)}
    if name is None:
        assert not allowed or (good and not allowed & good)
        return
    assert name in allowed
    probing = name in demoted and fraction(f"probe|{command}") < len(demoted) * PROBES
    if not probing:
        assert name not in demoted or not good
        same = [each for each in route if each in allowed and (each in demoted) == (name in demoted)]
        assert name == next((each for each in same if each not in avoid), same[0])
