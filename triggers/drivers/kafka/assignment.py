"""Who of a fleet gets which partition: evenly, the same number of every topic together, and as few moves as can be.

Faust's own assignor swaps partitions between workers that stay, also where nobody came or went; without tables stock
Faust uses round robin, which moves nearly all. A move costs the loading of a partition's customers.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NEVER = -1
"""The generation of a worker that had no partitions yet."""


class Claim(NamedTuple):
    """What a worker had, and in which generation of the group: the newer claim to a partition is the true one."""

    generation: int
    topics: dict[str, list[int]]


class StickyAssignor(AbstractPartitionAssignor):  # type: ignore[misc]  # aiokafka has no types
    """One worker's side of the group's agreement; whoever leads the group uses it to assign for all."""

    name = "triggers-sticky"
    version = 1

    def __init__(self) -> None:
        self._claim = Claim(NEVER, {})

    def settle(self, generation: int, partitions: Iterable[tuple[str, int]]) -> None:
        """Note what this worker has now, for the next time the group assigns."""
        topics: defaultdict[str, list[int]] = defaultdict(list)
        for topic, partition in sorted(partitions):
            topics[topic].append(partition)
        self._claim = Claim(generation, dict(topics))

    def metadata(self, topics: Iterable[str]) -> Any:
        """Tell the group what this worker reads and what it had."""
        return ConsumerProtocolMemberMetadata(self.version, sorted(topics), msgspec.json.encode(self._claim))

    def on_assignment(self, assignment: Any) -> None:
        """Take nothing from this: its generation is known only later, see ``settle``."""

    def assign(self, cluster: Any, members: Mapping[str, Any]) -> dict[str, Any]:
        """Assign all partitions of all topics that anybody reads."""
        claims = {member: _claim_of(metadata.user_data) for member, metadata in members.items()}
        assigned: dict[str, list[tuple[str, list[int]]]] = {member: [] for member in members}
        for (count, readers), topics in sorted(_groups(cluster, members).items()):
            shares = share_out(count, {member: _had(claims[member], topics) for member in readers})
            for member, partitions in shares.items():
                assigned[member] += [(topic, partitions) for topic in topics if partitions]
        return {
            member: ConsumerProtocolMemberAssignment(self.version, topics, b"") for member, topics in assigned.items()
        }


def share_out(count: int, had: Mapping[str, tuple[int, frozenset[int]]]) -> dict[str, list[int]]:
    """Give each of ``count`` partitions to a member; ``had`` is what each had and in which generation.

    All get the same number, or one more than others. Who had one keeps it unless that would be too many.
    """
    owner: dict[int, tuple[int, str]] = {}
    for member, (generation, partitions) in had.items():
        for partition in partitions:
            if partition < count:
                owner[partition] = max(owner.get(partition, (NEVER, "")), (generation, member))
    shares: dict[str, list[int]] = {member: [] for member in sorted(had)}
    for partition in sorted(owner):
        shares[owner[partition][1]].append(partition)
    least, larger = divmod(count, len(shares))
    by_size = sorted(shares, key=lambda member: -len(shares[member]))  # those with most may keep one more
    for place, member in enumerate(by_size):
        del shares[member][least + (place < larger) :]
    homeless = sorted(set(range(count)).difference(*shares.values()), reverse=True)
    for place, member in enumerate(by_size):
        while homeless and len(shares[member]) < least + (place < larger):
            shares[member].append(homeless.pop())
    return {member: sorted(partitions) for member, partitions in shares.items()}


def _claim_of(data: bytes) -> Claim:
    try:
        return msgspec.json.decode(data or b"", type=Claim)
    except msgspec.MsgspecError:  # a worker of another version: it starts anew
        return Claim(NEVER, {})


def _had(claim: Claim, topics: list[str]) -> tuple[int, frozenset[int]]:
    return claim.generation, frozenset().union(*(claim.topics.get(topic, ()) for topic in topics))


def _groups(cluster: Any, members: Mapping[str, Any]) -> dict[tuple[int, tuple[str, ...]], list[str]]:
    """Put together the topics that have as many partitions and the same readers."""
    readers: defaultdict[str, list[str]] = defaultdict(list)
    for member in sorted(members):
        for topic in members[member].subscription:
            readers[topic].append(member)
    groups: defaultdict[tuple[int, tuple[str, ...]], list[str]] = defaultdict(list)
    for topic in sorted(readers):
        if count := len(cluster.partitions_for_topic(topic) or ()):
            groups[count, tuple(readers[topic])].append(topic)
    return groups
