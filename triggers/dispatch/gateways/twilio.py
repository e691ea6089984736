"""Sends through Twilio's Messages API and hears its signed calls. They come in any order."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
from pydantic import Field, model_validator

from triggers.clock import wall_ms
from triggers.dispatch.callbacks import RECEIPTS
from triggers.dispatch.gateway import Answer, Heard, Receipt, Refused, TryLater
from triggers.dispatch.gateway_settings import GatewaySettings, Secret
from triggers.dispatch.gateways.cloud import KINDS, UNREADABLE, Endpoint
from triggers.dispatch.gateways.twilio_answers import read_receipt, read_reply, read_sent, read_state
from triggers.dispatch.http import HttpClient, Response
from triggers.language.findings import Misfit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from triggers.dispatch.gateway import Call, Outgoing, Sought

LONGEST_VALIDITY_S = 36_000
MAX_FIELDS = 200
FORM = "application/x-www-form-urlencoded"
NO_ANSWER = b'<?xml version="1.0" encoding="UTF-8"?><Response></Response>'
"""Says nothing back: a body of plain text would be sent to the handset as an SMS."""

Sid = Annotated[str, Field(pattern=r"^[A-Z]{2}[0-9a-f]{32}$")]
Sender = Annotated[str, Field(min_length=1, max_length=64)]
_said = msgspec.json.Decoder(dict[str, str | int | None])


class TwilioSettings(GatewaySettings):
    """Twilio. ``from`` is a number, short code or name to send from, ``service`` a messaging service in its place.

    Requests bear ``api_key`` and ``api_secret``, or else the account's ``auth_token``. Calls are signed with the latter,
    whatever requests bear: without it nothing is heard. Receipts need ``secret``, too: it makes their addresses.
    """

    type: Literal["twilio"]
    account_sid: Sid
    auth_token: Secret | None = None
    api_key: Sid | None = None
    api_secret: Secret | None = None
    sender: Sender | None = Field(default=None, alias="from")
    service: Sid | None = None
    endpoint: Endpoint = "https://api.twilio.com"

    @model_validator(mode="after")
    def _complete(self) -> TwilioSettings:
        if (self.api_key is None) != (self.api_secret is None):
            raise Misfit("write both 'api_key' and 'api_secret', or neither")
        if self.api_key is None and self.auth_token is None:
            raise Misfit("write 'auth_token', or 'api_key' and 'api_secret'")
        if (self.sender is None) == (self.service is None):
            raise Misfit("write either 'from' or 'service'")
        return self

    def open(self, name: str) -> TwilioGateway:
        """Make the gateway; it connects when something is sent."""
        return TwilioGateway(name, self)


class TwilioGateway:
    """Sends messages, asks for the state of those with an id, and hears status callbacks and replies."""

    def __init__(self, name: str, settings: TwilioSettings, *, now: Callable[[], int] = wall_ms) -> None:
        self.name = name
        self.receipts = settings.auth_token is not None and settings.secret is not None
        self._settings = settings
        self._now = now
        self._messages = f"{settings.endpoint}/2010-04-01/Accounts/{settings.account_sid}/Messages"
        self._http = HttpClient(
            connect_timeout_s=settings.connect_timeout_s, timeout_s=settings.timeout_s, at_once=settings.at_once
        )

    async def send(self, message: Outgoing) -> Answer:
        """Send one text. Its validity is cut to what Twilio takes; one that is over goes back to be expired."""
        left_s = (message.valid_until - self._now()) // 1_000
        if left_s < 1:
            return TryLater("validity over")
        settings = self._settings
        form = {"To": message.phone}
        if message.callback is not None:
            form["StatusCallback"] = message.callback
        form["ValidityPeriod"] = str(min(left_s, LONGEST_VALIDITY_S))
        if settings.sender is not None:
            form["From"] = settings.sender
        if settings.service is not None:
            form["MessagingServiceSid"] = settings.service
        form["Body"] = message.text
        headers = self._headers() | {"content-type": FORM}
        response = await self._http.request(
            "POST", f"{self._messages}.json", headers=headers, body=urlencode(form).encode()
        )
        return read_sent(response) if isinstance(response, Response) else response

    async def settle(self, sought: Sought) -> Receipt | None:
        """Ask for the state of a message by its id; of one without, nothing can be found out."""
        number = sought.provider_id
        if number is None or not (number.isascii() and number.isalnum()):
            return None
        response = await self._http.request("GET", f"{self._messages}/{number}.json", headers=self._headers())
        return read_state(response, sought.command, number) if isinstance(response, Response) else None

    def screen(self, call: Call) -> Refused | None:
        """Refuse a call without a signature; whether it is the right one, only the body tells."""
        if call.kind not in KINDS:
            return Refused(400, "neither receipts nor replies")
        if self._settings.auth_token is None or not call.headers.get("x-twilio-signature"):
            return Refused(403, "no signature, or no auth_token to check it with")
        return None

    def hear(self, call: Call) -> Heard | Refused:
        """Check the signature of a status callback or of a reply, and read it."""
        said = self.screen(call) or self._authentic(call)
        if isinstance(said, Refused):
            return said
        if call.kind == RECEIPTS:
            receipt = read_receipt(said, call.query.get("command"))
            return Heard(receipts=(receipt,)) if receipt else Refused(400, "no receipt that can be understood")
        reply = read_reply(said)
        if reply is None:
            return Refused(400, "no reply that can be understood")
        return Heard(replies=(reply,), answer=NO_ANSWER, content_type="text/xml")

    async def close(self) -> None:
        """Give back the connections."""
        await self._http.close()

    def _headers(self) -> dict[str, str]:
        settings = self._settings
        user, password = settings.account_sid, settings.auth_token
        if settings.api_key is not None:
            user, password = settings.api_key, settings.api_secret
        assert password is not None, "the settings were checked"  # noqa: S101  a broken invariant
        both = f"{user}:{password.get_secret_value()}".encode()
        return {
            "accept": "application/json",
            "accept-charset": "utf-8",
            "authorization": f"Basic {base64.b64encode(both).decode()}",
        }

    def _authentic(self, call: Call) -> Mapping[str, str] | Refused:
        """Give the fields of a call that Twilio signed."""
        token = self._settings.auth_token
        assert token is not None, "the call was screened"  # noqa: S101  a broken invariant
        signature = call.headers.get("x-twilio-signature", "").encode(errors="replace")
        is_form = call.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM
        digest = call.query.get("bodySHA256", "").encode(errors="replace")
        if not is_form and not hmac.compare_digest(hashlib.sha256(call.body).hexdigest().encode(), digest):
            return Refused(403, "the body is not the one that was signed")
        try:
            fields = parse_qsl(call.body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS) if is_form else []
            said = dict(fields) if is_form else {name: str(value) for name, value in _said.decode(call.body).items()}
        except (*UNREADABLE, ValueError):
            return Refused(400, "fields that cannot be read")
        signed = (sign(token.get_secret_value(), url, fields) for url in with_and_without_port(call.url))
        if not any(hmac.compare_digest(one, signature) for one in signed):
            return Refused(403, "the signature is wrong")
        return said


def sign(token: str, url: str, fields: Sequence[tuple[str, str]]) -> bytes:
    """Sign a call as Twilio does: the address, then each field by name, and each of its values once."""
    said = url + "".join(name + value for name, value in sorted(set(fields)))
    return base64.b64encode(hmac.new(token.encode(), said.encode(errors="replace"), hashlib.sha1).digest())


def with_and_without_port(url: str) -> tuple[str, str]:
    """Give an address with its port and without: Twilio signs the one or the other."""
    parts = urlsplit(url)
    host, bracket, port = parts.netloc.rpartition(":")
    bare = host if bracket and port.isdigit() else parts.netloc
    full = parts.netloc if bare != parts.netloc else f"{bare}:{443 if parts.scheme == 'https' else 80}"
    return url.replace(parts.netloc, full, 1), url.replace(parts.netloc, bare, 1)
