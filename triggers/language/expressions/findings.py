"""What is wrong with an expression, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_FINDINGS = 20
"""More than these of one expression help nobody."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A mistake: columns of the text from ``start`` to ``end``, counted in characters from 1, both inside."""

    start: int
    end: int
    message: str

    def __str__(self) -> str:
        place = str(self.start) if self.start == self.end else f"{self.start}-{self.end}"
        return f"{place}: {self.message}"


class ExpressionError(ValueError):
    """An expression cannot be used; ``findings`` says why, in the order of the text."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = sorted(set(findings))[:MAX_FINDINGS]
        super().__init__("; ".join(map(str, self.findings)))
