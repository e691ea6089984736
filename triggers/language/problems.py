"""What the YAML parser complains of, in the words of those who write rules, and where they must look."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import yaml

NOT_A_TAG = "a value may not start with '!'; write 'not …' or quote the whole value"

_PROBLEMS = {
    "mapping values are not allowed": "a ':' inside a value; quote the whole value, or check the indentation",
    "could not find expected ':'": "a ':' is missing after a key, or the line is indented too little",
    "cannot start any token": "a value may not start with '{here}'; quote the whole value",
    "did not find expected key": "this does not fit what stands above it; check the indentation and the quotes",
    "did not find expected ',' or": "a ',' or a closing bracket is missing",
    "did not find expected '-' indicator": "a list goes on with '-' at the same indentation",
    "did not find expected node content": "a value is missing here",
    "unknown escape character": "this escape is unknown; write '\\\\' for a backslash, or use single quotes",
    "control characters are not allowed": "a control character; remove it",
    "block sequence entries are not allowed": "a list may not start here; put it on the next line, indented",
}


def worded(source: str, error: yaml.MarkedYAMLError) -> tuple[int, str]:
    """Tell the offset and the message of an error of the YAML parser."""
    mark = error.problem_mark or error.context_mark
    offset = min(mark.index, len(source)) if mark else 0
    line_start = source.rfind("\n", 0, offset) + 1
    indent = source[line_start : offset + 1]
    here = source[offset : offset + 1]
    problem = error.problem or "this cannot be read"
    if "unexpected end of stream" in problem and error.context_mark:
        return error.context_mark.index, "this quote is not closed"
    if "did not find expected key" in problem and source[line_start:offset].rstrip().endswith(("}", "]")):
        return offset, "nothing may follow a closing bracket; quote the whole value"
    if here == "\t" or ("\t" in indent and not indent.rstrip("\t -").strip()):
        return line_start + max(indent.find("\t"), 0), "a tab; indent with spaces"
    if error.context and "tag" in error.context:
        return error.context_mark.index if error.context_mark else offset, NOT_A_TAG
    for found, message in _PROBLEMS.items():
        if found in problem:
            return offset, message.format(here=here)
    return offset, f"not YAML: {problem}"
