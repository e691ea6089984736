"""What must hold after any torture (SMS.md section 1): each check lists what breaks it, and all lists must be empty."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from torture_books import (
    not_at_an_end,
    off_the_arrows,
    receipts_lost,
    told_in_the_log,
    told_of_faults,
    unclaimed,
    wrong_money,
)
from torture_reading import COMMERCIAL, lines_of, query
from torture_record import MAY_HAVE_LEFT, NOT_TAKEN, Record
from torture_shop import CAPS, RULES, allowed, of_day

from triggers.core.times import DAY, HOUR, MINUTE, iso

if TYPE_CHECKING:
    from torture_lives import Ended


class Findings:
    """Runs the checks. ``found`` has what breaks each of them, by its name."""

    def __init__(self, ended: Ended) -> None:
        self.record = Record(ended)
        self.found = {check.__name__.replace("_", " "): check(self.record) for check in CHECKS}

    @property
    def broken(self) -> dict[str, list[str]]:
        """What does not hold, with a few examples."""
        return {name: told[:10] for name, told in self.found.items() if told}


def lost(it: Record) -> list[str]:
    """What was accepted is there: events, commands, messages; each trigger came to one end; what it sent is a command."""
    found = [f"command {name}" for name in (*it.ended.queued, *it.senders.messages) if name not in it.stories]
    events = query(it.world.db, "SELECT id, type, source, body FROM events")
    found += [f"event {name}" for name in it.senders.events - {row["id"] for row in events}]
    ended = Counter(
        (row["rule"], row["identity"], row["reason"])
        for row in query(it.world.db, "SELECT rule, identity, reason FROM decisions WHERE kind = 'ended'")
    )
    ends = Counter((rule, identity) for rule, identity, _ in ended.elements())
    triggers = [
        (name, json.loads(row["body"]).get(rule.per))
        for row in events
        for name, rule in RULES.items()
        if rule.event == row["type"]
    ]
    found += [f"{trigger} ended {ends[trigger]} times" for trigger in triggers if ends[trigger] != 1]
    sent = {(rule, identity) for rule, identity, reason in ended if reason == "sent"}
    queued = {
        (each.row["rule"], each.send["identity"])
        for name, each in it.stories.items()
        if name not in it.ended.queued and name not in it.senders.messages
    }
    return found + [f"{each} in one only of decisions and outbox" for each in sent ^ queued]


def decided_otherwise(it: Record) -> list[str]:
    """A replay of the log, in the order in which it was received, sends the same commands."""
    folder = it.world.db.parent
    log, out = folder / "replayed.jsonl", folder / "sends.jsonl"
    with log.open("w") as lines:
        for row in query(it.world.db, "SELECT received_at, body FROM events ORDER BY seq"):
            lines.write(json.dumps({**json.loads(row["body"]), "received_at": row["received_at"]}) + "\n")
    command = [sys.executable, "-m", "triggers", "replay", str(log), "--rules", str(it.world.rules), "--quiet"]
    options = ["--order", "received", "--until", iso(it.world.time.now()), "--out", str(out)]
    subprocess.run([*command, *options], check=True, capture_output=True)
    decided = {line["id"] for line in lines_of(out)}
    made = {name for name, each in it.stories.items() if each.row["rule"] and name not in it.ended.queued}
    return [f"{name} in one only of replay and outbox" for name in decided ^ made]


def sent_twice(it: Record) -> list[str]:
    """What must not come twice never does; a notice at most three times, a code at most twice."""
    most = {"notice": 3, "verification": 2}
    return [name for name, each in it.stories.items() if each.taken > most.get(each.row["klass"], 1)]


def asked_again(it: Record) -> list[str]:
    """Nothing that must not come twice is asked for again, unless it was answered that it did not leave."""
    return [
        f"{each.row['command']} after '{line['fate']}'"
        for each in it.commercial
        for line in each.asked[:-1]
        if line["fate"] not in NOT_TAKEN
    ]


def never_sent(it: Record) -> list[str]:
    """A notice comes at least once, unless all three times that it may leave were used up, or it was refused for good."""
    used_up = {"notice": 3, "verification": 1}
    return [
        f"{name} is {each.row['state']} after {each.row['ambiguous']} ambiguous"
        for name, each in it.stories.items()
        if (most := used_up.get(each.row["klass"])) is not None
        and not each.taken
        and each.row["ambiguous"] < most
        and each.row["state"] not in ("rejected", "expired")
    ]


def misjudged(it: Record) -> list[str]:
    """What was taken is not taken for what did not leave, nor the other way round."""
    return [
        f"{each.row['command']} was taken {each.taken} times and is {each.row['state']}"
        for each in it.commercial
        if (each.taken and each.row["state"] not in MAY_HAVE_LEFT)
        or (not each.taken and each.row["state"] in ("delivered", "undelivered"))
    ]


def after_opt_out(it: Record) -> list[str]:
    """No first byte of anything commercial after an opt-out was answered."""
    by_phone = {person.phone: it.senders.stopped_at.get(person.id) for person in it.senders.customers}
    return [
        f"{line['command']} {line['at'] - line['lag'] - stopped:.0f} ms after"
        for line in it.truth
        if line["klass"] in COMMERCIAL
        and (stopped := by_phone[line["phone"]]) is not None
        and line["at"] - line["lag"] > stopped
    ]


def without_consent(it: Record) -> list[str]:
    """Nothing commercial to whoever did not agree."""
    silent = {person.phone for person in it.senders.customers if not person.consents}
    return [line["command"] for line in it.truth if line["klass"] in COMMERCIAL and line["phone"] in silent]


def outside_the_window(it: Record) -> list[str]:
    """First bytes come inside the hours, claims before their last minute, and the validity ends with them."""
    found = []
    for each in it.commercial:
        for line in each.asked:
            at, until = it.world.time.at(line["at"]), line["valid_until_s"] * 1_000
            if not allowed(line["klass"], at) or not allowed(line["klass"], until - 1) or until - at > DAY / 2:
                found.append(f"{line['command']} at {of_day(at) / HOUR:.3f} h")
        found += [
            f"{each.row['command']} claimed at {of_day(claim['at']) / HOUR:.4f} h"
            for claim in each.claims
            if not allowed(each.row["klass"], claim["at"], MINUTE)
        ]
    return found


def above_a_cap(it: Record) -> list[str]:
    """In a day nobody gets more than the caps say, of a class or of all."""
    left: dict[tuple[str, str], list[int]] = defaultdict(list)
    for each in it.commercial:
        if each.row["left_at"] is not None and each.row["state"] in MAY_HAVE_LEFT:
            for klass in (each.row["klass"], "all"):
                left[each.row["customer"], klass].append(each.row["left_at"])
    return [
        f"{customer}: {klass}"
        for (customer, klass), times in left.items()
        for at in times
        if sum(at - DAY < other <= at for other in times) > CAPS[klass]
    ]


def after_its_cancel(it: Record) -> list[str]:
    """Nothing is claimed after the event that cancels it was answered."""
    orders = {order: it.world.time.at(at) for order, at in it.senders.cancelled_at.items()}
    return [
        f"{each.row['command']} {claim['at'] - orders[order]:.0f} ms after"
        for each in it.commercial
        if each.row["rule"] == "left" and (order := each.send["identity"]) in orders
        for claim in each.claims
        if claim["at"] > orders[order]
    ]


def early_or_stale(it: Record) -> list[str]:
    """Nothing leaves before its time, or when it is too late."""
    return [
        name
        for name, each in it.stories.items()
        for claim in each.claims
        if not each.send["at"] <= claim["at"] < each.send["expires"]
    ]


def codes_late_or_again(it: Record) -> list[str]:
    """What may have left of a code leaves again within a minute, and through another gateway."""
    found = []
    for name, each in it.stories.items():
        unsure = {line["attempt"] for line in each.asked if line["fate"] not in NOT_TAKEN}
        through = [claim for claim in each.claims if claim["attempt"] in unsure]
        if each.row["klass"] == "verification" and len(through) > 1:
            late = through[-1]["at"] > each.row["queued_at"] + MINUTE
            again = len({claim["gateway"] for claim in through}) < len(through)
            found += [f"{name} left {len(through)} times"] if late or again else []
    return found


CHECKS = (
    lost, decided_otherwise, sent_twice, asked_again, never_sent, misjudged, after_opt_out, without_consent,
    outside_the_window, above_a_cap, after_its_cancel, early_or_stale, codes_late_or_again, off_the_arrows,
    unclaimed, wrong_money, receipts_lost, not_at_an_end, told_in_the_log, told_of_faults,
)  # fmt: skip
