"""The mappings of the HTTP gateway alone: what they refuse, the requests they make, how they read answers and calls."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from triggers.dispatch.gateway import (
    Accepted,
    Answer,
    Barred,
    Call,
    Fate,
    Heard,
    Outgoing,
    Receipt,
    Refused,
    Rejected,
    Reply,
    Template,
    TryLater,
    Unknown,
)
from triggers.dispatch.gateways.http_answers import AnswerModel, read_answer
from triggers.dispatch.gateways.http_calls import (
    MAX_ITEMS,
    ReceiptsModel,
    RepliesModel,
    read_receipts,
    read_replies,
    read_time,
)
from triggers.dispatch.gateways.http_request import Request, RequestModel, build, values_of
from triggers.dispatch.http import Response

NOW = 1_788_000_000_000
URL = "https://sms.example/v2/send"
CALLBACK = "https://shop.example/v1/callbacks/g/receipts?command=c1&mac=0"
HOSTILE = '"}],"to":"+1","x":[{"&to=+1#?%0d%0aSet-Cookie: a\r\nX: y {phone} {{text}} 退订😀\x00'
MESSAGE = Outgoing(
    command="c1",
    attempt=2,
    phone="+8613800001234",
    text="【三只松鼠】您好",
    klass="marketing",
    valid_until=NOW + 90 * 60_000 + 59_999,
    callback=CALLBACK,
    template=Template("SMS_1", {"name": "Li", "n": "2"}),
)


def request(told: dict[str, Any], **change: Any) -> Request:
    fields = {name: getattr(MESSAGE, name) for name in MESSAGE.__struct_fields__} | change
    return build(RequestModel.model_validate({"url": URL} | told), values_of(Outgoing(**fields), NOW))


def query(made: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(made.url).query, strict_parsing=True).items()}


GAPS = {
    "{phone}": "+8613800001234",
    "{phone_digits}": "8613800001234",
    "{text}": "【三只松鼠】您好",
    "{text_unsigned}": "您好",
    "{signature}": "三只松鼠",
    "{command}": "c1",
    "{attempt}": 2,
    "{class}": "marketing",
    "{callback}": CALLBACK,
    "{validity_min}": 90,
    "{valid_until_s}": (NOW + 90 * 60_000 + 59_999) // 1_000,
    "{coding}": 2,
    "{template}": "SMS_1",
    "{params}": {"name": "Li", "n": "2"},
    "+{phone_digits}/{attempt} {{x}}": "+8613800001234/2 {x}",
}


def test_each_gap_is_filled_with_its_value_in_a_body_of_its_kind() -> None:
    made = request({"json": {"all": [{gap: gap} for gap in GAPS], "one": 1, "yes": True}})
    assert json.loads(made.body) == {"all": [{gap: value} for gap, value in GAPS.items()], "one": 1, "yes": True}
    assert made == Request("POST", URL, {"Content-Type": "application/json"}, made.body)


def test_each_gap_is_filled_with_its_value_as_text_in_a_query_and_in_a_form() -> None:
    texts = {gap: value if isinstance(value, str) else json.dumps(value) for gap, value in GAPS.items()}
    texts["{params}"] = '{"name":"Li","n":"2"}'
    asked = request({"method": "GET", "query": {gap: gap for gap in GAPS}})
    assert (asked.method, asked.headers, asked.body) == ("GET", {}, b"")
    assert query(asked) == texts
    posted = request({"form": {gap: gap for gap in GAPS}})
    assert posted.headers == {"Content-Type": "application/x-www-form-urlencoded"}
    assert dict(parse_qsl(posted.body.decode(), strict_parsing=True)) == texts


@pytest.mark.parametrize(
    ("text", "coding"), [("hello €{}", 0), ("", 0), ("Ça va?", 0), ("ça va?", 2), ("你好", 2), ("a\tb", 2), ("`", 2)]
)
def test_the_coding_is_the_gsm_alphabet_only_where_all_of_a_text_is_in_it(text: str, coding: int) -> None:
    assert json.loads(request({"json": {"c": "{coding}"}}, text=text).body) == {"c": coding}


@pytest.mark.parametrize(("left_ms", "told"), [(60_000, 1), (119_999, 1), (120_000, 2), (10**9, 4_320)])
def test_the_validity_ends_no_later_than_the_message_may_arrive(left_ms: int, told: int) -> None:
    assert json.loads(request({"json": {"v": "{validity_min}"}}, valid_until=NOW + left_ms).body) == {"v": told}


def test_a_text_without_a_signature_is_all_text() -> None:
    made = request({"json": {"s": "{signature}", "t": "{text_unsigned}"}}, text="您好【三只松鼠】")
    assert json.loads(made.body) == {"t": "您好【三只松鼠】"}


def test_what_there_is_nothing_to_say_of_is_left_out() -> None:
    told = {"t": "{template}", "p": "{params}", "c": "{callback}", "x": "a{template}b"}
    absent: dict[str, Any] = {"template": None, "callback": None}
    assert json.loads(request({"json": told}, **absent).body) == {"x": "ab"}
    assert query(request({"method": "GET", "query": told}, **absent)) == {"x": "ab"}


def test_what_asks_for_receipts_is_sent_only_with_an_address_for_them() -> None:
    asking = {"with_callback": {"report": 1, "url": "{callback}"}}
    told = {"report": 1, "url": CALLBACK}
    assert json.loads(request({"json": {"a": "b"}} | asking).body) == {"a": "b"} | told
    assert query(request({"method": "GET", "query": {"a": "b"}} | asking)) == {"a": "b", "report": "1", "url": CALLBACK}
    form = request({"form": {"a": "b"}} | asking)
    assert dict(parse_qsl(form.body.decode())) == {"a": "b", "report": "1", "url": CALLBACK}
    assert json.loads(request({"json": {"a": "b"}} | asking, callback=None).body) == {"a": "b"}


def test_a_query_is_added_to_the_one_of_the_address() -> None:
    assert request({"url": URL + "?v=2", "query": {"to": "{phone}"}}).url == URL + "?v=2&to=%2B8613800001234"


@pytest.mark.parametrize("told", ["text", "phone", "command"])
def test_a_hostile_value_stays_inside_its_field(told: str) -> None:
    mapping = {"a": f"{{{told}}}", "b": f"<{{{told}}}>", "c": "end"}
    expected = {"a": HOSTILE, "b": f"<{HOSTILE}>", "c": "end"}
    assert json.loads(request({"json": mapping}, **{told: HOSTILE}).body) == expected
    assert query(request({"query": mapping}, **{told: HOSTILE})) == expected
    assert dict(parse_qsl(request({"form": mapping}, **{told: HOSTILE}).body.decode())) == expected


@given(st.text(max_size=60))
def test_any_text_comes_out_as_it_went_in(text: str) -> None:
    whole = text.encode(errors="replace").decode()
    told = {"t": "{text}"}
    assert json.loads(request({"json": told}, text=text).body) == {"t": whole}
    made = request({"method": "GET", "query": told}, text=text)
    assert made.url.isascii()
    assert made.url.isprintable()
    assert parse_qs(urlsplit(made.url).query, keep_blank_values=True) == {"t": [whole]}


def test_half_a_surrogate_pair_is_replaced_and_not_a_fault() -> None:
    made = request({"json": {"t": "{text}", "p": "{params}"}}, text="a\ud800", template=Template("T", {"n": "\udfff"}))
    assert json.loads(made.body) == {"t": "a?", "p": {"n": "?"}}


def test_secrets_come_from_the_environment_and_have_no_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMS_KEY", "k{phone}")
    told = {
        "headers": {"X-Key": "env:SMS_KEY", "X-Plain": "p"},
        "query": {"k": "env:SMS_KEY"},
        "json": {"k": "env:SMS_KEY"},
    }
    made = request(told)
    assert made.headers == {"X-Key": "k{phone}", "X-Plain": "p", "Content-Type": "application/json"}
    assert query(made) == json.loads(made.body) == {"k": "k{phone}"}
    model = RequestModel.model_validate({"url": URL} | told)
    assert "k{phone}" not in f"{model!r} {model} {model.model_dump()} {model.model_dump_json()}"


def test_a_header_may_bear_the_command_so_that_the_gateway_takes_each_once() -> None:
    assert request({"id_header": "Idempotency-Key"}).headers == {"Idempotency-Key": "c1"}
    assert request({"id_header": "X-Id"}, command="a b\r\nX: y").headers == {"X-Id": "a%20b%0D%0AX%3A%20y"}
    mine = {"headers": {"content-type": "application/json; charset=utf-8"}, "json": {}}
    assert request(mine).headers == {"content-type": "application/json; charset=utf-8"}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"url": "ftp://sms.example"}, "write an address"),
        ({"url": "https://user:pass@sms.example/"}, "write an address"),
        ({"url": "https://user@sms.example/"}, "write an address"),
        ({"url": "https://1:2@sms.example/"}, "write an address"),
        ({"url": "https://sms.example/#x"}, "write an address"),
        ({"url": "https://sms.example/a b"}, "write an address"),
        ({"url": "https://sms.example/ä"}, "write an address"),
        ({"url": "https://sms.example:0/"}, "write an address"),
        ({"url": "https://sms.example:65536/"}, "write an address"),
        ({"url": "https:///x"}, "write an address"),
        ({"url": "https://" + "a" * 64 + ".example/"}, "write an address"),
        ({"url": "https://sms.example\n"}, "write an address"),
        ({"url": "https://sms.example/" + "a" * 2_000}, "write an address"),
        ({"url": 5}, "write an address"),
        ({"method": "DELETE"}, "'GET', 'POST' or 'PUT'"),
        ({"method": "GET", "form": {}}, "a GET has no body"),
        ({"form": {}, "json": {}}, "not both"),
        ({"query": {"to": "{fone}"}}, "unknown gap '{fone}'; did you mean {phone}?"),
        ({"query": {"to": "{0.__class__}"}}, "unknown gap"),
        ({"query": {"to": "{phone"}}, "a brace"),
        ({"query": {"to": "phone}"}}, "a brace"),
        ({"query": {"to": ["a"]}}, "write text here"),
        ({"query": {"to": True}}, "write text here"),
        ({"query": {"to": "x" * 1_001}}, "1000 characters at most"),
        ({"query": {str(number): "x" for number in range(51)}}, "at most 50"),
        ({"query": {"k": "env:NOT_THERE"}}, "the environment has no NOT_THERE"),
        ({"json": {"a": [{"b": "{fone}"}]}}, "unknown gap"),
        ({"headers": {"X-Key": "env:NOT_THERE"}}, "the environment has no NOT_THERE"),
        ({"headers": {"X-Key": "a\r\nb"}}, "one line of plain ASCII"),
        ({"headers": {"X-Key": "ä"}}, "one line of plain ASCII"),
        ({"headers": {"X Key": "a"}}, "pattern"),
        ({"id_header": "a:b"}, "pattern"),
        ({"body": "x"}, "Extra inputs"),
    ],
)
def test_a_request_that_cannot_be_meant_is_refused_when_it_is_read(told: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as error:
        RequestModel.model_validate({"url": URL} | told)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8080/send", "https://SMS.example/a?b=%20&c=d/e;f", "https://[::1]:443/", "https://a_b.example"],
)
def test_an_address_is_taken_as_it_is_written(url: str) -> None:
    assert request({"url": url}).url == url


JSON_ANSWER = {
    "code": "status.code",
    "id": "messages.0.id",
    "parts": "messages.0.parts",
    "accepted": [0, "OK"],
    "rejected": ["BAD_TEXT"],
    "invalid_number": [21211],
    "blacklisted": ["OPTED_OUT"],
    "throttled": ["SLOW", 1.5],
    "barred": [False, "NO_MONEY"],
}


def answer(told: dict[str, Any], status: int, body: object, headers: dict[str, str] | None = None) -> Answer:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_answer(AnswerModel.model_validate(told), Response(status, headers or {}, text))


def said(code: object, **message: object) -> dict[str, object]:
    return {"status": {"code": code}, "messages": [message]}


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, said(0, id="m1", parts=2), Accepted("m1", 2, "0")),
        (202, said("OK", id=17), Accepted("17", None, "OK")),
        (200, said("0", id="m1", parts=0), Accepted("m1", None, "0")),
        (200, said(0, id="m1", parts=True), Accepted("m1", None, "0")),
        (200, said(0, id="x" * 201), Accepted(None, None, "0")),
        (200, said(0.0), Accepted(None, None, "0")),
        (200, said("BAD_TEXT"), Rejected("BAD_TEXT")),
        (400, said("21211"), Rejected("21211", invalid_number=True)),
        (403, said("OPTED_OUT"), Rejected("OPTED_OUT", blacklisted=True)),
        (200, said("SLOW"), TryLater("SLOW")),
        (400, said(1.5), TryLater("1.5")),
        (404, said(code=False), Barred("false")),
        (200, said("NO_MONEY"), Barred("NO_MONEY")),
        (200, said("NEW_WORD", id="m1"), Unknown("NEW_WORD")),
        (200, said("to +8613800001234 sent", id="m1"), Unknown("unreadable answer")),
        (200, said(8613800001234, id="m1"), Unknown("unreadable answer")),
        (200, said(None, id="m1"), Unknown("unreadable answer")),
        (200, {"status": "fine"}, Unknown("unreadable answer")),
        (200, [], Unknown("unreadable answer")),
        (200, b"", Unknown("unreadable answer")),
        (200, b"<html>", Unknown("unreadable answer")),
        (200, b"\xff\xfe", Unknown("unreadable answer")),
        (200, b'{"status":{"code":NaN}}', Unknown("unreadable answer")),
        (200, b"[" * 60_000, Unknown("unreadable answer")),
        (400, said("NEW_WORD"), Rejected("NEW_WORD")),
        (400, b"<html>", Rejected("http 400")),
        (401, said(0, id="m1"), Barred("0")),
        (429, b"", TryLater("http 429")),
        (409, said("BAD_TEXT"), Unknown("http 409")),
        (500, said("BAD_TEXT"), Unknown("http 500")),
        (503, said("SLOW"), Unknown("http 503")),
        (500, said(0, id="m1"), Unknown("http 500")),
        (302, said("BAD_TEXT"), Unknown("http 302")),
    ],
)
def test_an_answer_in_json_is_read_by_its_word_and_then_by_its_status(
    status: int, body: object, outcome: Answer
) -> None:
    assert answer(JSON_ANSWER, status, body) == outcome


def test_a_throttled_message_waits_as_long_as_the_answer_asks() -> None:
    assert answer(JSON_ANSWER, 200, said("SLOW"), {"retry-after": "9"}) == TryLater("SLOW", after_s=9)
    assert answer(JSON_ANSWER, 429, said("HM"), {"retry-after": "9"}) == TryLater("HM", after_s=9)


def test_an_id_is_an_acceptance_where_no_word_is() -> None:
    told = {"id": "sid", "code": "error", "rejected": ["E1"], "status": [201]}
    assert answer(told, 201, {"sid": "m1"}) == Accepted("m1")
    assert answer(told, 201, {"sid": None}) == Unknown("unreadable answer")
    assert answer(told, 201, {"sid": ""}) == Unknown("unreadable answer")
    assert answer(told, 200, {"sid": "m1"}) == Unknown("unreadable answer")
    assert answer(told, 201, {"sid": "m1", "error": "E1"}) == Rejected("E1")


TEXT_ANSWER = {
    "read": "text",
    "accepted": ["OK", "0:"],
    "rejected": ["ERR", "OK but no"],
    "throttled": ["ERR 7"],
    "barred": ["ERR 71"],
    "id_after": "ID:",
}


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b"OK ID: m-17 x", Accepted("m-17", None, "OK")),
        (202, b"  0: taken\n", Accepted(None, None, "0:")),
        (200, b"ERR 5", Rejected("ERR")),
        (200, b"ERR 7", TryLater("ERR 7")),
        (200, b"ERR 71", Barred("ERR 71")),
        (200, b"OK but no ID:4", Rejected("OK but no")),
        (200, b"ok", Unknown("unreadable answer")),
        (200, b"\xff", Unknown("unreadable answer")),
        (500, b"ERR", Unknown("http 500")),
        (403, b"OK", Barred("OK")),
    ],
)
def test_an_answer_in_text_is_read_by_its_longest_known_beginning(status: int, body: bytes, outcome: Answer) -> None:
    assert answer(TEXT_ANSWER, status, body) == outcome


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({}, "nothing says what an acceptance is"),
        ({"code": "c", "rejected": [1]}, "nothing says what an acceptance is"),
        ({"accepted": [0]}, "write 'code'"),
        ({"code": "c", "accepted": [0], "rejected": ["0"]}, "two places"),
        ({"code": "c", "accepted": [0, 0]}, "two places"),
        ({"read": "text", "accepted": ["OK"], "code": "c"}, "a text has no places"),
        ({"read": "text"}, "nothing says what an acceptance is"),
        ({"id": "a", "id_after": "b"}, "write 'code'"),
        ({"id": "a..b"}, "pattern"),
        ({"id": "a b"}, "pattern"),
        ({"id": "a", "status": [404]}, "less than 300"),
        ({"read": "xml", "id": "a"}, "'json' or 'text'"),
        ({"code": "c", "accepted": [[]]}, "valid string"),
        ({"code": "c", "accepted": [""]}, "at least 1"),
        ({"code": "c", "accepted": list(range(201))}, "at most 200"),
    ],
)
def test_answers_that_cannot_be_told_apart_are_refused_when_the_mapping_is_read(
    told: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError) as error:
        AnswerModel.model_validate(told)
    assert said in str(error.value)


RECEIPTS = {
    "status": "status",
    "delivered": ["DELIVRD", 0],
    "undelivered": ["UNDELIV", 5],
    "id": "id",
    "phone": "to",
    "code": "why",
    "at": "at",
    "invalid_number": ["UNDELIV 001"],
    "blacklisted": ["BLOCKED"],
    "answer": "thanks",
}


def call(body: bytes = b"", method: str = "POST", **named: str) -> Call:
    return Call("receipts", method, "https://shop.example/", named, {}, body)


def receipts(body: object = b"", command: str | None = "c1", told: dict[str, Any] | None = None, **named: str) -> Any:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    heard = read_receipts(ReceiptsModel.model_validate(RECEIPTS | (told or {})), call(text, **named), command)
    return heard.receipts if isinstance(heard, Heard) else heard.status


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"status": "DELIVRD", "id": "m1", "to": "861", "at": 1_788_000_000, "why": "0"},
         Receipt(Fate.DELIVERED, "m1", "c1", "861", "0", NOW)),
        (b"status=0&id=m1&to=%2B861&at=1788000000000&why=", Receipt(Fate.DELIVERED, "m1", "c1", "+861", "0", NOW)),
        ({"status": 5, "why": "id:17 sub:001 stat:UNDELIV err:001 text:Dear Li"},
         Receipt(Fate.UNDELIVERED, None, "c1", None, "UNDELIV 001", None, invalid_number=True)),
        ({"status": "UNDELIV", "why": "BLOCKED"}, Receipt(Fate.UNDELIVERED, None, "c1", None, "BLOCKED", blacklisted=True)),
        ({"status": "UNDELIV", "why": "NACK/0x0000000b/Invalid"},
         Receipt(Fate.UNDELIVERED, None, "c1", None, "NACK/0x0000000b")),
        ({"status": "UNDELIV", "why": "to +8613800001234"}, Receipt(Fate.UNDELIVERED, None, "c1", None, "UNDELIV")),
        ({"status": "ENROUTE"}, Receipt(Fate.ON_ITS_WAY, None, "c1", None, "ENROUTE")),
        ({"status": "8613800001234"}, Receipt(Fate.ON_ITS_WAY, None, "c1")),
        ({"status": 0, "at": 10**30}, Receipt(Fate.DELIVERED, None, "c1", None, "0")),
    ],
)  # fmt: skip
def test_a_receipt_is_read_wherever_it_stands(body: object, expected: Receipt) -> None:
    assert receipts(body) == (expected,)


def test_a_receipt_in_the_query_is_read_and_the_body_goes_first() -> None:
    assert receipts(status="0", id="m1") == (Receipt(Fate.DELIVERED, "m1", "c1", None, "0"),)
    assert receipts({"status": 5}, status="0", id="m1")[0][:2] == (Fate.UNDELIVERED, "m1")


def test_many_receipts_come_in_a_list_and_one_that_is_none_spoils_no_other() -> None:
    items: list[object] = [{"status": 0, "id": "a"}, {"status": 5, "id": "b"}, 7, {"status": 0}, {"id": "c"}, None]
    for told, body in ({"each": "."}, items), ({"each": "data.items"}, {"data": {"items": items}}):
        found = receipts(body, None, told)
        assert [(one.provider_id, one.fate) for one in found] == [("a", Fate.DELIVERED), ("b", Fate.UNDELIVERED)]
    assert receipts([], None, {"each": "."}) == ()


def test_our_id_is_taken_from_a_receipt_only_where_the_address_has_none() -> None:
    told = {"command": "ref"}
    assert receipts({"status": 0, "ref": "c7"}, None, told)[0].command == "c7"
    assert receipts({"status": 0, "ref": "c7"}, "c1", told)[0].command == "c1"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", {}),
        (b"{", {}),
        (b"[" * 100_000, {}),
        (b"[]", {}),
        (b'{"status":1e999}', {}),
        (b"status=0&" + b"&".join(b"a%d=1" % n for n in range(300)), {}),
        ({"items": {}}, {"each": "items"}),
        ({}, {"each": "items"}),
        ([1, 2], {"each": "."}),
        ([{"status": 0}] * (MAX_ITEMS + 1), {"each": "."}),
    ],
)
def test_a_call_that_says_nothing_is_refused(body: object, told: dict[str, Any]) -> None:
    assert receipts(body, "c1", told) == 400


def test_a_receipt_that_names_no_message_is_refused() -> None:
    assert receipts({"status": 0}, None) == 400
    assert receipts({"status": 0, "id": "x" * 201}, None) == 400


def test_the_gateway_is_answered_with_what_it_wants_to_read() -> None:
    heard = read_receipts(ReceiptsModel.model_validate(RECEIPTS), call(status="0"), "c1")
    assert isinstance(heard, Heard)
    assert (heard.answer, heard.content_type) == (b"thanks", "text/plain")


def replies(body: object, told: dict[str, Any], **named: str) -> Any:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    heard = read_replies(RepliesModel.model_validate({"phone": "from"} | told), call(text, **named))
    return heard.replies if isinstance(heard, Heard) else heard.status


def test_a_reply_is_read_as_text() -> None:
    told = {"text": "text", "id": "id", "to": "to", "at": "at"}
    body = {"from": "+861", "text": " 退订 ", "id": 5, "to": "10690", "at": "2026-08-29T18:40:00+08:00"}
    assert replies(body, told) == (Reply("+861", " 退订 ", "5", "10690", NOW),)
    assert replies(b"", told, **{"from": "+861", "text": "R"}) == (Reply("+861", "R"),)
    assert replies({"from": "+861", "text": ""}, told) == (Reply("+861", ""),)
    assert replies(b"from=%2B861&text=", told) == (Reply("+861", ""),)
    assert replies({"from": "+861", "text": "x" * 5_000}, told)[0].text == "x" * 4_000
    assert replies({"text": "R"}, told) == 400
    assert replies({"from": "", "text": "R"}, told) == 400
    assert replies({"from": "+861"}, told) == 400
    assert replies({"from": "+861", "text": ["R"]}, told) == 400


@pytest.mark.parametrize(
    ("charset", "text", "encoding"),
    [
        ("UTF-16BE", "退订😀", "utf-16-be"),
        ("UTF-8", "退订", "utf-8"),
        ("GSM", "é€", "utf-8"),
        ("", "R", "utf-8"),
        ("GBK", "退订", "gbk"),
        ("ISO-8859-1", "é", "latin-1"),
        ("WINDOWS-1252", "€", "cp1252"),
        ("rot13", "R", "utf-8"),
        ("zip", "R", "utf-8"),
    ],
)
def test_a_reply_is_read_from_its_bytes(charset: str, text: str, encoding: str) -> None:
    told = {"hex": "hex", "charset": "cs"}
    assert replies({"from": "1", "hex": text.encode(encoding).hex(), "cs": charset}, told) == (Reply("1", text),)


def test_bytes_that_are_none_or_in_no_charset_are_no_fault() -> None:
    told = {"hex": "hex", "charset": "cs"}
    assert replies({"from": "1", "hex": "zz"}, told) == 400
    assert replies({"from": "1", "hex": "ff"}, told)[0].text == "\ufffd"
    assert replies({"from": "1", "hex": "00", "cs": "UTF-16BE"}, told)[0].text == "\ufffd"
    assert replies({"from": "1", "hex": ""}, told)[0].text == ""


@pytest.mark.parametrize(
    ("word", "at"),
    [
        ("1788000000", NOW),
        ("1788000000000", NOW),
        ("2026-08-29T10:40:00Z", NOW),
        ("2026-08-29T18:40:00.000+08:00", NOW),
        ("2026-08-29 10:40:00", None),
        ("today", None),
        ("", None),
        ("-5", None),
        ("٣", None),
        ("9" * 41, None),
        ("9" * 18, None),
        (None, None),
    ],
)
def test_a_time_is_read_only_where_it_says_which(word: str | None, at: int | None) -> None:
    assert read_time(word) == at


def test_the_address_of_receipts_is_given_as_the_gateway_reads_it() -> None:
    plain = ReceiptsModel.model_validate(RECEIPTS | {"ask": "&s=%d"})
    double = ReceiptsModel.model_validate(RECEIPTS | {"ask": "&s=%d", "percent": "double"})
    assert plain.address("https://x/?a=%41") == "https://x/?a=%41&s=%d"
    assert double.address("https://x/?a=%41") == "https://x/?a=%%41&s=%d"
    assert double.address(None) is None


@pytest.mark.parametrize(
    ("model", "told", "said"),
    [
        (ReceiptsModel, {"status": "s"}, "delivered"),
        (ReceiptsModel, {"status": "s", "delivered": []}, "at least 1"),
        (ReceiptsModel, {"status": "s", "delivered": [1], "undelivered": ["1"]}, "not both"),
        (ReceiptsModel, {"status": "s", "delivered": [1], "ask": "s=%d"}, "pattern"),
        (ReceiptsModel, {"status": "s", "delivered": [1], "ask": "&s=% d"}, "pattern"),
        (ReceiptsModel, {"status": "s", "delivered": [1], "percent": "triple"}, "'plain' or 'double'"),
        (RepliesModel, {"phone": "p"}, "write 'text' or 'hex'"),
        (RepliesModel, {"phone": "p", "text": "t", "hex": "h"}, "write 'text' or 'hex'"),
    ],
)
def test_calls_that_cannot_be_read_are_refused_when_the_mapping_is_read(
    model: type[ReceiptsModel | RepliesModel], told: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError) as error:
        model.model_validate(told)
    assert said in str(error.value)


def test_a_call_that_is_refused_says_why_without_what_it_said() -> None:
    heard = read_replies(RepliesModel(phone="from", text="text"), call(b'{"text":"secret"}'))
    assert isinstance(heard, Refused)
    assert "secret" not in heard.why
