"""The short form of ``make torture-kafka``: everything happens to a fleet, and it decides as one that nothing happens to.

TRIGGERS_TORTURE_SEED repeats the deeds of a run.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING

from kafka_broker import needed
from kafka_chaos import figures
from kafka_chaos_checks import Findings, ledger
from kafka_chaos_deeds import Deed
from kafka_chaos_run import SHORT, play

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SEED = int(os.environ.get("TRIGGERS_TORTURE_SEED", str(int(time.time()))))


async def test_a_fleet_in_chaos_loses_nothing_and_decides_all_once_as_if_nothing_had_happened(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "aiokafka")  # its broker goes, and that is meant to be
    findings = Findings(await play(needed(), tmp_path, SEED, SHORT))
    chaos = findings.chaos
    assert findings.broken == {}, f"seed {SEED}\n{figures(findings)}"
    told = [what for _, what in chaos.notes]
    assert all(any(what.startswith(deed) for what in told) for deed in Deed)
    assert chaos.flow.written == SHORT.events
    assert len(findings.expected.sends) > SHORT.events / 5
    assert {row.reason for row in chaos.watch.decided} >= {"sent", "per day", "total", "cancelled"}
    assert chaos.watch.asked.total() > 50
    assert len(ledger(chaos)) > 500
