"""The short form of ``make torture``: the service is killed everywhere while it sends, and keeps what SMS.md promises.

TRIGGERS_TORTURE_SEED repeats a run.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from torture import figures
from torture_checks import Findings
from torture_lives import SHORT, torture
from torture_mistakes import AIMS, provoke
from torture_points import MUTANTS, POINTS

if TYPE_CHECKING:
    from pathlib import Path

SEED = int(os.environ.get("TRIGGERS_TORTURE_SEED", str(int(time.time()))))


async def test_killed_at_every_step_it_loses_nothing_and_sends_nothing_twice_unwanted_or_late(tmp_path: Path) -> None:
    findings = Findings(await torture(tmp_path, SEED, SHORT))
    record = findings.record
    assert findings.broken == {}, f"seed {SEED}\n{figures(findings)}"
    assert set(record.ended.kills) >= set(POINTS), f"seed {SEED}: not killed everywhere"
    assert record.ended.kills.total() >= SHORT.lives
    assert len(record.stories) > SHORT.lives * SHORT.commands
    fates = {line["fate"] for line in record.truth}
    assert {"ok", "throttled", "failed, taken", "hung, taken", "reset, taken", "garbage, taken"} <= fates
    assert record.senders.stopped_at
    assert record.senders.cancelled_at


@pytest.mark.parametrize("mutant", MUTANTS)
async def test_a_service_with_a_mistake_in_it_is_found_out(tmp_path: Path, mutant: str) -> None:
    findings = Findings(await provoke(tmp_path, SEED, mutant))
    assert AIMS[mutant].finds <= set(findings.broken), f"seed {SEED}\n{figures(findings)}"
