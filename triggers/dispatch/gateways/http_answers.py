"""What a mapping in YAML makes of a gateway's answer: where its word and its id are, and what each word means."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple

import msgspec
from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from triggers.dispatch.gateway import Accepted, Answer, Barred, Rejected, TryLater, Unknown
from triggers.dispatch.http import OK_FROM, OK_TO, judge, retry_after
from triggers.language.findings import Misfit
from triggers.language.kinds import Part

if TYPE_CHECKING:
    from collections.abc import Callable

    from triggers.dispatch.http import Response

MAX_WORDS = 200
MAX_ID = 200
MAX_PARTS = 255
ALL = "."
"""The place of the whole document."""

_CODE = re.compile(r"(?!.*[0-9]{7})[A-Za-z0-9._:/-]{1,64}", re.ASCII)


def as_word(value: object) -> object:
    """Write a value as it is compared: numbers, true and false as text; what is neither stays as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float | Decimal) else value


Code = Annotated[str, BeforeValidator(as_word), StringConstraints(min_length=1, max_length=100)]
"""A word of the gateway's: text, a number, true or false, all compared as text."""
Codes = Annotated[list[Code], Field(max_length=MAX_WORDS)]
Place = Annotated[str, StringConstraints(pattern=r"^(\.|[^.\s]+(\.[^.\s]+)*)$", max_length=200)]
"""Where a value is: the keys and list indices on the way to it, with dots between; or the name of a form's field."""
Mark = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class AnswerModel(Part):
    """What an answer means. ``code`` is the place of the word that says it; with ``read: text`` the answer begins with it.

    An answer is an acceptance if its word is one of ``accepted`` or, where none are named, if it has an ``id``; its
    status must be one of ``status``, or any 2xx. An answer without a word that is named here is judged by its status,
    and any 5xx and any redirect is ambiguous whatever it says. ``id_after`` is what stands before the id in a text.
    """

    read: Literal["json", "text"] = "json"
    status: Annotated[list[Annotated[int, Field(ge=OK_FROM, lt=OK_TO)]], Field(max_length=20)] = Field(
        default_factory=list
    )
    code: Place | None = None
    id: Place | None = None
    id_after: Mark | None = None
    parts: Place | None = None
    accepted: Codes = Field(default_factory=list)
    rejected: Codes = Field(default_factory=list)
    invalid_number: Codes = Field(default_factory=list)
    blacklisted: Codes = Field(default_factory=list)
    throttled: Codes = Field(default_factory=list)
    barred: Codes = Field(default_factory=list)

    @model_validator(mode="after")
    def _complete(self) -> AnswerModel:
        codes = list(self.meanings())
        if len(codes) < sum(len(getattr(self, kind)) for kind in _MEANINGS):
            raise Misfit("a word stands in two places, and can have one meaning only")
        if self.read == "text" and (self.code or self.id or self.parts):
            raise Misfit("a text has no places; with 'read: text' write how answers begin, and 'id_after'")
        if self.read == "json" and (self.id_after or (codes and not self.code)):
            raise Misfit("write 'code', the place of the gateway's word, and 'id', the place of its id")
        if not (self.accepted or self.id or self.id_after):
            raise Misfit("nothing says what an acceptance is; write 'accepted' with 'code', or 'id'")
        return self

    def meanings(self) -> dict[str, str]:
        """List the words, each with the name of the list that it is in."""
        return {code: kind for kind in _MEANINGS for code in getattr(self, kind)}


_MEANINGS: Final[dict[str, Callable[[str, float | None], Answer]]] = {
    "accepted": lambda code, _wait_s: Accepted(None, code=code),
    "rejected": lambda code, _wait_s: Rejected(code),
    "invalid_number": lambda code, _wait_s: Rejected(code, invalid_number=True),
    "blacklisted": lambda code, _wait_s: Rejected(code, blacklisted=True),
    "throttled": TryLater,
    "barred": lambda code, _wait_s: Barred(code),
}


class _Said(NamedTuple):
    """What was found in an answer: its word if it is known, and what to call it; its id; its parts."""

    word: str | None
    code: str
    id: str | None
    parts: int | None


def read_answer(model: AnswerModel, response: Response) -> Answer:
    """Say what became of the message."""
    by_status = judge(response)
    if isinstance(by_status, Unknown):
        return by_status
    meanings = model.meanings()
    said = (_read_text if model.read == "text" else _read_json)(model, response.body, meanings)
    meaning = meanings.get(said.word or "")
    if meaning is not None and meaning != "accepted":
        return _MEANINGS[meaning](said.code, retry_after(response.headers))
    if by_status is not None:
        return by_status._replace(code=said.code or by_status.code)
    meant = meaning == "accepted" if model.accepted else said.id is not None
    if meant and (not model.status or response.status in model.status):
        return Accepted(said.id, said.parts, said.code)
    return Unknown(said.code or "unreadable answer")


def _read_text(model: AnswerModel, body: bytes, meanings: dict[str, str]) -> _Said:
    text = body.decode(errors="replace").strip()
    word = max((word for word in meanings if text.startswith(word)), key=len, default=None)
    found = text.partition(model.id_after)[2].split(maxsplit=1) if model.id_after else []
    return _Said(word, word or "", id_of(found[0]) if found else None, None)


def _read_json(model: AnswerModel, body: bytes, meanings: dict[str, str]) -> _Said:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Said(None, "", None, None)
    word = as_word(at(document, model.code))
    parts = at(document, model.parts)
    counted = isinstance(parts, int) and not isinstance(parts, bool) and 0 < parts <= MAX_PARTS
    known = word if isinstance(word, str) else None
    return _Said(
        known, known if known in meanings else code_of(known), id_of(at(document, model.id)), parts if counted else None
    )


def at(document: Any, place: str | None) -> Any:
    """Find the value at a place of a JSON document; None if there is none."""
    if place is None or place == ALL:
        return document if place else None
    for step in place.split("."):
        if isinstance(document, dict):
            document = document.get(step)
        elif isinstance(document, list) and step.isascii() and step.isdigit() and int(step) < len(document):
            document = document[int(step)]
        else:
            return None
    return document


def code_of(word: str | None) -> str:
    """Take a gateway's word if it is one: short, and without what could be a phone, a text or a line of a log."""
    return word if word is not None and _CODE.fullmatch(word) else ""


def id_of(value: object) -> str | None:
    """Take the gateway's id of a message if it is one: printable, and not too long."""
    word = as_word(value)
    return word if isinstance(word, str) and 0 < len(word) <= MAX_ID and word.isprintable() else None
