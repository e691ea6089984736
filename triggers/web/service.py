"""The HTTP face of a service: events in, health and metrics out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from triggers.core.intake import decode_many
from triggers.errors import ServiceUnusable
from triggers.store.event_log import Arrival, Entry
from triggers.web.bodies import TooMany, split

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from concurrent.futures import Future

    from prometheus_client import CollectorRegistry

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

RETRY_AFTER_S = 1
READ_TIMEOUT_S = 30.0
"""How long a sender may take for a body."""

RESULTS = ("accepted", "duplicate", "conflict", "rejected")

_TOLD_HEADERS = ("Allow", "Connection", "Retry-After")

_log = structlog.get_logger("web")
_encoder = msgspec.json.Encoder()


class Engine(Protocol):
    """What the HTTP face needs of the service behind it."""

    @property
    def busy(self) -> bool:
        """Whether more is waiting to be written than should be."""
        ...

    def ingest(self, arrivals: Sequence[Arrival]) -> Future[list[Entry]]:
        """Log what came in; the answer comes when it is on the disk."""
        ...

    def health(self) -> dict[str, Any]:
        """Tell how the service is; ``status`` is "ok" or what is wrong."""
        ...


class Face:
    """The routes. Bodies are at most ``max_body`` bytes and hold at most ``max_events`` events."""

    def __init__(
        self,
        engine: Engine,
        registry: CollectorRegistry,
        *,
        max_body: int,
        max_events: int,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._max_body = max_body
        self._max_events = max_events
        self._read_timeout_s = read_timeout_s

    def application(self) -> web.Application:
        """Make the application to serve."""
        app = web.Application(client_max_size=self._max_body, middlewares=[_in_json])
        app.router.add_post("/v1/events", self.take_events)
        app.router.add_get("/healthz", self.healthz)
        app.router.add_get("/metrics", self.metrics)
        return app

    async def take_events(self, request: web.Request) -> web.Response:
        """Log the events of a body and answer when they are on the disk, one result an event.

        200: at least one was taken, or had been before. 422: none was. 400: empty, or not what its encoding says.
        408: too slow. 413: too large or too many. 503: too busy.
        """
        if "ce-specversion" in request.headers:
            return refusal(415, "binary CloudEvents are not understood; send the envelope as JSON (structured mode)")
        body = await self._read(request)
        bodies = split(body, request.content_type, self._max_events)
        if isinstance(bodies, TooMany):
            return refusal(413, f"a body holds at most {bodies.limit} events; send several")
        if not bodies:
            return refusal(400, "the body is empty; send an event, an array of events, or one a line")
        origin = f"http {request.remote or 'unknown'}"
        meanings = decode_many(bodies, far_future_ok=True)
        arrivals = [Arrival(body, meaning, origin) for body, meaning in zip(bodies, meanings, strict=True)]
        entries = await asyncio.wrap_future(self._engine.ingest(arrivals))
        return _answer(entries)

    async def _read(self, request: web.Request) -> bytes:
        if self._engine.busy:
            raise _too_busy()
        try:
            async with asyncio.timeout(self._read_timeout_s):
                body = await request.read()
        except TimeoutError:
            reason = f"the body did not come within {self._read_timeout_s:g} s"
            raise web.HTTPRequestTimeout(reason=reason, headers={"Connection": "close"}) from None
        except web.RequestPayloadError as error:
            reason = "the body is not what its Content-Encoding or Transfer-Encoding says"
            raise web.HTTPBadRequest(reason=reason) from error
        if self._engine.busy:  # others were read meanwhile
            raise _too_busy()
        return body

    async def healthz(self, _request: web.Request) -> web.Response:
        """Tell whether the service works, and how far it has come."""
        health = self._engine.health()
        return _json(health, 200 if health["status"] == "ok" else 503)

    async def metrics(self, _request: web.Request) -> web.Response:
        """Give the numbers in the form that Prometheus reads."""
        self._engine.health()  # brings the gauges up to date
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _too_busy() -> web.HTTPServiceUnavailable:
    return web.HTTPServiceUnavailable(
        reason="too much is waiting to be written; try again", headers={"Retry-After": str(RETRY_AFTER_S)}
    )


def _answer(entries: list[Entry]) -> web.Response:
    counts = dict.fromkeys(RESULTS, 0)
    results = []
    for entry in entries:
        counts[entry.result] += 1
        results.append({key: value for key, value in entry._asdict().items() if value})
    status = 200 if counts["accepted"] or counts["duplicate"] else 422
    return _json({**counts, "results": results}, status)


def _json(content: object, status: int) -> web.Response:
    return web.Response(body=_encoder.encode(content), status=status, content_type="application/json")


def refusal(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """Say no, in JSON, with a message that helps."""
    response = _json({"error": message}, status)
    response.headers.update(headers or {})
    return response


@web.middleware
async def _in_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPRequestEntityTooLarge as error:
        return refusal(413, f"the body is too large: {error.text}")
    except web.HTTPException as error:
        return refusal(error.status, error.reason, {k: v for k, v in error.headers.items() if k in _TOLD_HEADERS})
    except ServiceUnusable as error:
        return refusal(503, str(error))
    except ConnectionResetError:
        return refusal(400, "the connection was lost")  # nobody reads it
    except Exception:  # noqa: BLE001  one bad request stops nothing else
        _log.exception("a request failed", path=request.path)
        return refusal(500, "this failed inside; the log says why")
