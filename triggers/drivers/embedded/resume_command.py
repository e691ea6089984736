"""``triggers rules resume``: lets a rule go on that was paused for its numbers, beside a running service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from triggers.drivers.beside_option import DATABASE

if TYPE_CHECKING:
    from pathlib import Path

FINDINGS = 1


@click.command()
@click.argument("rule", metavar="ID")
@DATABASE
def resume(rule: str, db: Path) -> int:
    """Let the rule ID go on that was paused for its numbers (stop_if, safety).

    A service that runs takes it up within a minute. The rule's numbers are counted afresh from now on.
    """
    from triggers.clock import wall_ms  # noqa: PLC0415  --help needs none of this
    from triggers.language.findings import did_you_mean  # noqa: PLC0415
    from triggers.store.beside import beside, transaction  # noqa: PLC0415
    from triggers.store.claims import pauses  # noqa: PLC0415
    from triggers.store.claims import resume as let_go_on  # noqa: PLC0415

    with beside(db) as connection:
        with transaction(connection):
            resumed = let_go_on(connection, rule, wall_ms())
        paused = [each.rule for each in pauses(connection) if each.resumed_at is None]
    if resumed:
        click.echo(f"{rule} goes on")
        return 0
    click.echo(f"'{rule}' is not paused for its numbers{did_you_mean(rule, paused)}", err=True)
    return FINDINGS
