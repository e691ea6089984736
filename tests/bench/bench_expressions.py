"""How long an expression takes: evaluated on an order with two items, and compiled from its text.

The example of RULES.md section 3 with all of its parts true, so that nothing is skipped: a Decimal is compared, a list
walked to its second item, an int compared. One run is 100,000 evaluations; the figure is the median of 15 runs, the
cost of the call included.
"""

import json
import sys
import timeit
from decimal import Decimal
from pathlib import Path
from statistics import median
from types import SimpleNamespace

from triggers.core.events import Item, OrderPaid
from triggers.language.expressions import compile_expression

TEXT = 'event.amount >= 500 and event.items.exists(i, i.name.contains("female")) and customer.orders_paid > 2'
RUNS = 15
EVALUATIONS = 100_000
COMPILATIONS = 100
FLOOR_US, AIM_US = 2.0, 1.0
COMPILE_FLOOR_US, COMPILE_AIM_US = 2_000.0, 500.0
RAW = Path(__file__).parent.parent.parent / "var" / "bench" / "expressions.json"


def evaluation_runs() -> list[float]:
    """Return µs per evaluation, one figure a run."""
    items = (Item(name="shirt male"), Item(name="shirt female"))
    event = OrderPaid(id="e", customer="c", at=0, order_id="o", amount=Decimal("899.00"), items=items)
    customer = SimpleNamespace(orders_paid=3)
    holds = compile_expression(TEXT, ["order.paid"]).fn
    assert holds(event, customer, None, 0)
    timer = timeit.Timer("holds(event, customer, None, 0)", globals=locals())
    return [seconds / EVALUATIONS * 1e6 for seconds in timer.repeat(RUNS, EVALUATIONS)]


def compilation_runs() -> list[float]:
    """Return µs per compilation from text, one figure a run."""
    timer = timeit.Timer(lambda: compile_expression(TEXT, ["order.paid"]))
    return [seconds / COMPILATIONS * 1e6 for seconds in timer.repeat(RUNS, COMPILATIONS)]


def main() -> int:
    evaluated, compiled = evaluation_runs(), compilation_runs()
    RAW.parent.mkdir(parents=True, exist_ok=True)
    RAW.write_text(json.dumps({"evaluated_us": evaluated, "compiled_us": compiled}), encoding="utf-8")
    print(f"expression evaluated: {median(evaluated):.2f} µs (floor {FLOOR_US:g}, aim {AIM_US:g})")  # noqa: T201
    print(f"expression compiled: {median(compiled):.0f} µs (floor {COMPILE_FLOOR_US:g}, aim {COMPILE_AIM_US:g})")  # noqa: T201
    return int(median(evaluated) > FLOOR_US or median(compiled) > COMPILE_FLOOR_US)


if __name__ == "__main__":
    sys.exit(main())
