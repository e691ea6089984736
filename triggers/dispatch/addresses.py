"""Tells where gateways are to call us, for those whose own settings must be given the address by a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from triggers.dispatch.callbacks import RECEIPTS, REPLIES, call_url
from triggers.dispatch.gateways.http import HttpSettings, kannel_replies

if TYPE_CHECKING:
    from triggers.dispatch.gateway_settings import GatewaySettings
    from triggers.dispatch.settings import Delivery

_TOLD: Final = {
    "aliyun": (RECEIPTS, REPLIES),
    "tencent": (RECEIPTS, REPLIES),
    "twilio": (REPLIES,),
    "kannel": (REPLIES,),
}
"""What a type of gateway must be told an address for; the others are given one with each message, or call nobody."""


class CalledAt(NamedTuple):
    """The address for one kind of call. It holds a secret: whoever knows it can say what it likes."""

    gateway: str
    kind: str
    address: str


def addresses(delivery: Delivery) -> list[CalledAt]:
    """List the addresses; none without a ``public_url``, and of no gateway without a ``secret``."""
    if delivery.public_url is None:
        return []
    return [
        CalledAt(name, kind, _address(delivery.public_url, name, settings, kind))
        for name, settings in delivery.gateways.items()
        if settings.secret is not None
        for kind in _kinds(settings)
    ]


def _kinds(settings: GatewaySettings) -> tuple[str, ...]:
    if isinstance(settings, HttpSettings):
        models = {RECEIPTS: settings.receipts, REPLIES: settings.replies}
        return tuple(kind for kind, model in models.items() if model is not None)
    return _TOLD.get(settings.type, ())


def _address(public_url: str, name: str, settings: GatewaySettings, kind: str) -> str:
    assert settings.secret is not None, "the caller has looked"  # noqa: S101  an invariant
    secret = settings.secret.get_secret_value()
    if settings.type == "kannel":
        return kannel_replies(public_url, name, secret)
    return call_url(public_url, name, secret, kind)
