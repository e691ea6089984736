"""How a message becomes an HTTP request, as a mapping in YAML says it: values go into their own places only.

A value has gaps in braces: ``"+{phone_digits}"``. What fills one is encoded as the value it stands in, so no text and no
name reaches beyond it. A value that says ``env:NAME`` is a secret from the environment, and has no gaps.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeAlias
from urllib.parse import quote, urlencode

import msgspec
from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    StringConstraints,
    TypeAdapter,
    WithJsonSchema,
    model_validator,
)

from triggers.core.texts import GSM_BASIC, GSM_EXTENDED
from triggers.dispatch.gateway_settings import FROM_ENVIRONMENT, Secret
from triggers.language.findings import Misfit, did_you_mean
from triggers.language.kinds import Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from triggers.dispatch.gateway import Outgoing

MAX_VALUES = 50
MAX_VALUE = 1_000
MAX_ADDRESS = 2_000
MAX_PORT = 65_535
MAX_VALIDITY_MIN = 72 * 60
MINUTE = 60_000

Value: TypeAlias = "str | int | dict[str, str]"
Values: TypeAlias = "Mapping[str, Value | None]"

GAPS = (
    "phone", "phone_digits", "text", "text_unsigned", "signature", "command", "attempt", "class", "callback",
    "validity_min", "valid_until_s", "coding", "template", "params",
)  # fmt: skip
"""What a value may ask for; ``values_of`` says what each is."""

_PIECES = re.compile(r"(\{\{|\}\}|\{[^{}]*\}|[{}])")
_SIGNED = re.compile(r"【([^【】]{1,20})】")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = rf"{_LABEL}(?:\.{_LABEL}){{0,9}}|\[[0-9a-f:.]{{2,45}}\]"
_ADDRESS = re.compile(rf"https?://(?:{_HOST})(?::([1-9][0-9]{{0,4}}))?(?:[/?][!-\"$-~]*)?", re.IGNORECASE | re.ASCII)
"""Without user, password and fragment."""
_PLAIN_HEADER = re.compile(r"[ -~]+")
_secret: TypeAdapter[SecretStr] = TypeAdapter(Secret)


class _Gap(NamedTuple):
    name: str


class Fill:
    """A value with gaps. It does not show itself, since it may be a secret."""

    __slots__ = ("_pieces",)

    def __init__(self, *pieces: str | _Gap) -> None:
        self._pieces = pieces

    def __call__(self, values: Values) -> Value | None:
        """Fill the gaps. What is one gap and nothing else keeps its kind, and is None where there is nothing to say."""
        if len(self._pieces) == 1 and isinstance(self._pieces[0], _Gap):
            return values[self._pieces[0].name]
        return "".join(piece if isinstance(piece, str) else _text(values[piece.name]) for piece in self._pieces)


def _text(value: Any) -> str:
    if isinstance(value, dict | list | bool):
        return msgspec.json.encode(value).decode()
    return "" if value is None else str(value)


def _fill(value: object) -> Fill:
    if isinstance(value, SecretStr):
        return Fill(value.get_secret_value())
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise Misfit("write text here, or a number")
    if len(value) > MAX_VALUE:
        raise Misfit(f"{MAX_VALUE} characters at most")
    if value.startswith(FROM_ENVIRONMENT):
        return Fill(_secret.validate_python(value).get_secret_value())
    return Fill(*map(_piece, filter(None, _PIECES.split(value))))


def _piece(text: str) -> str | _Gap:
    if text in ("{{", "}}"):
        return text[0]
    if text in ("{", "}"):
        raise Misfit("a brace that opens or closes nothing; write '{{' or '}}' for one that is meant")
    if not text.startswith("{"):
        return text
    name = text[1:-1]
    if name not in GAPS:
        raise Misfit(f"unknown gap '{text}'{did_you_mean(name, GAPS, name='{{{}}}')}")
    return _Gap(name)


def _json(value: object) -> Any:
    if isinstance(value, dict):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json(item) for item in value]
    if isinstance(value, Decimal):
        return float(value)
    return value if value is None or isinstance(value, bool | int | float) else _fill(value)


def _address(value: object) -> str:
    found = _ADDRESS.fullmatch(value) if isinstance(value, str) and len(value) <= MAX_ADDRESS else None
    if found is None or int(found[1] or 1) > MAX_PORT:
        raise Misfit("write an address such as https://sms.example.com/send; a password belongs into 'headers'")
    return found[0]


def _header(value: object) -> SecretStr:
    secret = _secret.validate_python(value)
    if not _PLAIN_HEADER.fullmatch(secret.get_secret_value()):
        raise Misfit("a header is one line of plain ASCII")
    return secret


_hidden = PlainSerializer(lambda _value: "…", return_type=str)
Filled = Annotated[Fill, PlainValidator(_fill), _hidden, WithJsonSchema({"type": ["string", "number"]})]
"""A value with gaps."""
JsonBody = Annotated[dict[str, Any], PlainValidator(_json), _hidden, WithJsonSchema({"type": "object"})]
Address = Annotated[str, PlainValidator(_address), WithJsonSchema({"type": "string", "format": "uri"})]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$")]
HeaderValue = Annotated[SecretStr, PlainValidator(_header), PlainSerializer(str), WithJsonSchema({"type": "string"})]
Fields = Annotated[dict[str, Filled], Field(max_length=MAX_VALUES)]


class RequestModel(Part):
    """The request for one message: its ``query``, and a ``form`` or ``json`` as its body.

    ``with_callback`` is added, to the body if there is one, where a message has an address for its receipts.
    ``id_header`` names a header that bears the command id, for gateways that take each such id once.
    """

    method: Literal["GET", "POST", "PUT"] = "POST"
    url: Address
    headers: Annotated[dict[HeaderName, HeaderValue], Field(max_length=MAX_VALUES)] = Field(default_factory=dict)
    id_header: HeaderName | None = None
    query: Fields = Field(default_factory=dict)
    form: Fields | None = None
    json_body: JsonBody | None = Field(default=None, alias="json")
    with_callback: JsonBody = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_body(self) -> RequestModel:
        if self.form is not None and self.json_body is not None:
            raise Misfit("write 'form' or 'json', not both")
        if self.method == "GET" and (self.form is not None or self.json_body is not None):
            raise Misfit("a GET has no body: write 'query'")
        return self


class Request(NamedTuple):
    """What goes to the client."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


def build(model: RequestModel, values: Values) -> Request:
    """Make the request for a message."""
    added = _filled(model.with_callback, values) if values["callback"] is not None else {}
    query, body, kind = _flat(model.query, values), b"", ""
    if model.json_body is not None:
        body, kind = msgspec.json.encode(_filled(model.json_body, values) | added), "application/json"
    elif model.form is not None:
        body, kind = _encoded(_flat(model.form, values) | added).encode(), "application/x-www-form-urlencoded"
    else:
        query |= added
    headers = {"Content-Type": kind} if kind and "content-type" not in map(str.lower, model.headers) else {}
    headers |= {name: value.get_secret_value() for name, value in model.headers.items()}
    if model.id_header is not None:
        headers[model.id_header] = quote(_text(values["command"]), safe="")
    url = model.url
    if query:
        url += ("&" if "?" in url else "?") + _encoded(query)
    return Request(model.method, url, headers, body)


def values_of(message: Outgoing, now: int) -> dict[str, Value | None]:
    """Give what fills the gaps. ``now`` in epoch ms.

    ``coding`` is 0 for a text of GSM 03.38 characters and 2 for any other, as Kannel and SMPP count; ``signature`` the
    words in 【】 that a text begins with, and ``text_unsigned`` what follows them.
    """
    text, template = _whole(message.text), message.template
    signed = _SIGNED.match(text)
    return {
        "phone": message.phone,
        "phone_digits": message.phone.removeprefix("+"),
        "text": text,
        "text_unsigned": text[signed.end() :] if signed else text,
        "signature": signed[1] if signed else None,
        "command": message.command,
        "attempt": message.attempt,
        "class": message.klass,
        "callback": message.callback,
        "validity_min": min((message.valid_until - now) // MINUTE, MAX_VALIDITY_MIN),
        "valid_until_s": message.valid_until // 1_000,
        "coding": 0 if all(char in GSM_BASIC or char in GSM_EXTENDED for char in text) else 2,
        "template": template.code if template else None,
        "params": {name: _whole(value) for name, value in template.params.items()} if template else None,
    }


def _whole(text: str) -> str:
    """Replace what no encoding has: half of a surrogate pair."""
    return text.encode(errors="replace").decode()


def _flat(fields: Mapping[str, Fill], values: Values) -> dict[str, Value]:
    return {name: value for name, fill in fields.items() if (value := fill(values)) is not None}


def _encoded(fields: Mapping[str, Value]) -> str:
    return urlencode({name: _text(value) for name, value in fields.items()}, quote_via=quote, safe="")


def _filled(body: Any, values: Values) -> Any:
    """Fill a JSON body; a key whose gap has nothing to say is left out."""
    if isinstance(body, Fill):
        return body(values)
    if isinstance(body, list):
        return [_filled(item, values) for item in body]
    if isinstance(body, dict):
        found = {key: (item, _filled(item, values)) for key, item in body.items()}
        return {key: value for key, (item, value) in found.items() if value is not None or item is None}
    return body
