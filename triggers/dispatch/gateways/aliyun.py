"""Sends through Aliyun's SMS service: dysmsapi 2017-05-25, signed with ACS3-HMAC-SHA256.

A message goes out as an approved template; the text itself is not sent. The service takes no validity.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, urlencode

import msgspec

from triggers.clock import wall_ms
from triggers.core.times import MINUTE
from triggers.dispatch.gateway import Answer, Heard, Receipt, Refused, Rejected, TryLater, Unknown
from triggers.dispatch.gateway_settings import GatewaySettings, Secret
from triggers.dispatch.gateways.aliyun_answers import (
    ARRIVED,
    WAITING,
    Record,
    read_records,
    read_report,
    read_sent,
    read_up,
    receipt_of,
)
from triggers.dispatch.gateways.cloud import (
    Endpoint,
    KeyId,
    Readers,
    SignName,
    beijing_day,
    check,
    hear,
    host_of,
    plain_number,
)
from triggers.dispatch.http import HttpClient, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from triggers.dispatch.gateway import Call, Outgoing, Sought

ALGORITHM = "ACS3-HMAC-SHA256"
VERSION = "2017-05-25"
NOTHING = hashlib.sha256(b"").hexdigest()
"""The digest of an empty body: all parameters are in the query."""
RECORDS_IN_A_PAGE = 20
MAX_PAGES = 5
OVER_MIDNIGHT = 5 * MINUTE
"""A message that left so near to midnight may be in the records of the day beside its own."""
READERS = Readers(read_report, read_up, b'{"code":0,"msg":"ok"}')


class AliyunSettings(GatewaySettings):
    """Aliyun's SMS service: a RAM user's key, and the registered signature without its brackets."""

    type: Literal["aliyun"]
    access_key_id: KeyId
    access_key_secret: Secret
    sign_name: SignName
    endpoint: Endpoint = "https://dysmsapi.aliyuncs.com"

    def open(self, name: str) -> AliyunGateway:
        """Make the gateway; it connects when something is sent."""
        return AliyunGateway(name, self)


class AliyunGateway:
    """Sends messages, asks for their fate, and hears SmsReport and SmsUp. ``now`` in epoch ms; ``nonce`` never repeats."""

    def __init__(
        self,
        name: str,
        settings: AliyunSettings,
        *,
        now: Callable[[], int] = wall_ms,
        nonce: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self.name = name
        self.receipts = settings.secret is not None
        self._settings = settings
        self._now = now
        self._nonce = nonce
        self._http = HttpClient(
            connect_timeout_s=settings.connect_timeout_s, timeout_s=settings.timeout_s, at_once=settings.at_once
        )

    async def send(self, message: Outgoing) -> Answer:
        """Send a template to one number (SendSms); our command id is its OutId."""
        if message.template is None:
            return Rejected("no template")
        params = {
            "OutId": message.command,
            "PhoneNumbers": plain_number(message.phone),
            "SignName": self._settings.sign_name,
            "TemplateCode": message.template.code,
            "TemplateParam": msgspec.json.encode(message.template.params).decode(),
        }
        response = await self._ask("SendSms", params)
        return read_sent(response) if isinstance(response, Response) else response

    async def settle(self, sought: Sought) -> Receipt | None:
        """Look for a message in the records of its day (QuerySendDetails), by our command id."""
        days = (beijing_day(sought.sent_at + off) for off in (0, -OVER_MIDNIGHT, OVER_MIDNIGHT))
        for day in dict.fromkeys(days):
            found = [record for record in await self._records(sought, day) if record.out_id == sought.command]
            if found:
                best = max(found, key=_likelihood)  # a notice may have left more than once under the same command
                return receipt_of(best, sought.command, sought.provider_id, sought.phone)
        return None

    def screen(self, call: Call) -> Refused | None:
        """Refuse a call that does not come to the secret address."""
        return check(self._settings.secret, self.name, call)

    def hear(self, call: Call) -> Heard | Refused:
        """Read an array of receipts (SmsReport) or of replies (SmsUp)."""
        return hear(self._settings.secret, self.name, call, READERS)

    async def close(self) -> None:
        """Give back the connections."""
        await self._http.close()

    async def _records(self, sought: Sought, day: str) -> list[Record]:
        """Fetch what was sent to a number on a day; nothing where the gateway does not tell."""
        records: list[Record] = []
        for page in range(1, MAX_PAGES + 1):
            params = {"BizId": sought.provider_id} if sought.provider_id else {}
            params |= {"CurrentPage": str(page), "PageSize": str(RECORDS_IN_A_PAGE)}
            params |= {"PhoneNumber": plain_number(sought.phone), "SendDate": day}
            response = await self._ask("QuerySendDetails", params)
            found = read_records(response) if isinstance(response, Response) else []
            records += found
            if len(found) < RECORDS_IN_A_PAGE:
                break
        return records

    async def _ask(self, action: str, params: Mapping[str, str]) -> Response | TryLater | Unknown:
        settings = self._settings
        headers = {
            "accept": "application/json",
            "host": host_of(settings.endpoint),
            "user-agent": "triggers",
            "x-acs-action": action,
            "x-acs-content-sha256": NOTHING,
            "x-acs-credentials-provider": "static_ak",
            "x-acs-date": datetime.fromtimestamp(self._now() // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "x-acs-signature-nonce": self._nonce(),
            "x-acs-version": VERSION,
        }
        signed = ";".join(sorted(headers))
        signature = sign(settings.access_key_secret.get_secret_value(), params, headers)
        credential = f"Credential={settings.access_key_id},SignedHeaders={signed},Signature={signature}"
        headers["authorization"] = f"{ALGORITHM} {credential}"
        return await self._http.request("POST", f"{settings.endpoint}/?{urlencode(params)}", headers=headers)


def sign(secret: str, params: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """Sign a POST without a body (ACS3-HMAC-SHA256); the headers are in small letters, and all are signed."""
    names = sorted(headers)
    query = "&".join(f"{_escaped(name)}={_escaped(params[name])}" for name in sorted(params))
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in names)
    request = "\n".join(("POST", "/", query, lines, ";".join(names), NOTHING))
    digest = hashlib.sha256(request.encode()).hexdigest()
    return hmac.new(secret.encode(), f"{ALGORITHM}\n{digest}".encode(), hashlib.sha256).hexdigest()


def _escaped(text: str) -> str:
    return quote(text, safe="~")


def _likelihood(record: Record) -> int:
    """Order records of one command: what arrived says more than what is on its way, and that more than what failed."""
    return {ARRIVED: 2, WAITING: 1}.get(record.send_status, 0)
