"""What the made-up shop sells: a small catalogue in four categories, and the baskets that people fill."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from triggers.simulate.people import pick

if TYPE_CHECKING:
    import random


class Product(NamedTuple):
    """One product; ``price_fen`` in fen (1/100 yuan)."""

    id: str
    name: str
    category: str
    price_fen: int


PRODUCTS = (
    Product("p-101", "female-edition shaver", "A", 599_00),
    Product("p-102", "shaver", "A", 429_00),
    Product("p-103", "female epilator", "A", 899_00),
    Product("p-104", "hair dryer", "A", 499_00),
    Product("p-105", "hair straightener for female travellers", "A", 659_00),
    Product("p-106", "beard trimmer", "A", 239_00),
    Product("p-201", "warm face mask", "B", 1299_00),
    Product("p-202", "skin care light", "B", 2199_00),
    Product("p-203", "neck massage collar", "B", 1599_00),
    Product("p-301", "coffee grinder", "C", 349_00),
    Product("p-302", "bread machine", "C", 799_00),
    Product("p-303", "table lamp", "C", 269_00),
    Product("p-304", "kettle", "C", 199_00),
    Product("p-305", "radio", "C", 458_50),
    Product("p-401", "travel case", "D", 79_00),
    Product("p-402", "shaver blades", "D", 59_90),
    Product("p-403", "coffee beans", "D", 68_00),
    Product("p-404", "night light", "D", 39_90),
)
CATEGORIES = (("A", 36), ("B", 8), ("C", 32), ("D", 24))
SHELVES = {name: tuple(p for p in PRODUCTS if p.category == name) for name, _ in CATEGORIES}

SECOND_PIECE = 0.12
ACCESSORY = 0.25


def look(rng: random.Random) -> Product:
    """Take one product from the shelves, as often as its category is looked at."""
    return rng.choice(SHELVES[pick(rng, CATEGORIES)])


def yuan(fen: int) -> int | float:
    """Write fen as the JSON number in yuan that a shop would write: 599, 59.9."""
    whole, rest = divmod(fen, 100)
    return whole if rest == 0 else fen / 100


def basket(first: Product, rng: random.Random) -> tuple[int, list[dict[str, object]]]:
    """Fill a basket that begins with a product: its total in fen, and its lines as in ``items``."""
    lines = [(first, 2 if rng.random() < SECOND_PIECE else 1)]
    if rng.random() < ACCESSORY and first.category != "D":
        lines.append((rng.choice(SHELVES["D"]), 1))
    total_fen = sum(product.price_fen * pieces for product, pieces in lines)
    items: list[dict[str, object]] = [
        {
            "sku": product.id,
            "name": product.name,
            "category": product.category,
            "price": yuan(product.price_fen),
            "quantity": pieces,
        }
        for product, pieces in lines
    ]
    return total_fen, items
