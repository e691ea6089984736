"""The addresses that tell how a service is: for whoever looks after it, and for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from triggers.web.answers import in_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from prometheus_client import CollectorRegistry


class Vitals:
    """The routes for health and metrics. ``health`` tells how the service is: ``status`` is "ok" or what is wrong."""

    def __init__(self, health: Callable[[], dict[str, Any]], registry: CollectorRegistry) -> None:
        self._health = health
        self._registry = registry

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        router.add_get("/healthz", self.healthz)
        router.add_get("/metrics", self.metrics)

    async def healthz(self, _request: web.Request) -> web.Response:
        """Tell whether the service works, and how far it has come."""
        health = self._health()
        return in_json(health, 200 if health["status"] == "ok" else 503)

    async def metrics(self, _request: web.Request) -> web.Response:
        """Give the numbers in the form that Prometheus reads."""
        self._health()  # brings the gauges up to date
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
