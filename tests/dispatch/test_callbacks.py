from __future__ import annotations

import hashlib
import hmac
from urllib.parse import parse_qs, urlsplit

import pytest

from triggers.dispatch.callbacks import (
    call_mac,
    call_url,
    callback_url,
    is_call,
    is_receipt,
    receipt_mac,
)

SECRET = "a-secret-of-the-shop"  # noqa: S105  made up


def query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def test_the_address_for_receipts_names_the_command_and_signs_it() -> None:
    url = callback_url("https://shop.example/hooks/", "kannel-1", SECRET, "c 1/ä&x")
    assert url.startswith("https://shop.example/hooks/v1/callbacks/kannel-1/receipts?command=c%201%2F%C3%A4%26x&mac=")
    expected = hmac.new(SECRET.encode(), "receipt|kannel-1|c 1/ä&x".encode(), hashlib.sha256).hexdigest()[:32]
    assert query(url) == {"command": "c 1/ä&x", "mac": expected}
    assert is_receipt(SECRET, "kannel-1", query(url))


@pytest.mark.parametrize(
    ("secret", "gateway", "change"),
    [
        ("another", "g", {}),
        (SECRET, "h", {}),
        (SECRET, "g", {"command": "c2"}),
        (SECRET, "g", {"command": ""}),
        (SECRET, "g", {"mac": ""}),
        (SECRET, "g", {"mac": "0" * 32}),
        (SECRET, "g", {"mac": receipt_mac(SECRET, "g", "c1")[:-1]}),
        (SECRET, "g", {"mac": receipt_mac(SECRET, "g", "c1").upper()}),
        (SECRET, "g", {"mac": "ü" * 32}),
        (SECRET, "g", {"mac": "\ud800"}),
        (SECRET, "g", {"command": "\ud800"}),
        (SECRET, "g", {"mac": call_mac(SECRET, "g", "receipts")}),
    ],
)
def test_a_receipt_that_was_not_asked_for_is_known(secret: str, gateway: str, change: dict[str, str]) -> None:
    asked = {"command": "c1", "mac": receipt_mac(SECRET, "g", "c1")}
    assert is_receipt(SECRET, "g", asked)
    assert not is_receipt(secret, gateway, asked | change)
    assert not is_receipt(SECRET, "g", {})


def test_the_address_for_replies_is_good_for_one_gateway_and_for_replies_only() -> None:
    url = call_url("https://shop.example", "g", SECRET, "replies")
    expected = hmac.new(SECRET.encode(), b"replies|g", hashlib.sha256).hexdigest()[:32]
    assert url == f"https://shop.example/v1/callbacks/g/replies?mac={expected}"
    assert is_call(SECRET, "g", "replies", query(url))
    assert not is_call(SECRET, "h", "replies", query(url))
    assert not is_call(SECRET, "g", "receipts", query(url))
    assert not is_call("another", "g", "replies", query(url))
    assert not is_call(SECRET, "g", "replies", {})
    assert not is_receipt(SECRET, "g", query(url))


def test_names_cannot_be_moved_from_one_part_of_what_is_signed_to_another() -> None:
    assert receipt_mac(SECRET, "a", "b-c") != receipt_mac(SECRET, "a-b", "c")
