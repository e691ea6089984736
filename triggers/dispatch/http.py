"""One HTTP request to a gateway, made once and never repeated, and what its outcome means for a message.

A client that repeats a request by itself when a connection breaks sends a message twice. This one does not, whatever
the method; it also follows no redirect, keeps no cookie and asks no proxy of the environment.
"""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple

import aiohttp
from yarl import URL

from triggers.dispatch.gateway import Barred, Rejected, TryLater, Unknown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import SimpleNamespace

MAX_ANSWER = 65_536
"""Bytes of an answer's body that are read; what a gateway says of one message is far shorter."""
MAX_RETRY_AFTER_S = 86_400.0
KEEP_ALIVE_S = 4.0
"""An idle connection is dropped before servers do, many after 5 s: a request on a closing one ends as unknown."""
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "triggers"}

OK_FROM, OK_TO = 200, 300
THROTTLED = 429
REJECTED = frozenset({400, 404, 406, 410, 413, 414, 422, 431})
BARRED = frozenset({401, 402, 403, 405, 407, 411, 415})
"""The credentials, the balance or how we ask is wrong, for every message alike."""


class Response(NamedTuple):
    """What a gateway answered. Header names are in lower case; the body has at most MAX_ANSWER bytes, the rest is cut."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Attempt:
    """How far a request got: nothing of it is written before it has a connection."""

    __slots__ = ("connected", "dialling")

    def __init__(self) -> None:
        self.dialling = False
        self.connected = False


class _Broken(Exception):  # noqa: N818  the connection is, not we
    """A connection broke. It is none of the client's own errors, so that the client does not begin again."""


class HttpClient:
    """Makes requests, ``at_once`` at a time, over connections that are kept. Times in seconds.

    ``connect_timeout_s`` is for a connection with its name look-up and TLS, and for the wait for one that is free;
    ``timeout_s`` for everything until the answer is read.
    """

    def __init__(self, *, connect_timeout_s: float, timeout_s: float, at_once: int) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._timeout_s = timeout_s
        self._at_once = at_once
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response | TryLater | Unknown:
        """Make one request; the address goes out exactly as it is written, so it must be encoded.

        TryLater: not a byte was written. Unknown: it broke later, so the message may have left.
        """
        attempt = _Attempt()
        try:
            async with self._open().request(
                method,
                URL(url, encoded=True),
                headers=headers,
                data=body or None,
                allow_redirects=False,
                trace_request_ctx=attempt,
            ) as answer:
                return await _read(answer)
        except (aiohttp.ClientError, OSError, TimeoutError, _Broken) as error:
            return _judge_break(attempt, error)

    async def close(self) -> None:
        """Close the connections. Nothing is asked afterwards."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        """Make the session when it is first needed, since it belongs to the running loop."""
        assert not self._closed, "asked after it was closed"  # noqa: S101  a broken invariant
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._at_once, keepalive_timeout=KEEP_ALIVE_S),
                timeout=aiohttp.ClientTimeout(total=self._timeout_s, connect=self._connect_timeout_s),
                headers=_HEADERS,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trace_configs=[_trace()],
                middlewares=(_once,),
                trust_env=False,
            )
        return self._session


def judge(response: Response) -> Rejected | TryLater | Barred | Unknown | None:
    """Say what a status means for the message; None for a 2xx, whose body the gateway reads itself."""
    status, code = response.status, f"http {response.status}"
    if OK_FROM <= status < OK_TO:
        return None
    if status == THROTTLED:
        return TryLater(code, after_s=retry_after(response.headers))
    if status in REJECTED:
        return Rejected(code)
    if status in BARRED:
        return Barred(code)
    return Unknown(code)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read how many seconds a gateway asks us to wait, or until when; None where it does not say."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), MAX_RETRY_AFTER_S)
    try:
        at = parsedate_to_datetime(value)
        return min(max(at.timestamp() - time.time(), 0.0), MAX_RETRY_AFTER_S)
    except (ValueError, OverflowError, OSError):
        return None


async def _once(request: aiohttp.ClientRequest, go: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep the client from repeating a GET on a new connection when the first one broke: it may have been read."""
    try:
        return await go(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _Broken(type(error).__name__) from error


async def _read(answer: aiohttp.ClientResponse) -> Response:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(MAX_ANSWER):
        body += chunk
        if len(body) >= MAX_ANSWER:
            answer.close()  # the rest is not wanted, and the connection with it
            break
    return Response(
        answer.status, {name.lower(): value for name, value in answer.headers.items()}, bytes(body[:MAX_ANSWER])
    )


def _judge_break(attempt: _Attempt, error: Exception) -> TryLater | Unknown:
    timed_out = isinstance(error, TimeoutError)
    if attempt.connected:
        return Unknown("timed out" if timed_out else "no readable answer")
    if attempt.dialling:
        return TryLater("no connection in time" if timed_out else "no connection", refused_connection=True)
    return TryLater("busy" if timed_out else "no connection", refused_connection=not timed_out)


def _trace() -> aiohttp.TraceConfig:
    """Have the client tell how far each request got."""
    trace = aiohttp.TraceConfig()

    async def dial(_session: aiohttp.ClientSession, context: SimpleNamespace, _told: object) -> None:
        context.trace_request_ctx.dialling = True

    async def connect(_session: aiohttp.ClientSession, context: SimpleNamespace, _told: object) -> None:
        context.trace_request_ctx.connected = True

    trace.on_connection_create_start.append(dial)
    trace.on_connection_create_end.append(connect)
    trace.on_connection_reuseconn.append(connect)
    return trace
