"""The addresses at which gateways call us back, and the codes in them that show a call to be authentic."""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import quote, urlencode

PATH = "/v1/callbacks"
RECEIPTS, REPLIES = "receipts", "replies"
MAC_LENGTH = 32


def receipt_mac(secret: str, gateway: str, command: str) -> str:
    """Make the code of one message's receipts: whoever knows it was given that message."""
    return _mac(secret, f"receipt|{gateway}|{command}")


def kind_mac(secret: str, gateway: str, kind: str) -> str:
    """Make the code of all calls of a kind, for a gateway that is told one address."""
    return _mac(secret, f"{kind}|{gateway}")


def callback_url(public_url: str, gateway: str, secret: str, command: str) -> str:
    """Write the address for the receipts of one message."""
    query = urlencode({"command": command, "mac": receipt_mac(secret, gateway, command)})
    return f"{public_url}{PATH}/{quote(gateway)}/{RECEIPTS}?{query}"


def kind_url(public_url: str, gateway: str, secret: str, kind: str) -> str:
    """Write the address for all calls of a kind: what a person enters at the gateway."""
    return f"{public_url}{PATH}/{quote(gateway)}/{kind}?{urlencode({'mac': kind_mac(secret, gateway, kind)})}"


def is_authentic(expected: str, given: str | None) -> bool:
    """Compare two codes in a time that does not tell where they differ."""
    return given is not None and hmac.compare_digest(expected.encode(), given.encode())


def _mac(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()[:MAC_LENGTH]
