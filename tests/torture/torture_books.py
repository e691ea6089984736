"""What must be true of the books after any torture: histories, money, receipts, ends, and what the log may not tell."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from torture_reading import lines_of, query
from torture_shop import PRICE, SECRETS

from triggers.store.states import ARROWS, QUEUED, SENDING

if TYPE_CHECKING:
    from torture_record import Record, Story


def off_the_arrows(it: Record) -> list[str]:
    """The history of each command is a way along the arrows, and ends where the command is."""
    found = []
    for name, each in it.stories.items():
        at = QUEUED
        for move in each.moves:
            if move["old"] != at or move["new"] not in ARROWS.get(at, ()):
                found.append(f"{name}: {move['old']} to {move['new']} from {at}")
            at = move["new"]
        if at != each.row["state"]:
            found.append(f"{name} is {each.row['state']}, its history says {at}")
    return found


def unclaimed(it: Record) -> list[str]:
    """What the gateway was asked had been claimed for it, each attempt once."""
    return it.strays + [
        name
        for name, each in it.stories.items()
        if Counter(line["attempt"] for line in each.asked) - Counter(claim["attempt"] for claim in each.claims)
    ]


def wrong_money(it: Record) -> list[str]:
    """What is spent, reserved and released is what the commands add up to."""
    spent: Counter[tuple[str, str]] = Counter()
    reserved: Counter[tuple[str, str]] = Counter()
    found = []
    for name, each in it.stories.items():
        key = (each.row["rule"], each.row["month"])
        spent[key] += each.row["cost"]
        reserved[key] += PRICE * (each.row["state"] == QUEUED)
        paid = sum(move["new"] not in (QUEUED, "rejected") for move in each.moves if move["old"] == SENDING)
        unsure = each.row["ambiguous"] - (each.row["ambiguous"] > 0 and _last_answer(each) == "unknown")
        if each.row["cost"] != PRICE * (paid + unsure):
            found.append(f"{name} cost {each.row['cost']}, not {PRICE * (paid + unsure)}")
    for row in query(it.world.db, "SELECT * FROM spending"):
        key = (row["rule"], row["month"])
        told = (row["spent"], row["reserved"])
        if told != (spent[key], reserved[key]):
            found.append(f"{key}: {told}, not {(spent[key], reserved[key])}")
    return found


def _last_answer(story: Story) -> str:
    return next((str(move["new"]) for move in reversed(story.moves) if move["old"] == SENDING), "")


def receipts_lost(it: Record) -> list[str]:
    """What a gateway told of one of our commands, and was answered, is where the command ended if it took it last."""
    told: dict[str, set[str]] = defaultdict(set)
    perhaps: dict[str, set[str]] = defaultdict(
        set
    )  # told of another try, by its id, or to one killed before it answered
    for line in lines_of(it.world.told):
        fate = {"delivered": "delivered", "failed": "undelivered"}[line["status"]]
        perhaps[line["command"]].add(fate)
        if line["named"] and line["heard"] and f"/{it.stories[line['command']].row['gateway']}/" in line["path"]:
            told[line["command"]].add(fate)
    return [
        f"{name} was told to be {fates} and is {each.row['state']}"
        for name, fates in told.items()
        if (each := it.stories[name]).row["state"] not in perhaps[name]
        and each.moves[-1]["old"] != QUEUED  # ended between two tries
        and each.row["state"] != "rejected"  # at a later try
    ]


def not_at_an_end(it: Record) -> list[str]:
    """Everything came to a final state."""
    return [f"{name} is {each.row['state']}" for name, each in it.stories.items() if each.row["state"] in ARROWS]


def told_in_the_log(it: Record) -> list[str]:
    """No number, text or secret is in a log line."""
    log = it.world.log.read_text()
    words = [*SECRETS.values(), "Reply R", "Your code"]
    return [*re.findall(r"86138\d{8}", log)[:3], *(word for word in words if word in log)]


def told_of_faults(it: Record) -> list[str]:
    """Nothing failed inside, and whoever brought something was never told that it is wrong."""
    failed = [line for line in it.world.log.read_text().splitlines() if '"exception"' in line or "Traceback" in line]
    return [*failed[:5], *it.senders.refused[:5]]
