"""Random typed expressions mean the same to the compiled function and to an interpreter that shares no code with it.

The generator makes an expression twice: as text, and as a tree of its own, a tuple of a word and its parts. The
interpreter walks the tree with None for what is missing, all numbers as Decimals.
"""

import os
from decimal import Decimal, localcontext
from random import Random
from types import SimpleNamespace
from typing import Any

from triggers.core.events import Item, OrderPaid
from triggers.language.expressions import compile_expression

COUNT = int(os.environ.get("TRIGGERS_EXPRESSIONS_AGREE", "20000"))
SITUATIONS = 4
UNIT_MS = {"days": 86_400_000, "hours": 3_600_000, "minutes": 60_000}
TEXTS = ["", "a", "A", "ab", "aB", "female", "金额", "it's", 'say "a"', "\\", "new\nline", "🎉"]

Tree = tuple[Any, ...]
Made = tuple[str, Tree, bool]
"""Text, tree, and whether the language calls it optional."""


class Generator:
    """Makes expressions by type. ``inside``: within a list condition, where no other may be and ``i`` exists."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.inside = False

    def pick(self, *makers: Any, depth: int) -> Made:
        """Make one of the leaves (the first of the makers) or, while there is depth, any of them."""
        made: Made = self.random.choice(makers if depth > 0 else makers[:2])(depth - 1)
        return made

    # -- bool

    def condition(self, depth: int) -> Made:
        return self.pick(
            self.bool_leaf, self.compare_numbers, self.compare_numbers, self.compare_texts, self.compare_times,
            self.logic, self.logic, self.negation, self.text_test, self.membership, self.null_test, self.chain,
            self.list_test, self.list_test, depth=depth,
        )  # fmt: skip

    def bool_leaf(self, _depth: int) -> Made:
        return self.random.choice(
            [
                ("true", ("value", True), False),
                ("false", ("value", False), False),
                ("customer.is_member", ("customer", "is_member"), True),
                ("customer.unsubscribed", ("customer", "unsubscribed"), False),
                (
                    "customer.is_member == true",
                    ("compare", ["=="], [("customer", "is_member"), ("value", True)]),
                    False,
                ),
            ]
        )

    def compare(self, make: Any, depth: int, signs: list[str]) -> Made:
        left, right = make(depth), make(depth)
        sign = self.random.choice(signs)
        return f"({left[0]} {sign} {right[0]})", ("compare", [sign], [left[1], right[1]]), False

    def compare_numbers(self, depth: int) -> Made:
        return self.compare(self.number, depth, ["<", "<=", ">", ">=", "==", "!="])

    def compare_texts(self, depth: int) -> Made:
        return self.compare(self.text, depth, ["<", ">=", "==", "!=", "=="])

    def compare_times(self, depth: int) -> Made:
        make = self.random.choice([self.time, self.duration])
        return self.compare(make, depth, ["<", "<=", ">", ">=", "==", "!="])

    def chain(self, depth: int) -> Made:
        parts = [self.number(depth - 1) for _ in range(3)]
        signs = [self.random.choice(["<", "<=", ">", "==", "!="]) for _ in range(2)]
        text = f"({parts[0][0]} {signs[0]} {parts[1][0]} {signs[1]} {parts[2][0]})"
        return text, ("compare", signs, [part[1] for part in parts]), False

    def logic(self, depth: int) -> Made:
        word = self.random.choice(["and", "or"])
        parts = [self.condition(depth) for _ in range(self.random.randint(2, 3))]
        return "(" + f" {word} ".join(part[0] for part in parts) + ")", (word, [part[1] for part in parts]), False

    def negation(self, depth: int) -> Made:
        text, tree, _ = self.condition(depth)
        return f"(not {text})", ("not", tree), False

    def text_test(self, depth: int) -> Made:
        of, part = self.text(depth), self.text(depth)
        name = self.random.choice(["contains", "startsWith", "endsWith"])
        return f"{of[0]}.{name}({part[0]})", (name, of[1], part[1]), False

    def membership(self, depth: int) -> Made:
        word = self.random.choice(["in", "not in"])
        make = self.random.choice([self.number, self.text])
        wanted = make(depth)
        parts = [make(depth - 1) for _ in range(self.random.randint(1, 4))]
        text = f"({wanted[0]} {word} [{', '.join(part[0] for part in parts)}])"
        return text, (word, wanted[1], ("list", [part[1] for part in parts])), False

    def null_test(self, depth: int) -> Made:
        for _ in range(20):
            make = self.random.choice([self.number, self.text, self.time, self.item, self.duration])
            text, tree, optional = make(depth)
            if optional:
                form, missing = self.random.choice(
                    [("({} == null)", True), ("(null == {})", True), ("({} != null)", False), ("has({})", False)]
                )
                return form.format(text), ("missing", tree, missing), False
        return "has(event.category)", ("missing", ("event", "category"), False), False

    def list_test(self, depth: int) -> Made:
        if self.inside:
            return self.compare_numbers(depth)
        items = self.items(depth)
        name = self.random.choice(["exists", "all"])
        body = self.body(self.condition, depth)
        return f"{items[0]}.{name}(i, {body[0]})", (name, items[1], body[1]), False

    def body(self, make: Any, depth: int) -> Made:
        self.inside = True
        made: Made = make(depth)
        self.inside = False
        return made

    # -- lists

    def items(self, depth: int) -> Made:
        if depth <= 0 or self.inside or self.random.random() < 0.5:
            return "event.items", ("event", "items"), False
        items, body = self.items(depth - 1), self.body(self.condition, depth - 1)
        return f"{items[0]}.filter(i, {body[0]})", ("filter", items[1], body[1]), False

    def item(self, depth: int) -> Made:
        if self.inside and self.random.random() < 0.8:
            return "i", ("element",), False
        items, place = self.items(depth), self.random.randint(-3, 3)
        return f"{items[0]}[{place}]", ("place", items[1], place), True

    def item_field(self, names: list[str], depth: int) -> Made:
        text, tree, _ = self.item(depth)
        name = self.random.choice(names)
        return f"{text}.{name}", ("field", tree, name), True

    def mapped(self, make: Any, depth: int) -> Made:
        """An element of a mapped list, or the answer to whether there is one."""
        items, body, place = self.items(depth), self.body(make, depth), self.random.randint(0, 2)
        return f"{items[0]}.map(i, {body[0]})[{place}]", ("place", ("map", items[1], body[1]), place), True

    # -- numbers

    def number(self, depth: int) -> Made:
        return self.pick(
            self.number_literal, self.number_field, self.number_field, self.arithmetic, self.arithmetic, self.size,
            self.minus, lambda depth: self.item_field(["price", "quantity"], depth),
            lambda depth: self.number(depth) if self.inside else self.mapped(self.number, depth), depth=depth,
        )  # fmt: skip

    def number_literal(self, _depth: int) -> Made:
        text = self.random.choice(["0", "1", "2", "3", "10", "0.1", "0.5", "500", "999999999999999999", "0.000001"])
        return text, ("value", Decimal(text)), False

    def number_field(self, _depth: int) -> Made:
        return self.random.choice(
            [
                ("event.amount", ("event", "amount"), False),
                ("customer.orders_paid", ("customer", "orders_paid"), False),
                ("customer.total_paid", ("customer", "total_paid"), False),
                ("customer.avg_order_value", ("customer", "avg_order_value"), True),
            ]
        )

    def arithmetic(self, depth: int) -> Made:
        left, right = self.number(depth), self.number(depth)
        sign = self.random.choice("+-*/%")
        return f"({left[0]} {sign} {right[0]})", (sign, left[1], right[1]), sign in "*/%"

    def minus(self, depth: int) -> Made:
        text, tree, optional = self.number(depth)
        return f"(-{text})", ("-", ("value", Decimal(0)), tree), optional

    def size(self, depth: int) -> Made:
        make = self.random.choice([self.items, self.text])
        text, tree, optional = make(depth)
        return f"size({text})", ("size", tree), optional

    # -- strings

    def text(self, depth: int) -> Made:
        return self.pick(
            self.text_literal, self.text_field, self.text_field, self.join, self.lower,
            lambda depth: self.item_field(["name", "sku", "category"], depth),
            lambda depth: self.text(depth) if self.inside else self.mapped(self.text, depth), depth=depth,
        )  # fmt: skip

    def text_literal(self, _depth: int) -> Made:
        value = self.random.choice(TEXTS)
        quote = self.random.choice("\"'")
        written = value.replace("\\", "\\\\").replace(quote, "\\" + quote).replace("\n", "\\n")
        return quote + written + quote, ("value", value), False

    def text_field(self, _depth: int) -> Made:
        return self.random.choice(
            [
                ("event.order_id", ("event", "order_id"), False),
                ("event.category", ("event", "category"), True),
                ("customer.name", ("customer", "name"), True),
                ("(shop.repurchase + '')", ("+", ("value", "low"), ("value", "")), True),
            ]
        )

    def join(self, depth: int) -> Made:
        left, right = self.text(depth), self.text(depth)
        return f"({left[0]} + {right[0]})", ("+", left[1], right[1]), True

    def lower(self, depth: int) -> Made:
        text, tree, optional = self.text(depth)
        return f"({text}).lower()", ("lower", tree), optional

    # -- times and durations

    def time(self, depth: int) -> Made:
        return self.pick(self.time_leaf, self.time_leaf, self.moved, depth=depth)

    def time_leaf(self, _depth: int) -> Made:
        return self.random.choice(
            [
                ("now", ("now",), False),
                ("event.at", ("event", "at"), False),
                ("customer.last_paid_at", ("customer", "last_paid_at"), True),
            ]
        )

    def moved(self, depth: int) -> Made:
        time, duration = self.time(depth), self.duration(depth)
        form, sign = self.random.choice([("({0} + {1})", "+"), ("({1} + {0})", "+"), ("({0} - {1})", "-")])
        return form.format(time[0], duration[0]), (sign, time[1], duration[1]), time[2]

    def duration(self, depth: int) -> Made:
        return self.pick(self.lasting, self.lasting, self.between, self.durations, self.scaled, depth=depth)

    def lasting(self, depth: int) -> Made:
        text, tree, optional = self.number_literal(0) if self.random.random() < 0.7 else self.number(depth)
        unit = self.random.choice([*UNIT_MS])
        return f"{unit}({text})", ("*", tree, ("value", Decimal(UNIT_MS[unit]))), optional

    def between(self, depth: int) -> Made:
        left, right = self.time(depth), self.time(depth)
        return f"({left[0]} - {right[0]})", ("-", left[1], right[1]), left[2] or right[2]

    def durations(self, depth: int) -> Made:
        left, right = self.duration(depth), self.duration(depth)
        sign = self.random.choice("+-")
        return f"({left[0]} {sign} {right[0]})", (sign, left[1], right[1]), left[2] or right[2]

    def scaled(self, depth: int) -> Made:
        duration, number = self.duration(depth), self.number(depth)
        form = self.random.choice(["({0} * {1})", "({1} * {0})"])
        return form.format(duration[0], number[0]), ("*", duration[1], number[1]), True


class Interpreter:
    """Says what a tree means in one situation."""

    def __init__(self, event: OrderPaid, customer: SimpleNamespace, now: int) -> None:
        self.event, self.customer, self.now = event, customer, now
        self.element: Any = None

    def of(self, tree: Tree) -> Any:  # noqa: PLR0911, C901, PLR0912  one case for each word
        match tree:
            case ("value", value):
                return value
            case ("now",):
                return Decimal(self.now)
            case ("element",):
                return self.element
            case ("event", name):
                return self.read(self.event, name)
            case ("customer", name):
                return self.read(self.customer, name)
            case ("field", of, name):
                return self.read(self.of(of), name)
            case ("place", of, place):
                items = list(self.of(of))
                return items[place] if place in range(-len(items), len(items)) else None
            case ("and", parts):
                return all(self.of(part) is True for part in parts)
            case ("or", parts):
                return any(self.of(part) is True for part in parts)
            case ("not", part):
                return self.of(part) is not True
            case ("missing", part, missing):
                return (self.of(part) is None) == missing
            case ("list", parts):
                return [self.of(part) for part in parts]
            case ("compare", signs, parts):
                values = [self.of(part) for part in parts]
                return None not in values and all(map(self.compared, signs, values, values[1:]))
            case ("exists" | "all" | "filter" | "map" as word, of, body):
                return self.over_list(word, self.of(of), body)
        return self.of_values(tree[0], [self.of(part) for part in tree[1:]])

    def read(self, of: Any, name: str) -> Any:
        value = None if of is None else getattr(of, name)
        return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value

    def compared(self, sign: str, left: Any, right: Any) -> bool:
        table = {"<": left < right, "==": left == right, ">": left > right}
        table |= {"<=": table["<"] or table["=="], ">=": table[">"] or table["=="], "!=": not table["=="]}
        return table[sign]

    def over_list(self, word: str, items: Any, body: Tree) -> Any:
        answers = []
        for item in items:
            self.element = item
            answers.append(self.of(body))
        if word == "exists":
            return any(answer is True for answer in answers)
        if word == "all":
            return all(answer is True for answer in answers)
        if word == "filter":
            return [item for item, answer in zip(items, answers, strict=True) if answer is True]
        return answers

    def of_values(self, word: str, values: list[Any]) -> Any:
        if None in values:
            return None if word in {"+", "-", "*", "/", "%", "size", "lower"} else False
        if word in {"in", "not in"}:
            return (values[0] in [value for value in values[1] if value is not None]) == (word == "in")
        if word in {"contains", "startsWith", "endsWith"}:
            one, other = values
            places = [at for at in range(len(one) + 1) if one[at : at + len(other)] == other]
            return bool({"contains": places, "startsWith": 0 in places}.get(word, len(one) - len(other) in places))
        if word == "lower":
            return values[0].lower()
        if word == "size":
            return Decimal(len(values[0]))
        return self.arithmetic(word, *values)

    def arithmetic(self, sign: str, left: Any, right: Any) -> Any:
        with localcontext(prec=34):
            try:
                return {
                    "+": lambda: left + right,
                    "-": lambda: left - right,
                    "*": lambda: left * right,
                    "/": lambda: left / right,
                    "%": lambda: left % right,
                }[sign]()
            except ArithmeticError:
                return None


def situation(random: Random) -> tuple[OrderPaid, SimpleNamespace, int]:
    def maybe(value: Any) -> Any:
        return value if random.random() < 0.7 else None

    def number() -> Decimal:
        return Decimal(random.choice(["0", "0.1", "1", "2.50", "500", "899", "-3", "1e30", "1e999999", "12345.678901"]))

    def item() -> Item:
        name, sku, category = (maybe(random.choice(TEXTS)) for _ in range(3))
        return Item(sku=sku, name=name, category=category, price=maybe(number()), quantity=maybe(number()))

    event = OrderPaid(
        id="e",
        customer="c",
        at=random.randint(0, 2_000_000_000_000),
        order_id=random.choice(TEXTS),
        amount=number(),
        category=maybe(random.choice(TEXTS)),
        items=tuple(item() for _ in range(random.choice([0, 1, 2, 3]))),
    )
    customer = SimpleNamespace(
        name=maybe(random.choice(TEXTS)),
        is_member=maybe(random.random() < 0.5),
        unsubscribed=random.random() < 0.5,
        orders_paid=random.randint(0, 5),
        total_paid=number(),
        avg_order_value=maybe(number()),
        last_paid_at=maybe(random.randint(0, 2_000_000_000_000)),
    )
    return event, customer, random.randint(0, 2_000_000_000_000)


def test_random_typed_expressions_agree_with_an_independent_interpreter() -> None:
    random = Random(20_260_901)  # noqa: S311  a seed repeats it
    generator = Generator(random)
    situations = [situation(random) for _ in range(200)]
    shop = SimpleNamespace(repurchase="low")
    answers: dict[bool, int] = {True: 0, False: 0}
    made = 0
    while made < COUNT:
        text, tree, _ = generator.condition(random.randint(1, 4))
        if len(text) > 700:
            continue
        made += 1
        expression = compile_expression(text, ["order.paid"])
        for event, customer, now in random.sample(situations, SITUATIONS):
            expected = Interpreter(event, customer, now).of(tree) is True
            assert expression.fn(event, customer, shop, now) is expected, (text, event, customer, now)
            answers[expected] += 1
    assert min(answers.values()) > COUNT * SITUATIONS * 0.2
