"""The HTTP face of a service: events and messages in, what gateways tell, health and metrics out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from triggers.web.answers import faults_in_json
from triggers.web.callbacks import Callbacks
from triggers.web.entrance import READ_TIMEOUT_S, Entrance
from triggers.web.events import Events
from triggers.web.messages import Messages
from triggers.web.vitals import Vitals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp.typedefs import Middleware
    from prometheus_client import CollectorRegistry, Counter

    from triggers.web.answers import Handler
    from triggers.web.engine import Engine


class Part(Protocol):
    """Some routes of a service."""

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        ...


def application(*parts: Part, max_body: int, answers: Counter | None = None) -> web.Application:
    """Make an application of its parts; bodies are at most ``max_body`` bytes where a route does not say less.

    ``answers`` counts what is answered, by status.
    """
    app = web.Application(client_max_size=max_body, middlewares=[*_counting(answers), faults_in_json])
    for part in parts:
        part.add_to(app.router)
    return app


def _counting(answers: Counter | None) -> Iterator[Middleware]:
    if answers is None:
        return

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        answers.labels(str(response.status)).inc()
        return response

    yield count


class Face:
    """All routes. Bodies of events are at most ``max_body`` bytes and hold at most ``max_events`` events.

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
        entrance = Entrance(engine, token, read_timeout_s)
        self._max_body = max_body
        self._parts = (
            Events(engine, entrance, max_body=max_body, max_events=max_events),
            Messages(engine, entrance),
            Callbacks(engine, entrance),
            Vitals(engine.health, registry),
        )

    def application(self) -> web.Application:
        """Make the application to serve."""
        return application(*self._parts, max_body=self._max_body)
