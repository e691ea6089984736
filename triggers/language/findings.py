"""What is wrong with a rule file, and where: findings, and the guess at what was meant."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_FINDINGS = 100
"""More findings of one file than this help nobody; the rest is cut off with a note."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing to mend, at a line and column counted from 1. ``severity`` is error or warning."""

    path: str
    line: int
    column: int
    severity: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.severity}: {self.message}"


class Misfit(ValueError):  # noqa: N818  a value that does not fit, found before anybody knows where it stands
    """A value that is not what its key wants; ``start`` is an offset inside its text, None for all of it."""

    def __init__(self, message: str, start: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.start = start


def did_you_mean(word: str, known: Iterable[str], *, name: str = "{}") -> str:
    """Guess at the known word that was meant: "; did you mean 'wait'?", or nothing where none is near."""
    near = nearest(word, known)
    if not near:
        return ""
    meant = name.format(near[0]) if name != "{}" else f"'{near[0]}'"
    return f"; did you mean {meant}?"


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """Find the known word that is most like another one, if any is."""
    return get_close_matches(word, list(known), n=1, cutoff=0.6)


def joined(words: Iterable[str]) -> str:
    """List words as a sentence does: a, b or c."""
    *head, last = list(words)
    return f"{', '.join(head)} or {last}" if head else last
