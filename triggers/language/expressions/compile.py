"""From the checked form to one Python function.

The source that is compiled here is made of our own words, field names that the check has found in a model, and names
for constants; no text of the author's is in it. A part that may be missing is put into a local name and asked ``is not
None`` by the smallest comparison, test or arithmetic around it; a part that cannot be missing costs nothing.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from triggers.language.expressions import arithmetic, tree

if TYPE_CHECKING:
    from collections.abc import Callable

_ARGUMENTS = "event, customer, shop, now"
_ARITHMETIC = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "%": "remainder"}
_TESTS = {"contains": "{1} in {0}", "startsWith": "{0}.startswith({1})", "endsWith": "{0}.endswith({1})"}
_VALUES = {"lower": "{0}.lower()", "size": "len({0})"}
_LOOPS = {
    "exists": "    for item in items:\n        if {body}:\n            return True\n    return False\n",
    "all": "    for item in items:\n        if not {body}:\n            return False\n    return True\n",
    "filter": "    return [item for item in items if {body}]\n",
    "map": "    return [{body} for item in items]\n",
}


def compile_condition(node: tree.Node) -> Callable[[Any, Any, Any, int], bool]:
    """Compile a checked condition to ``fn(event, customer, shop, now) -> bool``, which never raises."""
    writer = _Writer()
    body = writer.condition(node)
    source = "".join([*writer.loops, f"def condition({_ARGUMENTS}):\n    return {body}\n"])
    # Source of our own making, see above; it can name nothing but these helpers and constants.
    exec(compile(source, "<expression>", "exec"), writer.globals)  # noqa: S102
    function: Callable[[Any, Any, Any, int], bool] = writer.globals["condition"]
    return function


class _Writer:
    """Writes the source of one expression."""

    __slots__ = ("_locals", "globals", "loops")

    def __init__(self) -> None:
        self.globals: dict[str, Any] = {"__builtins__": {}, "len": len, **arithmetic.FUNCTIONS}
        self.loops: list[str] = []
        self._locals = 0

    def condition(self, node: tree.Node) -> str:
        """Write what is certainly True or False: a missing bool counts as false."""
        value = self.value(node)
        return f"({value} is True)" if node.type.optional else value

    def value(self, node: tree.Node) -> str:  # noqa: PLR0911, C901, PLR0912  one return for each kind of node
        """Write an expression that gives the node's value; None if it is missing, which only optional types may be."""
        match node:
            case tree.Literal(value=value):
                return self._constant(value)
            case tree.Root(name=name):
                return name
            case tree.Element():
                return "item"
            case tree.Field(of=of, name=name):
                return self._lifted([of], f"{{0}}.{name}")
            case tree.Place():
                return self._place(node)
            case tree.Logic(word=word, parts=parts):
                return "(" + f" {word} ".join(self.condition(part) for part in parts) + ")"
            case tree.Not(of=of):
                return f"(not {self.condition(of)})"
            case tree.NullTest(of=of, missing=missing):
                return f"({self.value(of)} is {'' if missing else 'not '}None)"
            case tree.Comparison():
                return self._comparison(node)
            case tree.Arithmetic():
                return self._arithmetic(node)
            case tree.Negative(of=of):
                return self._lifted([of], "(-{0})" if of.type.whole else "negative({0})")
            case tree.Call(function=name, parts=parts) if name in _TESTS:
                return self._test(parts, _TESTS[name])
            case tree.Call(function=name, parts=parts):
                return self._lifted(parts, _VALUES[name])
            case tree.ListOf(parts=parts):
                return self._list(parts)
            case tree.ListCall():
                return self._list_call(node)
        raise AssertionError(node)

    def _constant(self, value: object) -> str:
        name = f"k{len(self.globals)}"
        self.globals[name] = value
        return name

    def _list(self, parts: tuple[tree.Node, ...]) -> str:
        literals = [part.value for part in parts if isinstance(part, tree.Literal)]
        if len(literals) == len(parts):
            return self._constant(tuple(literals))
        return "(" + "".join(f"{self.value(part)}, " for part in parts) + ")"

    def _local(self) -> str:
        self._locals += 1
        return f"t{self._locals}"

    def _guarded(self, node: tree.Node) -> tuple[list[str], str]:
        """Write a part as the tests that it is not missing, and its value once they hold."""
        value = self.value(node)
        if not node.type.optional:
            return [], value
        local = self._local()
        return [f"({local} := {value}) is not None"], local

    def _parts(self, nodes: list[tree.Node] | tuple[tree.Node, ...]) -> tuple[list[str], list[str]]:
        guards, values = [], []
        for node in nodes:
            guard, value = self._guarded(node)
            guards += guard
            values.append(value)
        return guards, values

    def _lifted(self, nodes: list[tree.Node] | tuple[tree.Node, ...], template: str) -> str:
        """Write a value made of parts, which is missing when one of them is."""
        guards, values = self._parts(nodes)
        value = template.format(*values)
        return f"({value} if {' and '.join(guards)} else None)" if guards else value

    def _test(self, nodes: list[tree.Node] | tuple[tree.Node, ...], template: str) -> str:
        """Write a test of parts, which is false when one of them is missing."""
        guards, values = self._parts(nodes)
        return "(" + " and ".join([*guards, template.format(*values)]) + ")"

    def _place(self, node: tree.Place) -> str:
        guards, (items,) = self._parts([node.of])
        local = self._local()
        long_enough = f"len({local} := {items}) " + (f"> {node.place}" if node.place >= 0 else f">= {-node.place}")
        return f"({local}[{node.place}] if {' and '.join([*guards, long_enough])} else None)"

    def _comparison(self, node: tree.Comparison) -> str:
        first, *rest = (f"{{{number}}}" for number in range(len(node.parts)))
        signs = " ".join([first, *(f"{sign} {part}" for sign, part in zip(node.signs, rest, strict=True))])
        return self._test([self._as_compared(node, number) for number in range(len(node.parts))], signs)

    def _as_compared(self, node: tree.Comparison, number: int) -> tree.Node:
        """Return a part in the form that is compared fastest with its neighbours: the same for every value."""
        part = node.parts[number]
        if isinstance(part, tree.Literal) and isinstance(part.value, int) and part.type.kind == "number":
            neighbours = node.parts[max(number - 1, 0) : number + 2]
            if any(n.type.kind == "number" and not n.type.whole for n in neighbours if n is not part):
                return tree.Literal(part.type, part.start, part.end, Decimal(part.value))
        return part

    def _arithmetic(self, node: tree.Arithmetic) -> str:
        if node.type.whole:
            return self._lifted([node.left, node.right], f"({{0}} {node.sign} {{1}})")
        name = "join" if node.type.kind == "string" else _ARITHMETIC[node.sign]
        return self._lifted([node.left, node.right], f"{name}({{0}}, {{1}})")

    def _list_call(self, node: tree.ListCall) -> str:
        body = self.value(node.body) if node.function == "map" else self.condition(node.body)
        name = f"{node.function}_{len(self.loops)}"
        self.loops.append(f"def {name}(items, {_ARGUMENTS}):\n" + _LOOPS[node.function].format(body=body))
        call = f"{name}({{0}}, {_ARGUMENTS})"
        return self._test([node.of], call) if node.function in ("exists", "all") else self._lifted([node.of], call)
