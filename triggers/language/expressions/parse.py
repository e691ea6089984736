"""From text to a syntax tree: the grammar is Python's, read by ``ast``, within the limits of an expression."""

from __future__ import annotations

import ast

from triggers.language.expressions.source import Source
from triggers.language.expressions.tokens import read_tokens

MAX_LENGTH = 2_000
MAX_NODES = 200
MAX_DEPTH = 24

_CLOSING = {"(": ")", "[": "]"}


def read(text: str) -> Source:
    """Read a text into a ``Source``; its ``body`` is None when the findings leave nothing to check."""
    source = Source(text)
    if len(text) > MAX_LENGTH:
        source.find(MAX_LENGTH, len(text), f"longer than {MAX_LENGTH:,} characters")
        return source
    if not text.strip():
        source.find(0, len(text), "the expression is empty")
        return source
    usable = read_tokens(source)
    usable = _brackets_match(source) and usable
    if usable:
        _parse(source)
    return source


def _brackets_match(source: Source) -> bool:
    """Report brackets that are not closed or not opened, or nested too deep; return whether there are none."""
    open_: list[tuple[str, int]] = []
    before = len(source.findings)
    for piece, start, end in source.pieces():
        if piece in _CLOSING:
            open_.append((piece, start))
            if len(open_) == MAX_DEPTH + 1:
                source.find(start, end, f"nested deeper than {MAX_DEPTH} levels")
        elif piece in _CLOSING.values():
            if not open_ or _CLOSING[open_[-1][0]] != piece:
                source.find(start, end, f"'{piece}' closes nothing")
                return False
            open_.pop()
    for bracket, start in open_:
        source.find(start, start + 1, f"'{bracket}' is never closed")
    return len(source.findings) == before


def _parse(source: Source) -> None:
    """Let Python parse what was read. A syntax error is reported only if nothing was found before: it may follow."""
    try:
        body = ast.parse(source.python, mode="eval").body
    except SyntaxError as error:
        if not source.findings:
            _report_syntax(source, error)
    except (ValueError, RecursionError, MemoryError):
        source.find(0, len(source.text), f"nested deeper than {MAX_DEPTH} levels")
    else:
        source.body = body if _within_limits(source, body) else None


def _report_syntax(source: Source, error: SyntaxError) -> None:
    column = (error.offset or 0) - 1
    if column < 0 or column >= len(source.python.rstrip()):
        end = len(source.text.rstrip())
        source.find(end - 1, end, "something is missing after this")
        return
    start, end = source.token(column)
    if error.end_offset is not None and "forgot a comma" in error.msg:
        end = source.token(max(error.end_offset - 2, column))[1]
        source.find(start, end, "an operator or a comma is missing in here")
        return
    source.find(start, end, f"did not expect '{source.text[start:end]}' here")


def _within_limits(source: Source, body: ast.expr) -> bool:
    nodes, waiting = 0, [(body, 1)]
    while waiting:
        node, depth = waiting.pop()
        nodes += 1
        if depth > MAX_DEPTH:
            start, end = source.span(node)
            source.find(start - 1, end, f"nested deeper than {MAX_DEPTH} levels")
            return False
        if nodes > MAX_NODES:
            source.find(0, len(source.text), f"more than {MAX_NODES} parts; split it into several conditions")
            return False
        waiting += [(child, depth + 1) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    return True
