"""Sends through Tencent's SMS service: API 2021-01-11, signed with TC3-HMAC-SHA256.

A message goes out as an approved template; the text itself is not sent. The service takes no validity.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field

from triggers.clock import wall_ms
from triggers.core.times import DAY, MINUTE
from triggers.dispatch.gateway import Answer, Fate, Heard, Receipt, Refused, Rejected, TryLater, Unknown
from triggers.dispatch.gateway_settings import GatewaySettings, Secret
from triggers.dispatch.gateways.cloud import Endpoint, KeyId, Readers, SignName, check, hear, host_of
from triggers.dispatch.gateways.tencent_answers import read_callback, read_reports, read_sent, read_up, receipt_of
from triggers.dispatch.http import HttpClient, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from triggers.dispatch.gateway import Call, Outgoing, Sought, Template

ALGORITHM = "TC3-HMAC-SHA256"
SERVICE = "sms"
VERSION = "2021-01-11"
CONTENT_TYPE = "application/json"
MAX_REPORTS_ASKED = 100
LONGEST_BACK = 7 * DAY
"""The service tells of no more."""
EARLIER = MINUTE
"""Our clock and theirs may differ."""
READERS = Readers(read_callback, read_up, b'{"result":0,"errmsg":"OK"}')


def _digits(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


AppId = Annotated[str, BeforeValidator(_digits), Field(pattern=r"^[0-9]{1,20}$")]
"""A SdkAppId; YAML reads one without quotes as a number."""
Gap = Annotated[str, Field(min_length=1, max_length=64)]
"""The name of a gap in a template."""


class TencentSettings(GatewaySettings):
    """Tencent's SMS service: a key, the SdkAppId, and the registered signature without its brackets.

    ``params`` has the order of the gaps by template id, since its templates number them; gaps called 1, 2, 3 need none.
    """

    type: Literal["tencent"]
    secret_id: KeyId
    secret_key: Secret
    app_id: AppId
    sign_name: SignName
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")] = "ap-guangzhou"
    params: dict[str, list[Gap]] = Field(default_factory=dict, max_length=1_000)
    endpoint: Endpoint = "https://sms.tencentcloudapi.com"

    def open(self, name: str) -> TencentGateway:
        """Make the gateway; it connects when something is sent."""
        return TencentGateway(name, self)


class TencentGateway:
    """Sends messages, asks for their fate, and hears status reports and replies. ``now`` in epoch ms."""

    def __init__(self, name: str, settings: TencentSettings, *, now: Callable[[], int] = wall_ms) -> None:
        self.name = name
        self.receipts = settings.secret is not None
        self._settings = settings
        self._now = now
        self._http = HttpClient(
            connect_timeout_s=settings.connect_timeout_s, timeout_s=settings.timeout_s, at_once=settings.at_once
        )

    async def send(self, message: Outgoing) -> Answer:
        """Send a template to one number (SendSms); our command id is its SessionContext."""
        template = message.template
        if template is None:
            return Rejected("no template")
        values = in_order(template, self._settings.params)
        if values is None:
            return Rejected("template params")
        payload = {
            "PhoneNumberSet": [message.phone],
            "SmsSdkAppId": self._settings.app_id,
            "TemplateId": template.code,
            "SignName": self._settings.sign_name,
            "TemplateParamSet": values,
            "SessionContext": message.command,
        }
        response = await self._ask("SendSms", payload)
        return read_sent(response) if isinstance(response, Response) else response

    async def settle(self, sought: Sought) -> Receipt | None:
        """Look for a message among the reports for its number (PullSmsSendStatusByPhoneNumber), by its id or ours.

        Our id is in them only for accounts where Tencent has enabled that; without either nothing is guessed.
        """
        now = self._now()
        if sought.sent_at < now - LONGEST_BACK:
            return None
        payload = {
            "BeginTime": (sought.sent_at - EARLIER) // 1_000,
            "Offset": 0,
            "Limit": MAX_REPORTS_ASKED,
            "PhoneNumber": sought.phone,
            "SmsSdkAppId": self._settings.app_id,
            "EndTime": now // 1_000,
        }
        response = await self._ask("PullSmsSendStatusByPhoneNumber", payload)
        reports = read_reports(response) if isinstance(response, Response) else []
        told = [
            receipt_of(report, sought.command, sought.phone)
            for report in reports
            if report.session_context == sought.command
            or (sought.provider_id is not None and report.serial_no == sought.provider_id)
        ]
        # A notice may have left more than once under the same command: one that arrived says more than one that did not.
        return max((one for one in told if one is not None), key=lambda one: one.fate is Fate.DELIVERED, default=None)

    def screen(self, call: Call) -> Refused | None:
        """Refuse a call that does not come to the secret address."""
        return check(self._settings.secret, self.name, call)

    def hear(self, call: Call) -> Heard | Refused:
        """Read an array of receipts, or a reply."""
        return hear(self._settings.secret, self.name, call, READERS)

    async def close(self) -> None:
        """Give back the connections."""
        await self._http.close()

    async def _ask(self, action: str, payload: Mapping[str, object]) -> Response | TryLater | Unknown:
        settings = self._settings
        at, host, body = self._now() // 1_000, host_of(settings.endpoint), json.dumps(payload).encode()
        signature = sign(settings.secret_key.get_secret_value(), host, body, at)
        scope = f"{settings.secret_id}/{_day(at)}/{SERVICE}/tc3_request"
        headers = {
            "authorization": f"{ALGORITHM} Credential={scope}, SignedHeaders=content-type;host, Signature={signature}",
            "content-type": CONTENT_TYPE,
            "host": host,
            "x-tc-action": action,
            "x-tc-language": "zh-CN",
            "x-tc-region": settings.region,
            "x-tc-timestamp": str(at),
            "x-tc-version": VERSION,
        }
        return await self._http.request("POST", f"{settings.endpoint}/", headers=headers, body=body)


def in_order(template: Template, orders: Mapping[str, list[str]]) -> list[str] | None:
    """Put the values of a template's gaps in its order; None where the order is not known or a value is missing."""
    names = orders.get(template.code)
    if names is None:
        names = [str(number) for number in range(1, len(template.params) + 1)]
    if set(names) != set(template.params):
        return None
    return [template.params[name] for name in names]


def sign(secret: str, host: str, body: bytes, at: int) -> str:
    """Sign a POST of JSON (TC3-HMAC-SHA256); ``at`` in epoch seconds."""
    headers = f"content-type:{CONTENT_TYPE}\nhost:{host}\n"
    request = "\n".join(("POST", "/", "", headers, "content-type;host", hashlib.sha256(body).hexdigest()))
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = f"TC3{secret}".encode()
    for part in (_day(at), SERVICE, "tc3_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    said = f"{ALGORITHM}\n{at}\n{_day(at)}/{SERVICE}/tc3_request\n{digest}"
    return hmac.new(key, said.encode(), hashlib.sha256).hexdigest()


def _day(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
