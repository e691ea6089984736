from __future__ import annotations

import hashlib
import hmac
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

import pytest
from cloud_server import HANG, RESET, CloudServer, Taken, call, cloud, exact, golden, message
from pydantic import ValidationError
from structlog.testing import capture_logs

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
from triggers.dispatch.gateways.aliyun import AliyunGateway, AliyunSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from triggers.dispatch.gateway import Answer

CASES = {case["name"]: case for case in golden("aliyun")["cases"]}
NOON = 1_788_062_400_000  # 2026-08-30T04:00Z, 12:00 in Shanghai
MIDNIGHT = 1_788_019_200_000  # 2026-08-29T16:00Z, 0:00 of the 30th in Shanghai
SOUGHT = Sought("c-1", None, "+8613800000001", NOON)


def settings(endpoint: str = "https://dysmsapi.aliyuncs.com", **changes: Any) -> AliyunSettings:
    given = {
        "type": "aliyun",
        "access_key_id": "testid",
        "access_key_secret": "testsecret",
        "sign_name": "三只松鼠",
        "endpoint": endpoint,
    }
    return AliyunSettings.model_validate(given | changes)


@asynccontextmanager
async def sending(*answers: Any, **changes: Any) -> AsyncIterator[tuple[AliyunGateway, CloudServer]]:
    async with cloud(*answers) as server:
        gateway = AliyunGateway("ali", settings(server.url, **changes))
        try:
            yield gateway, server
        finally:
            await gateway.close()


async def answer_to(*answers: Any, **changes: Any) -> Answer:
    async with sending(*answers, **changes) as (gateway, server):
        answer = await gateway.send(message())
        assert len(server.asked) == 1
    return answer


async def ask(gateway: AliyunGateway, given: dict[str, Any]) -> None:
    """Do what the SDK was told to do for a golden request."""
    if given["action"] == "SendSms":
        template = Template(given["template"], given["params"])
        await gateway.send(message(given["phone"], command=given["command"], template=template))
    else:
        await gateway.settle(Sought("c-1", given["provider_id"], given["phone"], given["sent_at"] * 1_000))


@pytest.mark.parametrize("name", CASES)
async def test_a_request_is_the_one_that_the_official_sdk_sends(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    signed_by = settings(sign_name=case["given"].get("sign_name", "三只松鼠"))
    gateway = AliyunGateway("ali", signed_by, now=lambda: case["at"] * 1_000 + 999, nonce=lambda: case["nonce"])
    taken = Taken()
    monkeypatch.setattr(gateway, "_http", taken)
    await ask(gateway, case["given"])
    assert taken.requests[0] == case["request"]


async def test_what_is_signed_is_what_goes_over_the_wire() -> None:
    async with sending((200, {"Code": "OK", "BizId": "9^0"})) as (gateway, server):
        assert exact(await gateway.send(message(params={"name": "A+b c/王%~*'\"\n🐿"}))) == exact(Accepted("9^0"))
        (asked,) = server.asked
    assert (asked.method, asked.body) == ("POST", b"")
    assert asked.headers["host"] == server.url.removeprefix("http://")
    names, said = asked.headers["authorization"].split("SignedHeaders=")[1].split(",Signature=")
    assert {name for name in asked.headers if name.startswith("x-acs-")} | {"host"} <= set(names.split(";"))
    pairs = sorted(parse_qsl(urlsplit(asked.path).query, keep_blank_values=True))
    query = "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs)
    lines = "".join(f"{name}:{asked.headers[name]}\n" for name in names.split(";"))
    request = f"POST\n/\n{query}\n{lines}\n{names}\n{hashlib.sha256(asked.body).hexdigest()}"
    to_sign = f"ACS3-HMAC-SHA256\n{hashlib.sha256(request.encode()).hexdigest()}"
    assert hmac.new(b"testsecret", to_sign.encode(), hashlib.sha256).hexdigest() == said


async def test_every_request_has_a_nonce_of_its_own() -> None:
    async with sending((200, {"Code": "OK"})) as (gateway, server):
        for _ in range(3):
            await gateway.send(message())
        assert len({asked.headers["x-acs-signature-nonce"] for asked in server.asked}) == 3


async def test_a_hostile_name_stays_in_its_gap() -> None:
    hostile = 'x"}&PhoneNumbers=13900000009&OutId=z#;\r\nX-Acs-Action: DeleteSmsTemplate'
    async with sending((200, {"Code": "OK"})) as (gateway, server):
        await gateway.send(message(params={"name": hostile}))
        (asked,) = server.asked
    fields = parse_qs(urlsplit(asked.path).query)
    assert {name: len(values) for name, values in fields.items()} == dict.fromkeys(
        ("OutId", "PhoneNumbers", "SignName", "TemplateCode", "TemplateParam"), 1
    )
    assert fields["PhoneNumbers"] == ["13800000001"]
    assert json.loads(fields["TemplateParam"][0]) == {"name": hostile}
    assert asked.headers["x-acs-action"] == "SendSms"


async def test_a_message_without_a_template_is_refused_before_anything_is_asked() -> None:
    async with sending((200, {"Code": "OK"})) as (gateway, server):
        assert exact(await gateway.send(message(template=None))) == exact(Rejected("no template"))
        assert server.asked == []


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (200, "isv.MOBILE_NUMBER_ILLEGAL", Rejected("isv.MOBILE_NUMBER_ILLEGAL", invalid_number=True)),
        (200, "isv.CUSTOMER_REFUSED", Rejected("isv.CUSTOMER_REFUSED", blacklisted=True)),
        (200, "isv.BLACK_KEY_CONTROL_LIMIT", Rejected("isv.BLACK_KEY_CONTROL_LIMIT")),
        (200, "isv.SMS_TEMPLATE_ILLEGAL", Rejected("isv.SMS_TEMPLATE_ILLEGAL")),
        (400, "isv.SMS_SIGNATURE_ILLEGAL", Rejected("isv.SMS_SIGNATURE_ILLEGAL")),
        (200, "isv.SOMETHING_NEW", Rejected("isv.SOMETHING_NEW")),
        (200, "isv.BUSINESS_LIMIT_CONTROL", TryLater("isv.BUSINESS_LIMIT_CONTROL")),
        (200, "isv.DAY_LIMIT_CONTROL", TryLater("isv.DAY_LIMIT_CONTROL")),
        (400, "Throttling.User", TryLater("Throttling.User")),
        (400, "Throttling", TryLater("Throttling")),
        (200, "isv.MONTH_LIMIT_CONTROL", Barred("isv.MONTH_LIMIT_CONTROL")),
        (200, "isv.AMOUNT_NOT_ENOUGH", Barred("isv.AMOUNT_NOT_ENOUGH")),
        (200, "isv.OUT_OF_SERVICE", Barred("isv.OUT_OF_SERVICE")),
        (200, "isp.RAM_PERMISSION_DENY", Barred("isp.RAM_PERMISSION_DENY")),
        (404, "InvalidAccessKeyId.NotFound", Barred("InvalidAccessKeyId.NotFound")),
        (400, "SignatureDoesNotMatch", Barred("SignatureDoesNotMatch")),
        (400, "InvalidTimeStamp.Expired", Barred("InvalidTimeStamp.Expired")),
        (400, "Forbidden.RAM", Barred("Forbidden.RAM")),
        (200, "QPS_LIMIT_CONTROL", TryLater("QPS_LIMIT_CONTROL")),
        (400, "SignatureNonceUsed", Unknown("SignatureNonceUsed")),
        (200, "isp.SYSTEM_ERROR", Unknown("isp.SYSTEM_ERROR")),
        (400, "isp.GATEWAY_ERROR", Unknown("isp.GATEWAY_ERROR")),
        (200, "SomethingNew", Unknown("SomethingNew")),
        (400, "SomethingNew", Rejected("SomethingNew")),
        (403, "SomethingNew", Barred("SomethingNew")),
        (429, "SomethingNew", TryLater("SomethingNew")),
        (400, "OK", Unknown("OK")),
        (500, "isv.MOBILE_NUMBER_ILLEGAL", Unknown("isv.MOBILE_NUMBER_ILLEGAL")),
        (503, "Throttling.User", Unknown("Throttling.User")),
        (503, "OK", Unknown("OK")),
        (302, "OK", Unknown("OK")),
        (200, "13800000001 王小虎", Unknown("unreadable code")),
        (200, "P13800000001", Unknown("unreadable code")),
    ],
)
async def test_a_code_says_what_became_of_a_message(status: int, code: str, expected: Answer) -> None:
    assert exact(await answer_to((status, {"Code": code, "Message": "m", "RequestId": "r"}))) == exact(expected)


@pytest.mark.parametrize(
    "code",
    [
        "isv.BILLING_DEDUCTION_ERROR",
        "isv.PRODUCT_UN_SUBSCRIPT",
        "isv.PRODUCT_UNSUBSCRIBE",
        "isv.ACCOUNT_NOT_EXISTS",
        "isv.ACCOUNT_ABNORMAL",
        "isv.SECURITY_FROZEN_ACCOUNT",
        "isv.DENY_IP_RANGE",
        "IncompleteSignature",
        "MissingAccessKeyId",
        "NoPermission",
        "InvalidSecurityToken.Expired",
    ],
)
async def test_what_is_wrong_for_every_message_bars_the_gateway(code: str) -> None:
    assert exact(await answer_to((400, {"Code": code}))) == exact(Barred(code))


async def test_throttling_says_how_long_to_wait_where_the_gateway_does() -> None:
    answer = (400, {"Code": "Throttling.User"}, {"Retry-After": "7"})
    assert exact(await answer_to(answer)) == exact(TryLater("Throttling.User", after_s=7.0))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, {"Code": "OK"}), Accepted(None)),
        ((200, b"<html>busy</html>"), Unknown("unreadable answer")),
        ((200, b""), Unknown("unreadable answer")),
        ((200, b'{"Code": null}'), Unknown("unreadable answer")),
        ((200, b"\xff\xfe"), Unknown("unreadable answer")),
        ((200, b"[" * 60_000), Unknown("unreadable answer")),
        ((200, b'{"Code":"OK","BizId":"' + b"9" * 80_000), Unknown("unreadable answer")),
        ((400, b"bad"), Rejected("http 400")),
        ((401, b""), Barred("http 401")),
        ((429, b"", {"Retry-After": "3"}), TryLater("http 429", after_s=3.0)),
        ((500, b"bad"), Unknown("http 500")),
        ((302, b"", {"Location": "/elsewhere"}), Unknown("http 302")),
        (RESET, Unknown("no readable answer")),
    ],
)
async def test_an_answer_that_is_none_is_judged_by_its_status(answer: Any, expected: Answer) -> None:
    assert exact(await answer_to(answer)) == exact(expected)


async def test_a_message_may_have_left_when_no_answer_comes_in_time() -> None:
    assert exact(await answer_to(HANG, timeout_s=0.3)) == exact(Unknown("timed out"))


async def test_a_message_did_not_leave_when_the_connection_is_refused() -> None:
    async with cloud((200, b"")) as server:
        closed = server.url
    gateway = AliyunGateway("ali", settings(closed))
    assert exact(await gateway.send(message())) == exact(TryLater("no connection", refused_connection=True))
    await gateway.close()


def details(*records: dict[str, Any], code: str = "OK") -> tuple[int, dict[str, Any]]:
    return 200, {"Code": code, "SmsSendDetailDTOs": {"SmsSendDetailDTO": list(records)}, "TotalCount": len(records)}


def record(status: int | str, out_id: str = "c-1", **more: Any) -> dict[str, Any]:
    return {"SendStatus": status, "OutId": out_id, "PhoneNum": "13800000001", "Content": "你好", **more}


ARRIVED = record(3, ErrCode="DELIVERED", ReceiveDate="2026-08-30 12:00:05")
EXPECTED = Receipt(Fate.DELIVERED, None, "c-1", "+8613800000001", "DELIVERED", NOON + 5_000)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (details(ARRIVED), EXPECTED),
        (details(record("3", ErrCode="DELIVERED", ReceiveDate="2026-08-30 12:00:05")), EXPECTED),
        (details(record(1)), EXPECTED._replace(fate=Fate.ON_ITS_WAY, code="", at=None)),
        (
            details(record(2, ErrCode="MOBILE_IN_BLACK")),
            EXPECTED._replace(fate=Fate.UNDELIVERED, code="MOBILE_IN_BLACK", at=None, blacklisted=True),
        ),
        (
            details(record(2, ErrCode="INVALID_NUMBER")),
            EXPECTED._replace(fate=Fate.UNDELIVERED, code="INVALID_NUMBER", at=None, invalid_number=True),
        ),
        (
            details(record(2, ErrCode="MOBILE_NOT_ON_SERVICE")),
            EXPECTED._replace(fate=Fate.UNDELIVERED, code="MOBILE_NOT_ON_SERVICE", at=None),
        ),
        (details(record(3, ErrCode="电信 13800000001")), EXPECTED._replace(code="", at=None)),
        (details(record(2), record(1), ARRIVED, record(1)), EXPECTED),
        (details(record(2), record(1)), EXPECTED._replace(fate=Fate.ON_ITS_WAY, code="", at=None)),
        (details(record(3, out_id="c-2")), None),
        (details(record(7)), None),
        (details(), None),
        ((200, {"Code": "OK"}), None),
        (details(ARRIVED, code="isv.BUSINESS_LIMIT_CONTROL"), None),
        ((500, details(ARRIVED)[1]), None),
        ((200, b"<html>"), None),
        (RESET, None),
    ],
)
async def test_the_records_of_its_day_tell_what_became_of_a_message(answer: Any, expected: Receipt | None) -> None:
    async with sending(answer) as (gateway, server):
        assert await gateway.settle(SOUGHT) == expected
        asked = [dict(parse_qsl(urlsplit(asked.path).query)) for asked in server.asked]
    assert asked == [{"CurrentPage": "1", "PageSize": "20", "PhoneNumber": "13800000001", "SendDate": "20260830"}]


@pytest.mark.parametrize(
    ("sent_at", "days"),
    [
        (MIDNIGHT - 1_000, ["20260829", "20260830"]),
        (MIDNIGHT + 1_000, ["20260830", "20260829"]),
        (MIDNIGHT + 300_000, ["20260830"]),
        (NOON, ["20260830"]),
    ],
)
async def test_a_message_near_midnight_is_sought_on_both_days(sent_at: int, days: list[str]) -> None:
    async with sending(details()) as (gateway, server):
        assert await gateway.settle(SOUGHT._replace(sent_at=sent_at)) is None
        assert [dict(parse_qsl(urlsplit(asked.path).query))["SendDate"] for asked in server.asked] == days


async def test_a_message_is_found_on_a_later_page() -> None:
    full = details(*[record(3, out_id=f"other-{number}") for number in range(20)])
    async with sending(full, details(ARRIVED)) as (gateway, server):
        assert await gateway.settle(SOUGHT) == EXPECTED
        assert [dict(parse_qsl(urlsplit(asked.path).query))["CurrentPage"] for asked in server.asked] == ["1", "2"]


async def test_a_phone_with_endless_records_ends() -> None:
    full = details(*[record(3, out_id=f"other-{number}") for number in range(20)])
    async with sending(full) as (gateway, server):
        assert await gateway.settle(SOUGHT) is None
        assert len(server.asked) == 5


def test_a_gateway_hears_and_settles() -> None:
    gateway = settings().open("ali")
    assert isinstance(gateway, Hears)
    assert isinstance(gateway, Settles)


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": "http://dysmsapi.aliyuncs.com"},
        {"endpoint": "https://dysmsapi.aliyuncs.com/path"},
        {"endpoint": "https://user:pass@dysmsapi.aliyuncs.com"},
        {"access_key_id": "id\r\nX-Evil: 1"},
        {"access_key_secret": ""},
        {"sign_name": ""},
        {"signname": "x"},
    ],
)
def test_settings_that_could_do_harm_are_turned_away(changes: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        settings(**changes)


@pytest.mark.parametrize(
    ("written", "endpoint"),
    [
        ("https://sms.example:443/", "https://sms.example"),
        ("https://sms.example:80", "https://sms.example:80"),
        ("https://sms.example:8443", "https://sms.example:8443"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://localhost:443", "http://localhost:443"),
    ],
)
def test_the_usual_port_is_left_out_as_in_a_request(written: str, endpoint: str) -> None:
    assert settings(written).endpoint == endpoint


def test_messages_go_to_aliyun_unless_another_place_is_named() -> None:
    given = {"type": "aliyun", "access_key_id": "i", "access_key_secret": "s", "sign_name": "n"}
    assert AliyunSettings.model_validate(given).endpoint == "https://dysmsapi.aliyuncs.com"


def test_a_secret_is_never_shown() -> None:
    shown = settings(secret="hush")  # noqa: S106  no secret of anybody
    assert "testsecret" not in repr(shown) + str(shown.model_dump(mode="json"))
    assert "hush" not in repr(shown) + str(shown.model_dump(mode="json"))


def hearing(**changes: Any) -> AliyunGateway:
    return settings(**{"secret": "hush"} | changes).open("ali")


def told(kind: str, body: Any) -> Heard | Refused:
    gateway = hearing()
    return gateway.hear(call(kind, body, call_mac("hush", "ali", kind)))


REPORT = {
    "phone_number": "13800000001", "send_time": "2026-08-30 12:00:00", "report_time": "2026-08-30 12:00:05",
    "success": True, "err_code": "DELIVERED", "err_msg": "用户接收成功", "sms_size": "1", "biz_id": "9^0", "out_id": "c-1",
}  # fmt: skip
HEARD = Receipt(Fate.DELIVERED, "9^0", "c-1", "+8613800000001", "DELIVERED", NOON + 5_000)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, HEARD),
        ({"new_field": {"a": [1]}}, HEARD),
        ({"success": "true", "phone_number": 13800000001}, HEARD),
        ({"report_time": "20260830120005"}, HEARD),
        ({"phone_number": "+8613800000001"}, HEARD),
        ({"phone_number": "008613800000001"}, HEARD),
        (
            {"out_id": None, "report_time": "soon", "phone_number": "x"},
            HEARD._replace(command=None, at=None, phone=None),
        ),
        (
            {"biz_id": "9" * 128, "out_id": "c" * 128},
            HEARD._replace(provider_id="9" * 128, command="c" * 128),
        ),
        ({"biz_id": "9", "out_id": "c" * 129}, HEARD._replace(provider_id="9", command=None)),
        ({"out_id": "", "err_code": None}, HEARD._replace(command=None, code="")),
        ({"success": False, "err_code": "MK:0001"}, HEARD._replace(fate=Fate.UNDELIVERED, code="MK:0001")),
        (
            {"success": False, "err_code": "INVALID_NUMBER"},
            HEARD._replace(fate=Fate.UNDELIVERED, code="INVALID_NUMBER", invalid_number=True),
        ),
        (
            {"success": False, "err_code": "USER_REJECT"},
            HEARD._replace(fate=Fate.UNDELIVERED, code="USER_REJECT", blacklisted=True),
        ),
        ({"success": True, "err_code": "USER_REJECT"}, HEARD._replace(code="USER_REJECT")),
    ],
)
def test_a_receipt_is_heard(changes: dict[str, Any], expected: Receipt) -> None:
    heard = told("receipts", [REPORT | changes])
    assert isinstance(heard, Heard)
    assert heard.receipts == (expected,)
    assert json.loads(heard.answer)["code"] == 0
    assert heard.content_type == "application/json"


UP = {"phone_number": "13800000001", "content": "退订", "send_time": "2026-08-30 12:00:05", "dest_code": "1234"}


@pytest.mark.parametrize("number", ["1234567890", 1234567890])
def test_a_reply_is_heard(number: str | int) -> None:
    heard = told("replies", [UP | {"sequence_id": number, "sign_name": "三只松鼠"}])
    assert isinstance(heard, Heard)
    assert heard.replies == (Reply("+8613800000001", "退订", "1234567890", "1234", NOON + 5_000),)
    assert json.loads(heard.answer)["code"] == 0


def test_many_receipts_are_heard_in_their_order() -> None:
    with capture_logs() as logs:
        heard = told("receipts", [REPORT | {"biz_id": f"9^{number}"} for number in range(300)])
    assert logs == []
    assert isinstance(heard, Heard)
    assert [receipt.provider_id for receipt in heard.receipts] == [f"9^{number}" for number in range(300)]


def test_a_receipt_that_cannot_be_read_does_not_take_the_others_with_it() -> None:
    poison = [{"phone_number": "13800000009"}, 7, None, [], REPORT | {"biz_id": ""}, REPORT | {"biz_id": "9" * 200}]
    with capture_logs() as logs:
        heard = told("receipts", [*poison, REPORT])
    assert isinstance(heard, Heard)
    assert heard.receipts == (HEARD,)
    assert [(line["gateway"], line["reports"]) for line in logs] == [("ali", 6)]
    assert "138" not in str(logs)


def test_a_reply_of_nobody_is_left_out() -> None:
    heard = told("replies", [UP | {"phone_number": "=cmd|1"}, UP])
    assert isinstance(heard, Heard)
    assert [reply.phone for reply in heard.replies] == ["+8613800000001"]


@pytest.mark.parametrize("body", [b"hello", b"\xff", b"[" * 100_000, b"[1,", b'"text" 1'])
def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    refused = told("receipts", body)
    assert isinstance(refused, Refused)
    assert refused.status == 400


def test_more_receipts_than_a_call_may_have_are_refused() -> None:
    assert told("receipts", b"[" + b"{}," * 10_000 + b"{}]") == Refused(400, "more reports than a call may have")
    assert isinstance(told("receipts", b"[" + b"{}," * 9_999 + b"{}]"), Heard)


def test_a_reply_is_cut_where_no_phone_writes_more() -> None:
    heard = told("replies", [UP | {"content": "退" * 2_001}])
    assert isinstance(heard, Heard)
    assert [len(reply.text) for reply in heard.replies] == [2_000]


@pytest.mark.parametrize(
    ("kind", "mac_of", "changes", "status"),
    [
        ("receipts", ("hush", "other", "receipts"), {}, 403),
        ("receipts", ("hush", "ali", "replies"), {}, 403),
        ("receipts", ("wrong", "ali", "receipts"), {}, 403),
        ("receipts", ("hush", "ali", "receipts"), {"query": {}}, 403),
        ("receipts", ("hush", "ali", "receipts"), {"query": {"mac": ""}}, 403),
        ("receipts", ("hush", "ali", "receipts"), {"query": {"mac": "\udcff王"}}, 403),
        ("receipts", ("hush", "ali", "receipts"), {"method": "GET"}, 400),
        ("opt-ins", ("hush", "ali", "opt-ins"), {}, 400),
    ],
)
def test_a_call_to_another_address_is_refused(
    kind: str, mac_of: tuple[str, str, str], changes: dict[str, Any], status: int
) -> None:
    mac = call_mac(*mac_of)
    refused = hearing().hear(call(kind, [REPORT], mac, **changes))
    assert isinstance(refused, Refused)
    assert refused.status == status


def test_without_a_secret_nothing_is_heard() -> None:
    gateway = settings().open("ali")
    assert not gateway.receipts
    assert hearing().receipts
    refused = gateway.hear(call("receipts", [REPORT], call_mac("", "ali", "receipts")))
    assert isinstance(refused, Refused)
    assert refused.status == 403
