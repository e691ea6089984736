from __future__ import annotations

import pytest

from triggers.web.bodies import TooMany, split

ONE = b'{"id": "a"}'
TWO = b'{"id": "b", "n": [1, 2]}'


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (ONE, [ONE]),
        (b"\xef\xbb\xbf" + ONE + b"\n", [ONE]),
        (b"[" + ONE + b",\n " + TWO + b"]", [ONE, TWO]),
        (ONE + b"\n" + TWO + b"\n", [ONE, TWO]),
        (ONE + b"\r\n\r\n" + TWO, [ONE, TWO]),
        (b'{\n  "id": "a"\n}', [b'{\n  "id": "a"\n}']),
        (b"[]", []),
        (b" \n ", []),
    ],
)
def test_the_events_of_a_body_are_found_whatever_its_content_type_says(body: bytes, events: list[bytes]) -> None:
    assert split(body, "text/plain", 10) == events


def test_an_array_a_line_is_no_array_where_lines_are_announced() -> None:
    assert split(ONE + b"\nnonsense\n" + TWO, "application/x-ndjson", 10) == [ONE, b"nonsense", TWO]


@pytest.mark.parametrize("body", [b"[" + ONE + b",", b"nonsense", b"[" * 10_000, b"\xff\xfe"])
def test_what_cannot_be_taken_apart_is_one_thing_to_turn_away(body: bytes) -> None:
    assert split(body, "application/json", 10) == [body]


def test_a_bad_line_does_not_hide_the_good_ones() -> None:
    assert split(ONE + b"\n{oops\n" + TWO, "application/json", 10) == [ONE, b"{oops", TWO]


def test_too_many_events_are_refused_as_a_whole() -> None:
    assert split(b"\n".join([ONE] * 11), "application/json", 10) == TooMany(10)
    assert split(b"[" + b",".join([ONE] * 11) + b"]", "application/json", 10) == TooMany(10)
