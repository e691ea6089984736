"""The web process of a fleet: it keeps nothing, so there may be as many as there are requests for."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from triggers.drivers.kafka.web_heeding import Heeding
from triggers.drivers.kafka.web_intake import LogIntake
from triggers.drivers.life import ending
from triggers.errors import ServiceUnusable, TriggersError
from triggers.web.entrance import READ_TIMEOUT_S, Entrance
from triggers.web.events import Events
from triggers.web.listening import listen
from triggers.web.service import application
from triggers.web.vitals import Vitals

if TYPE_CHECKING:
    from aiohttp import web

    from triggers.drivers.kafka.dispatch_settings import FaceSettings

_log = structlog.get_logger("web")


class WebMetrics:
    """The numbers of a web process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.events = Counter("triggers_events", "Events by what became of them", ["result"], registry=self.registry)
        self.answers = Counter("triggers_http_answers", "HTTP answers by status", ["status"], registry=self.registry)
        self.waiting = Gauge("triggers_events_waiting", "Events that the log has not acked", registry=self.registry)
        self.connected = Gauge("triggers_log_connected", "Whether the log can be written", registry=self.registry)


class WebProcess:
    """What ``triggers web`` runs. Make it and ``serve`` within one event loop."""

    def __init__(self, settings: FaceSettings) -> None:
        self.settings = settings
        self.metrics = WebMetrics()
        self._ended = asyncio.Event()
        self._heeding = Heeding(settings)
        self._intake = LogIntake(settings, self._heeding, self.metrics.events)

    async def serve(self) -> None:
        """Run until a signal; then answer what is under way, and end cleanly. Raises ServiceUnusable."""
        with ending(self._ended):
            async with AsyncExitStack() as opened:
                opened.push_async_callback(self._intake.close)
                opened.push_async_callback(self._heeding.close)
                await self._run(opened)
        _log.info("stopped")

    async def _run(self, opened: AsyncExitStack) -> None:
        connecting, ending = asyncio.create_task(self._intake.run()), asyncio.create_task(self._ended.wait())
        try:
            runner = await self._listen(opened)
            await asyncio.wait({connecting, ending}, return_when=asyncio.FIRST_COMPLETED)
            await runner.cleanup()
        finally:
            for task in (connecting, ending):
                task.cancel()
            outcomes = await asyncio.gather(connecting, ending, return_exceptions=True)
        fault = outcomes[0]
        if isinstance(fault, TriggersError):
            raise fault
        if isinstance(fault, Exception):
            _log.error("the web process failed", exc_info=fault)
            raise ServiceUnusable(f"a part of the web process failed ({type(fault).__name__}); the log says where")

    async def _listen(self, opened: AsyncExitStack) -> web.AppRunner:
        settings = self.settings
        entrance = Entrance(self._intake, settings.token, READ_TIMEOUT_S)
        events = Events(self._intake, entrance, max_body=settings.max_body, max_events=settings.max_events_in_body)
        vitals = Vitals(self.health, self.metrics.registry)
        app = application(events, vitals, max_body=settings.max_body, answers=self.metrics.answers)
        runner = await listen(app, settings.host, settings.port, ending_s=15, guarded=settings.token is not None)
        opened.push_async_callback(runner.cleanup)
        return runner

    def health(self) -> dict[str, Any]:
        """Tell whether events can be taken, and bring the gauges up to date."""
        connected = self._intake.connected
        self.metrics.connected.set(connected)
        self.metrics.waiting.set(self._intake.waiting)
        status = "stopping" if self._ended.is_set() else "ok" if connected else "the log cannot be written"
        return {"status": status, "events_waiting": self._intake.waiting}
