"""The command line: names and one-line helps here, each command imported only when it is called.

Exit status: 0 fine, 1 findings, 2 unusable arguments or input, 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import click

from triggers import __version__
from triggers.errors import TriggersError

if TYPE_CHECKING:
    from collections.abc import Sequence

UNUSABLE: Final = 2
INTERRUPTED: Final = 130  # 128 + SIGINT
PIPE_CLOSED: Final = 141  # 128 + SIGPIPE

_DISK_FAULTS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

COMMANDS: Final = {
    "replay": ("triggers.replay.command:command", "Decide a recorded log in virtual time."),
    "rules": ("triggers.replay.rules_command:group", "Check and test rule files."),
    "simulate": ("triggers.simulate:command", "Write a made-up shop's event log."),
    "why": ("triggers.reports.command:command", "Tell why a customer got or did not get a message."),
    "run": ("triggers.drivers.embedded.command:command", "Run the service: one process, one SQLite file."),
    "dispatcher": ("triggers.drivers.kafka.dispatch_command:command", "Send what a fleet on Kafka decides."),
    "web": ("triggers.drivers.kafka.web_command:command", "Take events over HTTP into a fleet's log."),
    "gateways": ("triggers.drivers.embedded.gateways_command:group", "Show how the gateways do; let one go on."),
    "suppressions": (
        "triggers.drivers.embedded.suppressions_command:group",
        "Keep the list of numbers that get nothing but notices and codes.",
    ),
    "worker": ("triggers.drivers.kafka.worker_command:command", "Run a worker of a fleet on Kafka."),
    "load": ("triggers.drivers.kafka.load_command:command", "Write a recorded log to a fleet's log."),
    "export": ("triggers.drivers.kafka.export_command:command", "Write a fleet's log to a file."),
    "dead-letters": (
        "triggers.drivers.kafka.dead_letters_command:group",
        "Show what could not be taken as an event; send it again.",
    ),
    "topics": ("triggers.drivers.kafka.topics_command:command", "Set up a fleet's topics in Kafka."),
}
"""Every command: where it is, as "module:attribute", and what it does."""

ADDED: Final = {
    "rules": ("triggers.drivers.embedded.resume_command:resume", "triggers.drivers.apply_command:apply"),
}
"""Commands of a group that work beside a service, which the group itself must not know."""

FETCHED: Final = {"kafka://": "triggers.drivers.kafka.fetching:fetch"}
"""What a recorded log may be named by that is no file, and who fetches it, which a replay must not know."""

READERS: Final = ("replay", "why")
"""The commands that read recorded logs."""


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """List the commands in the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        command: object = _found(COMMANDS[cmd_name][0])
        assert isinstance(command, click.Command)  # noqa: S101  an invariant of COMMANDS
        for place in ADDED.get(cmd_name, ()):
            assert isinstance(command, click.Group)  # noqa: S101  an invariant of ADDED
            command.add_command(_found(place))
        if cmd_name in READERS:
            _let_logs_be_fetched()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in COMMANDS.items()])


def _found(place: str) -> Any:
    """Import what a "module:attribute" names."""
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


def _let_logs_be_fetched() -> None:
    """Tell the reader of logs who fetches what is no file; who that is is imported when such a log is named."""
    from triggers.replay.source import FETCHERS  # noqa: PLC0415  other commands need none of it

    for begin, place in FETCHED.items():
        FETCHERS[begin] = lambda name, file, place=place: _found(place)(name, file)  # type: ignore[misc]


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="triggers")
def group() -> None:
    """Decide from a shop's events which customer gets which message when."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and give its exit status; a command returns its own, or None for 0."""
    try:
        with group.make_context("triggers", list(sys.argv[1:] if arguments is None else arguments)) as context:
            status = group.invoke(context)  # not group.main: it would end a closed pipe with the status of findings
        if sys.stdout is not None:  # started with it closed
            sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return UNUSABLE
    except TriggersError as error:
        click.echo(f"triggers: {error}", err=True)
        return UNUSABLE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except OSError as error:
        return _out_of_reach(error)
    return status if isinstance(status, int) else 0


def _out_of_reach(error: OSError) -> int:
    """End after something could not be written, or read; commands word the faults of their own files."""
    closed = isinstance(error, BrokenPipeError)
    full = error.filename is None and error.errno in _DISK_FAULTS
    if closed or full:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered has nowhere to go
    if closed:
        return PIPE_CLOSED
    click.echo(f"triggers: {f'standard output cannot be written: {error.strerror}' if full else error}", err=True)
    return UNUSABLE
