"""``triggers rules apply``: says what becomes of the messages that a held edit makes due, beside a service or a fleet."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

import click

from triggers.drivers.beside_option import DATABASE

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

FINDINGS: Final = 1
FLEET: Final = "TRIGGERS_KAFKA_BOOTSTRAP"
_WORDS: Final = {
    "send": "they leave at once, as far as windows and limits let them",
    "spread": "they leave within an hour, as far as windows and limits let them",
    "drop": "they end as 'rule changed'",
}


@click.command()
@click.argument("rule", metavar="ID")
@click.option("--overdue", type=click.Choice(list(_WORDS)), required=True, help="What becomes of the messages.")
@DATABASE
@click.option("--bootstrap", metavar="HOST:PORT", help=f"Of a fleet: where Kafka is; also {FLEET} in the environment.")
@click.option("--prefix", metavar="TEXT", help="Of a fleet: what its topics begin with.  [default: triggers.]")
def apply(rule: str, overdue: str, db: Path, bootstrap: str | None, prefix: str | None) -> int:
    """Take up an edit of the rule ID that is held since it makes many waiting messages due at once.

    A service, or the workers of a fleet, take it up at their next look at the rules, in some seconds.
    """
    if bootstrap is None and not os.environ.get(FLEET):
        due, held = _beside(db, rule, overdue)
    else:
        due, held = asyncio.run(_in_fleet(bootstrap, prefix, rule, overdue))
    if due is not None:
        click.echo(f"the edit of {rule} is taken up; it makes {due} waiting messages due: {_WORDS[overdue]}")
        return 0
    from triggers.language.findings import did_you_mean  # noqa: PLC0415  --help needs none of it

    click.echo(f"no edit of '{rule}' is held{did_you_mean(rule, held)}", err=True)
    return FINDINGS


def _beside(db: Path, rule: str, overdue: str) -> tuple[int | None, Collection[str]]:
    """Say it to a service; gives how many messages are due, and the rules whose edits are held."""
    from triggers.store.beside import beside, transaction  # noqa: PLC0415  --help needs none of this
    from triggers.store.rule_files import decide_edit, held_edits  # noqa: PLC0415

    with beside(db) as connection, transaction(connection):
        held = {each.rule: each.due for each in held_edits(connection)}
        decide_edit(connection, rule, overdue)
    return held.get(rule), held


async def _in_fleet(
    bootstrap: str | None, prefix: str | None, rule: str, overdue: str
) -> tuple[int | None, Collection[str]]:
    """Say it to the workers of a fleet; gives the same."""
    from triggers.drivers.kafka.connection import hush  # noqa: PLC0415  as above
    from triggers.drivers.kafka.options import settings_of  # noqa: PLC0415
    from triggers.drivers.kafka.rule_notes import Said, read_notes, tell_notes  # noqa: PLC0415

    hush()
    settings = settings_of({"bootstrap": bootstrap, "prefix": prefix})
    held = {name: each.due for name, each in (await read_notes(settings)).held.items()}
    if rule in held:
        await tell_notes(settings, [Said(rule, overdue)])
    return held.get(rule), held
