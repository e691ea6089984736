"""Reads the tokens of an expression, and names what does not belong with what to write instead.

Python is never given the author's text. It is written anew from the tokens, in plain ASCII, each literal as the number
of its place in a table: no f-strings, escapes, floats or foreign letters are left for Python to interpret.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from keyword import iskeyword
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triggers.language.expressions.source import Source

MAX_DIGITS = 18
"""Of a number in an expression."""

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<string>"(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*')
      | (?P<number>(?:(?<![\w\])"'])\.)?[0-9]\w*(?:\.\w+)*)
      | (?P<word>[^\W\d]\w*)
      | (?P<sign>&& | \|\| | := | ===? | =[<>] | <> | [<>!]= | .)""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_LASTING = re.compile(r"([0-9]+)(d|h|min)")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "'": "'", "\\": "\\"}

_SIGNS = {"<", "<=", ">", ">=", "==", "!=", "+", "-", "*", "/", "%", ".", ",", "(", ")", "[", "]"}
_WORDS = {"and", "or", "not", "in"}
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
_REPAIRED = {
    "&&": (" and ", "write 'and' for '&&'"),
    "||": (" or ", "write 'or' for '||'"),
    "&": (" and ", "write 'and' for '&'"),
    "|": (" or ", "write 'or' for '|'"),
    "!": (" not ", "write 'not' for '!'"),
    "=": ("==", "write '==' to compare"),
    "===": ("==", "write '==' to compare"),
    "=>": (">=", "write '>=' for '=>'"),
    "=<": ("<=", "write '<=' for '=<'"),
    "<>": ("!=", "write '!=' for '<>'"),
    "is": ("==", "write '==' to compare"),
}
"""What is written otherwise here: what Python is given for it, so that the rest can be checked too, and the message."""

_REFUSED = {
    "if": "there is no 'if … else'; join conditions with 'and', 'or', 'not'",
    "else": "there is no 'if … else'; join conditions with 'and', 'or', 'not'",
    "for": "there is no 'for'; write list.map(i, …), .filter(i, …), .exists(i, …) or .all(i, …)",
    "lambda": "there is no 'lambda'; write the name and the condition, as in list.exists(i, …)",
    ":=": "an expression cannot set a name; write '==' to compare",
    "{": "write a list with [ ], not { }",
    "}": "write a list with [ ], not { }",
    "#": "a comment cannot stand in an expression",
    ":": "':' has no meaning here; a place in a list is one number, as in [0]",
    "?": "there is no '? :'; join conditions with 'and', 'or', 'not'",
}
_QUOTES = {"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'", "\u300c": '"', "\u300d": '"'}
"""Quotes that are typed for plain ones."""


def read_tokens(source: Source) -> bool:
    """Read all tokens; return False when some cannot be given to Python in any form."""
    usable, previous = True, ""
    for match in _TOKEN.finditer(source.text):
        token, (start, end) = match.group(), match.span()
        if match.lastgroup == "space":
            source.add(" ", start, end)  # a new line, too
            continue
        if match.lastgroup == "string":
            _read_string(source, token, start)
        elif match.lastgroup == "number":
            _read_number(source, token, start)
        elif match.lastgroup == "word" and previous == ".":
            source.add(token if token.isascii() and not iskeyword(token) else "_", start, end)
        elif match.lastgroup == "word":
            usable &= _read_word(source, token, start)
        elif token in _SIGNS:
            source.add(token, start, end)
        else:
            usable &= _repair(source, token, start)
        previous = token
    return usable


def _read_string(source: Source, token: str, start: int) -> None:
    parts, last = [], 1
    for match in _ESCAPE.finditer(token, 1, len(token) - 1):
        code = match.group(1)
        if code not in _ESCAPES and len(code) == 1:
            at = start + match.start()
            source.find(at, at + 2, f"'\\{code}' has no meaning in a string; for a backslash write '\\\\'")
        parts += [token[last : match.start()], _ESCAPES.get(code) or chr(int(code[1:] or "0", 16))]
        last = match.end()
    source.add_literal("".join([*parts, token[last:-1]]), start, start + len(token))


def _read_number(source: Source, token: str, start: int) -> None:
    end = start + len(token)
    value: int | Decimal = 0
    if sum(map(str.isdigit, token)) > MAX_DIGITS:
        source.find(start, end, f"a number has at most {MAX_DIGITS} digits")
    elif _NUMBER.fullmatch(token):
        value = Decimal(token) if "." in token else int(token)
    elif lasting := _LASTING.fullmatch(token):
        unit = {"d": "days", "h": "hours", "min": "minutes"}[lasting.group(2)]
        source.find(start, end, f"'{token}' is not a number; for a duration write '{unit}({lasting.group(1)})'")
        source.add("_", start, end)  # not a number either, so what follows from it stays silent
        return
    else:
        source.find(start, end, f"'{token}' is not a number; write it in full, like 1500 or 0.5")
    source.add_literal(value, start, end)


def _read_word(source: Source, token: str, start: int) -> bool:
    end = start + len(token)
    folded = "null" if token.casefold() in {"none", "nil"} else token.casefold()
    if folded in _CONSTANTS:
        if token != folded:
            source.find(start, end, f"write '{folded}'")
        source.add_literal(_CONSTANTS[folded], start, end)
    elif folded in _WORDS:
        if token != folded:
            source.find(start, end, f"write '{folded}'")
        source.add(folded, start, end)
    elif token in _REPAIRED or iskeyword(token):
        return _repair(source, token, start)
    elif source.text[end : end + 1] in {'"', "'"} and token.casefold() in {"f", "r", "b", "u", "rb", "br", "fr", "rf"}:
        source.find(start, end, f"a string starts with its quote; leave out the '{token}'")
    else:
        source.add(token if token.isascii() else "_", start, end)
    return True


def _repair(source: Source, token: str, start: int) -> bool:
    """Report a token that does not belong; return whether the rest can be read all the same."""
    end = start + len(token)
    if token in _REPAIRED:
        piece, message = _REPAIRED[token]
        source.find(start, end, message)
        source.add(piece, start, end)
        return True
    plain = _QUOTES.get(token) or unicodedata.normalize("NFKC", token)
    if token in {'"', "'"}:
        message = f"the string has no closing {token}"
        end = len(source.text)
    elif token in _REFUSED:
        message = _REFUSED[token]
    elif plain != token and plain.isascii() and plain.isprintable():
        message = f"write {plain} for {token}"
    else:
        shown = token if token.isprintable() else ascii(token)[1:-1]
        message = f"'{shown}' has no meaning in an expression"
    source.find(start, end, message)
    return False
