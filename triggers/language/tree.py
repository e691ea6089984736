"""A YAML file as a tree of nodes that know where they stand: what rule files need of YAML, and nothing that surprises.

Read from PyYAML's events rather than its composed nodes: an anchor or alias is refused where it stands, before anything
is multiplied, and a deeply nested file meets a limit instead of the end of the stack.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from triggers.language.places import Places, offset_in_source
from triggers.language.problems import NOT_A_TAG, worded

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BYTES = 200_000
MAX_DEPTH = 24
MAX_NODES = 20_000

Key: TypeAlias = "str | int"
Path: TypeAlias = "tuple[Key, ...]"
Report: TypeAlias = "Callable[[int, str], None]"
"""Takes the offset in the source and the message of an error."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,29})(\.[0-9]{1,30})?\Z", re.ASCII)
_NUMERAL = frozenset("-0123456789")
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|\ufeff")


_NO_KEYS: dict[str, int] = {}
_NO_NAMES: set[Key] = set()
"""Shared by all scalars, and never written to."""


class Node:
    """A scalar, a mapping or a list: ``start`` is its offset in the source.

    ``value`` is the plain value of a scalar, a dict of nodes by key, or a list of nodes. ``keys`` holds the offsets of
    a mapping's keys; ``style`` and ``text`` say how a scalar was written.
    ``aside`` are keys whose values have a finding and were put aside: nothing more is said about them.
    """

    __slots__ = ("aside", "keys", "start", "style", "text", "value")

    def __init__(self, start: int, value: Any, style: str = "", text: str = "") -> None:
        self.start = start
        self.value = value
        self.style = style
        self.text = text
        self.keys: dict[str, int] = {} if type(value) is dict else _NO_KEYS
        self.aside: set[Key] = set() if type(value) in (dict, list) else _NO_NAMES

    def plain(self) -> Any:
        """Turn the node and everything below it into plain values."""
        value = self.value
        if isinstance(value, dict):
            return {key: node.plain() for key, node in value.items()}
        return [node.plain() for node in value] if isinstance(value, list) else value


class Document:
    """A file's tree with its source: finds the node of a path, and its place."""

    __slots__ = ("places", "root", "source")

    def __init__(self, source: str, root: Node) -> None:
        self.source = source
        self.root = root
        self.places = Places(source)

    def node(self, path: Path) -> Node:
        """Find the node of a path of keys and indices, or the last one on the way that there is."""
        node = self.root
        for key in path:
            below = child(node, key)
            if below is None:
                if key == 0:  # a single value where a list may stand
                    continue
                break
            node = below
        return node

    def offset(self, path: Path, index: int | None = None) -> int:
        """Find the offset of a node, or of a character inside its text."""
        node = self.node(path)
        if index is not None and isinstance(node.value, str):
            return offset_in_source(self.source, node.start, node.style, node.text, index)
        return node.start

    def key_offset(self, path: Path) -> int:
        """Find the offset of the key that the path ends with."""
        parent = self.node(path[:-1])
        return parent.keys.get(str(path[-1]), parent.start)


def child(node: Node, key: Key) -> Node | None:
    """Find the node right below another one, None if there is none."""
    if isinstance(node.value, dict) and isinstance(key, str):
        return node.value.get(key)
    if isinstance(node.value, list) and isinstance(key, int) and key < len(node.value):
        below: Node = node.value[key]
        return below
    return None


def read(data: bytes, report: Report) -> tuple[str, Document | None]:
    """Read the bytes of a file; errors go to ``report``. The document is None where there is nothing to go on with."""
    if len(data) > MAX_BYTES:
        report(0, f"the file is larger than {MAX_BYTES // 1000} kB; a file holds one rule")
        return "", None
    try:
        source = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        report(len(before), "not UTF-8; save the file with the encoding UTF-8")
        return data.decode("utf-8", "replace"), None
    return source, parse(source, report)


def parse(source: str, report: Report) -> Document | None:
    """Read a source text; errors go to ``report``."""
    builder = _Builder(source, report)
    try:
        for event in yaml.parse(source, Loader=_LOADER):
            builder.take(event)
    except yaml.reader.ReaderError as error:
        place = next((found.start() for found in _FORBIDDEN.finditer(source)), 0)
        report(place, f"{error.reason}; remove the character U+{ord(source[place]):04X}")
        return None
    except yaml.MarkedYAMLError as error:
        report(*worded(source, error))
        return None
    except _Stop:
        return None
    if builder.root is None:
        report(0, "the file is empty")
        return None
    return Document(source, builder.root)


class _Stop(Exception):  # noqa: N818  the reading ends here; the reason is reported
    """The file is not worth reading on."""


class _Builder:
    """Takes the events of a YAML source and builds the tree."""

    def __init__(self, source: str, report: Report) -> None:
        self.source = source
        self.report = report
        self.root: Node | None = None
        self.open: list[tuple[Node, list[tuple[str, int] | None]]] = []
        self.nodes = 0
        self.documents = 0
        self.places: Places | None = None

    def take(self, event: Any) -> None:
        """Handle one event."""
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._place(self._scalar(event) if self._unmarked(event) else None, event)
        elif kind in (yaml.MappingEndEvent, yaml.SequenceEndEvent):
            self.open.pop()
        elif kind in (yaml.MappingStartEvent, yaml.SequenceStartEvent):
            self._unmarked(event)
            node = Node(event.start_mark.index, {} if kind is yaml.MappingStartEvent else [])
            self._place(node, event)
            self.open.append((node, [None]))
            if len(self.open) > MAX_DEPTH:
                self._stop(event, f"nested deeper than {MAX_DEPTH} levels")
        elif kind is yaml.AliasEvent:
            self.report(event.start_mark.index, f"aliases are refused; write out what *{event.anchor} stands for")
            self._place(None, event)
        elif kind is yaml.DocumentStartEvent:
            self.documents += 1
            if self.documents > 1:
                self._stop(event, "a second document; a file holds one rule, without '---' between")

    def _stop(self, event: Any, message: str) -> None:
        self.report(event.start_mark.index, message)
        raise _Stop

    def _unmarked(self, event: Any) -> bool:
        """Refuse anchors and tags; tell whether the value can be used all the same."""
        start = event.start_mark.index
        if event.anchor is not None:
            self.report(start, f"anchors are refused; write '&{event.anchor}' out where it is used, or quote the value")
        if event.tag is not None:
            self.report(start, NOT_A_TAG)
        return event.tag is None

    def _scalar(self, event: Any) -> Node:
        text = event.value
        plain = event.implicit[0]
        style = "" if plain else self.source[event.start_mark.index : event.start_mark.index + 1]
        value: Any = text
        if plain:
            if text in _WORDS:
                value = _WORDS[text]
            elif text[0] in _NUMERAL and (number := _NUMBER.match(text)):
                value = Decimal(text) if number[1] else int(text)
        return Node(event.start_mark.index, value, style, text)

    def _place(self, node: Node | None, event: Any) -> None:
        """Put a node where it belongs; None stands for a value that was refused."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self._stop(event, f"more than {MAX_NODES} values; a file holds one rule")
        if not self.open:
            self.root = node
            return
        parent, pending = self.open[-1]
        if isinstance(parent.value, list):
            if node is None:
                parent.aside.add(len(parent.value))
            else:
                parent.value.append(node)
        elif pending[0] is None:
            pending[0] = self._key(node) if node is not None else ("", 0)
        else:
            key, offset = pending[0]
            pending[0] = None
            self._put(parent, key, offset, node)

    def _key(self, node: Node) -> tuple[str, int]:
        if isinstance(node.value, (dict, list)):
            self.report(node.start, "a key must be a word; quote a value that starts with '{' or '['")
            return "", node.start
        if node.text == "<<" and not node.style:
            self.report(node.start, "merge keys are refused; write the keys out")
            return "", node.start
        return node.text, node.start

    def _put(self, parent: Node, key: str, offset: int, node: Node | None) -> None:
        if not key:
            return
        if node is None:
            parent.aside.add(key)
            return
        if key in parent.value:
            self.places = self.places or Places(self.source)
            line, _ = self.places.at(parent.keys[key])
            self.report(offset, f"duplicate key '{key}' (first on line {line})")
            return
        parent.value[key] = node
        parent.keys[key] = offset
