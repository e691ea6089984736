"""The set-up of a fleet's topics: what is missing is made, what differs is set, and what cannot be mended is refused."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from kafka_broker import Write, create_topics, write

from triggers import cli
from triggers.drivers.kafka.settings import KafkaSettings
from triggers.drivers.kafka.topic_list import topics
from triggers.drivers.kafka.topics import CHANGED, KEPT, MADE, ensure, partitions_of, timestamps_of
from triggers.errors import ServiceUnusable


def settings(kafka: str, prefix: str, **more: object) -> KafkaSettings:
    given = {"bootstrap": kafka, "prefix": prefix, "sources": (f"{prefix}orders",), "partitions": 3}
    return KafkaSettings(**{**given, **more})  # type: ignore[arg-type]


async def config_of(kafka: str, topic: str) -> dict[str, str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    finally:
        await admin.close()
    return {name: value for name, value, *_ in answer.resources[0][4]}


async def set_config(kafka: str, topic: str, **config: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        named = {name.replace("_", "."): value for name, value in config.items()}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, named)])
    finally:
        await admin.close()
    for _ in range(500):
        if named.items() <= (await config_of(kafka, topic)).items():
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"{topic} does not get {named}")


async def test_all_topics_are_made_once_and_then_there_is_nothing_to_do(kafka: str, prefix: str) -> None:
    fleet = settings(kafka, prefix)
    made = await ensure(fleet)
    assert {change.what for change in made} == {MADE}
    assert {change.topic.removeprefix(prefix): change.partitions for change in made} == {
        "orders": 3,
        "events": 3,
        "commands": 3,
        "decisions": 3,
        "message-events": 3,
        "dead-letters": 3,
        "asks": 1,
        "verdicts": 3,
        "customers": 3,
        "limits": 1,
        "rules": 1,
    }
    assert {change.what for change in await ensure(fleet)} == {KEPT}
    for topic in topics(fleet):
        assert await partitions_of(fleet, topic.name) == topic.partitions
        assert topic.config.items() <= (await config_of(kafka, topic.name)).items()


async def test_the_log_is_stamped_by_the_broker_and_in_virtual_time_by_what_was_recorded(
    kafka: str, prefix: str
) -> None:
    await ensure(settings(kafka, prefix))
    virtual = settings(kafka, f"{prefix}v.", virtual=True)
    await ensure(virtual)
    assert await timestamps_of(virtual, f"{prefix}events") == "LogAppendTime"
    assert await timestamps_of(virtual, f"{prefix}v.events") == "CreateTime"
    long_ago = await write(kafka, f"{prefix}v.events", [Write(b"tick", None, timestamp=1)])
    far_away = await write(kafka, f"{prefix}v.events", [Write(b"tick", None, timestamp=4_000_000_000_000)])
    assert len(long_ago + far_away) == 2, "any instant can be written"
    assert (await config_of(kafka, f"{prefix}v.events"))["retention.ms"] == "-1", "old records are not taken for old"


async def test_what_differs_is_set_and_what_others_have_set_stays(kafka: str, prefix: str) -> None:
    fleet = settings(kafka, prefix)
    await ensure(fleet)
    await set_config(kafka, f"{prefix}commands", retention_ms="1000", flush_messages="7")
    changes = {change.topic: change for change in await ensure(fleet)}
    changed = changes.pop(f"{prefix}commands")
    assert changed.what == CHANGED
    assert "retention.ms 1000 -> 34560000000" in changed.details
    assert {change.what for change in changes.values()} == {KEPT}
    config = await config_of(kafka, f"{prefix}commands")
    assert (config["retention.ms"], config["flush.messages"]) == ("34560000000", "7")


async def test_another_number_of_partitions_is_refused_before_anything_is_made(kafka: str, prefix: str) -> None:
    await create_topics(kafka, {f"{prefix}decisions": 5})
    with pytest.raises(ServiceUnusable, match="decisions has 5 partitions, and 3 are asked for"):
        await ensure(settings(kafka, prefix))
    with pytest.raises(ServiceUnusable, match="there is no topic"):
        await partitions_of(settings(kafka, prefix), f"{prefix}events")


async def test_the_shops_own_topics_are_left_as_they_are(kafka: str, prefix: str) -> None:
    await create_topics(kafka, {f"{prefix}orders": 5}, {"retention.ms": "1000"})
    first = (await ensure(settings(kafka, prefix)))[0]
    assert (first.topic, first.partitions, first.what) == (f"{prefix}orders", 5, KEPT)
    assert (await config_of(kafka, f"{prefix}orders"))["retention.ms"] == "1000"


async def test_real_and_virtual_time_are_not_mixed_in_a_log_that_holds_events(kafka: str, prefix: str) -> None:
    await ensure(settings(kafka, prefix))
    await ensure(settings(kafka, prefix, virtual=True))
    await ensure(settings(kafka, prefix))
    await write(kafka, f"{prefix}events", [Write(b"tick", None, partition=1)])
    with pytest.raises(ServiceUnusable, match="real and virtual time do not mix"):
        await ensure(settings(kafka, prefix, virtual=True))
    assert await timestamps_of(settings(kafka, prefix), f"{prefix}events") == "LogAppendTime"


async def test_several_may_set_up_at_once(kafka: str, prefix: str) -> None:
    fleet = settings(kafka, prefix)
    outcomes = await asyncio.gather(*(ensure(fleet) for _ in range(4)))
    made = [change.topic for changes in outcomes for change in changes if change.what == MADE]
    assert sorted(made) == sorted({topic.name for topic in topics(fleet)}), "each is made by one of them"


async def test_a_topic_with_one_replica_stays_writable_where_three_are_asked_for_later(kafka: str, prefix: str) -> None:
    await ensure(settings(kafka, prefix))
    changes = await ensure(settings(kafka, prefix, replication=3))
    assert {change.what for change in changes} == {KEPT}
    assert {topic.config["min.insync.replicas"] for topic in topics(settings(kafka, prefix, replication=3))} == {"2"}


def test_the_command_tells_of_each_topic_in_a_line(kafka: str, prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "topics",
        "--bootstrap",
        kafka,
        "--prefix",
        prefix,
        "--sources",
        f"{prefix}orders",
        "--partitions",
        "2",
    ]
    assert cli.main(arguments) == 0
    assert f"{prefix}events  2 partitions  made\n" in capsys.readouterr().out
    assert cli.main(arguments) == 0
    assert f"{prefix}limits  1 partition  as it should be\n" in capsys.readouterr().out
    assert cli.main([*arguments[:-1], "4"]) == 2
    assert "ask for 2 (--partitions)" in capsys.readouterr().err


def test_where_no_kafka_answers_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["topics", "--bootstrap", "127.0.0.1:1"]) == 2
    assert "no Kafka answers at 127.0.0.1:1" in capsys.readouterr().err
