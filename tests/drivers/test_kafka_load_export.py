"""A recorded log goes into a fleet's log and comes out again: the same events, the same instants, the same decisions."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from typing import TYPE_CHECKING

import pytest
from kafka_broker import Write, read_all, write

from triggers import cli
from triggers.core.events import Event
from triggers.core.intake import decode, stamp
from triggers.drivers.kafka import exporting, loading
from triggers.drivers.kafka.exporting import export
from triggers.drivers.kafka.intake import check
from triggers.drivers.kafka.loading import load
from triggers.drivers.kafka.recorded import Recorded
from triggers.drivers.kafka.settings import KafkaSettings
from triggers.drivers.kafka.topics import ensure
from triggers.errors import ServiceUnusable
from triggers.replay.log import Log

if TYPE_CHECKING:
    from pathlib import Path

    from aiokafka import ConsumerRecord

AT = 1_788_229_800_000  # 2026-09-01T10:30:00+08:00
MINUTE = 60_000
HOUR = 60 * MINUTE


def fleet_of(kafka: str, prefix: str, **more: object) -> KafkaSettings:
    given = {"bootstrap": kafka, "prefix": prefix, "sources": (f"{prefix}orders",), "partitions": 3, "virtual": True}
    return KafkaSettings(**{**given, **more})  # type: ignore[arg-type]


def line(number: int, received: int | None, customer: str | None = None, **more: object) -> bytes:
    fields = {"id": f"e{number}", "type": "store.visited", "customer": customer or f"c{number % 7}", "at": AT} | more
    if received is not None:
        fields["received_at"] = AT + received
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def written(folder: Path, lines: list[bytes], name: str = "log.jsonl") -> str:
    path = folder / name
    path.write_bytes(gzip.compress(b"".join(lines)) if name.endswith("gz") else b"".join(lines))
    return str(path)


async def exported(fleet: KafkaSettings, since: int | None = None, until: int | None = None) -> list[bytes]:
    lines: list[bytes] = []
    done = await export(fleet, fleet.topic("events"), lines.extend, since=since, until=until)
    assert done.events == len(lines)
    return lines


async def events_of(kafka: str, prefix: str) -> list[ConsumerRecord[bytes, bytes]]:
    return [record for record in await read_all(kafka, f"{prefix}events") if record.key is not None]


async def ticks_of(kafka: str, prefix: str) -> dict[int, list[int]]:
    ticks: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for record in await read_all(kafka, f"{prefix}events"):
        if record.key is None:
            assert record.value == b"tick"
            ticks[record.partition].append(record.timestamp - AT)
    return ticks


# In


async def test_each_event_is_in_the_log_as_its_line_with_the_instant_of_its_receipt(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    fleet = fleet_of(kafka, prefix)
    await ensure(fleet)
    lines = [line(i, 10 * i, amount=i) for i in range(3_000)]
    loaded = await load(fleet, [written(tmp_path, lines, "log.jsonl.gz")])
    assert (loaded.events, loaded.rejected.total(), loaded.span) == (3_000, 0, (AT, AT + 29_990))
    records = await events_of(kafka, prefix)
    assert all(check(record) is None for record in records)
    assert sorted((r.timestamp, r.value + b"\n") for r in records) == [(AT + 10 * i, lines[i]) for i in range(3_000)]


async def test_an_event_was_received_when_it_happened_if_nothing_says_when_and_never_before_the_one_above(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    fleet = fleet_of(kafka, prefix)
    await ensure(fleet)
    lines = [line(1, None, at=AT + 5), line(2, 50), line(3, 20), line(4, None, at=AT + 7), line(5, 60)]
    await load(fleet, [written(tmp_path, lines)])
    found = {json.loads(r.value)["id"]: r.timestamp - AT for r in await events_of(kafka, prefix)}
    assert found == {"e1": 5, "e2": 50, "e3": 50, "e4": 50, "e5": 60}


async def test_several_logs_are_one_in_the_order_of_receipt(kafka: str, prefix: str, tmp_path: Path) -> None:
    fleet = fleet_of(kafka, prefix)
    await ensure(fleet)
    logs = [[line(i, 10 * i, "c1") for i in range(first, 2_000, 3)] for first in range(3)]
    await load(fleet, [written(tmp_path, lines, f"{i}.jsonl") for i, lines in enumerate(logs)])
    ids = [json.loads(record.value)["id"] for record in await events_of(kafka, prefix)]
    assert ids == [f"e{i}" for i in range(2_000)]


async def test_all_partitions_are_told_the_time_at_first_at_the_end_and_every_hour(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    fleet = fleet_of(kafka, prefix)
    await ensure(fleet)
    lines = [line(i, i * 25 * MINUTE, "c1") for i in range(9)]
    await load(fleet, [written(tmp_path, lines)])
    told = [minutes * MINUTE for minutes in (0, 75, 150, 200)]
    assert await ticks_of(kafka, prefix) == {0: told, 1: told, 2: told}


async def test_time_passes_to_until_and_what_came_later_is_left_out(kafka: str, prefix: str, tmp_path: Path) -> None:
    fleet = fleet_of(kafka, prefix)
    await ensure(fleet)
    lines = [line(i, i * MINUTE) for i in range(9)]
    loaded = await load(fleet, [written(tmp_path, lines)], until=AT + 4 * MINUTE + 1)
    assert (loaded.events, loaded.span) == (5, (AT, AT + 4 * MINUTE + 1))
    assert len(await events_of(kafka, prefix)) == 5
    assert {tuple(ticks) for ticks in (await ticks_of(kafka, prefix)).values()} == {(0, 4 * MINUTE + 1)}


async def test_lines_that_are_no_events_are_dead_letters_with_their_place(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    fleet = fleet_of(kafka, prefix)
    await ensure(fleet)
    cloud = {"specversion": "1.0", "id": "e7", "source": "s", "type": "store.visited", "subject": "c1", "time": AT}
    lines = [line(1, 0), b"{\n", b"\n", line(2, 5, type="order.eaten"), json.dumps(cloud).encode() + b"\n", line(3, 9)]
    log = written(tmp_path, lines)
    loaded = await load(fleet, [log])
    assert (loaded.events, loaded.rejected) == (3, {"not JSON": 1, "unknown type": 1})
    letters = [(dict(r.headers)["origin"].decode(), r.value) for r in await read_all(kafka, f"{prefix}dead-letters")]
    assert letters == [(f"{log}:2", b"{"), (f"{log}:4", lines[3].rstrip())]


async def test_a_log_that_stamps_by_itself_takes_no_recorded_times_unless_they_are_given_up(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    fleet = fleet_of(kafka, prefix, virtual=False)
    await ensure(fleet)
    log = written(tmp_path, [line(1, 0), line(2, 2 * HOUR)])
    with pytest.raises(ServiceUnusable, match="stamps events as they come in"):
        await load(fleet, [log])
    assert await read_all(kafka, f"{prefix}events") == []
    await load(fleet, [log], now=True)
    records = await read_all(kafka, f"{prefix}events")
    assert sorted(record.value for record in records) == [line(1, 0).rstrip(), line(2, 2 * HOUR).rstrip()]
    assert all(record.timestamp > AT + 3 * HOUR for record in records)


async def test_a_log_may_go_on_where_the_last_one_ended_but_not_go_back(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    fleet = fleet_of(kafka, prefix)
    await ensure(fleet)
    await load(fleet, [written(tmp_path, [line(1, 0), line(2, HOUR)])])
    await load(fleet, [written(tmp_path, [line(3, HOUR), line(4, 2 * HOUR)])])
    with pytest.raises(ServiceUnusable, match="has come to later times than 2026-09-01T04:29:59"):
        await load(fleet, [written(tmp_path, [line(5, 2 * HOUR - 1)])])
    assert len(await events_of(kafka, prefix)) == 4


# Out


async def test_what_was_loaded_comes_out_byte_for_byte_in_the_order_of_receipt(
    kafka: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "AT_ONCE", 1_000)
    monkeypatch.setattr(exporting, "MOST_FETCHED", 20_000)  # many reads of each partition
    fleet = fleet_of(kafka, prefix)
    await ensure(fleet)
    seldom = {i: f"c{i % 7}" for i in range(0, 6_000, 40)}  # most is in one partition
    lines = [line(i, 1 + i * 17 * MINUTE, seldom.get(i, "c1"), page="杨芳", text='"}{\\') for i in range(6_000)]
    await load(fleet, [written(tmp_path, lines)])
    assert await exported(fleet) == lines
    since, until = AT + 1 + 100 * 17 * MINUTE, AT + 1 + 3_000 * 17 * MINUTE
    assert await exported(fleet, since, until) == lines[100:3_001]
    assert await exported(fleet, since + 1, until - 1) == lines[101:3_000]
    assert await exported(fleet, until=AT) == []
    assert await exported(fleet, since=AT + 10_000 * HOUR) == []


async def test_an_event_gets_the_instant_that_the_engine_gave_it(kafka: str, prefix: str) -> None:
    fleet = fleet_of(kafka, prefix)
    await ensure(fleet)
    cloud = {"specversion": "1.0", "id": "e6", "source": "s", "type": "store.visited", "subject": "c1", "time": AT}
    values = {
        10: line(1, None).rstrip(),
        20: line(2, 7, page="kept").rstrip(),
        15: line(3, None).rstrip(),
        30: line(4, 30).rstrip(),
        31: json.dumps(json.loads(line(5, None)), indent=1).encode(),
        32: json.dumps(cloud).encode(),
        33: line(7, None, received_at=None, page="\\u").rstrip(),
    }
    customers = {32: b"c1"}
    records = [
        Write(value, customers.get(time) or json.loads(value)["customer"].encode(), AT + time, 1)
        for time, value in values.items()
    ]
    await write(kafka, f"{prefix}events", [*records[:2], Write(b"tick", None, AT + 25, 1), *records[2:]])
    lines = await exported(fleet)
    found = [json.loads(each) for each in lines]
    assert [(each["id"], each["received_at"] - AT) for each in found] == [
        ("e1", 10),
        ("e2", 20),
        ("e3", 25),  # the partition's clock never goes back
        ("e4", 30),
        ("e5", 31),
        ("e6", 32),
        ("e7", 33),
    ]
    assert lines[0] == values[10][:-1] + b',"received_at":%d}\n' % (AT + 10), "all else stays as it came"
    assert lines[3] == values[30] + b"\n"
    assert (found[1]["page"], found[6]["page"]) == ("kept", "\\u")
    assert all(each.count(b"\n") == 1 for each in lines)


async def test_what_the_engine_refuses_is_left_out_and_counted(kafka: str, prefix: str) -> None:
    fleet = fleet_of(kafka, prefix)
    await ensure(fleet)
    good = line(1, None, "c1").rstrip()
    values = [(good, b"c1"), (good, b"c1"), (good, b"c2"), (good, None), (b"{", b"c1"), (None, b"c1"), (b"tick", None)]
    records = [Write(value, key, AT + i, 0) for i, (value, key) in enumerate(values)]
    await write(kafka, f"{prefix}events", records)
    lines: list[bytes] = []
    done = await export(fleet, f"{prefix}events", lines.extend)
    assert (done.events, done.refused, done.last) == (2, 4, AT + 6)
    assert [json.loads(each)["received_at"] for each in lines] == [AT, AT + 1], "a double is the engine's to see"


async def test_what_comes_in_meanwhile_is_not_waited_for(kafka: str, prefix: str) -> None:
    fleet = fleet_of(kafka, prefix)
    await ensure(fleet)
    await write(kafka, f"{prefix}events", [Write(b"tick", None, AT, 0)])
    async with asyncio.timeout(20):
        assert await exported(fleet) == []


# The commands


def test_a_replay_of_the_fleets_log_decides_what_a_replay_of_the_recorded_log_does(
    kafka: str, prefix: str, tmp_path: Path, small_log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--bootstrap", kafka, "--prefix", prefix]
    assert cli.main(["topics", *at, "--virtual", "--partitions", "3", "--sources", f"{prefix}orders"]) == 0
    assert cli.main(["load", *at, str(small_log)]) == 0
    assert f"3,000 events in {prefix}events, 20" in capsys.readouterr().out
    out = tmp_path / "log.jsonl.gz"
    assert cli.main(["export", *at, "--out", str(out)]) == 0
    assert capsys.readouterr().err.startswith("3,000 events written; the log has come to 20")
    url = f"kafka://{kafka}/{prefix}events"
    sends = {}
    for name, log in (("recorded", str(small_log)), ("exported", str(out)), ("fetched", url)):
        files = [str(tmp_path / f"{name}-{what}.jsonl") for what in ("sends", "ends")]
        arguments = ["--rules", "rules", "--order", "received", "--quiet", "--out", files[0], "--decisions", files[1]]
        assert cli.main(["replay", log, *arguments]) == 0
        sends[name] = [(tmp_path / f"{name}-{what}.jsonl").read_bytes() for what in ("sends", "ends")]
    assert sends["recorded"][0].count(b"\n") > 100
    assert sends["exported"] == sends["recorded"]
    assert sends["fetched"] == sends["recorded"]


def test_a_stretch_of_the_fleets_log_is_named_by_its_times(
    kafka: str, prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = fleet_of(kafka, prefix)
    asyncio.run(ensure(fleet))
    asyncio.run(load(fleet, [written(tmp_path, [line(i, i * MINUTE) for i in range(60)])]))
    url = f"kafka://{kafka}/{prefix}events?from=2026-09-01T10:40:00+08:00&until=2026-09-01T02:49:00Z"
    assert cli.main(["replay", url, "--rules", "rules"]) == 0
    assert "10 events" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("kafka://", "kafka://HOST:PORT/TOPIC?from=T&until=T is expected"),
        ("kafka://{kafka}", "is expected"),
        ("kafka://{kafka}/a/b", "is expected"),
        ("kafka://{kafka}/{prefix}none", "there is no topic"),
        ("kafka://{kafka}/{prefix}none?from=yesterday", "from: 'yesterday' is not an RFC 3339 time"),
        ("kafka://{kafka}/{prefix}none?form=1", "found 'form'"),
        ("kafka://{kafka}/{prefix}none?from=2026-09-02T00:00:00Z&until=2026-09-01T00:00:00Z", "from is after until"),
        ("kafka://[::1/events", "Invalid IPv6 URL"),
        ("kafka://localhost:port/events", "HOST:PORT is expected"),
        ("kafka://127.0.0.1:1/events", "no Kafka answers at 127.0.0.1:1"),
    ],
)
def test_a_name_that_leads_nowhere_is_told_with_the_mend(
    kafka: str, prefix: str, name: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["replay", name.format(kafka=kafka, prefix=prefix), "--rules", "rules"]) == 2
    assert words in capsys.readouterr().err


def test_times_that_are_none_are_refused_before_anything_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "--from", "2026-09-01"]) == 2
    assert "has no offset" in capsys.readouterr().err
    assert cli.main(["load", "nothing.jsonl", "--now", "--until", "2026-09-01T00:00:00Z"]) == 2
    assert "--until is of recorded time" in capsys.readouterr().err
    assert cli.main(["export", "--from", "2026-09-02T00:00:00Z", "--until", "2026-09-01T00:00:00Z"]) == 2
    assert "--from is after --until" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_named(
    kafka: str, prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "none" / "log.jsonl"
    assert cli.main(["export", "--bootstrap", kafka, "--prefix", prefix, "--out", str(out)]) == 2
    assert f"{out} cannot be written: No such file" in capsys.readouterr().err


@pytest.mark.parametrize("seed", range(20))
def test_what_is_loaded_is_for_the_engine_what_it_is_for_a_replay_in_order_of_receipt(
    seed: int, tmp_path: Path
) -> None:
    """Whatever order, times of receipt and times from the future (S4) a log has."""
    chance = random.Random(seed)  # noqa: S311  the same logs in every run
    lines = []
    for i in range(60):
        received = chance.choice([None, chance.randrange(20) * MINUTE])
        lines.append(line(i, received, at=AT + chance.randrange(30) * MINUTE))
    log = written(tmp_path, lines)
    replayed = [
        (event.id, event.at, event.received_at) for batch in Log([log], order="received").read() for event in batch
    ]
    loaded = []
    for found in (each for batch in Recorded([log], lambda *_: None).read() for each in batch):
        event = decode(found.value, far_future_ok=True)
        assert isinstance(event, Event)
        stamp(event, found.received)
        loaded.append((event.id, event.at, event.received_at))
    assert loaded == replayed
