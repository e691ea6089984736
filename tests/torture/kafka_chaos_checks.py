"""What must hold after any chaos: each check lists what breaks it, and all lists must be empty."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import msgspec
from kafka_chaos_deeds import SESSION_S
from kafka_chaos_left import Expected, told_of, undisturbed

from triggers.core.times import SECOND
from triggers.drivers.kafka.records import Cancel, Sending

if TYPE_CHECKING:
    from kafka_chaos_deeds import Chaos

MOST_LATE_MS: Final = int(SESSION_S * SECOND) + 5 * SECOND
ONCE_ONLY: Final = ("marketing", "member", "greeting")


class Findings:
    """Runs the checks. ``found`` has what breaks each of them, by its name."""

    def __init__(self, chaos: Chaos) -> None:
        self.chaos = chaos
        self.expected = undisturbed(chaos.settings, chaos.left)
        self.late, self.late_with_outages = lateness(chaos), lateness(chaos, outages=True)
        self.found = {check.__name__.replace("_", " "): check(chaos, self.expected) for check in CHECKS}

    @property
    def broken(self) -> dict[str, list[str]]:
        """What does not hold, with a few examples."""
        return {name: told[:10] for name, told in self.found.items() if told}


def not_settled(chaos: Chaos, _: Expected) -> list[str]:
    """All came to its end: every partition is past it, and nobody waits."""
    waiting = [name for name, state in chaos.left.states.items() if state.ask is not None or state.behind]
    return [*([] if chaos.settled else ["not settled in time"]), *waiting]


def events_lost(chaos: Chaos, _: Expected) -> list[str]:
    """What the shop was acked is in the log, and nothing of it was refused."""
    known = {event.id for event in chaos.left.events}
    refused = chaos.left.refused + chaos.left.letters
    return [*(chaos.flow.acked - known), *([f"{refused} refused"] if refused else [])]


def commands_lost(chaos: Chaos, expected: Expected) -> list[str]:
    """Every message that an undisturbed run sends is there, as that run sends it."""
    sends = _sends(chaos)
    return [name for name, line in expected.sends.items() if sends.get(name) != line]


def commands_too_many(chaos: Chaos, expected: Expected) -> list[str]:
    """No message is there that an undisturbed run does not send, and none twice."""
    times = Counter(command.send.id for command in chaos.watch.commands if isinstance(command, Sending))
    return [f"{name} {number} times" for name, number in times.items() if number != 1 or name not in expected.sends]


def cancels_that_differ(chaos: Chaos, expected: Expected) -> list[str]:
    """What is taken back is what an undisturbed run takes back."""
    found = Counter(
        (each.customer, each.rule, each.identity, each.anchor, each.by)
        for each in chaos.watch.commands
        if isinstance(each, Cancel)
    )
    return _differing(found, expected.cancels)


def decisions_that_differ(chaos: Chaos, expected: Expected) -> list[str]:
    """Every decision is there as often as in an undisturbed run."""
    found = Counter(chaos.watch.decided)
    return _differing(found, expected.decided)


def customers_that_differ(chaos: Chaos, expected: Expected) -> list[str]:
    """Every customer is in the state in which an undisturbed run leaves them: each event counted, each once."""
    states = chaos.left.states
    found = [f"{name} in one only" for name in states.keys() ^ expected.customers.keys()]
    for name in states.keys() & expected.customers.keys():
        one, other = told_of(states[name].customer), told_of(expected.customers[name])
        if one != other:
            found.append(f"{name}: {[key for key in one | other if one.get(key) != other.get(key)]}")
    return found


def questions_without_one_answer(chaos: Chaos, _: Expected) -> list[str]:
    """Each question was answered, once, and a partition's answers are numbered without a gap."""
    watch = chaos.watch
    found = [
        f"{key}: asked {watch.asked[key]} times, answered {watch.answered[key]} times"
        for key in watch.asked | watch.answered
        if watch.asked[key] != watch.answered[key]
    ]
    found += [f"numbers of {part}" for part, each in watch.numbers.items() if each != list(range(1, len(each) + 1))]
    return found


def timers_too_late(chaos: Chaos, _: Expected) -> list[str]:
    """A message can be read at most a session and 5 s after its instant; while the broker is away no time passes."""
    if not chaos.size.bounded:
        return []
    late = sorted(lateness(chaos).items(), key=lambda each: -each[1])
    return [f"{name}: {late_ms} ms" for name, late_ms in late if late_ms > MOST_LATE_MS]


def lateness(chaos: Chaos, *, outages: bool = False) -> dict[str, int]:
    """Tell how long after its instant each message could be read, ms; ``outages`` counts those of the broker, too."""
    found = {}
    for command in chaos.watch.commands:
        if isinstance(command, Sending):
            at, seen = command.send.at, chaos.watch.seen[command.send.id]
            away = sum(max(0, min(up, seen) - max(down, at)) for down, up in chaos.outages)
            found[command.send.id] = seen - at - (0 if outages else away)
    return found


def sent_twice(chaos: Chaos, _: Expected) -> list[str]:
    """Nothing that must not come twice is in the gateway's ledger twice."""
    times = Counter(line["command"] for line in ledger(chaos) if line["class"] in ONCE_ONLY)
    return [f"{name} {number} times" for name, number in times.items() if number > 1]


def never_decided(chaos: Chaos, expected: Expected) -> list[str]:
    """Nothing is in the ledger that was not to be sent."""
    return [line["command"] for line in ledger(chaos) if line["command"] not in expected.sends]


def not_in_the_outbox(chaos: Chaos, expected: Expected) -> list[str]:
    """Every command came to the dispatcher."""
    return sorted(expected.sends.keys() - outbox(chaos).keys())


def not_in_the_ledger(chaos: Chaos, _: Expected) -> list[str]:
    """What the outbox calls accepted has left."""
    left = {line["command"] for line in ledger(chaos)}
    return [name for name, state in outbox(chaos).items() if state == "accepted" and name not in left]


def ledger(chaos: Chaos) -> list[dict[str, Any]]:
    """Read what the gateway took."""
    if not chaos.ledger.exists():
        return []
    return [json.loads(line) for line in chaos.ledger.read_bytes().splitlines()]


def outbox(chaos: Chaos) -> dict[str, str]:
    """Read the state of each command in the outbox."""
    with closing(sqlite3.connect(chaos.database)) as connection:
        return dict(connection.execute("SELECT command, state FROM outbox").fetchall())


def _sends(chaos: Chaos) -> dict[str, bytes]:
    return {
        command.send.id: msgspec.json.encode(command.send)
        for command in chaos.watch.commands
        if isinstance(command, Sending)
    }


def _differing(found: Counter[tuple[Any, ...]], expected: Counter[tuple[Any, ...]]) -> list[str]:
    missing, more = expected - found, found - expected
    return [f"missing {number}: {row}" for row, number in missing.items()] + [
        f"too many {number}: {row}" for row, number in more.items()
    ]


CHECKS: Final = (
    not_settled,
    events_lost,
    commands_lost,
    commands_too_many,
    cancels_that_differ,
    decisions_that_differ,
    customers_that_differ,
    questions_without_one_answer,
    timers_too_late,
    sent_twice,
    never_decided,
    not_in_the_outbox,
    not_in_the_ledger,
)
