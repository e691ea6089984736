"""Opens the HTTP side of a fleet's process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from triggers.errors import ServiceUnusable
from triggers.web.entrance import reached_from_elsewhere

if TYPE_CHECKING:
    from triggers.drivers.kafka.dispatch_settings import FaceSettings

_log = structlog.get_logger("web")


async def listen(app: web.Application, settings: FaceSettings, *, ending_s: float) -> web.AppRunner:
    """Listen; whoever cleans the runner up waits ``ending_s`` for answers under way. Raises ServiceUnusable."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port, shutdown_timeout=ending_s).start()
    except OSError as error:
        await runner.cleanup()
        raise ServiceUnusable(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error};"
            " choose another with --port"
        ) from error
    host, port = runner.addresses[0][:2]
    if settings.api_token is None and reached_from_elsewhere(address[0] for address in runner.addresses):
        _log.warning("other machines can bring events and messages; set TRIGGERS_API_TOKEN to ask them for a token")
    _log.info("listening", address=f"http://{host}:{port}")
    return runner
