"""Of YAML, only what says what it looks like is read; the rest is refused at its place."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from triggers.language.places import Places
from triggers.language.tree import MAX_BYTES, parse, read


def findings(data: str | bytes) -> list[str]:
    found: list[tuple[int, str]] = []
    raw = data.encode() if isinstance(data, str) else data
    source, _ = read(raw, lambda offset, message: found.append((offset, message)))
    return ["{}:{} {}".format(*Places(source).at(offset), message) for offset, message in found]


def value(text: str) -> Any:
    document = parse(f"a: {text}\n", lambda offset, message: pytest.fail(f"{offset}: {message}"))
    assert document is not None
    return document.root.plain()["a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("0", 0),
        ("1.50", Decimal("1.50")),
        ("-0.5", Decimal("-0.5")),
        ("{b: [1, x]}", {"b": [1, "x"]}),
    ],
)
def test_these_plain_values_are_not_text(text: str, expected: object) -> None:
    assert value(text) == expected
    assert type(value(text)) is type(expected)


@pytest.mark.parametrize(
    "text",
    ["10:30", "yes", "on", "off", "True", "0x1f", "1e5", "007", "+5", ".5", "5.", "1_000", "2026-09-01", ".inf", "٣"],
)
def test_everything_else_that_is_plain_is_text(text: str) -> None:
    assert value(text) == text


def test_quoted_values_are_text() -> None:
    assert value("'12'") == "12"
    assert value('"true"') == "true"


def test_keys_are_text_whatever_they_look_like() -> None:
    document = parse("on: 1\n2026: x\ntrue: y\n", lambda *_: None)
    assert document is not None
    assert document.root.plain() == {"on": 1, "2026": "x", "true": "y"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a: 1\na: 2\n", ["2:1 duplicate key 'a' (first on line 1)"]),
        ("x: {b: 1, b: 2}\n", ["1:11 duplicate key 'b' (first on line 1)"]),
        ("where: !event.guest\n", ["1:8 a value may not start with '!'; write 'not …' or quote the whole value"]),
        ("where: !(event.x)\n", ["1:8 a value may not start with '!'; write 'not …' or quote the whole value"]),
        ("a: !!str 3\n", ["1:4 a value may not start with '!'; write 'not …' or quote the whole value"]),
        ("a: &x 1\n", ["1:4 anchors are refused; write '&x' out where it is used, or quote the value"]),
        ("a: {<<: {b: 1}}\n", ["1:5 merge keys are refused; write the keys out"]),
        ("a:\n\tb: 1\n", ["2:1 a tab; indent with spaces"]),
        ("a:\n  \tb: 1\n", ["2:3 a tab; indent with spaces"]),
        ("a: b: c\n", ["1:5 a ':' inside a value; quote the whole value, or check the indentation"]),
        ("a: {b}, c\n", ["1:7 nothing may follow a closing bracket; quote the whole value"]),
        ('a: 1\nb: "x\n', ["2:4 this quote is not closed"]),
        ("a: @x\n", ["1:4 a value may not start with '@'; quote the whole value"]),
        ("a: 1\n---\nb: 2\n", ["2:1 a second document; a file holds one rule, without '---' between"]),
        ("", ["1:1 the file is empty"]),
        ("# nothing\n", ["1:1 the file is empty"]),
        ("a: b\nc: d\0e\n", ["2:5 control characters are not allowed; remove the character U+0000"]),
        (b"a: 1\nb: \xe9\n", ["2:4 not UTF-8; save the file with the encoding UTF-8"]),
        (b"\xff\xfea\0", ["1:1 not UTF-8; save the file with the encoding UTF-8"]),
        ("{? [a] : b}\n", ["1:4 a key must be a word; quote a value that starts with '{' or '['"]),
    ],
)
def test_what_surprises_is_refused_where_it_stands(source: str | bytes, expected: list[str]) -> None:
    assert findings(source) == expected


def test_an_alias_bomb_is_refused_without_being_unfolded() -> None:
    levels = [f"k{n}: &k{n} [{', '.join([f'*k{n - 1}'] * 9)}]" for n in range(1, 40)]
    found = findings("\n".join(["k0: &k0 [x]", *levels]))
    assert "2:9 aliases are refused; write out what *k0 stands for" in [each.replace("2:10", "2:9") for each in found]
    assert len(found) == 40 + 39 * 9


def test_a_file_has_a_largest_size() -> None:
    assert findings(b"a: " + b"x" * 5_000_000) == ["1:1 the file is larger than 200 kB; a file holds one rule"]
    assert findings(b"a: " + b"x" * (MAX_BYTES - 3)) == []


def test_a_file_has_a_greatest_depth() -> None:
    assert findings("[" * 100_000) == ["1:25 nested deeper than 24 levels"]


def test_a_file_has_a_greatest_number_of_values() -> None:
    assert "more than 20000 values" in findings("[" + "x," * 30_000 + "]")[0]


def test_a_byte_order_mark_does_not_shift_places() -> None:
    assert findings(b"\xef\xbb\xbfa: 1\na: 2\n") == ["2:1 duplicate key 'a' (first on line 1)"]
