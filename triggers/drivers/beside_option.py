"""The option of commands that work beside a service: which database is the service's."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

DATABASE: Final = click.option(
    "--db",
    metavar="FILE",
    type=click.Path(path_type=Path),
    default=Path("triggers.db"),
    show_default=True,
    help="The service's database.",
)
