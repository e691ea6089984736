"""What is said of an expression that cannot be used, and at which columns."""

from typing import Literal

import pytest

from triggers.core import events
from triggers.core.events import Event
from triggers.language.expressions import ExpressionError, compile_expression


def findings(text: str, *event_types: str) -> list[str]:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, event_types or ["order.paid"])
    return [str(finding) for finding in caught.value.findings]


class GradedOrder(Event, tag="order.graded"):
    category: Literal["A", "B", "C", "D"]
    amount: str


@pytest.fixture
def _graded_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(events.EVENT_TYPES, "order.graded", GradedOrder)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("event.amuont >= 500", "7-12: OrderPaid has no field 'amuont'; did you mean 'amount'?"),
        (
            'event.items.exists(i, i.name.contians("female"))',
            "30-37: string has no function 'contians'; did you mean 'contains'?",
        ),
        ("event.amount = 500", "14: write '==' to compare"),
        ('event.amount >= "500"', "1-21: cannot compare number with string"),
        ("event.order_id == null", "1-14: this is never null"),
    ],
)
def test_the_examples_of_the_rule_language(text: str, expected: str) -> None:
    assert findings(text) == [expected]


@pytest.mark.usefixtures("_graded_orders")
def test_the_examples_with_an_enum() -> None:
    never = "this is never 'E'; it is one of 'A', 'B', 'C', 'D'"
    assert findings('event.category == "E"', "order.graded") == [f"19-21: {never}"]
    assert findings('"E" != event.category', "order.graded") == [f"1-3: {never}"]
    assert findings('event.category in ["A", "E"]', "order.graded") == [f"25-27: {never}"]
    assert compile_expression('event.category == "A"', ["order.graded"])


def test_the_shop_has_an_enum() -> None:
    assert findings('shop.repurchase == "lwo"') == ["20-24: this is never 'lwo'; it is one of 'low', 'high'"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # names
        ("evnt.amount > 1", "1-4: unknown name 'evnt'; did you mean 'event'?"),
        ("amount > 1", "1-6: unknown name 'amount'; did you mean 'event.amount'?"),
        ("city == 'x'", "1-4: unknown name 'city'; did you mean 'customer.city'?"),
        ("event.order_id == o1", "19-20: unknown name 'o1'; text goes in quotes"),
        ("金额 > 3", "1-2: unknown name '金额'; text goes in quotes"),
        ("² > 3", "1: unknown name '²'; text goes in quotes"),
        ('"金额" == event.金额', "15-16: OrderPaid has no field '金额'"),
        ("size > 3", "1-4: 'size' is a function; write size(…)"),
        ("customer.nmae == null", "10-13: customer has no field 'nmae'; did you mean 'name'?"),
        ("shop.price > 3", "6-10: shop has no field 'price'"),
        ("event.received_at > now", "7-17: OrderPaid has no field 'received_at'"),
        ("event.class > 1", "7-11: OrderPaid has no field 'class'"),
        ("event.__class__ == 1", "7-15: OrderPaid has no field '__class__'"),
        ("event.items.exists(i, i.prise > 1)", "25-29: Item has no field 'prise'; did you mean 'price'?"),
        (
            "event.items.name == 'x'",
            "13-16: list of Item has no field 'name'; ask its elements, as in .exists(i, i.name …)",
        ),
        ("event.category.lower == 'a'", "16-20: 'lower' is a function; write .lower(…)"),
        ("event.items.exists(i, true) and i.price > 1", "33: unknown name 'i'; text goes in quotes"),
        # conditions
        ("event.amount", "1-12: a condition must be bool, not number"),
        ("event.amount and true", "1-12: a condition must be bool, not number"),
        ("not event.category", "5-18: a condition must be bool, not string"),
        ("event.items.exists(i, i.name)", "23-28: a condition must be bool, not string"),
        ("event.items[0]", "1-14: a condition must be bool, not Item"),
        ("[1]", "1-3: a condition must be bool, not list of number"),
        # comparisons
        ("now > 3", "1-7: cannot compare time with number"),
        ("now - event.at > 3", "1-18: cannot compare duration with number"),
        ("(event.amount) == true", "1-22: cannot compare number with bool"),
        ("1 < event.amount < 'a'", "5-22: cannot compare number with string"),
        ("event.items == event.items", "1-26: cannot compare list of Item with list of Item by '=='"),
        ("true < false", "1-12: cannot compare bool with bool by '<'"),
        ("event.amount in ['a']", "1-21: cannot find number in list of string"),
        ("'a' in event.category", "8-21: 'in' looks in a list, not in string; for text write .contains(…)"),
        ("1 not in 2", "10: 'not in' looks in a list, not in number"),
        ("event.category > null", "18-21: null can only be compared, with '==' or '!='"),
        ("null == null", "1-4: null can only be compared, with '==' or '!='"),
        ("event.category == null == true", "19-22: null can only be compared, with '==' or '!='"),
        ("event.category in [null]", "20-23: null can only be compared, with '==' or '!='"),
        ("null", "1-4: null can only be compared, with '==' or '!='"),
        ("event.items != null", "1-11: this is never null"),
        ("has(event.amount)", "5-16: this is never missing"),
        # arithmetic
        ("event.amount + 'a' == 1", "1-18: '+' does not work on number and string"),
        ("'a' * 3 == 'aaa'", "1-7: '*' does not work on string and number"),
        ("now + now > now", "1-9: '+' does not work on time and time"),
        ("days(1) / 2 > days(1)", "1-11: '/' does not work on duration and number"),
        ("-event.category == 'a'", "1-15: '-' does not work on string"),
        ("+1 > 0", "1-2: leave out the '+'"),
        ("2 ** 3 > 1", "1-6: there is no '**'; there are + - * / %"),
        ("2 // 3 > 1", "1-6: there is no '//'; there are + - * / %"),
        ("2 << 3 > 1", "1-6: there is no '<<'; there are + - * / %"),
        # lists
        ("event.category in []", "19-20: the list is empty"),
        ("1 in [1, 'a']", "10-12: a list holds one type: number before, string here"),
        ("1 in (1, 2)", "6-11: write a list with [ ]"),
        ("event.amount[0] == 1", "1-12: number has no places; [ ] works on a list"),
        ("event.items[0.5] == null", "13-15: a place in a list is a whole number, like [0] or [-1]"),
        ("event.items[customer.orders_paid] == null", "13-32: a place in a list is a whole number, like [0] or [-1]"),
        # functions
        ("sise(event.items) > 1", "1-4: unknown function 'sise'; did you mean 'size'?"),
        ("contains('a', 'b')", "1-8: unknown function 'contains'; it belongs to a string: write value.contains(…)"),
        ("__import__('os') == 1", "1-10: unknown function '__import__'"),
        ("size(event.items, 1) > 1", "1-20: size takes one value: size(…)"),
        ("size() > 1", "1-6: size takes one value: size(…)"),
        ("size(event.amount) > 1", "6-17: size counts a list or a string, not number"),
        ("days('a') > days(1)", "6-8: days takes a number, not string"),
        ("event.category.lower('a') == 'a'", "22-24: lower takes nothing: .lower()"),
        ("event.category.contains()", '1-25: contains takes one string: .contains("…")'),
        ("event.category.contains(3)", "25: contains takes a string, not number"),
        ("event.items.contains(3)", "13-20: list of Item has no function 'contains'; write 'value in list'"),
        ("event.items.size() > 1", "13-16: write size(…) with the value inside"),
        ("event.amount() > 1", "7-12: 'amount' is a field; leave out the brackets"),
        ("(1)(2)", "2: this is not a function"),
        ("size(*event.items) > 1", "1-18: a function takes plain values: no names and no '*'"),
        ("event.items.exists(i.price > 1)", "1-31: exists takes a name and a condition: .exists(i, …)"),
        ("event.items.map(1, 2)[0] > 1", "1-21: map takes a name and a value: .map(i, …)"),
        ("event.items.all(now, true)", "17-19: 'now' is taken; choose another name, as in .all(i, …)"),
        (
            "event.items.exists(i, event.items.all(j, true))",
            "35-37: a list condition cannot stand inside a list condition",
        ),
        # what other languages write
        ("!customer.is_member", "1: write 'not' for '!'"),
        ("true && false", "6-7: write 'and' for '&&'"),
        ("true || false", "6-7: write 'or' for '||'"),
        ("true & false", "6: write 'and' for '&'"),
        ("true OR false", "6-7: write 'or'"),
        ("True", "1-4: write 'true'"),
        ("event.category == None", "19-22: write 'null'"),
        ("event.amount === 3", "14-16: write '==' to compare"),
        ("event.amount =< 3", "14-15: write '<=' for '=<'"),
        ("event.amount => 3", "14-15: write '>=' for '=>'"),
        ("event.amount <> 3", "14-15: write '!=' for '<>'"),
        ("event.category is null", "16-17: write '==' to compare"),
        ("a := 3", "3-4: an expression cannot set a name; write '==' to compare"),
        ("event.amount > 1 # big", "18: a comment cannot stand in an expression"),
        ("event.items[0:1] == null", "14: ':' has no meaning here; a place in a list is one number, as in [0]"),
        ("true ? 1", "6: there is no '? :'; join conditions with 'and', 'or', 'not'"),
        ("event.amount ＞ 3", "14: write > for ＞"),  # noqa: RUF001  that is the point
        ("event.amount > 3；", "17: write ; for ；"),  # noqa: RUF001
        ("event.amount > 3;", "17: ';' has no meaning in an expression"),
        ("\0", "1: '\\x00' has no meaning in an expression"),
        ('f"a" == "a"', "1: a string starts with its quote; leave out the 'f'"),
        ("lambda", "1-6: there is no 'lambda'; write the name and the condition, as in list.exists(i, …)"),
        ("await", "1-5: 'await' has no meaning in an expression"),
        ("... == 1", "1-3: this cannot stand in an expression"),
        # literals
        ("007 == 7", "1-3: '007' is not a number; write it in full, like 1500 or 0.5"),
        ("1e5 == 7", "1-3: '1e5' is not a number; write it in full, like 1500 or 0.5"),
        (".5 == 7", "1-2: '.5' is not a number; write it in full, like 1500 or 0.5"),
        ("0x1F == 7", "1-4: '0x1F' is not a number; write it in full, like 1500 or 0.5"),
        ("now - event.at > 3d", "18-19: '3d' is not a number; for a duration write 'days(3)'"),
        ("now - event.at > 30min", "18-22: '30min' is not a number; for a duration write 'minutes(30)'"),
        ("1234567890123456789 > 1", "1-19: a number has at most 18 digits"),
        ('"abc', '1-4: the string has no closing "'),
        (r'"\d" == "d"', r"2-3: '\d' has no meaning in a string; for a backslash write '\\'"),
        # grammar
        ("", "1: the expression is empty"),
        (" \n ", "1-3: the expression is empty"),
        ("event.amount >", "14: something is missing after this"),
        ("event.amount > and true", "16-18: did not expect 'and' here"),
        ('"a" "b"', "5-7: did not expect '\"b\"' here"),
        ("has(customer.name event.category)", "5-32: an operator or a comma is missing in here"),
        ("(event.amount > 1", "1: '(' is never closed"),
        ("event.amount > 1) or (true", "17: ')' closes nothing"),
        ("size([1)] > 1", "8: ')' closes nothing"),
    ],
)
def test_each_mistake_has_its_place_and_its_hint(text: str, expected: str) -> None:
    assert findings(text) == [expected]


def test_all_mistakes_are_shown_at_once_in_the_order_of_the_text() -> None:
    assert findings("event.foo = None && !customer.nmae or event.items.exists(i, i.x == foo(event.y))") == [
        "7-9: OrderPaid has no field 'foo'",
        "11: write '==' to compare",
        "13-16: write 'null'",
        "18-19: write 'and' for '&&'",
        "21: write 'not' for '!'",
        "31-34: customer has no field 'nmae'; did you mean 'name'?",
        "63: Item has no field 'x'",
        "68-70: unknown function 'foo'",
        "78: OrderPaid has no field 'y'",
    ]


def test_a_mistake_is_not_reported_again_by_what_stands_on_it() -> None:
    text = "event.itmes.exists(i, i.foo.bar(1) > 'a') and -event.amuont + 'a' > [event.amuont][0] and size(evnt) > 1"
    assert findings(text) == [
        "7-11: OrderPaid has no field 'itmes'; did you mean 'items'?",
        "54-59: OrderPaid has no field 'amuont'; did you mean 'amount'?",
        "76-81: OrderPaid has no field 'amuont'; did you mean 'amount'?",
        "96-99: unknown name 'evnt'; did you mean 'event'?",
    ]


def test_columns_count_characters_and_new_lines() -> None:
    assert findings('"é金🎉" == "x" and event.foo') == ["24-26: OrderPaid has no field 'foo'"]
    assert findings("true and\n  event.foo\n") == ["18-20: OrderPaid has no field 'foo'"]


def test_with_several_events_it_says_which_one_lacks_a_field() -> None:
    assert findings("event.category == 'A'", "order.paid", "order.cancelled") == [
        "7-14: OrderCancelled has no field 'category'"
    ]
    assert findings("event.amuont > 1", "order.created", "order.paid") == [
        "7-12: OrderCreated and OrderPaid have no field 'amuont'; did you mean 'amount'?"
    ]
    assert findings("event.page == 'x'", "order.created", "order.paid", "store.visited") == [
        "7-10: OrderCreated and OrderPaid have no field 'page'"
    ]


@pytest.mark.usefixtures("_graded_orders")
def test_with_several_events_a_field_must_have_one_type() -> None:
    assert findings("event.amount > 1", "order.paid", "order.graded") == [
        "7-12: 'amount' is not the same in all these events: number in OrderPaid, string in GradedOrder"
    ]


@pytest.mark.parametrize(("event_types", "with_event"), [([], True), (["order.paid"], False)])
def test_where_there_is_no_event_it_says_where_there_is_one(event_types: list[str], *, with_event: bool) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression("event.amount > 1 and customer.foo", event_types, with_event=with_event)
    assert [str(finding) for finding in caught.value.findings] == [
        "1-5: there is no 'event' here; conditions on an event have one, and the audience of a rule with 'when'",
        "31-33: customer has no field 'foo'",
    ]


def test_length_parts_and_depth_have_limits() -> None:
    assert findings(" " * 1_996 + "false") == ["2001: longer than 2,000 characters"]
    assert compile_expression(" " * 1_996 + "true", [])
    assert findings("1 in [" + "1," * 197 + "1]") == ["1-402: more than 200 parts; split it into several conditions"]
    assert compile_expression("1 in [" + "1," * 196 + "1]", [])
    assert findings("not " * 24 + "true") == ["97-100: nested deeper than 24 levels"]
    assert compile_expression("not " * 23 + "true", [])
    assert findings("(" * 25 + "true" + ")" * 25) == ["25: nested deeper than 24 levels"]
    assert compile_expression("(" * 24 + "true" + ")" * 24, [])


@pytest.mark.parametrize("text", ["not " * 499 + "true", "-" * 1_990 + "1", "event" + ".a" * 990, "1" + "+1" * 990])
def test_what_is_far_too_deep_is_a_finding_too(text: str) -> None:
    (finding,) = findings(text)
    assert "24 levels" in finding or "200 parts" in finding


def test_the_number_of_findings_is_limited() -> None:
    assert len(findings("a." * 3 + "a or ! " * 150 + "x")) == 20
