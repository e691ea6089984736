"""What a worker notes of its rules is there in the end, whatever Kafka says of the first attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from triggers.drivers.kafka import fleet_rules
from triggers.drivers.kafka.fleet_rules import FleetRules
from triggers.drivers.kafka.rule_notes import read_notes
from triggers.drivers.kafka.settings import KafkaSettings
from triggers.drivers.kafka.topics import ensure
from triggers.errors import AccessRefused, ServiceUnusable

if TYPE_CHECKING:
    from pathlib import Path

SHOP = "shop: v1\nname: Yunque\ntimezone: Asia/Shanghai\nopt_out: ' Reply R'\n"
RULE = """rule: v1
id: hello
title: Somebody signed up
status: live
class: notice
when: {event: customer.registered}
wait: 1d
send: {text: Welcome}
"""


@pytest.fixture
async def settings(kafka: str, prefix: str, tmp_path: Path) -> KafkaSettings:
    (tmp_path / "_shop.yaml").write_text(SHOP)
    (tmp_path / "hello.yaml").write_text(RULE)
    settings = KafkaSettings(bootstrap=kafka, prefix=prefix, app=prefix.rstrip("."), rules=tmp_path, partitions=1)
    await ensure(settings)
    return settings


class Faulty:
    """Fails a number of times before, or after, what is asked for is done; so does a broker that begins or ends."""

    def __init__(self, fault: ServiceUnusable, times: int, *, done: bool = False) -> None:
        self.fault, self.left, self.done, self.calls = fault, times, done, 0
        self._keep = fleet_rules.keep_files

    async def __call__(self, *given: Any) -> None:
        self.calls += 1
        if self.left:
            self.left -= 1
            if self.done:
                await self._keep(*given)
            raise self.fault
        await self._keep(*given)


@pytest.mark.parametrize(("done", "calls"), [(False, 3), (True, 1)])
async def test_a_commit_of_which_nobody_knows_whether_it_was_one_is_looked_at_and_made_again(
    settings: KafkaSettings,
    monkeypatch: pytest.MonkeyPatch,
    done: bool,  # noqa: FBT001
    calls: int,
) -> None:
    faulty = Faulty(ServiceUnusable("triggers.rules 0 cannot be written: UnknownError()"), 2, done=done)
    monkeypatch.setattr(fleet_rules, "keep_files", faulty)
    rules = FleetRules(settings)
    edition = await rules.first()
    book = await rules.book(edition)
    assert (list(book.rules), faulty.calls) == (["hello"], calls)
    assert (await read_notes(settings)).files == edition.contents


@pytest.mark.parametrize(
    ("fault", "calls"),
    [(ServiceUnusable("cannot be written"), fleet_rules.MOST_ATTEMPTS), (AccessRefused("may not write"), 1)],
)
async def test_what_fails_each_time_or_is_refused_ends_the_worker(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch, fault: ServiceUnusable, calls: int
) -> None:
    faulty = Faulty(fault, 1_000)
    monkeypatch.setattr(fleet_rules, "keep_files", faulty)
    monkeypatch.setattr(fleet_rules, "AGAIN_S", 0.001)
    rules = FleetRules(settings)
    edition = await rules.first()
    with pytest.raises(ServiceUnusable) as raised:
        await rules.book(edition)
    assert (raised.value, faulty.calls) == (fault, calls)
