"""Every private or undocumented name of faust, mode and aiokafka that this folder touches: the one list of them.

A test holds the list against the installed versions, which pyproject.toml pins, and our source against the list. Whoever
raises a pin reads what changed in each place whose digest differs, and runs the tests of the transport a hundred times.
"""

from __future__ import annotations

from typing import Final, NamedTuple

VERSIONS: Final = {"faust-streaming": "0.15.3", "mode-streaming": "0.7.1", "aiokafka": "0.14.0"}
"""The versions for which all this is true."""


class Internal(NamedTuple):
    """A name of another package: where it is, what we do with it, and why.

    ``digest`` is the begin of the SHA-256 of its source; "-" where it is no function or class.
    """

    module: str
    path: str
    use: str
    digest: str
    why: str


_NAMES: Final = {
    "faust.transport.consumer": """
        Consumer._drain_messages | overridden | 8f35dd7a1114 | most of a stock app's time
        Fetcher._fetcher | relied on | 64ea6297f5a0 | calls _drain_messages, and crashes with what that raises
        Consumer.__init__ | overridden | 00f02908cf84 | our own bookkeeping is made beside Faust's
        Consumer.callback | read | - | hands a message to the conductor
        Consumer.flow_active | read | - | whether the streams take anything
        Consumer.can_resume_flow | read | - | waited for while they do not
        Consumer.stop_flow | called | aa77389dc23a | also where there was nothing to give up
        Consumer.resume_flow | overridden | 192f20bc377f | not while another rebalance has begun
        Consumer.suspend_flow | read | - | ends a wait for room in a stream
        Consumer.ack | overridden | 5548cf0f7584 | a chunk knows itself whether it is handled
        Consumer._unacked_messages | written | - | Faust adds to it, we take away
        Consumer._new_offset | overridden | 2b29afe4dd9a | up to the last chunk handled without a gap
        Consumer._filter_tps_with_pending_acks | overridden | cccdca32d241 | where something may be to commit
        Consumer._committed_offset | written | - | what was found when going back; nothing at or below it is committed again
        Consumer.force_commit | called | 464b62ae9172 | asks the two above what to commit
        Consumer._commit_tps | relied on | b83d551c3278 | called by force_commit
        Consumer._commit_offsets | relied on | 86b3e9b0aec7 | commits for partitions that are still assigned
        Consumer._should_commit | relied on | 91d8eb1ef6bf | only forward
        Consumer.maybe_wait_for_commit_to_finish | called | 14281eda99cf | or the last commit would be taken for done
        Consumer._commit_handler | relied on | 71024925b06f | commits each broker_commit_interval
        Consumer.verify_event_path | overridden | 7759907d47b5 | takes a reader behind an open transaction for a stuck one
        Consumer.on_partitions_revoked | overridden | 652177e770ee | no handler runs when it returns
        Consumer.on_partitions_assigned | overridden | c07feb1175f7 | lanes are opened before Faust lets anything flow
        Consumer.perform_seek | overridden | 2b4ceebd23de | stock leaves alone what has no committed offset
        Consumer.wait_empty | overridden | 53195dca246c | stock waits for ever, and collects garbage each time round
        ThreadDelegateConsumer.close | overridden | 067ecaae7c09 | from the wrong loop; the group is not left
        ThreadDelegateConsumer.assignment | called | bd585dfbb0b8 | what the group gave
        ThreadDelegateConsumer._thread | read | - | our thread
    """,
    "faust.transport.conductor": """
        ConductorCompiler.build | relied on | 70ded0e71910 | into the stream's queue; so does the compiled one
    """,
    "faust.streams": """
        Stream._py_aiter | relied on | 125c81c2d38d | may pass over one in silence: so chunks are numbered
    """,
    "faust.serializers.schemas": """
        Schema.compile | overridden | bd271ec59690 | nothing is decoded
    """,
    "faust.types.tuples": """
        ConsumerMessage | subclassed | 5edc45d571eb | a chunk knows its epoch and its number
        Message.__init__ | called | 34616bad2796 | with the place of the chunk's last record
        Message.ack | relied on | 3c9ee05236d3 | calls Consumer.ack when the last stream is done with a message
    """,
    "faust.transport.drivers.aiokafka": """
        ConsumerRebalanceListener.on_partitions_revoked | overridden | cb4aa49e968a | voids what was read
        ConsumerRebalanceListener.on_partitions_assigned | overridden | f8231db51dd5 | notes the generation in the thread
        ConsumerRebalanceListener._thread | read | - | our thread
        Consumer.RebalanceListener | written | - | the listener above
        Consumer._new_consumer_thread | overridden | 8fd0d41b1514 | our thread
        AIOKafkaConsumerThread.__post_init__ | overridden | 21d9b9cc0d16 | what our thread keeps is made here
        AIOKafkaConsumerThread._create_worker_consumer | overridden | c179c0bdb975 | read_committed, our assignor
        AIOKafkaConsumerThread._ensure_consumer | called | a2c77687801c | aiokafka's consumer
    """,
    "faust.app.base": """
        App._on_partitions_revoked | relied on | c1abd58dcb37 | stops the flow, empties the streams, then wait_empty
        App._on_partitions_assigned | relied on | c9c5485eb273 | tells the conductor before the flow is resumed
        App._stop_consumer | relied on | 96573acf5f04 | calls wait_empty, while the thread still lives
    """,
    "faust.tables.recovery": """
        Recovery._resume_streams | relied on | fbe0f747b84c | goes back, empties streams, resumes: in this order
        Recovery._restart_recovery | relied on | f93138b040ef | an error of perform_seek ends the worker
    """,
    "mode.threads": """
        QueueServiceThread.call_thread | called | d1304f73ca65 | runs something in the thread
    """,
    "faust.transport.drivers": """
        TRANSPORTS | written | - | the scheme of our broker URL
    """,
    "mode.services": """
        Service.wait_first | called | 3ed3b8c32e14 | ends also when the service or the time ends
        Service.crash | relied on | 6e0b5672cd83 | marks the app and all its services
    """,
    "aiokafka.conn": """
        collect_hosts | called | de96a718373b | the brokers that a bootstrap address names
        create_conn | called | 673276cbddb4 | a client would tell its log alone why there is no connection
        AIOKafkaConnection.send | called | 360d12e20e64 | only then a broker tells who must show a user
        AIOKafkaConnection.close | called | 7772fd3aee39 | and that is all
    """,
    "aiokafka.consumer.consumer": """
        AIOKafkaConsumer._coordinator | read | - | of the next two
    """,
    "aiokafka.consumer.group_coordinator": """
        GroupCoordinator.generation | read | - | two generations that follow each other leave no room for another owner
        GroupCoordinator.member_id | read | - | for the same member
        GroupCoordinator.check_errors | called | c67ee34a37d9 | who has no partitions hears from nothing else
        GroupCoordinator._on_join_prepare | relied on | 620a6bbc6725 | awaits the listener before it joins again
        GroupCoordinator._on_join_complete | relied on | 186788a437c0 | awaits the listener; swallows what it raises
        GroupCoordinator._perform_assignment | relied on | db2edc93b7b4 | calls the assignor's assign
        GroupCoordinator.close | relied on | 27181b0763fd | leaves the group
    """,
    "aiokafka.consumer.fetcher": """
        Fetcher.fetched_records | relied on | e20ce0c8117f | moves a position in the step in which it returns
        Fetcher.seek_to | relied on | 10c45c3c873d | voids what was prefetched, and waits for nothing
    """,
    "aiokafka.coordinator.assignors.abstract": """
        AbstractPartitionAssignor | subclassed | 4089452a0220 | our assignor; aiokafka takes an object for a class
    """,
}

INTERNALS: Final = tuple(
    Internal(module, *(part.strip() for part in line.split("|")))
    for module, names in _NAMES.items()
    for line in names.strip().splitlines()
)
