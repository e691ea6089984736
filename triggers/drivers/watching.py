"""Watches the folder of rules while a service runs, and has it switch to what the folder holds (S36 to S38).

The folder is read whole every few seconds: no notice of a change comes from a network file system, from the other side of
a container's mount, or where a symbolic link is swapped for another, and a few hundred small files are read in
milliseconds. What is new is taken up once two looks in a row saw the same, so a file that is just being written is not.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import structlog

from triggers.drivers.editions import choose, digest_of
from triggers.errors import RulesUnusable
from triggers.language.contents import SHOP_FILE, contents_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from pathlib import Path

    from triggers.drivers.editions import Contents, Edition, Fault

GONE_S: Final = 5.0
"""So long a file must be missing to count as removed (S36)."""
SURE_S: Final = 0.5
"""How soon the folder is looked at again where it was not as it was before."""
MOST_TOLD: Final = 10
"""How many faults of one file are told."""

Refused: TypeAlias = "Collection[tuple[str, str]]"
"""Contents of files that are not taken up: name and digest."""

_log = structlog.get_logger("rules")


class Changes(NamedTuple):
    """What one set of rules has and another has not, by the rules' ids; ``shop`` says that _shop.yaml differs."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    shop: bool

    def __str__(self) -> str:
        words = [f"{word} {', '.join(ids)}" for word, ids in zip(self._fields, self[:3], strict=False) if ids]
        return "; ".join([*words, *([f"changed {SHOP_FILE}"] if self.shop else [])])


def changes(old: Edition, new: Edition) -> Changes:
    """Compare two sets of rules."""
    before, after = _by_rule(old), _by_rule(new)
    return Changes(
        sorted(after.keys() - before.keys()),
        sorted(rule for rule, content in after.items() if rule in before and before[rule] != content),
        sorted(before.keys() - after.keys()),
        old.contents.get(SHOP_FILE) != new.contents.get(SHOP_FILE),
    )


def _rule_files(edition: Edition) -> set[str]:
    return set(edition.contents) - {SHOP_FILE}


def _by_rule(edition: Edition) -> dict[str, bytes]:
    return {name.rpartition(".")[0]: content for name, content in edition.contents.items() if name != SHOP_FILE}


class Sight:
    """A folder as it looks from one time to the next. ``names`` are the files in use, the shop's not among them."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = set(names)
        self.settled = False
        self._last: Contents | None = None
        self._missing: dict[str, float] = {}

    def look(self, found: Contents, at_s: float) -> Contents | None:
        """Tell what to go by; None while that is not sure: something is new, or missing for the first time.

        ``at_s`` is the time of the look on any clock that does not go back.
        """
        self._missing = {name: self._missing.get(name, at_s) for name in self.names - found.keys()}
        self.settled, self._last = found == self._last, found
        sure = self.settled and all(at_s >= since + GONE_S for since in self._missing.values())
        return found if sure else None


class Watch:
    """Has a service switch to the rules that its folder holds. Runs on the event loop, and reads beside it.

    ``edition`` is in use now. ``switch`` is awaited with another one: it switches and gives nothing (an empty collection),
    or gives what of it must not be used; then it is asked again, with one without that. None says that it cannot tell yet;
    it is asked again at the next look. ``allowed`` tells what of all that was refused is to be taken up after all, and
    ``in_use`` finds what others who go by the same rules have taken up, if it is not the edition at hand.
    """

    def __init__(
        self,
        folder: Path,
        edition: Edition,
        switch: Callable[[Edition], Awaitable[Refused | None]],
        *,
        allowed: Callable[[Refused], Awaitable[Refused]],
        in_use: Callable[[Edition], Awaitable[Edition | None]] | None = None,
        refused: Refused = (),
    ) -> None:
        self.edition = edition
        self.refused = set(refused)
        self._folder = folder
        self._switch = switch
        self._allowed = allowed
        self._in_use = in_use
        self._chosen: tuple[Contents, set[tuple[str, str]], Contents, Edition] | None = None
        self._sight = Sight(_rule_files(edition))
        self._done: Contents | None = edition.found
        self._told = {_about(fault) for fault in edition.faults}
        self._blind = ""

    async def run(self, every_s: float) -> None:
        """Look again and again, until cancelled; never where ``every_s`` is 0."""
        while every_s:
            await asyncio.sleep(every_s if self._sight.settled else min(every_s, SURE_S))
            await self.turn(time.monotonic())

    async def turn(self, at_s: float) -> None:
        """Look once, and switch if there is something new to go by."""
        await self._follow()
        if allowed := self.refused.intersection(await self._allowed(self.refused)):
            self.refused -= allowed
            self._done = None
        found = await self._read()
        seen = None if found is None else self._sight.look(found, at_s)
        if seen is not None and seen != self._done and await self._take_up(seen):
            self._done = seen

    async def _read(self) -> Contents | None:
        """Read the folder; None where that is not possible. Without the shop's file it is no folder of rules."""
        try:
            found = await asyncio.to_thread(contents_of, self._folder)
        except RulesUnusable as error:
            blind = str(error)
        else:
            shop = found[SHOP_FILE]
            blind = f"{self._folder / SHOP_FILE}: {shop}" if isinstance(shop, str) else ""
        if blind and blind != self._blind:
            _log.error(f"{blind}; the rules stay as they are")
        self._blind = blind
        return None if blind else found

    async def _follow(self) -> None:
        """Switch to what others have taken up."""
        edition = None if self._in_use is None else await self._in_use(self.edition)
        if edition is not None and not await self._switch(edition):
            self._switched(edition)

    async def _take_up(self, found: Contents) -> bool:
        """Switch to what can be used of the files; False if that cannot be told yet."""
        self.refused &= {(name, digest_of(content)) for name, content in found.items()}
        while True:
            edition = await self._choose(found)
            self._told = tell(edition.faults, self._told)
            if edition.contents == self.edition.contents:
                return True
            refused = await self._switch(edition)
            if refused is None:
                return False
            if not refused:
                self._switched(edition)
                return True
            self.refused |= set(refused)

    async def _choose(self, found: Contents) -> Edition:
        """Choose what can be used of the files; asked again it is the same."""
        good, chosen = self.edition.contents, self._chosen
        if chosen is None or chosen[:3] != (found, self.refused, good):
            edition = await asyncio.to_thread(choose, self._folder, found, good, refused=self.refused)
            self._chosen = chosen = (found, set(self.refused), good, edition)
        return chosen[3]

    def _switched(self, edition: Edition) -> None:
        told = changes(self.edition, edition)
        self.edition = edition
        self._sight.names = _rule_files(edition)
        _log.info("rules changed", what=str(told), revision=edition.revision, rules=len(edition.loaded.rules))


def tell(faults: Collection[Fault], told: Collection[Fault]) -> set[Fault]:
    """Log what is wrong and was not told before; gives what has been told of all that is wrong now."""
    counts: dict[str, int] = {}
    for fault in faults:
        if _about(fault) in told:
            continue
        counts[fault.name] = counts.get(fault.name, 0) + 1
        if counts[fault.name] <= MOST_TOLD:
            _say(fault)
    for name, count in counts.items():
        if count > MOST_TOLD:
            _log.error(f"and {count - MOST_TOLD} more findings in {name}; `triggers rules check` lists them")
    return {_about(fault) for fault in faults}


def _say(fault: Fault) -> None:
    if fault.finding.severity != "error":
        _log.warning(str(fault.finding))
        return
    kept = "its last good version is used" if fault.kept else "nothing of this file is used"
    _log.error(f"{fault.finding}; {kept}")


def _about(fault: Fault) -> Fault:
    """Take a fault as the same whether an older version is used by now or not."""
    return fault._replace(kept=True)
