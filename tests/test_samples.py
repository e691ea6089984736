"""The sample rules and the made-up shop fit each other."""

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from triggers.core.decisions import Decision, Send
from triggers.core.events import Event
from triggers.core.intake import decode
from triggers.core.rulebook import Rulebook
from triggers.language import Loaded, load
from triggers.replay.replay import Replay
from triggers.simulate import simulate

RULES = Path(__file__).parent.parent / "rules"


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return load(RULES)


def simulated() -> list[Event]:
    events = [decode(msgspec.json.encode(event)) for event in simulate()]
    assert all(isinstance(event, Event) for event in events)
    return [event for event in events if isinstance(event, Event)]


def received_at(event: Event) -> int:
    assert isinstance(event.received_at, int)
    return event.received_at


def test_the_sample_rules_have_no_findings(loaded: Loaded) -> None:
    assert [str(finding) for finding in loaded.findings] == []
    assert len(loaded.rules) >= 12  # whoever reads the README puts a thirteenth beside them


@pytest.mark.parametrize("order", ["received", "occurred"])
def test_every_sample_rule_sends_something_in_the_made_up_shop(loaded: Loaded, order: str) -> None:
    events = simulated()
    if order == "occurred":
        for event in events:
            event.received_at = event.at
        events.sort(key=received_at)
    sent: Counter[str] = Counter()
    longest = 0

    def take(decision: Decision) -> None:
        nonlocal longest
        if isinstance(decision, Send) and not decision.withheld:
            sent[decision.rule] += 1
            longest = max(longest, decision.segments)

    assert loaded.shop is not None
    Replay(Rulebook(loaded.rules, loaded.shop), take).play(events)
    assert set(sent) == {rule.id for rule in loaded.rules}
    assert longest == 1
