"""Opens the HTTP side of a process."""

from __future__ import annotations

from typing import Any

import structlog
from aiohttp import web

from triggers.errors import ServiceUnusable
from triggers.web.entrance import reached_from_elsewhere

_log = structlog.get_logger("web")


async def listen(
    app: web.Application, host: str, port: int, *, ending_s: float, guarded: bool, **told: Any
) -> web.AppRunner:
    """Listen; whoever cleans the runner up waits ``ending_s`` for answers under way. Raises ServiceUnusable.

    ``guarded`` is whether a token is asked for, or nothing is taken; ``told`` goes into the log with the address.
    """
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=ending_s)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise ServiceUnusable(
            f"cannot listen on {host} port {port}: {error.strerror or error}; choose another with --port"
        ) from error
    if not guarded and reached_from_elsewhere(address[0] for address in runner.addresses):
        _log.warning("other machines can bring events and messages; set TRIGGERS_API_TOKEN to ask them for a token")
    own_host, own_port = runner.addresses[0][:2]
    _log.info("listening", address=f"http://{own_host}:{own_port}", **told)
    return runner
