from __future__ import annotations

import base64
import hashlib
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from cloud_server import FAR, HANG, RESET, CloudServer, Taken, call, cloud, exact, golden, message
from pydantic import ValidationError
from structlog.testing import capture_logs

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
    TryLater,
    Unknown,
)
from triggers.dispatch.gateways.twilio import TwilioGateway, TwilioSettings, sign

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from triggers.dispatch.gateway import Answer, Call

GOLDEN = golden("twilio")
CASES = {case["name"]: case for case in GOLDEN["cases"]}
CALLS = {one["name"]: one for one in GOLDEN["calls"]}
ACCOUNT, KEY, SERVICE, SM = (two + "0" * 31 + "1" for two in ("AC", "SK", "MG", "SM"))
TOKEN = {"auth_token": "testtoken"}
SECRET = {"secret": "hush"}
FROM = {"from": "+15005550006"}
BY_KEY = {"api_key": "SK" + "0" * 31 + "2", "api_secret": "testkeysecret"}
ADDRESS = "https://shop.example/callbacks/twilio/receipts?command=c-1&mac=0a1b"
SOUGHT = Sought("c-1", SM, "+14155550101", 1)


def settings(endpoint: str = "https://api.twilio.com", *parts: dict[str, Any]) -> TwilioSettings:
    given: dict[str, Any] = {"type": "twilio", "account_sid": ACCOUNT, "endpoint": endpoint}
    for part in parts or (TOKEN, FROM):
        given |= part
    return TwilioSettings.model_validate(given)


@asynccontextmanager
async def sending(*answers: Any, **changes: Any) -> AsyncIterator[tuple[TwilioGateway, CloudServer]]:
    async with cloud(*answers) as server:
        gateway = TwilioGateway("twi", settings(server.url, TOKEN, FROM, changes))
        try:
            yield gateway, server
        finally:
            await gateway.close()


async def answer_to(*answers: Any, **changes: Any) -> Answer:
    async with sending(*answers, **changes) as (gateway, server):
        answer = await gateway.send(message("+14155550101"))
        assert len(server.asked) == 1
    return answer


@pytest.mark.parametrize("name", CASES)
async def test_a_request_is_the_one_that_the_official_sdk_sends(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    given = case["given"]
    by_key = "Basic " + base64.b64encode(f"{BY_KEY['api_key']}:{BY_KEY['api_secret']}".encode()).decode()
    key = BY_KEY if case["request"]["headers"]["authorization"] == by_key else {}
    sender = {"service": given["service"]} if "service" in given else FROM
    gateway = TwilioGateway(
        "twi", settings("https://api.twilio.com", TOKEN, sender, key), now=lambda: case["at"] * 1_000
    )
    taken = Taken()
    monkeypatch.setattr(gateway, "_http", taken)
    if "sid" in given:
        await gateway.settle(Sought("c-1", given["sid"], "+14155550101", 1))
    else:
        until = (case["at"] + given["validity_s"]) * 1_000 + 999
        callback = given.get("callback")
        await gateway.send(message(given["phone"], text=given["text"], valid_until=until, callback=callback))
    assert taken.requests == [case["request"]]


async def test_a_text_goes_over_the_wire_as_it_is() -> None:
    text = "A+b & c=1 %7E 王~*'\"\n🐿&To=+13900000009"
    async with sending((201, {"sid": SM, "status": "queued", "num_segments": "2"})) as (gateway, server):
        assert exact(await gateway.send(message("+14155550101", text=text))) == exact(
            Accepted(SM, parts=2, code="queued")
        )
        (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json")
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    fields = parse_qsl(asked.body.decode())
    assert fields == [("To", "+14155550101"), ("ValidityPeriod", "36000"), ("From", "+15005550006"), ("Body", text)]


@pytest.mark.parametrize(
    ("left_ms", "validity_s"),
    [(1_000, 1), (1_999, 1), (60_000, 60), (36_000_000, 36_000), (36_001_000, 36_000)],
)
async def test_the_validity_never_ends_after_the_window(left_ms: int, validity_s: int) -> None:
    async with cloud((201, {"sid": SM})) as server:
        gateway = TwilioGateway("twi", settings(server.url), now=lambda: FAR - left_ms)
        await gateway.send(message(valid_until=FAR))
        await gateway.close()
    assert dict(parse_qsl(server.asked[0].body.decode()))["ValidityPeriod"] == str(validity_s)


@pytest.mark.parametrize("left_ms", [999, 0, -5_000])
async def test_a_message_whose_window_is_over_does_not_leave(left_ms: int) -> None:
    async with cloud((201, {"sid": SM})) as server:
        gateway = TwilioGateway("twi", settings(server.url), now=lambda: FAR - left_ms)
        assert exact(await gateway.send(message(valid_until=FAR))) == exact(TryLater("validity over"))
        await gateway.close()
    assert server.asked == []


CODES = [
    (21610, Rejected("21610", blacklisted=True)),
    *((code, Rejected(str(code), invalid_number=True)) for code in (21211, 21614, 21217, 21401, 21421, 21635)),
    *((code, Rejected(str(code))) for code in (21612, 21408, 21608, 21617, 99999)),
    *((code, TryLater(str(code))) for code in (20429, 429, 14107, 21611, 30001, 30022, 60728, 63017, 63038)),
    *((code, Barred(str(code))) for code in (21212, 21601, 21603, 21606, 21659, 21660, 21661, 21701, 21703, 21705)),
    *((code, Barred(str(code))) for code in (20003, 20005, 20006, 20008, 10001, 20404, 30002)),
]


@pytest.mark.parametrize(("code", "expected"), CODES)
async def test_a_code_says_what_became_of_a_message(code: int, expected: Answer) -> None:
    assert exact(await answer_to((400, {"code": code, "message": "+14155550101", "status": 400}))) == exact(expected)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((201, {"sid": SM, "status": "accepted", "num_segments": "0"}), Accepted(SM, code="accepted")),
        ((200, {"sid": SM}), Accepted(SM)),
        ((201, {"sid": SM, "status": "failed", "error_code": 21610}), Rejected("21610", blacklisted=True)),
        ((201, {"sid": SM, "status": "failed", "error_code": 30034}), Rejected("30034")),
        ((201, {"sid": SM, "status": "canceled", "error_code": 21211}), Rejected("21211", invalid_number=True)),
        ((201, {"sid": SM, "status": "failed", "error_code": None}), Accepted(SM, code="failed")),
        ((201, {"sid": SM, "status": "queued", "error_code": 21610}), Accepted(SM, code="queued")),
        ((201, {"status": "queued"}), Unknown("unreadable answer")),
        ((201, {"sid": ""}), Unknown("unreadable answer")),
        ((201, {"sid": "S" * 128}), Accepted("S" * 128)),
        ((201, {"sid": "S"}), Accepted("S")),
        ((201, {"sid": "S" * 129}), Unknown("unreadable answer")),
        ((201, b"<html>"), Unknown("unreadable answer")),
        ((201, b""), Unknown("unreadable answer")),
        ((201, b"[" * 60_000), Unknown("unreadable answer")),
        ((401, {"code": 20003}), Barred("20003")),
        ((401, b""), Barred("http 401")),
        ((404, {"code": 20404}), Barred("20404")),
        ((400, b"bad"), Rejected("http 400")),
        ((403, {"code": 99999}), Barred("99999")),
        ((429, {"code": 20429}, {"Retry-After": "5"}), TryLater("20429", after_s=5.0)),
        ((429, b"", {"Retry-After": "5"}), TryLater("http 429", after_s=5.0)),
        ((500, {"code": 20429}), Unknown("http 500")),
        ((503, {"code": 21211}), Unknown("http 503")),
        ((307, b"", {"Location": "/x"}), Unknown("http 307")),
        (RESET, Unknown("no readable answer")),
    ],
)
async def test_an_answer_is_read_or_judged_by_its_status(answer: Any, expected: Answer) -> None:
    assert exact(await answer_to(answer)) == exact(expected)


async def test_a_message_may_have_left_when_no_answer_comes_in_time() -> None:
    assert exact(await answer_to(HANG, timeout_s=0.3)) == exact(Unknown("timed out"))


async def test_a_message_did_not_leave_when_the_connection_is_refused() -> None:
    async with cloud((200, b"")) as server:
        closed = server.url
    gateway = TwilioGateway("twi", settings(closed))
    assert exact(await gateway.send(message())) == exact(TryLater("no connection", refused_connection=True))
    await gateway.close()


STATES = [
    *((state, Fate.DELIVERED) for state in ("delivered", "read")),
    *((state, Fate.UNDELIVERED) for state in ("undelivered", "failed", "canceled")),
    *((state, Fate.ON_ITS_WAY) for state in ("accepted", "scheduled", "queued", "sending", "sent")),
]


def state(status: str = "delivered", **more: Any) -> dict[str, Any]:
    return {"sid": SM, "status": status, "to": "+14155550101", "error_code": None, "num_segments": "1"} | more


@pytest.mark.parametrize(("status", "fate"), STATES)
async def test_a_message_with_an_id_is_asked_after(status: str, fate: Fate) -> None:
    async with sending((200, state(status))) as (gateway, server):
        assert await gateway.settle(SOUGHT) == Receipt(fate, SM, "c-1", "+14155550101")
        (asked,) = server.asked
    assert (asked.method, asked.path) == ("GET", f"/2010-04-01/Accounts/{ACCOUNT}/Messages/{SM}.json")


@pytest.mark.parametrize(
    "answer",
    [
        (200, state("partially_delivered")),
        (200, state(sid="SM2")),
        (200, b"<html>"),
        (404, {"code": 20404}),
        (500, state()),
        RESET,
    ],
)
async def test_what_is_not_told_is_not_known(answer: Any) -> None:
    async with sending(answer) as (gateway, server):
        assert await gateway.settle(SOUGHT) is None
        assert len(server.asked) == 1


@pytest.mark.parametrize("number", [None, "", "../../Accounts", "SM1?x=1", "退1"])
async def test_nothing_is_asked_of_a_message_without_an_id(number: str | None) -> None:
    async with sending((200, state())) as (gateway, server):
        assert await gateway.settle(SOUGHT._replace(provider_id=number)) is None
        assert server.asked == []


async def test_a_failure_says_why() -> None:
    answers = ((200, state("undelivered", error_code=code)) for code in (30005, "30003", 21610))
    async with sending(*answers) as (gateway, _):
        lost = Receipt(Fate.UNDELIVERED, SM, "c-1", "+14155550101")
        assert await gateway.settle(SOUGHT) == lost._replace(code="30005", invalid_number=True)
        assert await gateway.settle(SOUGHT) == lost._replace(code="30003")
        assert await gateway.settle(SOUGHT) == lost._replace(code="21610", blacklisted=True)


def signed(kind: str, fields: dict[str, str] | list[tuple[str, str]], token: str = "testtoken", **changes: Any) -> Call:  # noqa: S107  nobody's
    pairs = list(fields.items()) if isinstance(fields, dict) else fields
    url = changes.pop("url", ADDRESS)
    signature = sign(token, changes.pop("signed_url", url), changes.pop("signed_fields", pairs)).decode()
    given = {
        "url": url,
        "query": dict(parse_qsl(urlsplit(url).query)),
        "headers": {
            "content-type": "application/x-www-form-urlencoded; charset=utf-8",
            "x-twilio-signature": signature,
        },
    }
    return call(kind, changes.pop("body", urlencode(pairs).encode()), **given | changes)


def hear(one: Call, *parts: dict[str, Any]) -> Heard | Refused:
    return settings("https://api.twilio.com", *(parts or (TOKEN, FROM))).open("twi").hear(one)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_authentic_as_the_official_sdk_sees_it(name: str) -> None:
    one = CALLS[name]
    form = "form" in one
    body = urlencode(one["form"]).encode() if form else one["body"].encode()
    kind = "application/x-www-form-urlencoded" if form else "application/json"
    headers = {"content-type": kind, "x-twilio-signature": one["signature"]}
    query = dict(parse_qsl(urlsplit(one["url"]).query))
    said = one["form"] if form else json.loads(one["body"])
    kind = "replies" if "Body" in said else "receipts"
    heard = hear(call(kind, body, url=one["url"], query=query, headers=headers))
    assert isinstance(heard, Heard)
    if kind == "receipts":
        fate = {"sent": Fate.ON_ITS_WAY, "delivered": Fate.DELIVERED}[said["MessageStatus"]]
        assert heard.receipts == (Receipt(fate, "SM1", "c-1", said.get("To")),)
    else:
        assert heard.replies == (Reply("+8613800000001", "退订 + & = % ~ 🐿️ ", "SM2", "+15005550006"),)
    other = call(kind, body + b" ", url=one["url"], query=query, headers=headers)
    assert isinstance(hear(other), Refused)


@pytest.mark.parametrize(("status", "fate"), STATES)
def test_a_status_callback_is_heard(status: str, fate: Fate) -> None:
    fields = {"MessageSid": SM, "MessageStatus": status, "To": "+14155550101", "ErrorCode": ""}
    assert hear(signed("receipts", fields)) == Heard((Receipt(fate, SM, "c-1", "+14155550101"),))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"ErrorCode": "30006"}, Receipt(Fate.UNDELIVERED, SM, "c-1", None, "30006", invalid_number=True)),
        ({"ErrorCode": "21610"}, Receipt(Fate.UNDELIVERED, SM, "c-1", None, "21610", blacklisted=True)),
        ({"ErrorCode": "+14155550101"}, Receipt(Fate.UNDELIVERED, SM, "c-1", None)),
        ({"ErrorCode": "9" * 5_000}, Receipt(Fate.UNDELIVERED, SM, "c-1", None)),
        ({"ErrorCode": "14155550101"}, Receipt(Fate.UNDELIVERED, SM, "c-1", None)),
    ],
)
def test_a_status_callback_says_why(fields: dict[str, str], expected: Receipt) -> None:
    heard = hear(signed("receipts", {"MessageSid": SM, "MessageStatus": "failed"} | fields))
    assert heard == Heard((expected,))


def test_the_old_names_of_a_status_are_understood() -> None:
    heard = hear(signed("receipts", {"SmsSid": SM, "SmsStatus": "delivered"}))
    assert heard == Heard((Receipt(Fate.DELIVERED, SM, "c-1", None),))


@pytest.mark.parametrize("number", ["S", "S" * 128])
def test_an_id_may_be_short_or_long(number: str) -> None:
    heard = hear(signed("receipts", {"MessageSid": number, "MessageStatus": "delivered"}))
    assert heard == Heard((Receipt(Fate.DELIVERED, number, "c-1", None),))


def test_a_receipt_at_an_address_without_a_command_names_the_message_by_its_id() -> None:
    heard = hear(signed("receipts", {"MessageSid": SM, "MessageStatus": "sent"}, url="https://shop.example/r"))
    assert heard == Heard((Receipt(Fate.ON_ITS_WAY, SM, None, None),))


def test_a_reply_is_heard_and_nothing_is_said_back() -> None:
    heard = hear(signed("replies", {"MessageSid": SM, "From": "+14155550101", "To": "+15005550006", "Body": "Stop!"}))
    assert isinstance(heard, Heard)
    assert heard.replies == (Reply("+14155550101", "Stop!", SM, "+15005550006"),)
    assert heard.content_type == "text/xml"
    assert heard.answer.endswith(b"<Response></Response>")


@pytest.mark.parametrize(("kind", "text"), [("STOP", "STOP"), ("START", "bye"), ("HELP", "bye"), ("", "bye")])
def test_a_stop_word_of_the_shop_is_heard_as_stop(kind: str, text: str) -> None:
    heard = hear(signed("replies", {"MessageSid": SM, "From": "+14155550101", "Body": "bye", "OptOutType": kind}))
    assert isinstance(heard, Heard)
    assert [reply.text for reply in heard.replies] == [text]


def test_a_field_that_comes_twice_is_signed_with_each_of_its_values() -> None:
    fields = [("MessageSid", SM), ("MessageStatus", "sent"), ("MediaUrl", "b"), ("MediaUrl", "a"), ("MediaUrl", "a")]
    values = f"{ADDRESS}MediaUrlaMediaUrlbMessageSid{SM}MessageStatussent"
    assert sign("testtoken", ADDRESS, fields) == sign("testtoken", values, [])
    assert isinstance(hear(signed("receipts", fields)), Heard)


RECEIPT = {"MessageSid": SM, "MessageStatus": "delivered"}


@pytest.mark.parametrize(
    ("one", "status"),
    [
        (signed("receipts", RECEIPT, token="other"), 403),  # noqa: S106  nobody's
        (signed("receipts", RECEIPT, signed_url=ADDRESS.replace("c-1", "c-2")), 403),
        (signed("receipts", RECEIPT, signed_fields=[("MessageSid", SM), ("MessageStatus", "failed")]), 403),
        (signed("receipts", RECEIPT, signed_fields=[*RECEIPT.items(), ("x", "")]), 403),
        (signed("receipts", RECEIPT, headers={"content-type": "application/x-www-form-urlencoded"}), 403),
        (signed("receipts", RECEIPT, headers={"x-twilio-signature": "\udcff王"}), 403),
        (signed("receipts", RECEIPT, method="GET", body=b"", headers={"x-twilio-signature": "x"}), 403),
        (signed("receipts", {"MessageSid": SM, "MessageStatus": "exploded"}), 400),
        (signed("receipts", {"MessageStatus": "delivered"}), 400),
        (signed("receipts", {"MessageSid": "S" * 200, "MessageStatus": "delivered"}), 400),
        (signed("receipts", {str(number): "x" for number in range(300)}), 400),
        (signed("replies", {"MessageSid": SM, "Body": "hi"}), 400),
        (signed("opt-ins", RECEIPT), 400),
        (signed("receipts", RECEIPT, body=b"\xff\xfe"), 400),
    ],
)
def test_a_call_that_is_not_authentic_or_says_nothing_is_refused(one: Call, status: int) -> None:
    with capture_logs() as logs:
        refused = hear(one)
    assert isinstance(refused, Refused)
    assert refused.status == status
    assert SM not in refused.why
    assert logs == []


def jsoned(body: bytes, digest: str | None = None, **changes: Any) -> Call:
    if digest is None:
        digest = hashlib.sha256(body).hexdigest()
    url = f"{ADDRESS}&bodySHA256={digest}"
    signature = sign("testtoken", url, []).decode()
    headers = {"content-type": "application/json", "x-twilio-signature": signature}
    return call("receipts", body, url=url, query=dict(parse_qsl(urlsplit(url).query)), headers=headers, **changes)


def test_a_json_body_counts_only_with_its_own_digest() -> None:
    body = json.dumps(RECEIPT | {"Number": 7, "Nothing": None}).encode()
    assert hear(jsoned(body)) == Heard((Receipt(Fate.DELIVERED, SM, "c-1", None),))
    for wrong in (jsoned(body, hashlib.sha256(b"other").hexdigest()), jsoned(body, "")):
        refused = hear(wrong)
        assert isinstance(refused, Refused)
        assert refused.status == 403
    for garbage in (b"[" * 60_000, b"{", b"\xff", b"[]", b'{"MessageSid": {}}'):
        refused = hear(jsoned(garbage))
        assert isinstance(refused, Refused)
        assert refused.status == 400


def test_half_a_character_in_a_call_is_wrong_and_no_fault() -> None:
    half = "\udcff"
    for broken in (
        signed("receipts", RECEIPT, url=ADDRESS)._replace(url=ADDRESS + half),
        jsoned(b"{}")._replace(query={"bodySHA256": half}),
    ):
        refused = hear(broken)
        assert isinstance(refused, Refused)
        assert refused.status == 403


@pytest.mark.parametrize(
    ("url", "as_signed"),
    [
        ("https://shop.example/r?a=1:2", "https://shop.example:443/r?a=1:2"),
        ("https://shop.example:8443/r", "https://shop.example/r"),
        ("https://shop.example:8443/r", "https://shop.example:8443/r"),
        ("http://127.0.0.1/r", "http://127.0.0.1:80/r"),
        ("https://[::1]/r", "https://[::1]:443/r"),
        ("https://[::1]/r", "https://[::1]/r"),
        ("https://[::1]:8443/r", "https://[::1]/r"),
    ],
)
def test_an_address_is_signed_with_its_port_or_without(url: str, as_signed: str) -> None:
    assert isinstance(hear(signed("receipts", RECEIPT, url=url, signed_url=as_signed)), Heard)


def test_an_address_with_another_port_is_another_address() -> None:
    refused = hear(signed("receipts", RECEIPT, url="https://shop.example/r", signed_url="https://shop.example:80/r"))
    assert isinstance(refused, Refused)


def test_a_form_is_never_taken_for_a_body_that_was_signed_by_its_digest() -> None:
    # The address alone was signed, with the digest of another body; the fields beside it were not.
    one = jsoned(urlencode(RECEIPT).encode())
    headers = one.headers | {"content-type": "application/x-www-form-urlencoded"}  # type: ignore[operator]
    refused = hear(one._replace(headers=headers))
    assert isinstance(refused, Refused)
    assert refused.status == 403


def test_without_the_account_s_token_nothing_is_heard() -> None:
    gateway = settings("https://api.twilio.com", BY_KEY, FROM).open("twi")
    refused = gateway.hear(signed("receipts", RECEIPT, token=""))
    assert isinstance(refused, Refused)
    assert refused.status == 403


@pytest.mark.parametrize(
    ("parts", "receipts"),
    [((TOKEN, SECRET), True), ((TOKEN, BY_KEY, SECRET), True), ((TOKEN,), False), ((BY_KEY, SECRET), False)],
)
def test_receipts_come_where_they_have_an_address_and_can_be_checked(
    parts: tuple[dict[str, Any], ...],
    receipts: bool,  # noqa: FBT001  a table of cases
) -> None:
    assert settings("https://api.twilio.com", FROM, *parts).open("twi").receipts is receipts


def test_a_gateway_hears_and_settles() -> None:
    gateway = settings().open("twi")
    assert isinstance(gateway, Hears)
    assert isinstance(gateway, Settles)


def test_messages_go_to_twilio_unless_another_place_is_named() -> None:
    usual = TwilioSettings.model_validate({"type": "twilio", "account_sid": ACCOUNT} | TOKEN | FROM)
    assert usual.endpoint == "https://api.twilio.com"


@pytest.mark.parametrize(
    "parts",
    [
        (FROM,),
        (TOKEN,),
        (TOKEN, FROM, {"service": SERVICE}),
        (FROM, {"api_key": KEY}),
        (TOKEN, FROM, {"api_secret": "x"}),
        (TOKEN, FROM, {"account_sid": "AC1"}),
        (TOKEN, FROM, {"account_sid": ACCOUNT + "\n"}),
        (TOKEN, FROM, {"account_sid": "AC" + "../" * 10 + "00"}),
        (TOKEN, FROM, {"endpoint": "http://api.twilio.com"}),
        (TOKEN, {"from": ""}),
        (TOKEN, {"from": 15005550006}),
    ],
)
def test_settings_that_are_not_complete_are_turned_away(parts: tuple[dict[str, Any], ...]) -> None:
    with pytest.raises(ValidationError):
        settings("https://api.twilio.com", *parts)


def test_a_secret_is_never_shown() -> None:
    shown = settings("https://api.twilio.com", TOKEN, FROM, BY_KEY)
    for secret in ("testtoken", "testkeysecret"):
        assert secret not in repr(shown) + str(shown.model_dump(mode="json"))
