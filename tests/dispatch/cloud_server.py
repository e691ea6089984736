"""A loopback server in the place of a cloud's API, and the golden requests of the official SDKs."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import web

from triggers.dispatch.gateway import Call, Outgoing, Template
from triggers.dispatch.http import Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from triggers.dispatch.gateway import Answer

GOLDEN = Path(__file__).parent / "golden"
HANG, RESET = "hang", "reset"
FAR = 4_000_000_000_000


class Asked(NamedTuple):
    """A request, as it came over the wire; header names in small letters."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class CloudServer:
    """Gives ``answers`` in their order, the last one again and again."""

    def __init__(self, answers: list[Any]) -> None:
        self.asked: list[Asked] = []
        self.url = ""
        self.over = asyncio.Event()
        self._answers = answers

    async def serve(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append(Asked(request.method, request.raw_path, headers, await request.read()))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if answer == HANG:
            await self.over.wait()
        if answer == RESET:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        status, body, *headers_out = answer
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        return web.Response(status=status, body=text, headers=headers_out[0] if headers_out else None)


@asynccontextmanager
async def cloud(*answers: Any) -> AsyncIterator[CloudServer]:
    server = CloudServer(list(answers))
    application = web.Application()
    application.router.add_route("*", "/{any:.*}", server.serve)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        server.over.set()
        await runner.cleanup()


class Taken:
    """Takes requests in the place of the HTTP client; nothing leaves."""

    def __init__(self, answer: bytes = b"{}") -> None:
        self.requests: list[dict[str, Any]] = []
        self._answer = answer

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        self.requests.append({"method": method, "url": url, "headers": dict(headers or {}), "body": body.decode()})
        return Response(200, {}, self._answer)


def exact(answer: Answer) -> tuple[type[Answer], Answer]:
    """Name the kind of an answer beside it: to be compared, since tuples of two kinds may be equal."""
    return type(answer), answer


def golden(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    return found


def message(phone: str = "+8613800000001", params: dict[str, str] | None = None, **changes: Any) -> Outgoing:
    """Make a message with a template."""
    given: dict[str, Any] = {
        "command": "c-1",
        "attempt": 1,
        "phone": phone,
        "text": "【三只松鼠】你好",
        "klass": "marketing",
        "valid_until": FAR,
        "template": Template("T1", {} if params is None else params),
    }
    return Outgoing(**given | changes)


def call(kind: str, body: Any, mac: str = "", **changes: Any) -> Call:
    """Make a call as a cloud makes it, to an address with a mac."""
    given: dict[str, Any] = {
        "kind": kind,
        "method": "POST",
        "url": f"https://shop.example/callbacks/g/{kind}?mac={mac}",
        "query": {"mac": mac},
        "headers": {"content-type": "application/json"},
        "body": body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode(),
    }
    return Call(**given | changes)
