"""Who comes to the made-up shop: names, phones, cities, membership and how they behave.

Nobody here exists. The phones are well-formed Chinese mobile numbers, so that the checks on real numbers accept them,
from one block that begins with 199 00.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from triggers.simulate.rhythm import DAY_MS

if TYPE_CHECKING:
    import random

    from triggers.simulate.goods import Product

MAX_CUSTOMERS = 1_000_000
"""As many as there are phones in the block."""

CITIES = (
    ("Hangzhou", 22),
    ("Shanghai", 18),
    ("Beijing", 14),
    ("Shenzhen", 10),
    ("Chengdu", 10),
    ("Guangzhou", 8),
    ("Nanjing", 7),
    ("Wuhan", 6),
    ("Xi'an", 5),
)
CHANNELS = (("app", 45), ("web", 25), ("mini-program", 15), ("store", 15))
SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗"
GIVEN_NAMES = (
    "伟",
    "芳",
    "娜",
    "敏",
    "静",
    "磊",
    "洋",
    "艳",
    "杰",
    "娟",
    "晓明",
    "雨桐",
    "子涵",
    "思远",
    "佳怡",
    "浩然",
)
LATIN_SURNAMES = ("Wang", "Li", "Zhang", "Chen", "Lin", "Zhao", "Smith", "Garcia", "Novak", "Rossi", "Meyer", "Tanaka")
LATIN_GIVEN_NAMES = ("Mei", "Wei", "Anna", "Lucas", "Nina", "Peter", "Yuki", "Elena", "Jun", "Sofia", "Hao", "Clara")

LATIN_NAME = 0.55
NAME_UNKNOWN = 0.08
CITY_UNKNOWN = 0.05
MEMBER_AT_ONCE = 0.35
NO_CONSENT = 0.04
LEVELS = ((6000_00, "gold"), (2000_00, "silver"))
"""Level by what was paid so far, in fen; below them it is regular."""


class Person:
    """One customer of the shop: what their visits need.

    ``pace_ms`` is the mean time between two visits in a shop that is always as full as on its fullest hour.
    ``paid_fen`` is what they paid so far, and ``liked`` holds the products on their wish list.
    """

    __slots__ = ("id", "is_member", "level", "liked", "pace_ms", "paid_fen", "subscribed")

    def __init__(self, number: int, rng: random.Random) -> None:
        self.id = f"c{number:06d}"
        self.pace_ms = min(40.0, max(0.25, rng.lognormvariate(0.6, 1.0))) * DAY_MS
        self.is_member = rng.random() < MEMBER_AT_ONCE
        self.level = "regular"
        self.paid_fen = 0
        self.subscribed = True
        self.liked: list[Product] = []

    def promote(self) -> bool:
        """Set the level that they have paid for; say whether it is a new one."""
        earned = next((name for fen, name in LEVELS if self.paid_fen >= fen), "regular")
        changed = earned != self.level
        self.level = earned
        return changed


def pick(rng: random.Random, weighted: tuple[tuple[str, int], ...]) -> str:
    """Draw one name by its weight."""
    ticket = rng.randrange(sum(weight for _, weight in weighted))
    for name, weight in weighted:
        if ticket < weight:
            return name
        ticket -= weight
    raise AssertionError(weighted)


def phone_of(number: int) -> str:
    """Give the customer with this number a phone that nobody else in the shop has (E.164)."""
    return f"+8619900{(number * 7919 + 13) % MAX_CUSTOMERS:06d}"  # 7919 shares no factor with the block's size


def card(number: int, person: Person, rng: random.Random) -> dict[str, object]:
    """Fill in the sign-up form: the fields of a first customer.updated; some leave out their name or city."""
    form: dict[str, object] = {"phone": phone_of(number)}
    if rng.random() >= NAME_UNKNOWN:
        form["name"] = _name(rng)
    if rng.random() >= CITY_UNKNOWN:
        form["city"] = pick(rng, CITIES)
    form |= {"is_member": person.is_member, "level": person.level, "consent": rng.random() >= NO_CONSENT}
    return form


def _name(rng: random.Random) -> str:
    if rng.random() < LATIN_NAME:
        return f"{rng.choice(LATIN_GIVEN_NAMES)} {rng.choice(LATIN_SURNAMES)}"
    return rng.choice(SURNAMES) + rng.choice(GIVEN_NAMES)
