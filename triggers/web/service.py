"""The HTTP face of a service: events and messages in, what gateways tell, health and metrics out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from triggers.core.intake import decode_many
from triggers.store.event_log import Arrival, Entry
from triggers.web.answers import faults_in_json, in_json, refusal
from triggers.web.bodies import TooMany, split
from triggers.web.callbacks import Callbacks
from triggers.web.entrance import READ_TIMEOUT_S, Entrance
from triggers.web.messages import Messages

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from triggers.web.engine import Engine

RESULTS = ("accepted", "duplicate", "conflict", "rejected")


class Face:
    """The routes. Bodies of events are at most ``max_body`` bytes and hold at most ``max_events`` events.

    ``token`` is asked of whoever brings events or messages; None: of nobody.
    """

    def __init__(
        self,
        engine: Engine,
        registry: CollectorRegistry,
        *,
        max_body: int,
        max_events: int,
        token: str | None = None,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._max_body = max_body
        self._max_events = max_events
        self._entrance = Entrance(engine, token, read_timeout_s)

    def application(self) -> web.Application:
        """Make the application to serve."""
        app = web.Application(client_max_size=self._max_body, middlewares=[faults_in_json])
        app.router.add_post("/v1/events", self.take_events)
        Messages(self._engine, self._entrance).add_to(app.router)
        Callbacks(self._engine, self._entrance).add_to(app.router)
        app.router.add_get("/healthz", self.healthz)
        app.router.add_get("/metrics", self.metrics)
        return app

    async def take_events(self, request: web.Request) -> web.Response:
        """Log the events of a body and answer when they are on the disk, one result an event.

        Of an opt-out the answer also says that nothing commercial leaves to that customer any more.

        200: at least one was taken, or had been before. 422: none was. 400: empty, or not what its encoding says.
        401: no token. 408: too slow. 413: too large or too many. 503: too busy.
        """
        self._entrance.admit(request)
        if "ce-specversion" in request.headers:
            return refusal(415, "binary CloudEvents are not understood; send the envelope as JSON (structured mode)")
        body = await self._entrance.read(request, self._max_body)
        bodies = split(body, request.content_type, self._max_events)
        if isinstance(bodies, TooMany):
            return refusal(413, f"a body holds at most {bodies.limit} events; send several")
        if not bodies:
            return refusal(400, "the body is empty; send an event, an array of events, or one a line")
        origin = f"http {request.remote or 'unknown'}"
        meanings = decode_many(bodies, far_future_ok=True)
        arrivals = [Arrival(body, meaning, origin) for body, meaning in zip(bodies, meanings, strict=True)]
        entries = await asyncio.wrap_future(self._engine.ingest(arrivals))
        await self._engine.heeded(arrivals)
        return _answer(entries)

    async def healthz(self, _request: web.Request) -> web.Response:
        """Tell whether the service works, and how far it has come."""
        health = self._engine.health()
        return in_json(health, 200 if health["status"] == "ok" else 503)

    async def metrics(self, _request: web.Request) -> web.Response:
        """Give the numbers in the form that Prometheus reads."""
        self._engine.health()  # brings the gauges up to date
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _answer(entries: list[Entry]) -> web.Response:
    counts = dict.fromkeys(RESULTS, 0)
    results = []
    for entry in entries:
        counts[entry.result] += 1
        results.append({key: value for key, value in entry._asdict().items() if value})
    status = 200 if counts["accepted"] or counts["duplicate"] else 422
    return in_json({**counts, "results": results}, status)
