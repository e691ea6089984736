"""Dead letters of a fleet: shown with their reasons, and sent again once, whole, to where they came from."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer
from kafka_broker import Write, read_all, write

from triggers import cli
from triggers.core.intake import Malformed
from triggers.drivers.kafka import letters as letters_module
from triggers.drivers.kafka.dead_letters import Sent, Wanted, list_letters, requeue
from triggers.drivers.kafka.intake import Intake
from triggers.drivers.kafka.keys import partition_of
from triggers.drivers.kafka.settings import KafkaSettings
from triggers.drivers.kafka.topics import ensure
from triggers.store.database import open_database
from triggers.store.event_log import Arrival, bury
from triggers.store.writer import Writer

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

AT = 1_788_229_800_000
EVENT = b'{"id":"e1","type":"store.visited","customer":"c1","at":1788229800000}'
UNKNOWN = b'{"id":"e1","type":"order.eaten","customer":"c1","at":1788229800000}'


def fleet_of(kafka: str, prefix: str, **more: object) -> KafkaSettings:
    given = {"bootstrap": kafka, "app": prefix, "prefix": prefix, "sources": (f"{prefix}orders",), "partitions": 3}
    return KafkaSettings(**{**given, **more})  # type: ignore[arg-type]


async def taken_in(fleet: KafkaSettings, *records: Write) -> None:
    """Write records to the shop's topic and take all of it in."""
    await ensure(fleet)
    await write(fleet.bootstrap, fleet.sources[0], records)
    intake = Intake(fleet)
    await intake.start()
    try:
        await intake.take(fleet.sources[0], await read_all(fleet.bootstrap, fleet.sources[0], committed=False))
    finally:
        await intake.stop()


async def shown(fleet: KafkaSettings, wanted: Wanted | None = None, *, requeued: bool = False) -> list[tuple[str, str]]:
    listed = await list_letters(fleet, wanted or Wanted(), 100, requeued=requeued)
    return [(letter.origin.removeprefix(fleet.prefix), letter.reason) for letter, _ in listed.letters]


async def source_of(fleet: KafkaSettings) -> list[tuple[bytes | None, bytes | None]]:
    records = await read_all(fleet.bootstrap, fleet.sources[0], committed=False)  # a commit is seen some time later
    return [(record.key, record.value) for record in records]


async def test_a_letter_is_sent_again_whole_to_where_it_came_from_and_only_once(kafka: str, prefix: str) -> None:
    fleet = fleet_of(kafka, prefix)
    headers = (("trace", b"\x01"),)
    await taken_in(fleet, Write(UNKNOWN, b"shop", headers=headers), Write(EVENT, b"shop"))
    assert await requeue(fleet, Wanted(), again=False) == Sent(requeued=1)
    first, _, again = await read_all(kafka, fleet.sources[0], committed=False)
    assert (again.key, again.value, tuple(again.headers)) == (b"shop", UNKNOWN, headers)
    assert again.partition == first.partition
    assert await requeue(fleet, Wanted(), again=False) == Sent(before=1)
    assert len(await source_of(fleet)) == 3
    assert await requeue(fleet, Wanted(), again=True) == Sent(requeued=1)
    assert len(await source_of(fleet)) == 4


async def test_what_was_mended_meanwhile_is_taken_in_the_second_time(
    kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = fleet_of(kafka, prefix)
    with monkeypatch.context() as at_first:
        at_first.setattr("triggers.drivers.kafka.intake.MAX_EVENT_BYTES", 10)  # a limit that was too low
        at_first.setattr("triggers.core.intake.MAX_EVENT_BYTES", 10)
        await taken_in(fleet, Write(EVENT, b"shop"))
    assert [reason for _, reason in await shown(fleet)] == ["too large"]
    assert await requeue(fleet, Wanted(reasons=("too large",)), again=False) == Sent(requeued=1)
    await taken_in(fleet)
    assert {(r.key, r.value) for r in await read_all(kafka, f"{prefix}events")} == {(b"c1", EVENT)}
    assert await shown(fleet, requeued=False) == []


async def test_letters_are_chosen_by_where_they_came_from_and_by_their_reason(kafka: str, prefix: str) -> None:
    fleet = fleet_of(kafka, prefix)
    bad = [Write(UNKNOWN, b"k", partition=0), Write(b"{", b"k", partition=0), Write(b"{", b"k", partition=1)]
    await taken_in(fleet, *bad)
    places = [("orders/0/0", "unknown type"), ("orders/0/1", "not JSON"), ("orders/1/0", "not JSON")]
    orders = fleet.sources[0]
    assert sorted(await shown(fleet)) == places
    for wanted, expected in (
        (Wanted((orders,)), places),
        (Wanted((f"{orders}/0",)), places[:2]),
        (Wanted((f"{orders}/0/1", f"{orders}/1/0")), places[1:]),
        (Wanted((), ("unknown type",)), places[:1]),
        (Wanted((f"{orders}/0",), ("not JSON",)), places[1:2]),
        (Wanted((orders[:-1],)), []),
    ):
        assert sorted(await shown(fleet, wanted)) == expected
    assert await requeue(fleet, Wanted((f"{orders}/0",), ("not JSON",)), again=False) == Sent(requeued=1)
    assert sorted(await shown(fleet)) == [places[0], places[2]]
    assert sorted(await shown(fleet, requeued=True)) == places


async def test_what_was_put_aside_twice_is_sent_once(kafka: str, prefix: str) -> None:
    fleet = fleet_of(kafka, prefix)
    await taken_in(fleet, Write(UNKNOWN, b"shop"))
    await taken_in(fleet)  # a worker that fell before its place was noted takes the chunk once more
    assert len(await shown(fleet)) == 2
    assert await requeue(fleet, Wanted(), again=False) == Sent(requeued=1)
    assert await shown(fleet) == []


async def test_what_was_cut_or_came_from_a_file_is_not_sent(kafka: str, prefix: str) -> None:
    fleet = fleet_of(kafka, prefix)
    await taken_in(fleet)
    log = letters_module.buried(letters_module.Letter("not JSON", "no"), "shop.jsonl:3", AT, None, b"{")
    gone = letters_module.buried(letters_module.Letter("not JSON", "no"), f"{prefix}gone/0/1", AT, None, b"{")
    large = b"x" * (letters_module.KEPT_BYTES + 1)
    cut = letters_module.buried(letters_module.Letter("too large", "no"), f"{prefix}orders/0/1", AT, b"k", large)
    rows = [Write(row.value, row.key, headers=tuple(row.headers)) for row in (log, gone, cut)]
    await write(kafka, f"{prefix}dead-letters", rows)
    assert await requeue(fleet, Wanted(), again=False) == Sent(cut=1, homeless=2)
    assert await source_of(fleet) == []


async def test_a_record_of_the_log_goes_back_with_its_time_where_time_is_virtual(kafka: str, prefix: str) -> None:
    fleet = fleet_of(kafka, prefix, virtual=True)
    await taken_in(fleet)
    row = letters_module.buried(
        letters_module.Letter("wrong key", "no"), f"{prefix}events/1/5", AT + 9, b"c2", EVENT, (), AT
    )
    await write(kafka, f"{prefix}dead-letters", [Write(row.value, row.key, headers=tuple(row.headers))])
    assert await requeue(fleet, Wanted(), again=False) == Sent(requeued=1)
    (back,) = await read_all(kafka, f"{prefix}events", committed=False)
    assert (back.key, back.value, back.timestamp) == (b"c2", EVENT, AT)
    assert back.partition == partition_of(b"c2", 3)


async def test_many_letters_are_sent_in_several_transactions(kafka: str, prefix: str) -> None:
    fleet = fleet_of(kafka, prefix)
    values = [b"{%d" % i for i in range(450)]
    await taken_in(fleet, *(Write(value, b"k%d" % (i % 7)) for i, value in enumerate(values)))
    assert await requeue(fleet, Wanted(), again=False) == Sent(requeued=450)
    assert sorted(value or b"" for _, value in await source_of(fleet)) == sorted(values * 2)
    assert await requeue(fleet, Wanted(), again=False) == Sent(before=450)


async def test_a_requeue_that_fell_midway_leaves_no_letter_out_and_sends_none_twice(kafka: str, prefix: str) -> None:
    fleet = fleet_of(kafka, prefix)
    await taken_in(fleet, Write(UNKNOWN, b"shop"))
    fallen = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"{prefix}.requeue")
    await fallen.start()
    await fallen.begin_transaction()  # it never ends: what it wrote does not count
    note = [("requeued", f"{prefix}orders/0/0".encode())]
    places = {record.partition for record in await read_all(kafka, f"{prefix}dead-letters")}
    for partition in places:
        await fallen.send_and_wait(f"{prefix}dead-letters", b"", key=b"shop", partition=partition, headers=note)
    async with asyncio.timeout(20):
        assert await requeue(fleet, Wanted(), again=False) == Sent(requeued=1)
        assert await requeue(fleet, Wanted(), again=False) == Sent(before=1)
    await fallen.stop()


async def test_what_a_transaction_that_is_open_may_hide_is_waited_for(kafka: str, prefix: str) -> None:
    """Notes behind its records are not seen before it ends: a letter would be sent once more."""
    fleet = fleet_of(kafka, prefix)
    await taken_in(fleet, Write(UNKNOWN, b"shop"))
    (letter,) = await read_all(kafka, f"{prefix}dead-letters")
    async with AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"{prefix}.events.0") as worker:
        await worker.begin_transaction()
        await worker.send_and_wait(f"{prefix}dead-letters", b"{", key=b"k", partition=letter.partition)
        sending = asyncio.create_task(requeue(fleet, Wanted(), again=False))
        assert not (await asyncio.wait([sending], timeout=1.5))[0]
        await worker.abort_transaction()
        async with asyncio.timeout(20):
            assert await sending == Sent(requeued=1)


# The command


def test_the_command_lists_and_sends_again(kafka: str, prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    fleet = fleet_of(kafka, prefix)
    asyncio.run(taken_in(fleet, Write(b"\x1b[31mpoison", b"k", partition=0), Write(UNKNOWN, b"k", partition=1)))
    capsys.readouterr()
    at = ["--bootstrap", kafka, "--prefix", prefix]
    assert cli.main(["dead-letters", "list", *at]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert f"{prefix}orders/0/0  not JSON: " in "".join(lines)
    assert cli.main(["dead-letters", "list", *at, "--json", "--values", "--reason", "not JSON"]) == 0
    (found,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert found["value"] == "\x1b[31mpoison"
    assert (found["origin"], found["reason"], found["size"]) == (f"{prefix}orders/0/0", "not JSON", 11)
    assert cli.main(["dead-letters", "list", *at, "--values"]) == 0
    assert "\x1b" not in capsys.readouterr().out, "nobody's terminal is moved"
    assert cli.main(["dead-letters", "list", *at, "--limit", "1"]) == 0
    said = capsys.readouterr()
    assert (len(said.out.splitlines()), said.err) == (1, "1 earlier letter not shown; see --limit\n")

    send = ["dead-letters", "requeue", *at, "--app", prefix]
    assert cli.main(send) == 2
    assert "say which" in capsys.readouterr().err
    assert cli.main([*send, "--origin", f"{prefix}orders/1/0"]) == 0
    assert capsys.readouterr().out == "1 letter sent again\n"
    assert cli.main([*send, "--all"]) == 0
    assert capsys.readouterr().out.startswith("1 letter sent again\n1 had been sent again before")
    assert cli.main(["dead-letters", "list", *at]) == 0
    assert capsys.readouterr().err == "no dead letters\n"
    assert cli.main(["dead-letters", "list", *at, "--requeued"]) == 0
    assert capsys.readouterr().out.count("(sent again)") == 2


def test_the_letters_of_the_service_are_listed_from_its_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.db"
    open_database(path)
    writer = Writer(path)
    try:
        for number, reason in enumerate(("not JSON", "conflict", "not JSON")):
            arrival = Arrival(b"{%d" % number, Malformed(reason, "why"), f"http:{number}")
            writer.submit(lambda c, a=arrival, r=reason, n=number: bury(c, a, r, "why", AT + n)).result()  # type: ignore[misc]
    finally:
        writer.close()
    assert cli.main(["dead-letters", "list", "--db", str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "2026-09-01T02:30:00.000Z  http:0  not JSON: why  2 bytes",
        "2026-09-01T02:30:00.001Z  http:1  conflict: why  2 bytes",
        "2026-09-01T02:30:00.002Z  http:2  not JSON: why  2 bytes",
    ]
    assert cli.main(["dead-letters", "list", "--db", str(path), "--reason", "not JSON", "--limit", "1", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["origin"] == "http:2"
    assert said.err == "1 earlier letter not shown; see --limit\n"
