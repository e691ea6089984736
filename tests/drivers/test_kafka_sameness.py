"""One log, decided the same to the last line: by a replay, by the embedded service, and by 1, 2 and 4 workers."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import chain, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest
from fleets import lines
from kafka_fleet import FleetProcesses
from running import SAMPLE_RULES, Running, query

from triggers.core.decisions import Send
from triggers.core.rulebook import Rulebook
from triggers.drivers.kafka.loading import load as load_log
from triggers.drivers.kafka.settings import KafkaSettings
from triggers.language import load
from triggers.replay.log import Log
from triggers.replay.output import SendLine
from triggers.replay.replay import Replay
from triggers.store.decisions import DecisionRow, row_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from triggers.core.decisions import Decision

BENCH = Path(__file__).parents[3] / "shared" / "bench"
PARTITIONS = 8
PLAIN = """rule: v1
id: {id}
title: Plain
owner: crm@yunque.example
status: live
class: {klass}
when: {{event: {event}, {when}}}
wait: {wait}
{more}
send: {{expires: 3d, text: "Hello"}}
"""
PLAIN_SHOP = """shop: v1
name: Plain
timezone: Asia/Shanghai
price_per_message: 0.05
opt_out: " Reply R to stop"
caps: {marketing: [1 / 1d]}
look_ahead: 30min
"""
PLAIN_RULES = {
    "left": ("marketing", "order.created", "per: order_id", "1d", "unless: [{event: [order.paid, order.cancelled]}]"),
    "lapsed": ("marketing", "order.paid", "again: restart", "30d", ""),
    "wish": ("member", "favorite.added", "per: product_id", "2h", "limits: {per_customer: 1 / 7d}"),
}


class Case(NamedTuple):
    """A log, the rules for it, and what a replay of it decides."""

    log: Path
    rules: Path
    lines: list[bytes]
    sends: list[bytes]
    decided: Counter[tuple[Any, ...]]
    fired: set[str]


def case(folder: Path, log: Path, rules: Path) -> Case:
    """Replay a log: by the command, and once more to have its decisions."""
    out = folder / "sends.jsonl"
    options: list[str | Path] = ["--rules", rules, "--order", "received", "--out", out, "--quiet"]
    subprocess.run([sys.executable, "-m", "triggers", "replay", log, *options], check=True)
    written = sorted(line for line in out.read_bytes().splitlines(keepends=True) if b'"withheld":false' in line)
    loaded = load(rules)
    assert loaded.shop is not None
    book = Rulebook(loaded.rules, loaded.shop, revision=loaded.revision, keep_all=True)
    sends: list[Send] = []
    decided: Counter[tuple[Any, ...]] = Counter()

    def take(decision: Decision) -> None:
        if isinstance(decision, Send) and not decision.withheld:
            sends.append(decision)
        if (row := row_of(decision, book.revision)) is not None:
            decided[msgspec.structs.astuple(row)] += 1

    events: list[Any] = list(chain.from_iterable(Log([str(log)], order="received").read()))
    Replay(book, take, clock=events[0].received_at - 1).play(events)
    assert written == as_lines(sends)
    return Case(log, rules, written, lines(sends), decided, {send.rule for send in sends})


def as_lines(sends: list[Send]) -> list[bytes]:
    """Write sends as a replay does."""
    line = SendLine()
    return sorted(line.of(send, "").partition(b"\t")[2] for send in sends)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A made-up shop in which every sample rule sends."""
    folder = tmp_path_factory.mktemp("shop")
    log = folder / "shop.jsonl"
    subprocess.run([sys.executable, "-m", "triggers", "simulate", "--out", log], check=True, capture_output=True)
    shop = case(folder, log, SAMPLE_RULES)
    assert shop.fired == {rule.id for rule in load(SAMPLE_RULES).rules}
    assert len(shop.fired) == 12
    return shop


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, small_log: Path) -> Case:
    """A shop whose rules share nothing and know no slots."""
    folder = tmp_path_factory.mktemp("plain")
    rules = folder / "rules"
    rules.mkdir()
    (rules / "_shop.yaml").write_text(PLAIN_SHOP)
    for name, (klass, event, when, wait, more) in PLAIN_RULES.items():
        text = PLAIN.format(id=name, klass=klass, event=event, when=when, wait=wait, more=more)
        (rules / f"{name}.yaml").write_text(text)
    plain = case(folder, small_log, rules)
    assert plain.fired == set(PLAIN_RULES)
    return plain


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """The benchmark's log of 50,000 events."""
    if not (BENCH / "gen.py").exists():
        pytest.skip(f"the benchmark's log is not at {BENCH}")
    folder = tmp_path_factory.mktemp("bench")
    log = folder / "bench.jsonl"
    with log.open("wb") as file:
        subprocess.run([sys.executable, BENCH / "gen.py", "50000", "5000", "3"], check=True, stdout=file)
    bench = case(folder, log, BENCH / "rules")
    assert len(bench.lines) == 9_738  # as the benchmark's own page has it
    return bench


@pytest.fixture
def logged(request: pytest.FixtureRequest) -> Case:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Case)
    return found


@pytest.mark.parametrize("logged", ["shop", "bench", "plain"], indirect=True)
def test_the_embedded_service_sends_what_a_replay_sends(logged: Case, run: Callable[..., Running]) -> None:
    options = ("--input", str(logged.log), "--speed", "0", "--exit-at-end")
    running = run(*options, rules=logged.rules)
    assert running.wait() == 0, running.err[-5:]
    sends = [msgspec.json.decode(body, type=Send) for (body,) in query(running.db, "SELECT body FROM outbox")]
    assert as_lines(sends) == logged.lines
    assert lines(sends) == logged.sends
    columns = ", ".join(DecisionRow.__struct_fields__)
    rows = query(running.db, f"SELECT {columns} FROM decisions")  # noqa: S608  our own names
    assert Counter(rows) == logged.decided


@pytest.mark.parametrize(
    ("logged", "workers"), [*product(["shop", "bench"], [1, 2, 4]), ("plain", 2)], indirect=["logged"]
)
async def test_a_fleet_sends_what_a_replay_sends(
    logged: Case, workers: int, kafka: str, prefix: str, tmp_path: Path
) -> None:
    settings = KafkaSettings(
        bootstrap=kafka,
        prefix=prefix,
        app=prefix,
        sources=(f"{prefix}shop",),
        partitions=PARTITIONS,
        rules=logged.rules,
        virtual=True,
    )
    async with FleetProcesses(settings, tmp_path) as fleet:
        fleet.start(workers)
        await fleet.shared_out()
        loaded = await load_log(settings, [str(logged.log)])
        assert loaded.rejected == Counter()
        await fleet.settled()
        await fleet.stop()
        sends = await fleet.sends()
        assert as_lines(sends) == logged.lines
        assert lines(sends) == logged.sends
        assert await fleet.decided() == logged.decided
