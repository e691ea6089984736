"""What must hold after any sequence (SMS.md section 1), looked at from outside: by the database and by the truth."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from model_gateways import PRICE
from model_world import PHONES

from triggers.core.times import DAY, MINUTE
from triggers.dispatch.hours import outer_hours
from triggers.dispatch.promises import COMMERCIAL
from triggers.store.states import ARROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from model_world import World

MOST_SENDS: Final = {"notice": 3, "verification": 2}
HOURS: Final = {phone: outer_hours("CN" if phone.startswith("+86") else "SG") for phone in PHONES}


def check(world: World) -> list[str]:
    """List everything that is wrong."""
    looks: tuple[Callable[[World], Iterator[str]], ...] = (
        sent_once,
        allowed,
        capped,
        history,
        money,
        receipts,
        drained,
    )
    return [*world.wrong, *(f"{look.__name__}: {words}" for look in looks for words in look(world))]


def rows_of(world: World, sql: str) -> list[tuple[Any, ...]]:
    """Look into the database, when nobody else does."""
    return world.office.reader.execute(sql).fetchall()


def _by_command(world: World) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for number, given in enumerate(world.truth.given):
        found[given.message.command].append(number)
    return found


def sent_once(world: World) -> Iterator[str]:
    """No commercial message may have left twice; a notice three times, a code twice, elsewhere and within a minute."""
    for name, numbers in _by_command(world).items():
        left = [number for number in numbers if world.truth.left(number)]
        klass = world.commands[name].klass
        if len(left) > MOST_SENDS.get(klass, 1):
            yield f"{name} ({klass}) may have left {len(left)} times"
        if klass in COMMERCIAL and left and left[0] != numbers[-1]:
            yield f"{name} ({klass}) was given again after it may have left"
        sends = [world.truth.given[number] for number in left]
        for first, second in pairwise(sends) if klass == "verification" else ():
            if first.gateway == second.gateway:
                yield f"{name} may have left twice through {first.gateway}"
            if second.at >= world.queued_at[name] + MINUTE:
                yield f"{name} left again after its minute"
        attempts = [world.truth.given[number].message.attempt for number in numbers]
        if attempts != sorted(set(attempts)):
            yield f"{name} has attempts {attempts}"


def allowed(world: World) -> Iterator[str]:
    """Nothing commercial after an acknowledged opt-out or outside the hours; nothing late or taken back; as queued."""
    for given in world.truth.given:
        message = given.message
        send, commercial = world.commands[message.command], message.klass in COMMERCIAL
        if commercial and given.stopped:
            yield f"{message.command} left after {given.stopped}"
        if commercial:
            hours = HOURS[message.phone]
            closes = hours.closing(given.at)
            if hours.opening(given.at) != given.at or closes - given.at <= MINUTE or message.valid_until > closes:
                yield f"{message.command} left at a wrong hour"
        if given.at >= send.expires or message.valid_until > send.expires:
            yield f"{message.command} left too late"
        if (message.phone, message.text, message.klass) != (world.phones[send.id], send.text, send.klass):
            yield f"{message.command} left otherwise than it was queued"
    rows = dict(rows_of(world, "SELECT command, state FROM outbox"))
    for name in world.cancelled:
        if rows[name] != "cancelled":
            yield f"{name} was cancelled and is {rows[name]}"


def capped(world: World) -> Iterator[str]:
    """No more commercial messages to a customer within a day than the caps allow."""
    caps = {klass: int(written[0][0]) for klass, written in _caps(world).items()}
    before: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for number, given in enumerate(world.truth.given):
        klass, customer = given.message.klass, world.commands[given.message.command].customer
        if klass not in COMMERCIAL:
            continue
        recent = [each for at, each in before[customer] if at > given.at - DAY]
        if len(recent) >= caps["all"] or recent.count(klass) >= caps.get(klass, len(recent) + 1):
            yield f"{given.message.command} is one too many"
        if world.truth.left(number):
            before[customer].append((given.at, klass))


def _caps(world: World) -> dict[str, list[str]]:
    return {klass: [str(most) for most, _ in caps] for klass, caps in world.office.shop.caps.items()}


def history(world: World) -> Iterator[str]:
    """Every state was come to along the arrows, and every move is written down."""
    rows = rows_of(world, "SELECT seq, command, state, attempts FROM outbox")
    if len(rows) != len(world.commands) or {row[1] for row in rows} != set(world.commands):
        yield "commands were lost or made up"
    moves: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for message, old, new in rows_of(world, "SELECT message, old, new FROM transitions ORDER BY seq"):
        moves[message].append((old, new))
    for seq, name, state, attempts in rows:
        path = moves[seq]
        ends = ["queued", *(new for _, new in path)]
        if any(old != before for (old, _), before in zip(path, ends, strict=False)) or ends[-1] != state:
            yield f"{name} is {state} after {path}"
        if any(new not in ARROWS.get(old, ()) for old, new in path):
            yield f"{name} left the arrows: {path}"
        if attempts != path.count(("queued", "sending")):
            yield f"{name} has {attempts} attempts after {path}"


def money(world: World) -> Iterator[str]:
    """What is reserved, spent and released adds up, and what may have left is spent."""
    reserved: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    given = _by_command(world)
    paid = rows_of(world, "SELECT command, rule, state, cost, ambiguous, parts, gateway, seq FROM outbox")
    accepted = Counter(
        row[0] for row in rows_of(world, "SELECT message FROM transitions WHERE old = 'sending' AND new = 'accepted'")
    )
    for name, of_rule, state, cost, ambiguous, parts, gateway, seq in paid:
        times = ambiguous + accepted[seq]
        free = state == "undelivered" and gateway == "second"  # which bills what is delivered
        if cost != (0 if free else times * parts * PRICE):
            yield f"{name} costs {cost} after {times} times {parts} parts"
        left = sum(world.truth.left(number) for number in given[name])
        if not left <= times <= left + world.crashes:
            yield f"{name} may have left {left} times and is paid for {times}"
        spent[of_rule] += cost
        reserved[of_rule] += world.commands[name].cost if state == "queued" else 0
    for of_rule, kept, gone, released in rows_of(
        world, "SELECT rule, sum(reserved), sum(spent), sum(released) FROM spending GROUP BY rule"
    ):
        if (kept, gone) != (reserved[of_rule], spent[of_rule]) or released < 0:
            yield f"{of_rule!r} has reserved {kept}, spent {gone}, released {released}"


def receipts(world: World) -> Iterator[str]:
    """Each end was told by a gateway that had the message, of that message; and each is one event of the log."""
    rows = rows_of(world, "SELECT command, rule, state FROM outbox WHERE state IN ('delivered', 'undelivered')")
    for name, _, state in rows:
        if not any(_names(world, gateway, told, name) and told.fate == state for gateway, told in world.truth.told):
            yield f"{name} is {state}, which nobody said"
    yield from _kept(world)
    wanted = sorted(f"{state}:{name}" for name, of_rule, state in rows if of_rule)
    bodies = rows_of(world, "SELECT body FROM events WHERE type LIKE 'message.%'")
    if sorted(json.loads(body)["id"] for (body,) in bodies) != wanted:
        yield "the log does not tell the ends"
    if rows_of(world, "SELECT reason FROM dead_letters"):
        yield "the log would not take an event"


def _kept(world: World) -> Iterator[str]:
    """Each report is kept: with the message it ended, with one that had its end, or waiting for one that never came."""
    ended = "SELECT command FROM outbox WHERE state IN ('delivered', 'undelivered') ORDER BY 1"
    kept = rows_of(world, "SELECT o.command, r.note FROM receipts r JOIN outbox o ON o.seq = r.message ORDER BY 1")
    if [name for name, note in kept if not note] != [name for (name,) in rows_of(world, ended)]:
        yield "the ends are not those that reports were credited with"
    yield from (
        f"a report of {name} is kept as '{note}'" for name, note in kept if note.endswith(("queued", "sending"))
    )
    left = rows_of(
        world,
        "SELECT o.command, o.state FROM receipts r JOIN outbox o ON o.command = r.command AND o.gateway = r.gateway"
        " WHERE r.message IS NULL AND o.state NOT IN ('cancelled', 'suppressed', 'expired')",
    )
    yield from (f"a report of {name}, which is {state}, was never credited" for name, state in left)


def _names(world: World, gateway: str, told: Any, name: str) -> bool:
    if told.command is not None:  # an authentic call said so: nothing else is asked
        return bool(told.command == name)
    return told.phone in (None, world.phones[name]) and (gateway, told.provider_id, name) in world.truth.ids


def drained(world: World) -> Iterator[str]:
    """Nothing is open at the end."""
    for state, count in rows_of(world, "SELECT state, count(*) FROM outbox GROUP BY state"):
        if state in ARROWS:
            yield f"{count} are {state}"
