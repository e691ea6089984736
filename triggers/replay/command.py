"""``triggers replay``: decides a recorded log in virtual time, writes the sends, and says what it came to."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

import click

from triggers.core.intake import epoch_ms
from triggers.core.rulebook import Rulebook
from triggers.errors import InputUnusable, RulesUnusable
from triggers.language import load
from triggers.replay.compare import Comparison, Sends
from triggers.replay.log import Log
from triggers.replay.output import STDOUT, Outputs, refuse_to_overwrite
from triggers.replay.playing import Both, Stretch, play
from triggers.replay.progress import shown
from triggers.replay.summary import counted, heading, plain, remarks

if TYPE_CHECKING:
    from triggers.core.times import Zone

SHOWN_FINDINGS: Final = 20
_WALL_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  the shop's wall clock
_MILLISECOND = timedelta(milliseconds=1)


@click.command()
@click.argument("logs", metavar="LOG...", nargs=-1, required=True)
@click.option("--rules", "folder", metavar="DIR", required=True, type=Path, help="The folder of rule files.")
@click.option("--out", metavar="FILE", help="Write the sends, one JSON line each; - is standard output.")
@click.option("--decisions", metavar="FILE", help="Write every end of a wait with its reason, one JSON line each.")
@click.option("--rejected", metavar="FILE", help="Keep the lines that are no events, each with the reason.")
@click.option(
    "--order",
    type=click.Choice(["occurred", "received"]),
    default="occurred",
    show_default=True,
    help="Play events when they happened, or when the log received them.",
)
@click.option("--from", "since", metavar="T", help="Report only what falls at or after T.")
@click.option("--until", metavar="T", help="Stop at T; else at the last event.")
@click.option(
    "--settle",
    "settle_s",
    metavar="S",
    type=click.FloatRange(0, 86_400),
    default=0.0,
    help="Seconds after due before a try; services wait 120 unless told otherwise.  [default: 0]",
)
@click.option("--against", metavar="DIR2", type=Path, help="Show what the rules of another folder would change.")
@click.option("--drafts", is_flag=True, help="Play draft rules as if they were live.")
@click.option("--quiet", is_flag=True, help="Show neither progress nor summary.")
def command(
    *,
    logs: tuple[str, ...],
    folder: Path,
    out: str | None,
    decisions: str | None,
    rejected: str | None,
    order: str,
    since: str | None,
    until: str | None,
    settle_s: float,
    against: Path | None,
    drafts: bool,
    quiet: bool,
) -> None:
    """Decide recorded logs in virtual time.

    A LOG holds one event a line, .jsonl or .jsonl.gz; - is standard input. Several are merged in order of time. T is an
    RFC 3339 time, or a date (and time) on the shop's wall clock. Lines that are no events are left out and counted.
    The log of a service in the order it was received, with the --settle of the service, gives what the service sent.
    """
    begun = perf_counter()
    settle = int(settle_s * 1_000)
    book, notes = _rulebook(folder, order, settle, drafts=drafts, narrates=decisions is not None)
    other = _rulebook(against, order, settle, drafts=drafts, narrates=False)[0] if against is not None else None
    zone = book.shop.zone
    stretch = Stretch(_instant(since, zone) or 0, _instant(until, zone))
    if stretch.until is not None and stretch.until < stretch.since:
        raise InputUnusable(f"--from {since} is after --until {until}")
    refuse_to_overwrite((out, decisions, rejected), logs)
    log = Log(logs, order=order)  # before the outputs are opened: a log that is not there spoils none
    with shown(quiet=quiet) as report, Outputs(book, out, decisions, rejected) as outputs:
        log.reject = outputs.reject
        before = Sends() if other is not None else None
        played = play(log, book, stretch, outputs if before is None else Both(outputs, before), report)
        outputs.finish()
        seconds = perf_counter() - begun
    comparison = None if other is None or before is None else _compared(log, other, stretch, before)
    if not quiet:
        said = [heading(log, played, zone, seconds), *remarks(log, played.tally, rejected), *notes]
        said += ["", plain(played.tally.table())]
        if comparison is not None:
            said += ["", f"with the rules of {against}, {comparison.said(zone)}", plain(comparison.table())]
        click.echo("\n".join(said), err=STDOUT in (out, decisions, rejected))


def _compared(log: Log, book: Rulebook, stretch: Stretch, before: Sends) -> Comparison:
    after = Sends()
    log.reject = None  # they were turned away in the first reading
    play(log, book, stretch, after)
    return Comparison(before, after)


def _rulebook(folder: Path, order: str, settle: int, *, drafts: bool, narrates: bool) -> tuple[Rulebook, list[str]]:
    """Load a folder of rules that is without errors; also say what a person should know of it. ``settle`` in ms."""
    loaded = load(folder)
    if loaded.errors or loaded.shop is None:
        shown_errors = [str(finding) for finding in loaded.errors[:SHOWN_FINDINGS]]
        more = len(loaded.errors) - len(shown_errors)
        lines = [f"{folder} has errors and cannot be played:", *shown_errors, *([f"and {more} more"] if more else [])]
        raise RulesUnusable("\n".join(lines))
    asleep = [rule for rule in loaded.rules if rule.status == "draft"]
    rules = [replace(rule, status="live") if rule in asleep and drafts else rule for rule in loaded.rules]
    notes = []
    if asleep and not drafts:
        rules = [rule for rule in rules if rule not in asleep]
        notes.append(f"{counted(len(asleep), 'draft rule')} not played; --drafts plays drafts, too")
    if loaded.findings:
        notes.append(f"{counted(len(loaded.findings), 'warning')} about the rules: triggers rules check {folder}")
    lateness = 0 if order == "occurred" else None  # in order of what happened, nothing comes late
    book = Rulebook(rules, loaded.shop, revision=loaded.revision, lateness=lateness, settle=settle, narrates=narrates)
    return book, notes


def _instant(text: str | None, zone: Zone) -> int | None:
    """Read an instant: RFC 3339 with an offset, or the shop's wall clock without one."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return zone.instant((moment - _WALL_EPOCH) // _MILLISECOND) if moment.tzinfo is None else epoch_ms(text)
    except ValueError:
        raise InputUnusable(f"{text}: not a time; write 2026-09-01, 2026-09-01 10:30 or 2026-09-01T10:30:00Z") from None
