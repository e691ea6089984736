"""The broker of the tests is a real one: it keeps what is written, whatever is killed, and hides what was aborted."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from pathlib import Path

import kafka_broker
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import TopicAlreadyExistsError
from kafka_broker import Cluster, Write, create_topics, needed, read_all, write
from kafka_node import LARGEST_RECORD_BYTES

YEAR_2009, YEAR_2099 = 1_234_567_890_000, 4_086_000_000_000


async def test_what_is_written_is_read_back(kafka: str, prefix: str) -> None:
    topic = f"{prefix}events"
    await create_topics(kafka, {topic: 3})
    assert await read_all(kafka, topic) == []
    places = await write(
        kafka,
        topic,
        [
            Write(b"one", b"c1", partition=2, headers=(("origin", b"a/1/2"),)),
            Write(None, b"c2", partition=0),
            Write(b"two", partition=2),
        ],
    )
    assert places == [(2, 0), (0, 0), (2, 1)]
    found = await read_all(kafka, topic)
    assert [(r.partition, r.offset, r.key, r.value) for r in found] == [
        (0, 0, b"c2", None),
        (2, 0, b"c1", b"one"),
        (2, 1, None, b"two"),
    ]
    assert found[1].headers == (("origin", b"a/1/2"),)


async def test_a_record_of_six_megabytes_passes(kafka: str, prefix: str) -> None:
    topic = f"{prefix}dead-letters"
    await create_topics(kafka, {topic: 1})
    large = b"x" * 6_000_000
    assert len(large) < LARGEST_RECORD_BYTES
    await write(kafka, topic, [Write(large), Write(b"small")])
    assert [r.value for r in await read_all(kafka, topic)] == [large, b"small"]


async def test_a_topic_that_is_there_is_told(kafka: str, prefix: str) -> None:
    await create_topics(kafka, {f"{prefix}events": 1})
    with pytest.raises(TopicAlreadyExistsError, match="events"):
        await create_topics(kafka, {f"{prefix}events": 1})


async def test_what_was_aborted_is_not_read_as_committed(kafka: str, prefix: str) -> None:
    topic = f"{prefix}commands"
    await create_topics(kafka, {topic: 2})
    producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"{prefix}0")
    async with producer:
        for value, commit in ((b"kept", True), (b"aborted", False)):
            await producer.begin_transaction()
            await producer.send_and_wait(topic, value, partition=0)
            await (producer.commit_transaction() if commit else producer.abort_transaction())
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"open", partition=0)
        await producer.send_and_wait(topic, b"open too", partition=1)
        assert [r.value for r in await read_all(kafka, topic)] == [b"kept"]
        everything = await read_all(kafka, topic, committed=False)
        assert [r.value for r in everything] == [b"kept", b"aborted", b"open", b"open too"]
        await producer.abort_transaction()
    assert [r.value for r in await read_all(kafka, topic)] == [b"kept"]


@pytest.mark.parametrize("timestamp", [YEAR_2009, YEAR_2099])
async def test_a_time_long_ago_or_far_ahead_is_kept(kafka: str, prefix: str, timestamp: int) -> None:
    topic = f"{prefix}events"
    await create_topics(kafka, {topic: 1}, {"message.timestamp.type": "CreateTime"})
    await write(kafka, topic, [Write(b"then", timestamp=timestamp)])
    assert [(r.timestamp, r.timestamp_type) for r in await read_all(kafka, topic)] == [(timestamp, 0)]


async def test_the_brokers_time_is_taken_where_the_topic_says_so(kafka: str, prefix: str) -> None:
    topic = f"{prefix}events"
    await create_topics(kafka, {topic: 1}, {"message.timestamp.type": "LogAppendTime"})
    await write(kafka, topic, [Write(b"now", timestamp=YEAR_2009)])
    (found,) = await read_all(kafka, topic)
    assert found.timestamp > YEAR_2009
    assert found.timestamp_type == 1


async def test_a_broker_that_was_killed_has_its_records_when_it_starts_again(tmp_path: Path, prefix: str) -> None:
    topic = f"{prefix}events"
    with Cluster(needed(), tmp_path) as broker:
        await create_topics(broker.bootstrap, {topic: 2})
        await write(broker.bootstrap, topic, [Write(b"before", partition=1)])
        broker.kill(0)
        await broker.restart(0)
        await write(broker.bootstrap, topic, [Write(b"after", partition=1)])
        assert [r.value for r in await read_all(broker.bootstrap, topic)] == [b"before", b"after"]
    assert not broker.brokers[0].alive


async def test_of_three_brokers_one_may_die(cluster: Cluster, prefix: str) -> None:
    topic = f"{prefix}events"
    await create_topics(cluster.bootstrap, {topic: 3})  # each broker leads one
    await write(cluster.bootstrap, topic, [Write(b"before", partition=number) for number in range(3)])
    cluster.kill(0)
    await write(cluster.bootstrap, topic, [Write(b"between", partition=number) for number in range(3)])
    await cluster.restart(0)
    await write(cluster.bootstrap, topic, [Write(b"after", partition=number) for number in range(3)])
    found = await read_all(cluster.bootstrap, topic)
    assert [r.value for r in found] == [b"before", b"between", b"after"] * 3


async def test_a_broker_that_hangs_is_waited_for(cluster: Cluster, prefix: str) -> None:
    topic = f"{prefix}events"
    await create_topics(cluster.bootstrap, {topic: 3})
    cluster.pause(1)
    try:
        assert cluster.brokers[1].alive
        assert cluster.brokers[1].sees() == set()
    finally:
        cluster.resume(1)
    cluster.wait()
    await write(cluster.bootstrap, topic, [Write(b"after", partition=number) for number in range(3)])
    assert len(await read_all(cluster.bootstrap, topic)) == 3


async def test_a_group_with_a_session_of_a_second_shares_the_partitions_and_inherits_them(
    kafka: str, prefix: str
) -> None:
    topic, group = f"{prefix}events", f"{prefix}app"
    await create_topics(kafka, {topic: 2})
    one, other = (
        AIOKafkaConsumer(
            topic, bootstrap_servers=kafka, group_id=group, session_timeout_ms=1_000, heartbeat_interval_ms=200
        )
        for _ in range(2)
    )

    async def assigned(*wanted: int) -> None:
        while tuple(len(each.assignment()) for each in (one, other)[: len(wanted)]) != wanted:  # noqa: ASYNC110  not told
            await asyncio.sleep(0.02)

    async with asyncio.timeout(20), one:
        async with other:
            await assigned(1, 1)
        await assigned(2)


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_only_outside_of_ci_may_the_broker_be_missing(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setattr(kafka_broker, "jars", lambda: "Kafka cannot be had: no java")
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no java"):
        needed()


def test_brokers_end_when_the_tests_are_killed(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys, time, kafka_broker as k\n"
        "with k.Cluster(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])) as running:\n"
        "    print(running.bootstrap, flush=True)\n"
        "    time.sleep(60)\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", program, needed(), tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent,
    )
    with run:
        assert run.stdout is not None
        host, port = run.stdout.readline().strip().split(":")
        socket.create_connection((host, int(port)), timeout=5).close()
        run.kill()
    end = time.monotonic() + 10
    with pytest.raises(ConnectionRefusedError):  # noqa: PT012  it takes a moment
        while time.monotonic() < end:
            socket.create_connection((host, int(port)), timeout=5).close()
            time.sleep(0.05)
