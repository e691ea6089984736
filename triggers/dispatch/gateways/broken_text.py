"""Mends the text in what gateways call with: half of an emoji that somebody cut must not spoil the reports beside it."""

from __future__ import annotations

import re

_HALVES = re.compile(
    rb"(\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
"""Half of a surrogate pair, alone; the group is what only looks like one: a whole pair, or a backslash that is text."""
_REPLACED = rb"\ufffd"


def mended(body: bytes) -> bytes:
    """Replace by U+FFFD what is no character in a JSON body: halves of surrogate pairs, and bytes that are not UTF-8."""
    whole = body.decode(errors="replace").encode()
    return _HALVES.sub(lambda found: found[1] or _REPLACED, whole)
