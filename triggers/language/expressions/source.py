"""A text that has been read, and the way from a syntax tree back to the columns of the text."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, cast

from triggers.language.expressions.findings import Finding

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterator
    from decimal import Decimal

    from triggers.language.expressions.tree import Constant


class Source:
    """A text that has been read: its literals, its syntax tree, and the way from the tree's columns to the text's."""

    __slots__ = ("_begins", "_pieces", "_spans", "_width", "body", "findings", "literals", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.findings: list[Finding] = []
        self.literals: list[Constant | Decimal] = []
        self.body: ast.expr | None = None
        self._pieces: list[str] = []
        self._begins: list[int] = []
        self._spans: list[tuple[int, int]] = []
        self._width = 0

    def add(self, piece: str, start: int, end: int) -> None:
        """Append what Python is given for the token at [start, end) of the text."""
        if not self._width:
            piece = piece.lstrip()  # blanks in front would be an indentation
        self._pieces.append(piece)
        self._begins.append(self._width)
        self._spans.append((start, end))
        self._width += len(piece)

    def add_literal(self, value: Constant | Decimal, start: int, end: int) -> None:
        """Append a literal; the blanks keep its number apart from what stands beside it."""
        self.add(f" {len(self.literals)} ", start, end)
        self.literals.append(value)

    def find(self, start: int, end: int, message: str) -> None:
        """Note a finding at [start, end) of the text."""
        self.findings.append(Finding(start + 1, max(end, start + 1), message))

    @property
    def python(self) -> str:
        """What Python is given."""
        return "".join(self._pieces)

    def token(self, column: int) -> tuple[int, int]:
        """Return the place [start, end) in the text of the token at a column of ``python``."""
        return self._spans[bisect_right(self._begins, column) - 1]

    def span(self, node: ast.expr) -> tuple[int, int]:
        """Return the columns of a node: from 1, both inside."""
        return self.token(node.col_offset)[0] + 1, self._last_token(node)[1]

    def last_word(self, node: ast.expr) -> tuple[str, int, int]:
        """Return the word that a name or attribute ends with, as it is written, and its columns."""
        start, end = self._last_token(node)
        return self.text[start:end], start + 1, end

    def pieces(self) -> Iterator[tuple[str, int, int]]:
        """Yield what Python is given for each token, and the token's place [start, end)."""
        for piece, (start, end) in zip(self._pieces, self._spans, strict=True):
            yield piece, start, end

    def _last_token(self, node: ast.expr) -> tuple[int, int]:
        return self.token(cast("int", node.end_col_offset) - 1)
