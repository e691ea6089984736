"""The assignor: even, the same numbers of all topics together, and no move that nobody needs."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from triggers.drivers.kafka.assignment import NEVER, StickyAssignor, share_out

NONE = (NEVER, frozenset[int]())


class Topics(NamedTuple):
    """What the group knows of the cluster."""

    counts: dict[str, int]

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(range(self.counts[topic])) if topic in self.counts else None


def held(shares: dict[str, list[int]], generation: int) -> dict[str, tuple[int, frozenset[int]]]:
    return {member: (generation, frozenset(partitions)) for member, partitions in shares.items()}


@given(
    count=st.integers(1, 40),
    had=st.dictionaries(
        st.text("abcdef", min_size=1, max_size=2),
        st.tuples(st.integers(NEVER, 3), st.frozensets(st.integers(0, 45))),
        min_size=1,
        max_size=9,
    ),
)
def test_each_partition_has_one_owner_and_all_get_as_many(
    count: int, had: dict[str, tuple[int, frozenset[int]]]
) -> None:
    shares = share_out(count, had)
    assert set(shares) == set(had)
    assert sorted(p for partitions in shares.values() for p in partitions) == list(range(count))
    sizes = [len(partitions) for partitions in shares.values()]
    assert max(sizes) - min(sizes) <= 1


@given(count=st.integers(1, 40), members=st.integers(1, 9), joins=st.integers(0, 4), leaves=st.integers(0, 4))
def test_who_stays_gets_nothing_but_what_somebody_left(count: int, members: int, joins: int, leaves: int) -> None:
    before = share_out(count, dict.fromkeys((f"m{n}" for n in range(members)), NONE))
    staying = dict(list(before.items())[min(leaves, members - 1) :])
    joining = dict.fromkeys((f"j{n}" for n in range(joins)), NONE)
    after = share_out(count, {**held(staying, 1), **joining})
    least, larger = divmod(count, len(after))
    sizes = sorted(map(len, staying.values()), reverse=True)
    kept = sum(len(set(partitions) & set(after[member])) for member, partitions in staying.items())
    assert kept == sum(min(size, least + (place < larger)) for place, size in enumerate(sizes))  # no move too many
    free = set(range(count)) - {p for partitions in staying.values() for p in partitions}
    for member, partitions in staying.items():
        assert set(after[member]) <= set(partitions) | free  # nothing of somebody else's who stays
    if not joining and len(staying) == members:
        assert after == before


def test_a_third_worker_takes_from_both() -> None:
    two = share_out(8, {"a": NONE, "b": NONE})
    three = share_out(8, {**held(two, 1), "c": NONE})
    assert [len(three[member]) for member in "abc"] == [3, 3, 2]
    assert set(three["a"]) < set(two["a"])
    assert set(three["b"]) < set(two["b"])


def test_of_two_claims_the_newer_one_is_true() -> None:
    stalled, owner = (4, frozenset({0, 1, 2, 3})), (6, frozenset({0, 1}))
    assert share_out(4, {"a": stalled, "b": owner}) == {"a": [2, 3], "b": [0, 1]}
    assert share_out(4, {"b": owner, "a": stalled}) == {"a": [2, 3], "b": [0, 1]}


def test_topics_with_as_many_partitions_go_together_and_a_worker_tells_what_it_had() -> None:
    topics = Topics({"events": 4, "orders": 4, "asks": 1})
    workers = {name: StickyAssignor() for name in "ab"}
    read = ("orders", "events", "asks", "missing")
    given = workers["a"].assign(topics, {name: worker.metadata(read) for name, worker in workers.items()})
    shares = {name: dict(assignment.assignment) for name, assignment in given.items()}
    assert shares["a"]["events"] == shares["a"]["orders"]
    assert sorted(shares["a"]["events"] + shares["b"]["events"]) == [0, 1, 2, 3]
    assert [name for name in "ab" if "asks" in shares[name]] == ["a"]
    assert all("missing" not in share for share in shares.values())

    for name, worker in workers.items():
        worker.settle(7, [(topic, p) for topic, partitions in shares[name].items() for p in partitions])
    workers["c"] = StickyAssignor()
    again = workers["b"].assign(topics, {name: worker.metadata(read) for name, worker in workers.items()})
    for name in "ab":
        assert set(dict(again[name].assignment)["events"]) <= set(shares[name]["events"])
    assert dict(again["a"].assignment)["asks"] == [0]


def test_a_worker_that_writes_something_else_there_starts_anew() -> None:
    workers = {"a": StickyAssignor(), "b": StickyAssignor()}
    strange = workers["a"].metadata(["t"])
    strange.user_data = b"\x00\x01"
    given = workers["a"].assign(Topics({"t": 2}), {"a": strange, "b": workers["b"].metadata(["t"])})
    assert [assignment.assignment for assignment in given.values()] == [[("t", [0])], [("t", [1])]]
