"""What expressions mean: values, missing values, functions, and what a compiled one tells of itself."""

from decimal import Decimal, localcontext
from types import SimpleNamespace

import msgspec
import pytest

from triggers.core import events
from triggers.core.events import CustomerRegistered, CustomerUpdated, Event, Item, OrderCancelled, OrderPaid
from triggers.language.expressions import (
    compile_expression,
    customer_fields,
    event_fields,
    render_type,
    shop_fields,
)

DAY_MS = 86_400_000
SHOP = SimpleNamespace(repurchase="low", name="Qinggua", timezone="Asia/Shanghai")
ITEMS = (
    Item(sku="s1", name="Shirt Male", category="A", price=Decimal(100), quantity=Decimal(1)),
    Item(sku="s2", name="shirt female", category="B", price=Decimal("0.3"), quantity=Decimal(2)),
    Item(),
)


def customer(**facts: object) -> SimpleNamespace:
    known = dict.fromkeys(customer_fields())
    return SimpleNamespace(
        **{**known, "orders_paid": 3, "total_paid": Decimal("1500.50"), "unsubscribed": False, **facts}
    )


def paid(**fields: object) -> OrderPaid:
    given = {"id": "e1", "customer": "c1", "at": 10 * DAY_MS, "order_id": "o1", "amount": Decimal(899), **fields}
    return OrderPaid(**given)  # type: ignore[arg-type]


def holds(text: str, event: Event | None = None, now: int = 13 * DAY_MS, **facts: object) -> bool:
    event = event or paid(items=ITEMS)
    answer = compile_expression(text, [str(event.__struct_config__.tag)]).fn(event, customer(**facts), SHOP, now)
    assert isinstance(answer, bool)
    return answer


@pytest.mark.parametrize(
    "text",
    [
        'event.amount >= 500 and event.items.exists(i, i.name.contains("female")) and customer.orders_paid > 2',
        "event.amount == 899.00",
        "0.1 + 0.2 == 0.3",
        "1 / 3 * 3 != 1",
        "7 / 2 == 3.5",
        "-7 % 3 == -1",
        "customer.total_paid - 0.5 == 1500",
        "customer.orders_paid + 1 == 4",
        "500 < event.amount < 1000 <= 1000",
        "not 500 < event.amount < 899",
        "1 < 2 or event.amount / 0 > 1",
        'event.order_id + "-x" == "o1-x"',
        'event.order_id in ["o1", "o2"]',
        'event.order_id not in ["o3"]',
        "event.amount in [899, 1.5]",
        '"shirt female" in event.items.map(i, i.name)',
        'event.order_id.startsWith("o") and event.order_id.endsWith("1")',
        'event.items[0].name.lower() == "shirt male"',
        "event.items[1].price * 2 == 0.6",
        "event.items[-1].price == null",
        "size(event.items) == 3 and size(event.order_id) == 2",
        "size(event.items.filter(i, i.price > 0.1)) == 2",
        "event.items.filter(i, i.price > 1).exists(j, j.sku == 's1')",
        "event.items.map(i, i.price * i.quantity)[1] == 0.6",
        "not event.items.all(i, i.price > 0)",
        "event.items.filter(i, has(i.price)).all(i, i.price > 0)",
        "now - event.at == days(3)",
        "now - event.at == hours(72) and hours(1) == minutes(60)",
        "event.at + days(1.5) > event.at + hours(35)",
        "now - days(customer.orders_paid) == event.at",
        "days(1) * 0.5 == hours(12) and 2 * hours(12) == days(1)",
        "-days(1) < days(0)",
        "-event.amount < 0 and -customer.orders_paid == -3",
        'shop.repurchase == "low" and shop.timezone.contains("Shanghai")',
        r'"a\"b\u00e9\x41\n\\" == "a\"béA\n\\"',
        '\'"\' == "\\""',
        '"金额" != "amount"',
        "event.items.exists(商品, 商品.price > 99)",
        "true and not false",
        "(event.amount > 1) == true",
    ],
)
def test_it_holds(text: str) -> None:
    assert holds(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('event.category == "A"', False),
        ('event.category != "A"', False),
        ('not (event.category == "A")', True),
        ('event.category in ["A"]', False),
        ('event.category not in ["A"]', False),
        ('event.category.contains("A")', False),
        ('event.category.lower().startsWith("a")', False),
        ('not event.category.lower().startsWith("a")', True),
        ('"x".contains(event.category)', False),
        ('event.category + "x" == "x"', False),
        ("event.category == null", True),
        ("event.category != null", False),
        ("null == event.category", True),
        ("has(event.category)", False),
        ("size(event.category) == 0", False),
        ("size(event.category) == null", True),
        ("event.items[0] == null", True),
        ('event.items[0].name == "x"', False),
        ("has(event.items[0].name)", False),
        ("customer.is_member", False),
        ("not customer.is_member", True),
        ("customer.is_member == true", False),
        ("customer.is_member == false", False),
        ("customer.is_member or event.amount > 1", True),
        ("customer.avg_order_value > 1 or customer.orders_paid > 1", True),
        ("1 < customer.avg_order_value < 3", False),
        ("now - customer.last_paid_at > days(1)", False),
        ("event.amount / 0 > 1 or event.amount / 0 <= 1", False),
        ("event.amount % 0 == null", True),
        ("0 / 0 == null", True),
        ("days(1 / 0) == null", True),
        ("event.items.all(i, i.price > 1)", True),
        ("event.items.exists(i, true)", False),
        ('event.category in [event.category, "A"]', False),
        ('"A" in [event.category, "A"]', True),
        ("customer.avg_order_value in [1]", False),
        ("-customer.avg_order_value == null", True),
    ],
)
def test_a_missing_value_makes_the_smallest_comparison_or_test_false(text: str, *, expected: bool) -> None:
    assert holds(text, paid()) is expected


@pytest.mark.parametrize(("is_member", "expected"), [(True, True), (False, False), (None, False)])
def test_an_optional_bool_is_a_condition_that_is_false_when_missing(
    is_member: bool | None,  # noqa: FBT001  the value is the point
    expected: bool,  # noqa: FBT001
) -> None:
    assert holds("customer.is_member", is_member=is_member) is expected
    assert holds("not customer.is_member", is_member=is_member) is not expected


def test_numbers_beyond_the_range_are_missing() -> None:
    huge = paid(amount=Decimal("1e999999"))
    assert holds("event.amount * 10 == null", huge)
    assert holds("event.amount % 7 == null", huge)
    assert holds("-(event.amount * 1) < 0", huge)
    assert holds("-event.amount == null", paid(amount=Decimal("1e9999999")))
    assert holds("event.amount > 999999999999999999", huge)


def test_numbers_do_not_depend_on_the_decimal_context_of_the_caller() -> None:
    expression = compile_expression("event.amount / 7 * 7 > 898.99999999999999", ["order.paid"])
    with localcontext(prec=2):
        assert expression.fn(paid(), customer(), SHOP, 0)


def test_joined_strings_have_a_limit() -> None:
    long = paid(order_id="x" * 6_000)
    assert holds("size(event.order_id) == 6000", long)
    assert holds("event.order_id + event.order_id == null", long)
    assert holds('size(event.order_id + "y") == 6001', long)


def test_an_expression_names_the_fields_that_it_uses() -> None:
    text = "customer.orders_paid > 2 and event.items[0].name == customer.name and now > event.at and shop.name == 'x'"
    expression = compile_expression(text, ["order.paid"])
    assert expression.text == text
    assert expression.names == {
        "customer.orders_paid",
        "customer.name",
        "event.items",
        "event.at",
        "shop.name",
        "now",
    }
    assert compile_expression("event.items.exists(i, i.price > 1)", ["order.paid"]).names == {"event.items"}


def test_with_several_events_a_field_is_optional_if_it_is_so_in_one() -> None:
    both = compile_expression("event.amount > 100 or event.amount == null", ["order.paid", "order.cancelled"])
    cancelled = OrderCancelled(id="e2", customer="c1", at=0, order_id="o1")
    assert both.fn(cancelled, customer(), SHOP, 0)
    assert both.fn(paid(), customer(), SHOP, 0)
    assert not both.fn(paid(amount=Decimal(5)), customer(), SHOP, 0)


def test_without_an_event_the_customer_can_be_asked() -> None:
    expression = compile_expression('customer.city == "Hangzhou"', [], with_event=False)
    assert expression.fn(None, customer(city="Hangzhou"), SHOP, 0)
    assert not expression.fn(None, customer(), SHOP, 0)


def test_new_lines_are_blanks() -> None:
    assert holds("\n event.amount > 1\n  and\r\n\tcustomer.orders_paid > 2\n")


def test_an_unknown_event_type_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(KeyError, match=r"order\.payed"):
        compile_expression("true", ["order.payed"])


def test_other_events_have_their_own_fields() -> None:
    assert holds('event.channel == ""', CustomerRegistered(id="e", customer="c", at=0))
    assert holds("event.consent", CustomerUpdated(id="e", customer="c", at=0, consent=True))
    assert not holds("event.consent", CustomerUpdated(id="e", customer="c", at=0))


class Parcel(msgspec.Struct):
    weight: Decimal


class OrderShipped(Event, tag="order.shipped"):
    parcels: tuple[Parcel, ...] = ()


def test_a_field_of_what_may_be_missing_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(events.EVENT_TYPES, "order.shipped", OrderShipped)
    shipped = OrderShipped(id="e", customer="c", at=0, parcels=(Parcel(weight=Decimal(2)),))
    assert holds("event.parcels[0].weight == 2 and event.parcels[1].weight == null", shipped)
    assert not holds("event.parcels[1].weight > 0", shipped)


def test_the_fields_are_listed_with_their_types() -> None:
    rendered = {name: render_type(type_) for name, type_ in event_fields("order.paid").items()}
    assert rendered == {
        "id": "string",
        "at": "time",
        "order_id": "string",
        "amount": "number",
        "category": "string, may be empty",
        "items": "list of Item",
    }
    assert event_fields("message.sent")["wave"].optional
    assert customer_fields()["name"].optional
    assert not customer_fields()["orders_paid"].optional
    assert render_type(shop_fields()["repurchase"]) == "one of 'low', 'high'"


def test_the_lists_of_fields_are_copies() -> None:
    event_fields("order.paid").clear()
    customer_fields().clear()
    shop_fields().clear()
    assert event_fields("order.paid")
    assert customer_fields()
    assert shop_fields()


def test_the_deepest_expression_compiles() -> None:
    deep = "event.items" + ".filter(i, i.price > 0)" * 8 + "[0].name.lower() == 'shirt male'"
    assert holds(deep)
    assert holds("not " * 20 + "(event.amount > 1)")
    assert holds("event.amount" + " / 1" * 21 + " == 899")
    assert holds("-(" * 19 + "event.items[0].price" + ")" * 19 + " == -100")
    assert holds("[" * 10 + "event.amount" + "]" * 10 + "[0]" * 10 + " == 899")
