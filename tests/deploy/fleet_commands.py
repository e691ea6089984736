"""Checks that what deploy/ tells a process is what the process can be told."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

import click
from pydantic import AliasChoices
from pydantic_settings import BaseSettings

import triggers.drivers.kafka as driver
from triggers.cli import group
from triggers.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def find(arguments: Sequence[str]) -> tuple[click.Command, list[str]]:
    """Find the command that a command line names, and what follows it."""
    known: click.Command = group
    left = list(arguments)
    while left and isinstance(known, click.Group) and not left[0].startswith("-"):
        found = known.get_command(click.Context(known), left[0])
        if found is None:
            break
        known = found
        left.pop(0)
    return known, left


def unknown_in(arguments: Sequence[str]) -> list[str]:
    """List what a command line has that its command does not take."""
    command, left = find(arguments)
    if command is group:
        return [arguments[0]]
    options = {name for each in command.params for name in each.opts}
    wrong = [each for each in left if each.startswith("-") and each != "-" and each.partition("=")[0] not in options]
    if isinstance(command, click.Group) and not command.invoke_without_command:
        wrong += left[:1]
    return wrong


def variables() -> set[str]:
    """List the environment variables that the processes of a fleet read as settings."""
    return {name for kind in {Settings, *_kinds()} for name in _names(kind)}


def _kinds() -> Iterator[type[BaseSettings]]:
    for module in pkgutil.iter_modules(driver.__path__):
        if "settings" in module.name:
            for found in vars(importlib.import_module(f"{driver.__name__}.{module.name}")).values():
                if isinstance(found, type) and issubclass(found, BaseSettings) and found.model_fields:
                    yield found


def _names(kind: type[BaseSettings]) -> Iterator[str]:
    prefix = kind.model_config.get("env_prefix", "")
    for name, field in kind.model_fields.items():
        alias = field.validation_alias
        if isinstance(alias, AliasChoices):
            yield from (str(choice) for choice in alias.choices)
        else:
            yield f"{prefix}{name}".upper()
