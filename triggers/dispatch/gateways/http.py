"""Sends over HTTP to any gateway whose request, answers and calls a mapping in YAML describes; Kannel is one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple

from pydantic import Field, SecretStr, StringConstraints

from triggers.clock import wall_ms
from triggers.dispatch.callbacks import RECEIPTS, REPLIES, call_url, is_call, is_receipt
from triggers.dispatch.gateway import Answer, Heard, Refused, TryLater
from triggers.dispatch.gateway_settings import GatewaySettings, Secret
from triggers.dispatch.gateways.http_answers import AnswerModel, read_answer
from triggers.dispatch.gateways.http_calls import ReceiptsModel, RepliesModel, read_receipts, read_replies
from triggers.dispatch.gateways.http_request import MINUTE, Address, RequestModel, build, values_of
from triggers.dispatch.http import HttpClient, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from triggers.dispatch.gateway import Call, Outgoing

Sender = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Mapped(NamedTuple):
    """How a gateway speaks: what it is asked, how it answers, and what it calls back with, if it does."""

    request: RequestModel
    answer: AnswerModel
    receipts: ReceiptsModel | None
    replies: RepliesModel | None


class HttpSettings(GatewaySettings):
    """A gateway with an HTTP interface of its own. Without ``secret`` it is not heard: no receipts, no replies."""

    type: Literal["http"]
    request: RequestModel
    answer: AnswerModel
    receipts: ReceiptsModel | None = None
    replies: RepliesModel | None = None

    def open(self, name: str) -> HttpGateway:
        """Make the gateway; it connects when something is sent."""
        return HttpGateway(name, self, Mapped(self.request, self.answer, self.receipts, self.replies))


class KannelSettings(GatewaySettings):
    """Kannel's smsbox: ``url`` is its sendsms address, ``from`` and ``smsc`` what Kannel's user may choose.

    In kannel.conf the user needs ``max-messages`` as high as texts have parts, since Kannel cuts the rest off, and
    ``concatenation``; the smsbox ``http-request-retry``, without which a receipt is lost that we cannot take at once.
    For replies see ``kannel_replies``. Over SMPP, set ``wait-ack-expire = 2``, or Kannel sends a message again whose
    acknowledgement is late; a wrong ``msg-id-type`` credits receipts to other messages.
    """

    type: Literal["kannel"]
    url: Address
    username: Sender
    password: Secret
    sender: Sender | None = Field(default=None, alias="from")
    smsc: Sender | None = None

    def open(self, name: str) -> HttpGateway:
        """Make the gateway; it connects when something is sent."""
        return HttpGateway(name, self, _kannel(self))


class HttpGateway:
    """Sends messages as a mapping says. ``now`` is the wall's time, epoch ms."""

    def __init__(
        self, name: str, settings: GatewaySettings, mapped: Mapped, *, now: Callable[[], int] = wall_ms
    ) -> None:
        self.name = name
        self.receipts = settings.secret is not None and mapped.receipts is not None
        self._secret = settings.secret
        self._mapped = mapped
        self._now = now
        self._http = HttpClient(
            connect_timeout_s=settings.connect_timeout_s, timeout_s=settings.timeout_s, at_once=settings.at_once
        )

    async def send(self, message: Outgoing) -> Answer:
        """Send one message. One that has less than a minute left goes back: its validity is told in minutes."""
        now, receipts = self._now(), self._mapped.receipts
        if message.valid_until < now + MINUTE:
            return TryLater("validity over")
        values = values_of(message, now)
        values["callback"] = receipts.address(message.callback) if receipts is not None else None
        method, url, headers, body = build(self._mapped.request, values)
        response = await self._http.request(method, url, headers=headers, body=body)
        return read_answer(self._mapped.answer, response) if isinstance(response, Response) else response

    def screen(self, call: Call) -> Refused | None:
        """Refuse a call that does not come to an address that only the gateway was told."""
        if self._model(call) is None:
            return Refused(400, "this gateway has nothing of that kind to tell")
        if not self._knows(call):
            return Refused(403, "the secret part of the address is wrong or was never set")
        return None

    def hear(self, call: Call) -> Heard | Refused:
        """Check where a call comes to, and read it."""
        refused = self.screen(call)
        if refused is not None:
            return refused
        model = self._model(call)
        assert model is not None, "the call was screened"  # noqa: S101  a broken invariant
        if isinstance(model, ReceiptsModel):
            return read_receipts(model, call, _command(call))
        return read_replies(model, call)

    async def close(self) -> None:
        """Give back the connections."""
        await self._http.close()

    def _model(self, call: Call) -> ReceiptsModel | RepliesModel | None:
        return {RECEIPTS: self._mapped.receipts, REPLIES: self._mapped.replies}.get(call.kind)

    def _knows(self, call: Call) -> bool:
        if self._secret is None:
            return False
        secret = self._secret.get_secret_value()
        if _command(call) is not None:
            return is_receipt(secret, self.name, call.query)
        return is_call(secret, self.name, call.kind, call.query)


def _command(call: Call) -> str | None:
    return call.query.get("command") if call.kind == RECEIPTS else None


def kannel_replies(public_url: str, gateway: str, secret: str) -> str:
    """Write the ``get-url`` of the sms-service in kannel.conf by which Kannel hands replies on.

    That service needs ``keyword = default``, ``catch-all = true`` and ``max-messages = 0``: without the last, Kannel
    sends our empty answer to the customer as a message.
    """
    address = call_url(public_url, gateway, secret, REPLIES).replace("%", "%%")
    return f"{address}&from=%p&to=%P&text=%e&charset=%C&id=%I&at=%T"


def _kannel(settings: KannelSettings) -> Mapped:
    chosen = {"username": settings.username, "from": settings.sender, "smsc": settings.smsc}
    secrets = {name: SecretStr(value) for name, value in chosen.items() if value is not None}  # so no brace is a gap
    query = _KANNEL_QUERY | secrets | {"password": settings.password}
    request = {"method": "GET", "url": settings.url, "query": query, "with_callback": _KANNEL_WITH_CALLBACK}
    return Mapped(
        RequestModel.model_validate(request),
        AnswerModel.model_validate(_KANNEL_ANSWER),
        ReceiptsModel.model_validate(_KANNEL_RECEIPTS),
        RepliesModel.model_validate(_KANNEL_REPLIES),
    )


# Kannel 1.4.5, as its user guide has it in chapters 7 (sendsms) and 10 (receipts); sendsms knows no form.
_KANNEL_QUERY: Final[dict[str, object]] = {
    "to": "{phone}",
    "text": "{text}",
    "charset": "UTF-8",
    "coding": "{coding}",
    "validity": "{validity_min}",
}
_KANNEL_WITH_CALLBACK: Final = {"dlr-mask": 31, "dlr-url": "{callback}"}
"""All five kinds: those that are no end tell at least that Kannel has the message."""
_KANNEL_ANSWER: Final = {
    "read": "text",
    "accepted": ["0: Accepted", "3: Queued", "Sent."],
    # A number may be "denied" for want of a white list's entry as well, so that is no opt-out.
    "rejected": ["Not routable", "Number(s) has/have been denied", "Charset or body misformed", "Empty receiver"],
    "barred": ["Authorization failed", "Sender missing", "DLR-URL field misformed", "Unknown request"],
}
_KANNEL_RECEIPTS: Final = {
    "status": "status",
    "delivered": [1],
    "undelivered": [2, 16],
    "id": "id",
    "phone": "phone",
    "code": "answer",
    "at": "at",
    "invalid_number": ["NACK/0x0000000b"],
    "ask": "&status=%d&id=%F&phone=%p&answer=%A&at=%T",
    "percent": "double",
}
_KANNEL_REPLIES: Final = {"phone": "from", "to": "to", "hex": "text", "charset": "charset", "id": "id", "at": "at"}
