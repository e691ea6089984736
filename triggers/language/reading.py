"""One file being read: its tree, its findings, and the models' errors put at their places."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from triggers.language.findings import MAX_FINDINGS, Finding, Misfit, did_you_mean, joined, nearest
from triggers.language.tree import Document, Node, Path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from triggers.language.places import Places

Model = TypeVar("Model", bound=BaseModel)

_ROUNDS = 12
"""How often the wrong parts of a file are put aside to look at the rest; each round goes one level up at most."""

_FEW = 12
"""More known keys than these are not listed."""

_FREE = ("edit", "shop", "history", "feed", "customers")
"""Keys of tests whose values may be null."""

_KIND_WORDS = {
    "string_type": "write text here; a number, true or false needs quotes",
    "int_type": "write a whole number",
    "int_from_float": "write a whole number",
    "bool_type": "write true or false",
    "list_type": "write a list",
    "dict_type": "write keys and values here",
    "too_long": "{max_length} at most",
    "too_short": "{min_length} at least",
    "string_too_short": "may not be empty",
    "string_too_long": "{max_length} characters at most",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
}


class Reading:
    """The findings of one file as they come up; ``document`` is None for a file that cannot be read at all."""

    def __init__(self, path: str, document: Document | None = None) -> None:
        self.path = path
        self.document = document
        self.findings: list[Finding] = []
        self.faulty = False

    def report(self, places: Places, offset: int, message: str, severity: str = "error") -> None:
        """Add a finding at an offset of the source."""
        self.faulty = self.faulty or severity == "error"
        line, column = places.at(offset)
        finding = Finding(self.path, line, column, severity, message)
        if finding not in self.findings:
            self.findings.append(finding)

    def error(self, path: Path, message: str, index: int = 0) -> None:
        """Add an error at the value of a path, or at a character of its text."""
        document = self._document()
        self.report(document.places, document.offset(path, index), message)

    def warn(self, path: Path, message: str, index: int = 0) -> None:
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


def validated(reading: Reading, model: type[Model], fill: Mapping[str, Any]) -> Model | None:
    """Check a file against its model and report what does not fit.

    The wrong parts are then put aside, and the missing ones filled in from ``fill``, so that the rest can be checked,
    too. None where too little is left.
    """
    document = reading.document
    assert document is not None  # noqa: S101  the caller has read it
    if not isinstance(document.root.value, dict):
        reading.report(document.places, document.root.start, "write keys and values: 'rule: v1', 'id: …'")
        return None
    for _ in range(_ROUNDS):
        try:
            return model.model_validate(document.root.plain())
        except ValidationError as error:
            faults = error.errors(include_url=False, include_input=False)
        for fault in faults:
            if not (fault["type"] == "missing" and reading.spoken_of(fault["loc"])):
                _report(reading, model, fault)
        # Later items first: an index must still be right when its turn comes.
        for fault in sorted(faults, key=lambda each: _order(each["loc"]), reverse=True):
            _set_aside(document.root, fault, fill)
    return None


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
        value = chain[-1].value
        if (isinstance(value, dict) and key in value) or (
            isinstance(value, list) and isinstance(key, int) and key < len(value)
        ):
            chain.append(value[key])
        elif isinstance(value, (dict, list)):
            return  # its turn was before
        else:
            break  # a single value where a list may stand
    if len(chain) == 1:
        return
    key, parent = path[len(chain) - 2], chain[-2]
    del parent.value[key]
    parent.aside.add(str(key))
    if fault["type"] == "extra_forbidden":
        parent.aside.update(fault["meant"])
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


def _report(reading: Reading, model: type[BaseModel], fault: Any) -> None:
    path: Path = fault["loc"]
    kind: str = fault["type"]
    context = fault.get("ctx", {})
    if kind == "extra_forbidden":
        reading.key_error(path, _unknown_key(model, path))
        fault["meant"] = nearest(str(path[-1]), keys_at(model, path[:-1]))
    elif kind == "missing":
        reading.error(path[:-1], f"'{path[-1]}' is missing" + (f" in '{_name(path[:-1])}'" if len(path) > 1 else ""))
    elif isinstance(context.get("error"), Misfit):
        reading.misfit(path, context["error"])
    elif kind == "literal_error":
        reading.error(path, _not_one_of(reading, path, context["expected"]))
    elif kind in ("model_type", "model_attributes_type"):
        keys = keys_at(model, path)
        reading.error(path, f"write keys and values here: {', '.join(keys)}")
    elif path and path[-1] == "[key]":
        reading.key_error(path[:-1], f"unknown key '{path[-2]}'")
    else:
        message = _KIND_WORDS.get(kind) or str(fault["msg"]).replace("Input should be", "must be")
        reading.error(path, message[:1].lower() + message[1:].format(**context))


def _not_one_of(reading: Reading, path: Path, expected: str) -> str:
    known = [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
    found = reading.document.node(path).plain() if reading.document else ""
    if isinstance(found, (dict, list)):
        return f"write {joined(known)}"
    shown = str(found).lower() if isinstance(found, bool) or found is None else str(found)
    if len(known) == 1:
        return f"'{shown}' is not '{known[0]}'"
    return f"'{shown}' is not one of {', '.join(known)}{did_you_mean(shown, known)}"


def _unknown_key(model: type[BaseModel], path: Path) -> str:
    key = str(path[-1])
    here = keys_at(model, path[:-1])
    above = keys_at(model, ())
    guess = did_you_mean(key, here)
    if not guess and len(path) > 1 and key in above:
        return f"unknown key '{key}' in '{_name(path[:-1])}'; it stands at the top level, beside '{path[0]}'"
    known = f"; known here: {', '.join(here)}" if len(here) <= _FEW else ""
    return f"unknown key '{key}'" + (guess or known)


def _name(path: Path) -> str:
    return next((str(key) for key in reversed(path) if isinstance(key, str)), "this")


def keys_at(model: type[BaseModel], path: Path) -> list[str]:
    """List the keys that a model knows at a path."""
    annotation: Any = model
    for key in path:
        if isinstance(key, int):
            continue
        found = _model_in(annotation)
        if found is not None and (below := _field(found, key)) is not None:
            annotation = below
        elif typing.get_origin(annotation) is dict:
            annotation = typing.get_args(annotation)[1]
    found = _model_in(annotation)
    return [field.alias or name for name, field in found.model_fields.items()] if found else []


def _field(model: type[BaseModel], key: str) -> Any:
    return next(
        (field.annotation for name, field in model.model_fields.items() if (field.alias or name) == key), None
    )


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) is dict:
        return None
    return next((found for part in typing.get_args(annotation) if (found := _model_in(part))), None)
