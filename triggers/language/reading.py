"""One file being read: its tree, its findings, and the models' errors put at their places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from triggers.language.faults import report
from triggers.language.findings import MAX_FINDINGS, Finding, Misfit
from triggers.language.tree import Document, Node, Path, child

if TYPE_CHECKING:
    from collections.abc import Mapping

    from triggers.language.places import Places

Model = TypeVar("Model", bound=BaseModel)

_ROUNDS = 12
"""How often the wrong parts of a file are put aside to look at the rest; each round goes one level up at most."""

_ENDS = 300
"""How much of a long message is shown of its start and of its end: a value that is quoted in it may be a page."""

_FREE = ("edit", "shop", "history", "feed", "customers")
"""Keys of tests whose values may be null."""


class Reading:
    """The findings of one file as they come up, each once; ``document`` is None for a file that cannot be read."""

    def __init__(self, path: str, document: Document | None = None) -> None:
        self.path = path
        self.document = document
        self.findings: dict[Finding, None] = {}
        self.faulty = False

    def report(self, places: Places, offset: int, message: str, severity: str = "error") -> None:
        """Add a finding at an offset of the source."""
        self.faulty = self.faulty or severity == "error"
        line, column = places.at(offset)
        self.findings[Finding(self.path, line, column, severity, _line(message))] = None

    def error(self, path: Path, message: str, index: int | None = None) -> None:
        """Add an error at the value of a path, or at a character of its text."""
        document = self._document()
        self.report(document.places, document.offset(path, index), message)

    def warn(self, path: Path, message: str, index: int | None = None) -> None:
        """Add a warning at the value of a path."""
        document = self._document()
        self.report(document.places, document.offset(path, index), message, "warning")

    def key_error(self, path: Path, message: str) -> None:
        """Add an error at the key that a path ends with."""
        document = self._document()
        self.report(document.places, document.key_offset(path), message)

    def misfit(self, path: Path, error: Misfit) -> None:
        """Add a value's misfit."""
        self.error(path, error.message, error.start)

    def place(self, path: Path) -> tuple[int, int]:
        """Tell line and column of a path's value."""
        document = self._document()
        return document.places.at(document.offset(path))

    def spoken_of(self, path: Path) -> bool:
        """Tell whether the value of a path has a finding already and was put aside: then it is not missing."""
        return bool(path) and str(path[-1]) in self._document().node(path[:-1]).aside

    def put_aside_in(self, path: Path) -> bool:
        """Tell whether something right inside the value of a path, or inside its items, was put aside."""
        node = self._document().node(path)
        items = node.value if isinstance(node.value, list) else ()
        return bool(node.aside) or any(item.aside for item in items)

    def shown(self) -> list[Finding]:
        """List the findings in the order of the file, a hundred at most."""
        ordered = sorted(self.findings)
        if len(ordered) <= MAX_FINDINGS:
            return ordered
        first = ordered[:MAX_FINDINGS]
        last = first[-1]
        rest = f"and {len(ordered) - MAX_FINDINGS} more findings in this file"
        return [*first, Finding(last.path, last.line, last.column, last.severity, rest)]

    def _document(self) -> Document:
        assert self.document is not None  # noqa: S101  what was not read has no values
        return self.document


def _line(message: str) -> str:
    """Make one line of a message that may quote what somebody wrote."""
    whole = message if len(message) <= 2 * _ENDS else f"{message[:_ENDS]} … {message[-_ENDS:]}"
    return whole if whole.isprintable() else "".join(each if each.isprintable() else " " for each in whole)


def validated(reading: Reading, model: type[Model], fill: Mapping[str, Any]) -> Model | None:
    """Check a file against its model and report what does not fit.

    The wrong parts are then put aside, and the missing ones filled in from ``fill``, so that the rest can be checked,
    too. ``fill`` begins with the two keys that a file of this kind begins with. None where too little is left.
    """
    document = reading.document
    assert document is not None  # noqa: S101  the caller has read it
    if not isinstance(document.root.value, dict):
        kind, second, *_ = fill
        hint = f"write keys and values: '{kind}: {fill[kind]}', '{second}: …'"
        reading.report(document.places, document.root.start, hint)
        return None
    for _ in range(_ROUNDS):
        try:
            return model.model_validate(document.root.plain())
        except ValidationError as error:
            faults = error.errors(include_url=False, include_input=False)
        for fault in faults:
            if not _follows(reading, fault):
                report(reading, model, fault)
        # Later items first: an index must still be right when its turn comes.
        for fault in sorted(faults, key=lambda each: _order(each["loc"]), reverse=True):
            _set_aside(document.root, fault, fill)
    return None


def _follows(reading: Reading, fault: Any) -> bool:
    """Tell whether a fault is there only because something was put aside."""
    if fault["type"] == "too_short":
        return bool(reading.document and reading.document.node(fault["loc"]).aside)
    return fault["type"] == "missing" and reading.spoken_of(fault["loc"])


def no_empty_values(reading: Reading, node: Node, path: Path = ()) -> None:
    """Refuse keys without a value: they read as if they said something. They are put aside."""
    value = node.value
    if isinstance(value, dict):
        for key, below in list(value.items()):
            if below.value is None:
                reading.key_error((*path, key), f"'{key}' has no value; write one or take the key out")
                del value[key]
                node.aside.add(key)
            elif type(below.value) in (dict, list) and not (path[:1] == ("tests",) and key in _FREE):
                no_empty_values(reading, below, (*path, key))
    elif isinstance(value, list):
        for index, below in reversed(list(enumerate(value))):
            if below.value is None:
                reading.error((*path, index), "an empty item; write one or take the '-' out")
                del value[index]
                node.aside.add(index)
            else:
                no_empty_values(reading, below, (*path, index))


def _order(path: Path) -> list[tuple[int, str]]:
    return [(key, "") if isinstance(key, int) else (-1, key) for key in path]


def _set_aside(root: Node, fault: Any, fill: Mapping[str, Any]) -> None:
    path: Path = fault["loc"]
    if fault["type"] == "missing":
        if len(path) == 1 and path[0] in fill:
            root.value[path[0]] = _node(fill[str(path[0])])
            return
        path = path[:-1]
    chain = [root]
    for key in path:
        below = child(chain[-1], key)
        if below is not None:
            chain.append(below)
        elif isinstance(chain[-1].value, (dict, list)):
            return  # its turn was before
        else:
            break  # a single value where a list may stand
    if len(chain) == 1:
        return
    key, parent = path[len(chain) - 2], chain[-2]
    parent.value.pop(key)
    parent.aside.update((key, *fault.get("meant", ())))
    if fault["type"] != "missing" and len(path) == 1 and key in fill:
        root.value[key] = _node(fill[str(key)])


def _node(value: Any) -> Node:
    if isinstance(value, dict):
        return Node(0, {key: _node(below) for key, below in value.items()})
    return Node(0, value, "", str(value))


def from_plain(data: Mapping[str, Any]) -> Document:
    """Make a document of plain values; all its places are the first one."""

    def node(value: Any) -> Node:
        if isinstance(value, dict):
            return Node(0, {str(key): node(below) for key, below in value.items()})
        if isinstance(value, (list, tuple)):
            return Node(0, [node(below) for below in value])
        return Node(0, value, "", value if isinstance(value, str) else str(value))

    return Document("", node(dict(data)))
