"""Messages that no rule sends, posted by the shop's own systems: a code to log in with, a notice that cannot wait."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, ValidationError

from triggers.core.times import SECOND, iso
from triggers.dispatch.postbox import PostedOtherwise, TooMany, Unfit, Wanted
from triggers.language.kinds import Line, Part
from triggers.web.answers import in_json, refusal

if TYPE_CHECKING:
    from aiohttp import web

    from triggers.store.messages import Message, Move
    from triggers.web.engine import Post
    from triggers.web.entrance import Entrance

KEY_HEADER: Final = "Idempotency-Key"
MOST_KEY: Final = 200
MOST_BODY: Final = 64_000
MOST_TOLD: Final = 10
"""Findings of one body that are told."""
MOST_SHOWN: Final = 60
"""Characters of a sender's own key that are shown in a finding."""

_COMMAND = re.compile(r"[0-9a-f]{64}")

Value = Annotated[str, StringConstraints(max_length=200)]
Gap = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class MessageBody(Part):
    """A message to send: to one number, at once, for as long as it is of use (seconds)."""

    klass: Literal["verification", "notice"] = Field(alias="class")
    to: Annotated[str, StringConstraints(min_length=1, max_length=40)]
    text: Line
    customer: Annotated[str, StringConstraints(max_length=200)] = ""
    params: Annotated[dict[Gap, Value], Field(max_length=50)] | None = None
    template: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] | None = None
    expires_in_s: Annotated[int, Field(ge=1, le=1_000_000)] | None = None

    def wanted(self) -> Wanted:
        """Give it as the dispatcher takes it."""
        expires_in = None if self.expires_in_s is None else self.expires_in_s * SECOND
        return Wanted(self.klass, self.to, self.text, self.customer, self.params, self.template, expires_in)


class Messages:
    """The routes for messages."""

    def __init__(self, engine: Post, entrance: Entrance) -> None:
        self._engine = engine
        self._entrance = entrance

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        router.add_post("/v1/messages", self.take)
        router.add_get("/v1/messages/{id}", self.show)

    async def take(self, request: web.Request) -> web.Response:
        """Queue a message and answer when it is on the disk.

        202: it is queued. 200: it was before; the answer is the same. 409: the key was used for another message.
        400: no key, or no JSON. 401: no token. 413: too large. 422: it cannot leave as it is. 429: the number has enough.
        """
        self._entrance.admit(request)
        keys = request.headers.getall(KEY_HEADER, [])
        if len(keys) != 1 or not 0 < len(keys[0]) <= MOST_KEY or not keys[0].isprintable():
            return refusal(400, f"the header {KEY_HEADER} is needed once, with 1 to {MOST_KEY} printable characters")
        body = await self._entrance.read(request, MOST_BODY)
        try:
            message = MessageBody.model_validate_json(body)
        except ValidationError as error:
            return _findings(error)
        answer = await self._engine.post(keys[0], message.wanted())
        if isinstance(answer, Unfit):
            return refusal(422, answer.why)
        if isinstance(answer, TooMany):
            wait = {"Retry-After": str(answer.after_s)}
            return refusal(429, "this number got as many codes as it may; see 'codes' in the delivery file", wait)
        if isinstance(answer, PostedOtherwise):
            return refusal(409, f"the {KEY_HEADER} was used for a message with other content; that one counts")
        return in_json({"id": answer.id, "state": "queued"}, 202 if answer.new else 200)

    async def show(self, request: web.Request) -> web.Response:
        """Tell how a message stands and how it came there; never its number or its text."""
        self._entrance.admit(request)
        command = request.match_info["id"]
        message = self._engine.message(command) if _COMMAND.fullmatch(command) else None
        return refusal(404, "there is no message with this id") if message is None else in_json(_told(message), 200)


def _told(message: Message) -> dict[str, Any]:
    send = message.send
    return _known(
        id=send.id,
        state=message.state,
        reason=message.reason,
        rule=send.rule,
        parts=send.segments,
        queued_at=iso(message.queued_at),
        expires_at=iso(send.expires),
    ) | {"class": send.klass, "history": [_told_move(move) for move in message.moves]}


def _told_move(move: Move) -> dict[str, Any]:
    told = _known(reason=move.reason, gateway=move.gateway, attempt=move.attempt)
    return {"at": iso(move.at), "from": move.old, "to": move.new} | told


def _known(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


def _findings(error: ValidationError) -> web.Response:
    """Say what is wrong with a body, without what was sent in it."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if any(each["type"] == "json_invalid" for each in found):
        return refusal(400, "the body is no JSON")
    told = [f"{_place(each['loc'])}: {each['msg']}" for each in found[:MOST_TOLD]]
    more = [f"and {len(found) - MOST_TOLD} more"] if len(found) > MOST_TOLD else []
    return refusal(422, "; ".join(told + more))


def _place(loc: tuple[int | str, ...]) -> str:
    return f"'{'.'.join(map(str, loc))[:MOST_SHOWN]}'" if loc else "the body"
