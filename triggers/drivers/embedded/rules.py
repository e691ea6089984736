"""Makes the rulebook of the embedded service, whose database knows since when rules count and which are paused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triggers.drivers.rules import rulebook
from triggers.store.claims import pauses
from triggers.store.progress import Register, enrol

if TYPE_CHECKING:
    from triggers.core.rulebook import Rulebook
    from triggers.language import Loaded
    from triggers.store.writer import Writer


def rulebook_of(
    loaded: Loaded, writer: Writer, *, now: int, first: int, settle: int, recalls: bool = False
) -> Rulebook:
    """Make the rulebook of a service.

    A rule counts since it was first seen in this database, ``first`` for those that a new one begins with (S31); one
    that is not there any more is set aside (S36). One that was paused for its numbers is paused (S30).
    """
    ids = [rule.id for rule in loaded.rules]
    register: Register = writer.submit(lambda connection: enrol(connection, ids, now, first)).result()
    paused = {each.rule for each in writer.submit(pauses).result() if each.resumed_at is None}
    return rulebook(loaded, register, settle=settle, recalls=recalls, paused=paused)
