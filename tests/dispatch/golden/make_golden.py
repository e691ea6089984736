"""Makes the golden requests beside it: runs the official SDKs for fixed inputs and keeps what they would send.

Not run by the tests; README.md beside it says how to run it, and what is pinned in the SDKs.
"""

# mypy: ignore-errors

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING
from unittest.mock import patch

import requests
from alibabacloud_credentials.client import Client as AliyunCredentials
from alibabacloud_credentials.models import Config as AliyunCredentialsConfig
from alibabacloud_dysmsapi20170525.client import Client as AliyunClient
from alibabacloud_dysmsapi20170525.models import QuerySendDetailsRequest
from alibabacloud_dysmsapi20170525.models import SendSmsRequest as AliyunSendSmsRequest
from alibabacloud_tea_openapi import utils as aliyun_utils
from alibabacloud_tea_openapi.utils_models import Config as AliyunConfig
from tencentcloud.common import abstract_client as tencent_client
from tencentcloud.common.credential import Credential
from tencentcloud.sms.v20210111 import models as tencent_models
from tencentcloud.sms.v20210111.sms_client import SmsClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client as TwilioClient

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
AT = 1_788_000_123  # 2026-08-29T10:42:03Z
LATE = 1_798_761_599  # 2026-12-31T23:59:59Z: the next day in Shanghai
ALIYUN_SECRET = "testsecret"  # noqa: S105  nobody's
NONCE = "3156853299f313e23d1673dc12e1703d"
TRANSPORT = {"accept-encoding", "connection", "content-length"}
NAMES_THE_SDK = {"x-tc-requestclient", "x-tc-traceid", "x-twilio-client"}  # unsigned, of the SDK and of chance

TEXTS = {
    "plain": {"code": "123456"},
    "chinese": {"name": "王小虎", "shop": "三只松鼠"},
    "special": {"a": "+ / = & % ~ * ' \" ? # \\ < >", "b": "line one\nline two\ttab", "c": "100% & more; a=b"},
    "emoji": {"name": "🐿️ Zoë", "sign": "€"},
    "empty-value": {"name": ""},
    "no-params": {},
}


def kept(name: str, value: str | bytes, authorization: str | bytes) -> bool:
    """Tell whether a header belongs to the request: all that is signed does."""
    text = authorization if isinstance(authorization, str) else authorization.decode()
    if name == "user-agent":
        return "user-agent" in text
    return name not in TRANSPORT | NAMES_THE_SDK and (name, value) != ("accept", "*/*")


class Recorder:
    """Stands where a connection would be: keeps each request and answers it."""

    def __init__(self, answer: dict) -> None:
        self.requests: list[dict] = []
        self._answer = answer

    def send(self, request: requests.PreparedRequest, **_options: object) -> requests.Response:
        body = request.body or b""
        self.requests.append(
            {
                "method": request.method,
                "url": request.url,
                "headers": {
                    name.lower(): value if isinstance(value, str) else value.decode()
                    for name, value in sorted(request.headers.items())
                    if kept(name.lower(), value, request.headers.get("Authorization", ""))
                },
                "body": body if isinstance(body, str) else body.decode(),
            }
        )
        response = requests.Response()
        response.status_code = 200
        response.headers["Content-Type"] = "application/json"
        response._content = json.dumps(self._answer).encode()  # noqa: SLF001  there is no other way to fill it
        response.request = request
        return response


def recorded(answer: dict, call: Callable[[], object]) -> dict:
    recorder = Recorder(answer)
    with patch.object(requests.adapters.HTTPAdapter, "send", lambda _self, request, **kw: recorder.send(request, **kw)):
        call()
    (request,) = recorder.requests
    return request


def aliyun() -> dict:
    key = AliyunCredentialsConfig(type="access_key", access_key_id="testid", access_key_secret=ALIYUN_SECRET)
    credential = AliyunCredentials(key)
    client = AliyunClient(AliyunConfig(credential=credential, endpoint="dysmsapi.aliyuncs.com"))
    answer = {"Code": "OK", "Message": "OK", "RequestId": "r", "BizId": "b"}
    cases = []

    def keep(name: str, given: dict, at: int, call: Callable[[], object]) -> None:
        clock = SimpleNamespace(utcnow=lambda: aliyun_now(at))
        with (
            patch.object(aliyun_utils, "datetime", clock),
            patch.object(aliyun_utils.Utils, "get_nonce", staticmethod(lambda: NONCE)),
            patch.object(aliyun_utils.Utils, "get_user_agent", staticmethod(lambda _custom: "triggers")),
        ):
            cases.append({"name": name, "at": at, "nonce": NONCE, "given": given, "request": recorded(answer, call)})

    for name, params in TEXTS.items():
        given = {
            "action": "SendSms", "phone": "+8613800000001", "command": f"cmd-{name}", "sign_name": "三只松鼠",
            "template": "SMS_71390007", "params": params,
        }  # fmt: skip
        request = AliyunSendSmsRequest(
            phone_numbers="13800000001",
            sign_name=given["sign_name"],
            template_code=given["template"],
            template_param=json.dumps(params, ensure_ascii=False, separators=(",", ":")),
            out_id=given["command"],
        )
        keep(name, given, AT, lambda request=request: client.send_sms(request))
    abroad = {
        "action": "SendSms", "phone": "+85251234567", "command": "c/+=&%~*'\" 退", "sign_name": "A b+c",
        "template": "SMS_1", "params": {"n": "1"},
    }  # fmt: skip
    request = AliyunSendSmsRequest(
        phone_numbers="85251234567", sign_name="A b+c", template_code="SMS_1", template_param='{"n":"1"}',
        out_id=abroad["command"],
    )  # fmt: skip
    keep("abroad", abroad, LATE, lambda: client.send_sms(request))
    details = {"action": "QuerySendDetails", "phone": "+8613800000001", "sent_at": LATE, "provider_id": "9^0"}
    query = QuerySendDetailsRequest(
        phone_number="13800000001", biz_id="9^0", send_date="20270101", page_size=20, current_page=1
    )
    keep("details", details, LATE + 3_600, lambda: client.query_send_details(query))
    without = {"action": "QuerySendDetails", "phone": "+8613800000001", "sent_at": AT, "provider_id": None}
    bare = QuerySendDetailsRequest(phone_number="13800000001", send_date="20260829", page_size=20, current_page=1)
    keep("details-without-id", without, AT + 3_600, lambda: client.query_send_details(bare))
    return {"sdk": sdk("alibabacloud_dysmsapi20170525", "alibabacloud_tea_openapi"), "cases": cases}


def aliyun_now(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None)


def tencent() -> dict:
    client = SmsClient(Credential("testid", "testkey"), "ap-guangzhou")
    answer = {"Response": {"SendStatusSet": [], "PullSmsSendStatusSet": [], "RequestId": "r"}}
    cases = []

    def keep(name: str, given: dict, at: int, call: Callable[[], object]) -> None:
        with patch.object(tencent_client, "time", SimpleNamespace(time=lambda: at + 0.75)):
            cases.append({"name": name, "at": at, "given": given, "request": recorded(answer, call)})

    for name, params in TEXTS.items():
        given = {
            "action": "SendSms", "phone": "+8613800000001", "command": f"cmd-{name}", "sign_name": "三只松鼠",
            "template": "449739", "params": params,
        }  # fmt: skip
        request = tencent_models.SendSmsRequest()
        request.PhoneNumberSet = [given["phone"]]
        request.SmsSdkAppId = "1400006666"
        request.SignName = given["sign_name"]
        request.TemplateId = given["template"]
        request.TemplateParamSet = list(params.values())
        request.SessionContext = given["command"]
        keep(name, given, AT, lambda request=request: client.SendSms(request))
    pull = tencent_models.PullSmsSendStatusByPhoneNumberRequest()
    pull.BeginTime = LATE - 60
    pull.Offset = 0
    pull.Limit = 100
    pull.PhoneNumber = "+8613800000001"
    pull.SmsSdkAppId = "1400006666"
    pull.EndTime = LATE + 3_600
    given = {"action": "PullSmsSendStatusByPhoneNumber", "phone": "+8613800000001", "sent_at": LATE}
    keep("pull", given, LATE + 3_600, lambda: client.PullSmsSendStatusByPhoneNumber(pull))
    return {"sdk": sdk("tencentcloud-sdk-python-sms", "tencentcloud-sdk-python-common"), "cases": cases}


def twilio() -> dict:
    account, token = "AC" + "0" * 31 + "1", "testtoken"
    key, key_secret = "SK" + "0" * 31 + "2", "testkeysecret"
    by_token, by_key = TwilioClient(account, token), TwilioClient(key, key_secret, account)
    answer = {"sid": "SM1", "status": "queued"}
    callback = "https://shop.example/callbacks/twilio/receipts?command=c-1&mac=0a1b"
    texts = {name: " ".join(params.values()) for name, params in TEXTS.items()}
    cases = []

    def keep(name: str, given: dict, call: Callable[[], object]) -> None:
        cases.append({"name": name, "at": AT, "given": given, "request": recorded(answer, call)})

    for name, text in texts.items():
        if not text:
            continue
        given = {
            "phone": "+14155550101",
            "text": text,
            "callback": callback,
            "validity_s": 3_600,
            "from": "+15005550006",
        }
        keep(
            name,
            given,
            lambda given=given: by_token.messages.create(
                to=given["phone"], body=given["text"], from_=given["from"], status_callback=callback,
                validity_period=3_600,
            ),
        )  # fmt: skip
    service = {"phone": "+8613800000001", "text": "【三只松鼠】你好", "validity_s": 36_000, "service": "MG" + "0" * 32}
    keep(
        "service",
        service,
        lambda: by_key.messages.create(
            to=service["phone"], body=service["text"], messaging_service_sid=service["service"],
            validity_period=36_000,
        ),
    )  # fmt: skip
    keep("fetch", {"sid": "SM" + "0" * 31 + "3"}, lambda: by_key.messages("SM" + "0" * 31 + "3").fetch())
    return {"sdk": sdk("twilio"), "cases": cases, "calls": twilio_calls(token)}


def twilio_calls(token: str) -> list[dict]:
    """Sign calls as the SDK's own checker expects them."""
    validator = RequestValidator(token)
    base = "https://shop.example/callbacks/twilio/receipts?command=c-1&mac=0a1b"
    forms = {
        "receipt": {"MessageSid": "SM1", "MessageStatus": "delivered", "To": "+14155550101"},
        "reply": {"MessageSid": "SM2", "From": "+8613800000001", "To": "+15005550006", "Body": "退订 + & = % ~ 🐿️ "},
        "order": {"b": "2", "B": "1", "a": "", "MessageSid": "SM1", "MessageStatus": "sent"},
    }
    calls = [
        {"name": name, "url": base, "form": form, "signature": validator.compute_signature(base, form)}
        for name, form in forms.items()
    ]
    with_port = base.replace("shop.example", "shop.example:443")
    form = forms["receipt"]
    calls.append({"name": "port", "url": base, "form": form, "signature": validator.compute_signature(with_port, form)})
    body = json.dumps(forms["reply"], ensure_ascii=False)
    url = f"{base}&bodySHA256={validator.compute_hash(body)}"
    calls.append({"name": "json", "url": url, "body": body, "signature": validator.compute_signature(url, {})})
    for call in calls:
        assert validator.validate(call["url"], call.get("form", call.get("body")), call["signature"]), call["name"]
    return calls


def sdk(*packages: str) -> list[str]:
    return [f"{package} {version(package)}" for package in packages]


def main() -> None:
    for make in (aliyun, tencent, twilio):
        text = json.dumps(make(), ensure_ascii=False, indent=1) + "\n"
        (HERE / f"{make.__name__}.json").write_text(text, encoding="utf-8")
    sys.stdout.write("made\n")


if __name__ == "__main__":
    main()
