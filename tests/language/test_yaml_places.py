"""Offsets in values are found again in the source, whatever way YAML wrote the value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triggers.language.places import Places
from triggers.language.tree import parse


def place_of(source: str, word: str) -> tuple[int, int]:
    document = parse(source, lambda offset, message: pytest.fail(f"{offset}: {message}"))
    assert document is not None
    value = document.node(("a",)).value
    return document.places.at(document.offset(("a",), value.index(word)))


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("a: one two HERE\n", (1, 12)),
        ("a: 中文 HERE\n", (1, 7)),
        ('a: "one HERE"\n', (1, 9)),
        ('a: "\\u4e2d\\n\\x41 HERE"\n', (1, 18)),
        ('a: "one \\\n   two HERE"\n', (2, 8)),
        ('a: "one\n\n   two\n   HERE"\n', (4, 4)),
        ("a: 'it''s HERE'\n", (1, 11)),
        ("a: 'one\n  two HERE'\n", (2, 7)),
        ("a: one\n   two\n\n   HERE\n", (4, 4)),
        ("a: >-\n  one\n  two HERE\n", (3, 7)),
        ("a: >\n  one\n\n    two\n  HERE\n", (5, 3)),
        ("a: |\n  one\n    two HERE\n", (3, 9)),
        ("a: |2-  # kept\n    HERE\n", (2, 5)),
        ("# before\r\na: one\r\n   HERE\r\n", (3, 4)),
    ],
)
def test_a_word_inside_a_value_is_found_at_its_line_and_column(source: str, place: tuple[int, int]) -> None:
    assert place_of(source, "HERE") == place


def test_lines_and_columns_count_from_one() -> None:
    places = Places("ab\n\ncd")
    assert [places.at(offset) for offset in (0, 2, 3, 4, 5)] == [(1, 1), (1, 3), (2, 1), (3, 1), (3, 2)]


@given(
    st.lists(st.sampled_from(["x", "'", '"', "\\", "{a}", "中", "\n", "\t", "é ", "# "]), max_size=8).map("".join),
    st.sampled_from(["double", "single", "literal"]),
)
def test_a_mark_is_found_behind_any_text(before: str, style: str) -> None:
    value = f"w{before}@"
    if style == "double":
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
        source = f'a: "{escaped}"\n'
    elif style == "single":
        value = value.replace("\n", "")
        source = "a: '" + value.replace("'", "''") + "'\n"
    else:
        source = "a: |-\n" + "".join(f"  {line}\n" if line else "\n" for line in value.split("\n"))
    document = parse(source, lambda offset, message: pytest.fail(f"{offset}: {message}"))
    assert document is not None
    assert document.node(("a",)).value == value
    assert source[document.offset(("a",), value.index("@"))] == "@"
