"""Places in a file: from an offset in the source to line and column, and from an offset in a value to its source."""

from __future__ import annotations

import re
from bisect import bisect_right

_BREAK = re.compile(r"\r\n|\n|\r")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|\r\n|.)", re.DOTALL)


class Places:
    """The lines of a source, for turning offsets into line and column, both counted from 1."""

    __slots__ = ("starts",)

    def __init__(self, source: str) -> None:
        self.starts = [0, *(match.end() for match in _BREAK.finditer(source))]

    def at(self, offset: int) -> tuple[int, int]:
        """Tell line and column of an offset."""
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1


def offset_in_source(source: str, start: int, style: str, value: str, index: int) -> int:
    """Find where in the source the character ``index`` of a scalar's value stands.

    ``start`` is the offset of the scalar's first character, which is the quote, ``|`` or ``>`` where there is one. Line
    folding, indentation and escapes are followed by walking value and source side by side: whatever is not white
    space must come in the same order in both.
    """
    if style == '"':
        return _in_double_quotes(source, start + 1, value, index)
    if style == "'":
        start += 1
    elif style in ("|", ">"):
        header = _BREAK.search(source, start)
        start = header.end() if header else start
    return _side_by_side(source, start, value, index, quoted=style == "'")


def _side_by_side(source: str, place: int, value: str, index: int, *, quoted: bool) -> int:
    for char in value[:index]:
        place = _place_of(source, place, char) + 1
        if quoted and char == "'":
            place += 1
    return _place_of(source, place, value[index]) if index < len(value) else place


def _place_of(source: str, place: int, char: str) -> int:
    if char.isspace():
        # One space may stand for a line break and the indentation of the next line: the word after it finds itself.
        return place if place < len(source) and source[place] == char else place - 1
    while place < len(source) - 1 and source[place] != char and source[place].isspace():
        place += 1
    return place


def _in_double_quotes(source: str, place: int, value: str, index: int) -> int:
    position = 0
    while position < len(value):
        escape = _ESCAPE.match(source, place)
        if escape and escape[1] in ("\n", "\r", "\r\n"):  # an escaped line break stands for nothing
            place = _skip_space(source, escape.end())
            continue
        if not escape and not value[position].isspace():
            place = _place_of(source, place, value[position])
        if position == index:
            return place
        if escape:
            place = escape.end()
        elif value[position].isspace():
            place = place + 1 if source[place : place + 1] == value[position] else place
        else:
            place += 1
        position += 1
        if value[position - 1] in " \n" and not escape and _BREAK.match(source, place):
            place = _skip_space(source, place)
    return place


def _skip_space(source: str, place: int) -> int:
    while place < len(source) and source[place].isspace():
        place += 1
    return place
