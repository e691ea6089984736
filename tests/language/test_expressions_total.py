"""Whatever is written and whatever is missing: compiling raises one class of error, evaluating raises none."""

import os
from decimal import Decimal
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from triggers.core.events import EVENT_TYPES, Event, Item
from triggers.language.expressions import ExpressionError, compile_expression, customer_fields, event_fields
from triggers.language.expressions.types import Type

COUNT = int(os.environ.get("TRIGGERS_EXPRESSIONS_TOTAL", "100000"))

WORDS = r"""
    event customer shop now i j x amount category items order_id name price quantity city is_member orders_paid at
    total_paid avg_order_value last_paid_at repurchase channel rule_id page consent and or not in true false null size
    has days hours minutes contains startsWith endsWith lower exists all filter map is if else lambda for None True
    __class__ __import__ f 金额 ² . . . , ( ) ( ) [ ] < <= > >= == != + - * / % ! = && || := # { } : ; @ ~ ^ ** // \\ $
    0 1 2 -1 0.1 500 1e5 007 3d .5 99999999999999999999 "a" 'b' "" "female" "\n" "\q" " ' “ ” ＞ é 🎉 `
""".split()  # noqa: RUF001, SIM905  letters of all kinds are the point; a list would be eighty lines
WORDS += ["\0", "\n", "\t", "\u3000"]
CONDITIONS = [
    "event.amount >= 500", 'event.category == "A"', "customer.is_member", "now - event.at < days(3)",
    'event.items.exists(i, i.name.contains("female"))', "event.category != null", "has(customer.name)",
    "event.items.map(i, i.price / i.quantity)[0] > 1", 'event.page.startsWith("/")', "customer.unsubscribed",
    'customer.level in ["V1", "V2"]', "customer.total_paid / customer.orders_paid > 1", "event.price % 7 == 0",
    "customer.last_paid_at + days(event.amount) > now", 'event.items.all(i, i.category.lower() == "a")',
]  # fmt: skip
PIECES = [
    *CONDITIONS, "event.items[0]", "event.items.filter(i, i.price > 1)", "event.items[-1].price", "(", ")", "event.at",
    "size(event.items)", "event.amount % 0", "1 / 0", "event.amount * event.amount * event.amount", "customer.city",
    "customer.name + event.category", "shop.repurchase", "event.rule_id.lower()", "days(customer.orders_paid)",
]  # fmt: skip
BETWEEN = [" and ", " or ", " and not ", " == ", " > ", " + ", " - ", " * ", " / ", " ", ".", ", ", " in "]
EXTREMES = ["0", "-0", "1", "-1", "0.1", "1e999999", "-1e999999", "1e-999999", "9" * 400, "1e9999999", "1.5e-9999999"]


def text(random: Random) -> str:
    """Soup of words, sense spoilt a little, or letters from anywhere."""
    kind = random.random()
    if kind < 0.2:
        joint = random.choice([" and ", " or ", " and not ", " == "])
        return joint.join(random.choice(CONDITIONS) for _ in range(random.randint(1, 4)))
    if kind < 0.55:
        separator = random.choice(["", " ", " "])
        return separator.join(random.choice(WORDS) for _ in range(random.randint(1, 14)))
    if kind < 0.95:
        made = random.choice(PIECES)
        for _ in range(random.randint(0, 2)):
            made += random.choice(BETWEEN) + random.choice(PIECES)
        for _ in range(random.choice([0, 0, 0, 1, 2])):
            at, length = random.randrange(len(made) + 1), random.randint(0, 3)
            made = made[:at] + random.choice(["", random.choice(WORDS)]) + made[at + length :]
        return made
    return "".join(chr(random.randrange(random.choice([128, 0x3000, 0x110000]))) for _ in range(random.randint(0, 30)))


def value(random: Random, type_: Type) -> Any:
    if type_.optional and random.random() < 0.4:
        return None
    if type_.kind == "list":
        return tuple(item(random) for _ in range(random.choice([0, 0, 1, 2, 5])))
    if type_.kind == "number":
        return random.choice([0, 1, 3, 10**18]) if type_.whole else Decimal(random.choice(EXTREMES))
    if type_.kind == "time":
        return random.choice([0, 1, 1_788_000_000_000, -1, 10**15])
    if type_.kind == "bool":
        return random.random() < 0.5
    return random.choice(["", "a", "A", "female", "金额🎉", "x" * 9_000, "\ud800", "İ"])


def item(random: Random) -> Item:
    fields = event_fields("order.paid")["items"].element
    assert fields is not None
    return Item(**{name: value(random, type_) for name, type_ in fields.fields.items()})


def event(random: Random, event_type: str) -> Event:
    fields = {name: value(random, type_) for name, type_ in event_fields(event_type).items()}
    return EVENT_TYPES[event_type](customer="c", **fields)


def customer(random: Random) -> SimpleNamespace:
    return SimpleNamespace(**{name: value(random, type_) for name, type_ in customer_fields().items()})


def test_random_input_raises_nothing_but_the_one_error() -> None:
    random = Random(20_261_111)  # noqa: S311  a seed repeats it
    events = {event_type: [event(random, event_type) for _ in range(40)] for event_type in EVENT_TYPES}
    customers = [customer(random) for _ in range(100)]
    shop = SimpleNamespace(repurchase="low", name="Qinggua", timezone="Asia/Shanghai")
    mistaken = 0  # findings without a place in the text
    outcomes = {"refused": 0, "true": 0, "false": 0}
    for _ in range(COUNT):
        written, types = text(random), random.choice([["order.paid"], ["order.paid"], [*EVENT_TYPES][:2], []])
        if random.random() < 0.3:
            types = [random.choice([*EVENT_TYPES])]
        try:
            expression = compile_expression(written, types)
        except ExpressionError as error:
            outcomes["refused"] += 1
            columns = [column for finding in error.findings for column in (finding.start, finding.end)]
            mistaken += not columns or min(columns) < 1 or max(columns) > max(len(written), 1)
            continue
        for _ in range(3):
            happened = random.choice(events[random.choice(types)]) if types else None
            answer = expression.fn(happened, random.choice(customers), shop, random.choice([0, 1_788_000_000_000]))
            assert answer is True or answer is False, written
            outcomes["true" if answer else "false"] += 1
    assert mistaken == 0
    assert min(outcomes.values()) > COUNT / 25, outcomes


def test_no_expression_grows_without_bound() -> None:
    doubling = ".map(i, i + i + i + i)" * 8
    expression = compile_expression(f'event.items.map(i, i.name){doubling}[0] == "x"', ["order.paid"])
    one = EVENT_TYPES["order.paid"](  # type: ignore[call-arg]
        id="e", customer="c", at=0, order_id="o", amount=Decimal(1), items=(Item(name="x" * 5_000),)
    )
    assert not expression.fn(one, None, None, 0)


@pytest.mark.parametrize("written", ["().__class__", "event.__init__.__globals__", "now.__class__", "size.__self__"])
def test_nothing_of_python_can_be_reached(written: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(written + " == null", ["order.paid"])
