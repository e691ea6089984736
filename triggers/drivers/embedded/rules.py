"""The rules of the embedded service: its database knows since when they count, which are paused, and their last files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triggers.core.overdue import may_make_due
from triggers.drivers.editions import choose, digest_of
from triggers.drivers.guard import count_due, refusals, tell_refused
from triggers.drivers.rules import first_edition, rulebook
from triggers.language.contents import contents_of
from triggers.store.claims import pauses
from triggers.store.customers import all_customers
from triggers.store.progress import Register, enrol, removed_rules
from triggers.store.rule_files import (
    HeldEdit,
    drop_held_edits,
    held_edits,
    hold_edits,
    keep_rule_files,
    rule_files,
)

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from triggers.core.rulebook import Rulebook
    from triggers.drivers.editions import Edition
    from triggers.drivers.guard import Refusal
    from triggers.store.database import Connection
    from triggers.store.writer import Writer


class Rules:
    """Makes rulebooks of what a folder holds. ``reader`` is a connection of its own; ``settle`` in ms.

    ``recalls`` is whether what has not left yet is called back; ``most_due`` how many waits an edit may make due at once.
    """

    def __init__(
        self, folder: Path, writer: Writer, reader: Connection, *, settle: int, recalls: bool, most_due: int
    ) -> None:
        self._folder = folder
        self._writer = writer
        self._reader = reader
        self._settle = settle
        self._recalls = recalls
        self._most_due = most_due

    def first(self, now: int) -> tuple[Edition, set[tuple[str, str]]]:
        """Choose what to start with, and what is refused of it. Raises RulesUnusable where nothing can be used."""
        good = rule_files(self._reader)
        edition = first_edition(self._folder, good)
        refused: set[tuple[str, str]] = set()
        before = choose(self._folder, good, good) if good else None
        while before is not None and before.loaded.shop is not None and edition.contents != good:
            more = self.weigh(self._without_register(before), edition, now)
            if not more:
                break
            refused |= {(each.file, each.digest) for each in more}
            edition = choose(self._folder, contents_of(self._folder), good, refused=refused)
        return edition, refused

    def book(self, edition: Edition, *, now: int, first: int) -> Rulebook:
        """Make the rulebook of a set of rules, and note what is in it. Epoch ms.

        A rule counts since it was first seen in this database, ``first`` for those that a new one begins with (S31); one
        that is not there any more is set aside (S36). One that was paused for its numbers is paused (S30).
        """
        ids = [rule.id for rule in edition.loaded.rules]

        def note(connection: Connection) -> tuple[Register, set[str], dict[str, str]]:
            keep_rule_files(connection, edition.contents)
            paused = {each.rule for each in pauses(connection) if each.resumed_at is None}
            return enrol(connection, ids, now, first), paused, self._said(connection, edition)

        register, paused, overdue = self._writer.submit(note).result()
        return self._rulebook(edition, register, paused, overdue)

    def weigh(self, old: Rulebook, edition: Edition, now: int) -> list[Refusal]:
        """Tell what of another set of rules is not to be taken up: what makes too many waits due at ``now``, epoch ms.

        May take long; what somebody decided on is not weighed again.
        """
        new = self._without_register(edition)
        if not may_make_due(old, new):
            return []
        said = self._said(self._reader, edition)
        counts = count_due(old, new, all_customers(self._reader), now)
        for rule in said:
            del counts[rule]
        refused = refusals(counts, self._most_due, edition, rule_files(self._reader))
        tell_refused(refused, self._most_due)
        held = [HeldEdit(each.rule, each.file, each.digest, each.due, now) for each in refused]
        if held:
            self._writer.submit(lambda connection: hold_edits(connection, held)).result()
        return refused

    def decided(self, refused: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """Name what is to be taken up since somebody said what becomes of its waits; what was edited again is forgotten."""
        known = held_edits(self._reader)
        gone = [each.rule for each in known if each.overdue is None and (each.file, each.digest) not in refused]
        if gone:
            self._writer.submit(lambda connection: drop_held_edits(connection, gone)).result()
        return {(each.file, each.digest) for each in known if each.overdue is not None}

    def settled(self, refused: Collection[tuple[str, str]]) -> None:
        """Forget the edits that are taken up, once all customers have been moved over."""

        def work(connection: Connection) -> None:
            known = held_edits(connection)
            drop_held_edits(connection, [each.rule for each in known if (each.file, each.digest) not in refused])

        self._writer.submit(work).result()

    def _said(self, connection: Connection, edition: Edition) -> dict[str, str]:
        """Tell what becomes of the waits of rules whose edits are taken up since somebody said so."""
        there = {(name, digest_of(content)) for name, content in edition.contents.items()}
        return {
            each.rule: each.overdue
            for each in held_edits(connection)
            if each.overdue is not None and (each.file, each.digest) in there
        }

    def _without_register(self, edition: Edition) -> Rulebook:
        """Make a rulebook only to weigh it: since when rules count is of no account there."""
        ids = dict.fromkeys((rule.id for rule in edition.loaded.rules), 0)
        paused = {each.rule for each in pauses(self._reader) if each.resumed_at is None}
        return self._rulebook(edition, Register(ids, removed_rules(self._reader)), paused, {})

    def _rulebook(self, edition: Edition, register: Register, paused: set[str], overdue: dict[str, str]) -> Rulebook:
        loaded, settle, recalls = edition.loaded, self._settle, self._recalls
        return rulebook(loaded, register, settle=settle, recalls=recalls, paused=paused, overdue=overdue)
