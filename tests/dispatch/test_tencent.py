from __future__ import annotations

import hashlib
import hmac
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from cloud_server import HANG, RESET, CloudServer, Taken, call, cloud, exact, golden, message
from pydantic import ValidationError

from triggers.dispatch.callbacks import call_mac
from triggers.dispatch.gateway import (
    Accepted,
    Barred,
    Fate,
    Heard,
    Hears,
    Receipt,
    Refused,
    Rejected,
    Reply,
    Settles,
    Sought,
    Template,
    TryLater,
    Unknown,
)
from triggers.dispatch.gateways.tencent import TencentGateway, TencentSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from triggers.dispatch.gateway import Answer

CASES = {case["name"]: case for case in golden("tencent")["cases"]}
NOON = 1_788_062_400_000  # 2026-08-30T04:00Z, 12:00 in China
SOUGHT = Sought("c-1", "2640:1", "+8613800000001", NOON)


def settings(endpoint: str = "https://sms.tencentcloudapi.com", **changes: Any) -> TencentSettings:
    given = {
        "type": "tencent",
        "secret_id": "testid",
        "secret_key": "testkey",
        "app_id": "1400006666",
        "sign_name": "三只松鼠",
        "endpoint": endpoint,
    }
    return TencentSettings.model_validate(given | changes)


@asynccontextmanager
async def sending(*answers: Any, **changes: Any) -> AsyncIterator[tuple[TencentGateway, CloudServer]]:
    async with cloud(*answers) as server:
        gateway = TencentGateway("ten", settings(server.url, **changes), now=lambda: NOON + 3_600_000)
        try:
            yield gateway, server
        finally:
            await gateway.close()


async def answer_to(*answers: Any, **changes: Any) -> Answer:
    async with sending(*answers, **changes) as (gateway, server):
        answer = await gateway.send(message())
        assert len(server.asked) == 1
    return answer


def status(code: str, **more: Any) -> dict[str, Any]:
    one = {"SerialNo": "2640:1", "PhoneNumber": "+8613800000001", "Fee": 1, "SessionContext": "c-1", "Code": code,
           "Message": "13800000001", "IsoCode": "CN"}  # fmt: skip
    return {"Response": {"SendStatusSet": [one | more], "RequestId": "r"}}


def fault(code: str) -> dict[str, Any]:
    return {"Response": {"Error": {"Code": code, "Message": "m"}, "RequestId": "r"}}


@pytest.mark.parametrize("name", CASES)
async def test_a_request_is_the_one_that_the_official_sdk_sends(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    given = case["given"]
    orders = {given["template"]: list(given["params"])} if given["action"] == "SendSms" else {}
    gateway = TencentGateway("ten", settings(params=orders), now=lambda: case["at"] * 1_000 + 750)
    taken = Taken()
    monkeypatch.setattr(gateway, "_http", taken)
    if given["action"] == "SendSms":
        # The values arrive in no order of the template's.
        values = dict(reversed(given["params"].items()))
        template = Template(given["template"], values)
        await gateway.send(message(given["phone"], command=given["command"], template=template))
    else:
        await gateway.settle(Sought("c-1", None, given["phone"], given["sent_at"] * 1_000))
    assert taken.requests == [case["request"]]


async def test_what_is_signed_is_what_goes_over_the_wire() -> None:
    async with sending((200, status("Ok"))) as (gateway, server):
        assert exact(await gateway.send(message(params={"1": "A+b c/王%~*'\"\n🐿"}))) == exact(
            Accepted("2640:1", parts=1)
        )
        (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/")
    assert json.loads(asked.body)["TemplateParamSet"] == ["A+b c/王%~*'\"\n🐿"]
    assert asked.headers["host"] == server.url.removeprefix("http://")
    lines = f"content-type:{asked.headers['content-type']}\nhost:{asked.headers['host']}\n"
    request = f"POST\n/\n\n{lines}\ncontent-type;host\n{hashlib.sha256(asked.body).hexdigest()}"
    at = asked.headers["x-tc-timestamp"]
    day = datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%d")
    to_sign = f"TC3-HMAC-SHA256\n{at}\n{day}/sms/tc3_request\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = b"TC3testkey"
    for part in (day, "sms", "tc3_request", to_sign):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    assert asked.headers["authorization"].endswith(f"Signature={key.hex()}")


async def test_a_hostile_name_stays_in_its_gap() -> None:
    hostile = '"],"PhoneNumberSet":["+8613900000009"],"x":["\r\nX-TC-Action: DeleteSmsTemplate'
    async with sending((200, status("Ok"))) as (gateway, server):
        await gateway.send(message(params={"1": hostile}))
        (asked,) = server.asked
    said = json.loads(asked.body)
    assert said["TemplateParamSet"] == [hostile]
    assert said["PhoneNumberSet"] == ["+8613800000001"]
    assert asked.headers["x-tc-action"] == "SendSms"


@pytest.mark.parametrize(
    ("params", "orders", "expected"),
    [
        ({"name": "王", "shop": "三只松鼠"}, {"T1": ["shop", "name"]}, ["三只松鼠", "王"]),
        ({"2": "b", "1": "a"}, {}, ["a", "b"]),
        ({str(n): str(n) for n in range(11, 0, -1)}, {}, [str(n) for n in range(1, 12)]),
        ({}, {}, []),
        ({}, {"T2": ["x"]}, []),
        ({"name": "王"}, {}, None),
        ({"1": "a", "3": "c"}, {}, None),
        ({"name": "王"}, {"T1": ["shop", "name"]}, None),
        ({"name": "王", "shop": "x"}, {"T1": ["name"]}, None),
        ({"name": "王"}, {"T2": ["name"]}, None),
    ],
)
async def test_values_go_in_the_order_of_the_template_or_not_at_all(
    params: dict[str, str], orders: dict[str, list[str]], expected: list[str] | None
) -> None:
    async with sending((200, status("Ok")), params=orders) as (gateway, server):
        answer = await gateway.send(message(params=params))
        sent = [json.loads(asked.body)["TemplateParamSet"] for asked in server.asked]
    assert sent == ([] if expected is None else [expected])
    assert (exact(answer) == exact(Rejected("template params"))) == (expected is None)


async def test_a_message_without_a_template_is_refused_before_anything_is_asked() -> None:
    async with sending((200, status("Ok"))) as (gateway, server):
        assert exact(await gateway.send(message(template=None))) == exact(Rejected("no template"))
        assert server.asked == []


BLACKLIST, NUMBER = "FailedOperation.PhoneNumberInBlacklist", "InvalidParameterValue.IncorrectPhoneNumber"
CODES = [
    (BLACKLIST, Rejected(BLACKLIST, blacklisted=True)),
    (NUMBER, Rejected(NUMBER, invalid_number=True)),
    ("FailedOperation.PhoneNumberParseFail", Rejected("FailedOperation.PhoneNumberParseFail", invalid_number=True)),
    *(
        (code, Rejected(code))
        for code in (
            "FailedOperation.TemplateIncorrectOrUnapproved",
            "FailedOperation.SignatureIncorrectOrUnapproved",
            "FailedOperation.ContainSensitiveWord",
            "InvalidParameterValue.ContentLengthLimit",
            "InvalidParameterValue.SomethingNew",
            "MissingParameter",
            "UnsupportedOperation.ContainDomesticPhoneNumber",
            "LimitExceeded.AppCountryOrRegionInBlacklist",
            "LimitExceeded.PhoneNumberCountLimit",
            "FailedOperation.FailResolvePacket",
            "FailedOperation.JsonParseFail",
            "FailedOperation.MissingSignatureList",
            "InternalError.JsonParseFail",
            "InternalError.RestApiInterfaceNotExist",
            "InvalidAction",
            "InvalidRequest",
            "NoSuchVersion",
            "UnknownParameter",
            "UnsupportedRegion",
            "UnauthorizedOperation.IndividualUserMarketingSmsPermissionDeny",
        )
    ),
    *(
        (code, TryLater(code))
        for code in (
            "LimitExceeded.PhoneNumberDailyLimit",
            "LimitExceeded.PhoneNumberThirtySecondLimit",
            "LimitExceeded.DeliveryFrequencyLimit",
            "LimitExceeded.AppDailyLimit",
            "RequestLimitExceeded",
            "FailedOperation.MarketingSendTimeConstraint",
        )
    ),
    *(
        (code, Barred(code))
        for code in (
            "FailedOperation.InsufficientBalanceInSmsPackage",
            "FailedOperation.NotEnterpriseCertification",
            "FailedOperation.ProhibitSubAccountUse",
            "InternalError.SigFieldMissing",
            "InvalidParameter.AppidAndBizId",
            "IpInBlacklist",
            "IpNotInWhitelist",
            "UnauthorizedOperation.ServiceSuspendDueToArrears",
            "UnauthorizedOperation.RequestIpNotInWhitelist",
            "AuthFailure.SignatureFailure",
            "AuthFailure.SecretIdNotFound",
            "InvalidParameterValue.SdkAppIdNotExist",
            "InternalError.RequestTimeException",
            "InternalError.SigVerificationFail",
        )
    ),
    *(
        (code, Unknown(code))
        for code in (
            "InternalError.Timeout",
            "InternalError.SendAndRecvFail",
            "InternalError",
            "FailedOperation",
            "FailedOperation.OtherError",
            "ResourceUnavailable",
            "SomethingNew",
        )
    ),
    ("+8613800000001 王小虎", Unknown("unreadable code")),
]


@pytest.mark.parametrize("say", [status, fault])
@pytest.mark.parametrize(("code", "expected"), CODES)
async def test_a_code_says_what_became_of_a_message(code: str, expected: Answer, say: Any) -> None:
    assert exact(await answer_to((200, say(code)))) == exact(expected)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, status("Ok", Fee=3)), Accepted("2640:1", parts=3)),
        ((200, status("Ok", Fee=0, SerialNo="")), Accepted(None)),
        ((200, {"Response": {"RequestId": "r"}}), Unknown("unreadable answer")),
        ((200, {"Response": {"SendStatusSet": []}}), Unknown("unreadable answer")),
        ((200, {"Response": {"SendStatusSet": status("Ok")["Response"]["SendStatusSet"] * 2}}),
         Unknown("unreadable answer")),
        ((200, fault("Ok")), Unknown("Ok")),
        ((200, {}), Unknown("unreadable answer")),
        ((200, b""), Unknown("unreadable answer")),
        ((200, b"<html>busy</html>"), Unknown("unreadable answer")),
        ((200, b"[" * 60_000), Unknown("unreadable answer")),
        ((400, b"bad"), Rejected("http 400")),
        ((400, fault("SomethingNew")), Rejected("SomethingNew")),
        ((400, status("Ok")), Unknown("Ok")),
        ((403, b""), Barred("http 403")),
        ((429, b"", {"Retry-After": "9"}), TryLater("http 429", after_s=9.0)),
        ((200, fault("RequestLimitExceeded"), {"Retry-After": "9"}), TryLater("RequestLimitExceeded", after_s=9.0)),
        ((500, b"bad"), Unknown("http 500")),
        ((500, status(NUMBER)), Unknown(NUMBER)),
        ((502, status(NUMBER)), Unknown(NUMBER)),
        ((503, fault("LimitExceeded")), Unknown("LimitExceeded")),
        ((301, b"", {"Location": "/x"}), Unknown("http 301")),
        (RESET, Unknown("no readable answer")),
    ],
)  # fmt: skip
async def test_an_answer_is_read_or_judged_by_its_status(answer: Any, expected: Answer) -> None:
    assert exact(await answer_to(answer)) == exact(expected)


async def test_a_message_may_have_left_when_no_answer_comes_in_time() -> None:
    assert exact(await answer_to(HANG, timeout_s=0.3)) == exact(Unknown("timed out"))


async def test_a_message_did_not_leave_when_the_connection_is_refused() -> None:
    async with cloud((200, b"")) as server:
        closed = server.url
    gateway = TencentGateway("ten", settings(closed))
    assert exact(await gateway.send(message())) == exact(TryLater("no connection", refused_connection=True))
    await gateway.close()


def pulled(*reports: dict[str, Any]) -> dict[str, Any]:
    return {"Response": {"PullSmsSendStatusSet": list(reports), "RequestId": "r"}}


ARRIVED = {
    "CountryCode": "86", "SubscriberNumber": "13800000001", "PhoneNumber": "+8613800000001", "SerialNo": "2640:1",
    "ReportStatus": "SUCCESS", "Description": "DELIVRD", "SessionContext": "", "UserReceiveTime": NOON // 1_000 + 5,
}  # fmt: skip
FAILED = ARRIVED | {"ReportStatus": "FAIL", "Description": "MX:0012"}
EXPECTED = Receipt(Fate.DELIVERED, "2640:1", "c-1", "+8613800000001", "DELIVRD", NOON + 5_000)
LOST = EXPECTED._replace(fate=Fate.UNDELIVERED, code="MX:0012", blacklisted=True)


@pytest.mark.parametrize(
    ("answer", "sought", "expected"),
    [
        ((200, pulled(ARRIVED)), SOUGHT, EXPECTED),
        ((200, pulled(FAILED)), SOUGHT, LOST),
        ((200, pulled(FAILED | {"Description": "MK:0001"})), SOUGHT,
         LOST._replace(code="MK:0001", blacklisted=False, invalid_number=True)),
        ((200, pulled(ARRIVED | {"Description": "用户短信送达成功"})), SOUGHT, EXPECTED._replace(code="")),
        ((200, pulled(ARRIVED | {"UserReceiveTime": 0})), SOUGHT, EXPECTED._replace(at=None)),
        ((200, pulled(ARRIVED | {"SessionContext": "c-1", "SerialNo": "2640:7"})), SOUGHT._replace(provider_id=None),
         EXPECTED._replace(provider_id="2640:7")),
        ((200, pulled(FAILED, ARRIVED, FAILED)), SOUGHT, EXPECTED),
        ((200, pulled(ARRIVED)), SOUGHT._replace(provider_id=None), None),
        ((200, pulled(ARRIVED | {"SerialNo": "2640:2"})), SOUGHT, None),
        ((200, pulled(ARRIVED | {"SerialNo": None})), SOUGHT._replace(provider_id=None), None),
        ((200, pulled(ARRIVED | {"ReportStatus": "WAIT"})), SOUGHT, None),
        ((200, pulled()), SOUGHT, None),
        ((200, fault("RequestLimitExceeded")), SOUGHT, None),
        ((500, pulled(ARRIVED)), SOUGHT, None),
        ((200, b"<html>"), SOUGHT, None),
        (RESET, SOUGHT, None),
    ],
)  # fmt: skip
async def test_the_reports_for_its_number_tell_what_became_of_a_message(
    answer: Any, sought: Sought, expected: Receipt | None
) -> None:
    async with sending(answer) as (gateway, server):
        assert await gateway.settle(sought) == expected
        (asked,) = server.asked
    assert asked.headers["x-tc-action"] == "PullSmsSendStatusByPhoneNumber"
    said = json.loads(asked.body)
    assert (said["BeginTime"], said["EndTime"]) == (NOON // 1_000 - 60, NOON // 1_000 + 3_600)


async def test_nothing_is_asked_of_what_is_too_long_ago() -> None:
    async with sending((200, pulled(ARRIVED))) as (gateway, server):
        limit = NOON + 3_600_000 - 7 * 86_400_000
        assert await gateway.settle(SOUGHT._replace(sent_at=limit - 1)) is None
        assert server.asked == []
        assert await gateway.settle(SOUGHT._replace(sent_at=limit)) == EXPECTED


def told(kind: str, body: Any) -> Heard | Refused:
    gateway = settings(secret="hush").open("ten")  # noqa: S106  nobody's
    return gateway.hear(call(kind, body, call_mac("hush", "ten", kind)))


REPORT = {
    "user_receive_time": "2026-08-30 12:00:05", "nationcode": "86", "mobile": "13800000001", "report_status": "SUCCESS",
    "errmsg": "DELIVRD", "description": "用户短信送达成功", "sid": "2640:1",
}  # fmt: skip
HEARD = Receipt(Fate.DELIVERED, "2640:1", None, "+8613800000001", "DELIVRD", NOON + 5_000)
UNHEARD = HEARD._replace(fate=Fate.UNDELIVERED)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, HEARD),
        ({"new_field": 1, "user_receive_time": None}, HEARD._replace(at=None)),
        ({"nationcode": 86, "mobile": 13800000001}, HEARD),
        ({"sid": "2"}, HEARD._replace(provider_id="2")),
        ({"sid": "2" * 128}, HEARD._replace(provider_id="2" * 128)),
        ({"nationcode": "1", "mobile": "4155550101"}, HEARD._replace(phone="+14155550101")),
        ({"report_status": "FAIL", "errmsg": "UNDELIV"}, UNHEARD._replace(code="UNDELIV")),
        ({"report_status": "FAIL", "errmsg": "MK:0001"}, UNHEARD._replace(code="MK:0001", invalid_number=True)),
        ({"report_status": "FAIL", "errmsg": "MX:0012"}, UNHEARD._replace(code="MX:0012", blacklisted=True)),
        ({"report_status": "FAIL", "errmsg": "13800000001"}, UNHEARD._replace(code="")),
    ],
)
def test_a_receipt_is_heard(changes: dict[str, Any], expected: Receipt) -> None:
    heard = told("receipts", [REPORT | changes])
    assert isinstance(heard, Heard)
    assert heard.receipts == (expected,)
    assert json.loads(heard.answer) == {"result": 0, "errmsg": "OK"}
    assert heard.content_type == "application/json"


UP = {
    "extend": "77",
    "mobile": "13800000001",
    "nationcode": "86",
    "sign": "三只松鼠",
    "text": "T",
    "time": NOON // 1_000,
}


@pytest.mark.parametrize("body", [UP, [UP], UP | {"time": str(NOON // 1_000)}])
def test_a_reply_is_heard(body: Any) -> None:
    heard = told("replies", body)
    assert isinstance(heard, Heard)
    assert heard.replies == (Reply("+8613800000001", "T", None, "77", NOON),)
    assert json.loads(heard.answer)["result"] == 0


def test_what_cannot_be_read_is_left_out() -> None:
    wrong = [{"sid": 1}, REPORT | {"report_status": "?"}, REPORT | {"sid": ""}, REPORT | {"sid": "2" * 129}]
    heard = told("receipts", [*wrong, REPORT])
    assert isinstance(heard, Heard)
    assert heard.receipts == (HEARD,)
    heard = told("replies", [UP | {"mobile": "@SUM(1)"}, UP | {"text": None}, UP | {"extend": ""}])
    assert isinstance(heard, Heard)
    assert heard.replies == (Reply("+8613800000001", "T", None, None, NOON),)


def test_a_call_that_does_not_know_the_secret_address_is_refused() -> None:
    gateway = settings(secret="hush").open("ten")  # noqa: S106  nobody's
    assert gateway.receipts
    refused = gateway.hear(call("receipts", [REPORT], call_mac("hush", "ten", "replies")))
    assert isinstance(refused, Refused)
    assert refused.status == 403
    assert not settings().open("ten").receipts


def test_a_gateway_hears_and_settles() -> None:
    gateway = settings().open("ten")
    assert isinstance(gateway, Hears)
    assert isinstance(gateway, Settles)


def test_messages_go_to_tencent_unless_another_place_is_named() -> None:
    given = {"type": "tencent", "secret_id": "i", "secret_key": "s", "app_id": "1", "sign_name": "n"}
    usual = TencentSettings.model_validate(given)
    assert (usual.endpoint, usual.region) == ("https://sms.tencentcloudapi.com", "ap-guangzhou")


def test_another_region_may_be_named() -> None:
    assert settings(region="ap-singapore").region == "ap-singapore"


def test_an_app_id_may_be_written_as_a_number() -> None:
    assert settings(app_id=1_400_006_666).app_id == "1400006666"


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": "http://sms.tencentcloudapi.com"},
        {"secret_id": "id\r\nX-Evil: 1"},
        {"region": "ap-guangzhou\r\nX-Evil: 1"},
        {"app_id": "14x"},
        {"app_id": True},
        {"sign_name": ""},
        {"params": {"T1": [""]}},
    ],
)
def test_settings_that_could_do_harm_are_turned_away(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**changes)


def test_a_secret_is_never_shown() -> None:
    shown = settings()
    assert "testkey" not in repr(shown) + str(shown.model_dump(mode="json"))
