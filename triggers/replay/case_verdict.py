"""Compares what a test expects with what happened, and words each difference for the person who wrote the test."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from triggers.core.times import wall_text
from triggers.replay.case_matching import Wanted, nearest, pair
from triggers.replay.diary import send_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triggers.core.decisions import Ended, Send
    from triggers.core.times import Zone
    from triggers.language.tree import Path
    from triggers.replay.case_plan import CasePlan, Unsent

MAX_LISTED = 5


class Failure(NamedTuple):
    """One difference, at a path of the file; ``customers`` are those whose story explains it (none: everybody's)."""

    path: Path
    message: str
    customers: tuple[str, ...] = ()


def judge(made: CasePlan, path: Path, sends: Sequence[Send], ended: Sequence[Ended], zone: Zone) -> list[Failure]:
    """List what is not as expected. A message of a rule on trial is not a send: it ends as 'would send'."""
    left = [send for send in sends if not send.shadow]
    owned = pair([[i for i, send in enumerate(left) if not one.differences(send)] for one in made.wanted])
    spare = [send for i, send in enumerate(left) if i not in owned.values()]
    failures = []
    for index, one in enumerate(made.wanted):
        if index not in owned:
            instead = nearest(one, spare)
            if instead is not None:
                spare.remove(instead)
            failures.append(_missing(one, instead, zone, others=bool(left)))
    failures += [_unexpected(path, send, zone) for send in spare]
    return failures + _wrongly_ended(made.unsent, left, ended, zone)


def _missing(one: Wanted, instead: Send | None, zone: Zone, *, others: bool) -> Failure:
    expected = f"expected {one.words(zone)}"
    if instead is None:
        customers = (one.to,) if one.to else ()
        return Failure(one.path, f"{expected}; nothing {'more ' if others else ''}was sent", customers)
    told = ", ".join(_other(key, instead, zone) for key in one.differences(instead))
    return Failure(one.path, f"{expected}; sent instead: {told}", (instead.customer, *([one.to] if one.to else [])))


def _other(key: str, send: Send, zone: Zone) -> str:
    """Say what a send has where something else was expected."""
    match key:
        case "at":
            return f"at {wall_text(zone, send.at)}"
        case "to":
            return f"to {send.customer}"
        case "rule":
            return f"by {send.rule}"
        case "text_has":
            return f'"{send.text}"'
        case "withheld":
            return "withheld" if send.withheld else "not withheld"
        case _:
            value = getattr(send, key)
            return f"{key} {value}" if value is not None else f"no {key}"


def _unexpected(path: Path, send: Send, zone: Zone) -> Failure:
    withheld = "withheld from" if send.withheld else "sent to"
    text = f"not expected: {send.rule} was {withheld} {send.customer} at {wall_text(zone, send.at)}, {send_words(send)}"
    return Failure((*path, "expect"), text, (send.customer,))


def _wrongly_ended(
    unsent: Sequence[Unsent], sends: Sequence[Send], ended: Sequence[Ended], zone: Zone
) -> list[Failure]:
    """See that each reason that a test gives is the reason of a wait's end, each of another one."""
    reasoned = [one for one in unsent if one.reason is not None]
    owned = pair([[i for i, end in enumerate(ended) if _ends_so(one, end)] for one in reasoned])
    failures = [_no_such_end(one, ended, zone) for index, one in enumerate(reasoned) if index not in owned]
    for one in unsent:
        if one.reason is None:
            left = (each for each in sends if each.rule == one.rule and not each.withheld)
            sent = next((each for each in left if one.to in (None, each.customer)), None)
            if sent is not None:
                text = f"expected that {one.rule} sends nothing to {sent.customer}; sent at {wall_text(zone, sent.at)}"
                failures.append(Failure(one.path, text, (sent.customer,)))
    return failures


def _ends_so(one: Unsent, end: Ended) -> bool:
    if end.wait.rule != one.rule or one.to not in (None, end.customer):
        return False
    return one.reason in (end.words, str(end.reason))


def _no_such_end(one: Unsent, ended: Sequence[Ended], zone: Zone) -> Failure:
    whose = [end for end in ended if end.wait.rule == one.rule and one.to in (None, end.customer)]
    who = f" of {one.to}" if one.to else ""
    expected = f"expected that a wait{who} ends as '{one.reason}'"
    if not whose:
        return Failure(one.path, f"{expected}; no wait{who} ended", (one.to,) if one.to else ())
    told = [f"{end.words} ({end.customer}, {wall_text(zone, end.at)})" for end in whose[:MAX_LISTED]]
    if len(whose) > MAX_LISTED:
        told.append(f"and {len(whose) - MAX_LISTED} more")
    return Failure(one.path, f"{expected}; it was: {', '.join(told)}", (one.to,) if one.to else ())
