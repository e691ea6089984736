"""The addresses at which gateways call us back, each with an HMAC, so that what comes there is known to be theirs."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

MAC_LENGTH = 32
"""Hexadecimal digits of an HMAC-SHA256 that go into an address: 128 bits."""
PATH = "/v1/callbacks"
RECEIPTS, REPLIES = "receipts", "replies"


def receipt_mac(secret: str, gateway: str, command: str) -> str:
    """Sign the receipts of one command at one gateway."""
    return _mac(secret, f"receipt|{gateway}|{command}")


def call_mac(secret: str, gateway: str, kind: str) -> str:
    """Sign all calls of one kind by one gateway: receipts that name no command, and replies."""
    return _mac(secret, f"{kind}|{gateway}")


def callback_url(public_url: str, gateway: str, secret: str, command: str) -> str:
    """Write the address for the receipts of one command; ``public_url`` is where the service is reached from outside."""
    mac = receipt_mac(secret, gateway, command)
    return f"{_address(public_url, gateway, RECEIPTS)}?command={quote(command, safe='')}&mac={mac}"


def call_url(public_url: str, gateway: str, secret: str, kind: str) -> str:
    """Write the address for all calls of one kind, to be entered in the gateway's own settings."""
    return f"{_address(public_url, gateway, kind)}?mac={call_mac(secret, gateway, kind)}"


def is_receipt(secret: str, gateway: str, query: Mapping[str, str]) -> bool:
    """Check that a call came to an address made by ``callback_url``; its ``command`` can then be believed."""
    return _same(query.get("mac", ""), receipt_mac(secret, gateway, query.get("command", "")))


def is_call(secret: str, gateway: str, kind: str, query: Mapping[str, str]) -> bool:
    """Check that a call came to an address made by ``call_url``."""
    return _same(query.get("mac", ""), call_mac(secret, gateway, kind))


def _address(public_url: str, gateway: str, kind: str) -> str:
    return f"{public_url.rstrip('/')}{PATH}/{gateway}/{kind}"


def _mac(secret: str, said: str) -> str:
    # A stranger's query may hold half of a surrogate pair; it must not pass, and not be a fault either.
    return hmac.new(secret.encode(), said.encode(errors="replace"), hashlib.sha256).hexdigest()[:MAC_LENGTH]


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())
