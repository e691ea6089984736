"""What pauses a rule by itself, in a rule and for the whole shop, reaches the core as shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from triggers.core.rules import Stop
from triggers.language import build_rule, build_shop

if TYPE_CHECKING:
    from conftest import Folder

SHOP = "shop: v1\nname: Test\ntimezone: UTC\n"
BODY = "when: {event: order.created}\nwait: 3d\nsend: {text: Hello}\n"


def test_both_parts_are_read_in_the_order_of_their_files(folder: Folder) -> None:
    folder.shop(
        f"{SHOP}safety:\n  - {{delivered_below: 90%, after_sends: 500}}\n"
        "  - {unsubscribed_above: 2%, after_sends: 50, only: warn}\n"
    )
    folder.rule(
        f"{BODY}stop_if:\n  - {{delivered_below: 92.5%, after_sends: 1}}\n"
        "  - {unsubscribed_above: 0.5%, after_sends: 20, only: warn}\n",
        status="live",
    )
    loaded = folder.load()
    assert loaded.errors == []
    assert loaded.shop is not None
    assert loaded.shop.safety == (Stop(0.9, None, 500), Stop(None, 0.02, 50, only_warn=True))
    (rule,) = loaded.rules
    assert rule.stop_if == (Stop(0.925, None, 1), Stop(None, 0.005, 20, only_warn=True))


def test_without_them_nothing_is_paused() -> None:
    shop = build_shop({"shop": "v1", "name": "Test", "timezone": "UTC"})
    rule = build_rule(
        {
            "rule": "v1", "id": "r", "title": "x", "status": "live", "class": "notice", "wait": "1d",
            "when": {"event": "order.created"}, "send": {"text": "x"},
        },
        shop,
    )  # fmt: skip
    assert (shop.safety, rule.stop_if) == ((), ())


@pytest.mark.parametrize(
    ("stop", "said"),
    [
        ("{delivered_below: 90%, after_sends: 0}", "must be 1 or more"),
        ("{delivered_below: 90%}", "'after_sends' is missing"),
        ("{delivered_below: 101%, after_sends: 5}", "101%"),
        ("{delivered_below: 90%, after_sends: 5, only: panic}", "'panic' is not 'warn'"),
        ("{delivered_above: 90%, after_sends: 5}", "unknown key 'delivered_above'"),
    ],
)
@pytest.mark.parametrize("where", ["safety", "stop_if"])
def test_what_cannot_be_is_told_in_both_places(folder: Folder, where: str, stop: str, said: str) -> None:
    folder.shop(SHOP + (f"safety: [{stop}]\n" if where == "safety" else ""))
    folder.rule(BODY + (f"stop_if: [{stop}]\n" if where == "stop_if" else ""))
    assert any(said in finding for finding in folder.findings()), folder.findings()
